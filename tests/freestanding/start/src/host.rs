//! WebAssembly: the host calls `nabiz_program` and brings `write`.

#[link(wasm_import_module = "nabiz")]
unsafe extern "C" {
    #[link_name = "write"]
    safe fn host_write(file: u32, from: *const u8, count: usize);
}

pub(crate) fn write(file: u32, bytes: &[u8]) -> Option<usize> {
    host_write(file, bytes.as_ptr(), bytes.len());
    Some(bytes.len())
}

pub(crate) fn exit(_: u32) -> ! {
    core::arch::wasm32::unreachable()
}

//! What the C library would do for a program that has none: the entry, the
//! exit, and output. With Linux by its system calls, in WebAssembly by what the
//! host gives.
//!
//! The program defines `fn program() -> u32` under [`program!`], and its own
//! panic handler.

#![no_std]

#[cfg(target_arch = "wasm32")]
mod host;
#[cfg(not(target_arch = "wasm32"))]
mod linux;
// Other targets get them from the compiler's own library, which is built for
// them with its feature `mem`.
#[cfg(all(target_arch = "x86_64", not(test)))]
mod memory;

#[cfg(target_arch = "wasm32")]
use host as system;
#[cfg(not(target_arch = "wasm32"))]
use linux as system;

/// Makes a function of the program's the one that runs; what it returns is the
/// exit status.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn nabiz_program() -> u32 {
            $main()
        }
    };
}

/// Writes to a file that the program was started with: 1 is the standard
/// output, 2 the standard error output. What cannot be written is lost.
pub fn write(file: u32, mut bytes: &[u8]) {
    while let Some(written @ 1..) = system::write(file, bytes) {
        bytes = bytes.get(written..).unwrap_or_default();
    }
}

/// Ends the program, with this status.
pub fn exit(status: u32) -> ! {
    system::exit(status)
}

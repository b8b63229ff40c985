//! What the compiler's own library refers to where it was built to unwind.
//! Nothing here unwinds (`panic = "abort"`), so neither is called.

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    nabiz_start::exit(102)
}

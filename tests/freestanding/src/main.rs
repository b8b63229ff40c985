//! The core, proven by linking. This program has no `std`, no allocator and no
//! C library. Its panic handler calls a function that does not exist, so it
//! links only if the optimiser removed every way to the handler: if no panic
//! can be reached, whatever the input. Arithmetic that overflows would panic
//! here too (`overflow-checks`).
//!
//! Then it runs. Exit status 0: both ends went through a day as they should, and
//! any events at any times did no harm.

#![no_std]
#![no_main]

mod anything;
mod day;

/// What did not go as it should: the exit status.
#[derive(Clone, Copy)]
enum Failure {
    Configuration = 1,
    Client = 2,
    Server = 3,
    Endless = 4,
    Delay = 5,
}

nabiz_start::program!(main);

fn main() -> u32 {
    match program() {
        Ok(()) => 0,
        Err(failure) => failure as u32,
    }
}

fn program() -> Result<(), Failure> {
    day::client()?;
    day::server()?;
    anything::delays()?;
    anything::sessions()?;
    #[cfg(feature = "with-a-panic")]
    core::hint::black_box(Some(())).unwrap();
    Ok(())
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        /// Defined nowhere.
        fn a_panic_can_be_reached() -> !;
    }
    // SAFETY: never called; where it could be, the program does not link.
    unsafe { a_panic_can_be_reached() }
}

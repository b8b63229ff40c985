//! Law 11, on any target: the same replay gives the same actions wherever it
//! can run. This program replays the fuzzers' corpora and writes a line for
//! each input to the standard output: how many items the session or the roster
//! said, and a digest of their text. The text goes to the standard error
//! output.
//!
//! It has no C library and no operating system but for two system calls, so
//! that one source runs on small machines, too. `run` compares what it writes.

#![no_std]
#![no_main]

extern crate alloc;

mod memory;
mod said;
#[cfg(target_arch = "x86_64")]
mod unwind;

use core::fmt::Debug;

use nabiz::testing::{RosterScript, Script};

use crate::said::Said;

mod inputs {
    include!(concat!(env!("OUT_DIR"), "/inputs.rs"));
}

nabiz_start::program!(main);

fn main() -> u32 {
    for (name, bytes) in inputs::SESSION {
        replay("session", name, &Script::new(bytes).run());
    }
    for (name, bytes) in inputs::REAPER {
        replay("reaper", name, &RosterScript::new(bytes).run());
    }
    0
}

fn replay<T: Debug>(corpus: &str, name: &str, items: &[T]) {
    let mut text = Said::new(2);
    text.line(format_args!("{corpus} {name}"));
    for item in items {
        text.line(format_args!("{item:?}"));
    }
    let digest = text.digest();
    let items = items.len();
    Said::new(1).line(format_args!("{corpus} {name} {items} {digest:016x}"));
}

#[panic_handler]
fn panic(panic: &core::panic::PanicInfo<'_>) -> ! {
    Said::new(2).line(format_args!("{panic}"));
    nabiz_start::exit(101)
}

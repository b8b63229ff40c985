//! Any bytes make a client's link over a stream that does its worst: it takes
//! and gives some bytes or none, makes wait, is interrupted, fails and ends, and
//! so do the dials; while the caller sends, reads, drops its futures half-way,
//! stalls and changes its mind. All in paused time.

#![no_main]

#[path = "link/caller.rs"]
mod caller;
#[path = "link/tape.rs"]
mod tape;
#[path = "link/wire.rs"]
mod wire;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| caller::run(bytes));

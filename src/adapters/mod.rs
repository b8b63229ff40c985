//! The runtimes' side of the crate: sockets, clocks and waiting. The rules are
//! in the core; what the runtimes share does no I/O either.

pub mod blocking;
mod clock;
mod link;
mod outbox;

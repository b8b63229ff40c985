//! The runtimes' side of the crate: sockets, clocks and waiting. The rules are
//! in the core; what the runtimes share does no I/O either.

pub mod blocking;
mod clock;
mod link;
mod outbox;
mod registry;
pub mod runtime;
#[cfg(feature = "smol")]
pub mod smol;
#[cfg(any(feature = "tokio", feature = "smol"))]
mod task;
#[cfg(feature = "tokio")]
pub mod tokio;

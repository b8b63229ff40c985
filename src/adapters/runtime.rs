//! What the runtimes share, documented once.
//!
//! Use it by the names in [`blocking`](crate::blocking), `nabiz::tokio` and
//! `nabiz::smol`, which fill in the runtime. For another runtime, implement
//! [`Runtime`] with its timer, and [`Stream`] for its sockets.

pub use super::clock::Clock;
pub use super::link::{LinkEvent, SendError, random_seed};
pub use super::registry::{Drive, Duty, Lease, Registry};
#[cfg(any(feature = "tokio", feature = "smol"))]
pub use super::task::{Driver, Link, LinkHandle, Pulse, Runtime, Stream, Timer};

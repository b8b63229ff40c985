//! The pulse of long-lived connections: *when to send a heartbeat*, *when to
//! call the peer dead* and *when to come back*, for any transport.
//!
//! A quiet connection dies: firewalls and NATs drop it, and a peer that lost
//! power never says goodbye. [`Session`] is a state machine that knows what to
//! do about it and does no I/O. Three verbs: [`handle`](Session::handle) what
//! happened, [`poll`](Session::poll) what to do, sleep until the
//! [`deadline`](Session::deadline). Time and chance are arguments, so every run
//! replays.
//!
//! ```
//! use core::time::Duration;
//! use nabiz::{Action, Config, Event, Session, Timestamp};
//!
//! # fn dial() {} fn write(_: &[u8]) {} fn close() {} fn drop_now() {}
//! # fn next_event(_: Option<Timestamp>) -> Option<Event> { None }
//! # let now = || Timestamp::EPOCH;
//! # let seed = 7;
//! let config = Config::client().with_silence_timeout(Duration::from_secs(90)).build()?;
//! let mut session = Session::new(config, seed, now());
//! loop {
//!     while let Some(action) = session.poll(now()) {
//!         match action {
//!             Action::Connect { .. } => dial(),
//!             Action::SendHeartbeat { .. } => write(b"ping\n"),
//!             Action::Close(_) => close(),
//!             Action::Abort => drop_now(),
//!             Action::Reconnect { after, .. } => println!("back in {after:?}"),
//!             Action::GiveUp(reason) => println!("gave up: {reason}"),
//!         }
//!     }
//!     // Reads until nothing is left, or waits until the deadline.
//!     if let Some(event) = next_event(session.deadline()) {
//!         session.handle(event, now());
//!     }
//! #   break;
//! }
//! # Ok::<(), nabiz::ConfigError>(())
//! ```
//!
//! | piece | for |
//! |---|---|
//! | [`Session`] with a [`Config`] | one connection, either end |
//! | `Reaper` (feature `alloc`) | a server's whole roster, by the same rules |
//! | [`Backoff`] | reconnect delays, also alone |
//! | [`Offer`] | settling beats with the peer, as STOMP does |
//! | `Pulse` in `blocking`, `tokio`, `smol` | a session with a clock and a timer, for any transport |
//! | `Link` there | a client that stays connected over TCP and the like |
//! | `Registry` there | a shared roster, for a server with a task or thread per connection |
//! | `testing` (feature `testing`) | the laws that sessions and rosters keep, as checkers |
//!
//! The core is `no_std`, needs no allocator but for the roster, and has no
//! dependency. `blocking` comes with the feature `std`, `tokio` and `smol` with
//! those of their names.
#![no_std]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "std")]
mod adapters;
mod backoff;
mod chance;
mod config;
mod offer;
#[cfg(feature = "alloc")]
mod reaper;
mod session;
#[cfg(feature = "testing")]
pub mod testing;
mod time;

#[cfg(feature = "smol")]
pub use adapters::smol;
#[cfg(feature = "tokio")]
pub use adapters::tokio;
#[cfg(feature = "std")]
pub use adapters::{blocking, runtime};
pub use backoff::{Backoff, Delays, Jitter};
pub use config::{
    Config, ConfigBuilder, ConfigError, End, Evidence, Incompatible, Limits, Role, Rule,
};
pub use offer::{Agreement, Offer};
#[cfg(feature = "alloc")]
pub use reaper::{Counters, Iter, Key, Reap, Reaper};
pub use session::{
    Action, CloseReason, EndReason, Event, GiveUpReason, HeartbeatId, Phase, Session, Status,
};
pub use time::{Ratio, Timestamp};

/// The code in the README compiles.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;

#![cfg_attr(feature = "std", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "std"),
    doc = "The pulse of long-lived connections. See the README."
)]
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
mod session;
#[cfg(feature = "testing")]
pub mod testing;
mod time;

#[cfg(feature = "std")]
pub use adapters::blocking;
pub use backoff::{Backoff, Delays, Jitter};
pub use config::{
    Config, ConfigBuilder, ConfigError, End, Evidence, Incompatible, Limits, Role, Rule,
};
pub use offer::{Agreement, Offer};
pub use session::{
    Action, CloseReason, EndReason, Event, GiveUpReason, HeartbeatId, Phase, Session, Status,
};
pub use time::{Ratio, Timestamp};

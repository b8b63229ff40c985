#![doc = include_str!("../README.md")]
#![no_std]

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

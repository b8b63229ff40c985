//! Runs that need no driver: each call by itself, at its instant.

mod roster;
mod session;

pub(super) use roster::{Given, Numbers};
pub use roster::{RosterCall, RosterReplay, Who};
pub use session::{Call, Replay};

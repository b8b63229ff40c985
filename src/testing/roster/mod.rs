//! A server's roster under watch, held against a full scan and against the
//! sessions that it stands for.

mod checked;
mod drain;
mod model;
#[cfg(test)]
mod perturbed;
mod script;
mod sessions;

pub use checked::{CheckedReaper, Reaped};
pub use script::{RosterOutput, RosterScript};

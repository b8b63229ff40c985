//! Shared by `keep` and `serve`: flags, event lines, bytes, and a dial that can
//! be called off.

pub mod args;
pub mod bytes;
pub mod cli;
pub mod dial;
pub mod events;

//! Shared by the programs: flags, event lines, bytes, a dial that can be called
//! off, and the limit of open files.

pub mod args;
pub mod bytes;
pub mod cli;
pub mod dial;
pub mod events;
pub mod files;

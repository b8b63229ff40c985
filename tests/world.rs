//! The simulated world: what it does to an end, that it fails a wrapper with a
//! bug, and that two sessions in it keep every law and find each other again.

#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub
)]

#[path = "common/cases.rs"]
mod cases;
mod common;

#[path = "world/lines.rs"]
mod lines;
#[path = "world/plans.rs"]
mod plans;
#[path = "world/recorder.rs"]
mod recorder;
#[path = "world/wire.rs"]
mod wire;
#[path = "world/wrappers.rs"]
mod wrappers;

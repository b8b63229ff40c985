//! The rules of a roster, one sentence a test.
#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs
)]

mod common;

/// A directory of its own, so that none of this is a test target.
mod reaper {
    pub(crate) mod driver;

    mod beats;
    mod drains;
    mod evenness;
    mod floods;
    mod keys;
    mod lives;
    mod refusals;
    mod stalls;
    mod time;
    mod timeouts;
    mod verdicts;
    mod work;
}

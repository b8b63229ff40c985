//! The shared roster: on tokio, most of it in paused time, and on threads.
#![cfg(feature = "std")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub
)]

mod common;

/// A directory of its own, so that none of this is a test target.
mod registry {
    mod threads;

    #[cfg(feature = "tokio")]
    pub(crate) mod helpers;

    #[cfg(feature = "tokio")]
    mod beats;
    #[cfg(feature = "tokio")]
    mod clockwork;
    #[cfg(feature = "tokio")]
    mod drains;
    #[cfg(feature = "tokio")]
    mod law;
    #[cfg(feature = "tokio")]
    mod lives;
    #[cfg(feature = "tokio")]
    mod stalls;
    #[cfg(feature = "tokio")]
    mod thaw;
    #[cfg(feature = "tokio")]
    mod verdicts;
    #[cfg(feature = "tokio")]
    mod withdrawn;
}

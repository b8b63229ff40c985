//! The tokio adapter, most of it in paused time.
#![cfg(feature = "tokio")]
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
#[path = "tokio"]
mod adapter {
    pub(crate) mod bench;
    pub(crate) mod helpers;
    pub(crate) mod transport;

    mod cancel;
    mod dial;
    mod fleet;
    mod flood;
    mod handle;
    mod link;
    mod output;
    mod pulse;
    mod sockets;
    mod timer;
    mod verdict;
}

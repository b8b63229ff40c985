//! What a roster asks for, and what it counts.

use core::time::Duration;

use super::roster::Key;
use crate::session::CloseReason;

/// What [`Reaper::poll`](super::Reaper::poll) asks its driver to do.
///
/// Exhaustive on purpose: a duty that a wildcard swallows is a silent bug.
///
/// ```
/// use nabiz::{Config, Reap, Reaper, Timestamp};
///
/// let mut reaper = Reaper::new(Config::server().build()?, 42, Timestamp::EPOCH)?;
/// reaper.insert("alice", Timestamp::EPOCH);
/// // Nothing else is sent to her: a heartbeat is due within the 55 s of the preset.
/// loop {
///     let due = reaper.deadline().unwrap();
///     if let Some(Reap::Heartbeat { key, value }) = reaper.poll(due) {
///         println!("ping to {value}");
///         reaper.heartbeat_sent(key, due); // when it is flushed
///         break;
///     }
/// }
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Debug, PartialEq, Eq)]
pub enum Reap<'a, T> {
    /// Write a heartbeat to this connection, and report
    /// [`heartbeat_sent`](super::Reaper::heartbeat_sent) when it is flushed. If that
    /// does not come within `write_timeout`, the connection is closed with
    /// [`WriteStalled`](CloseReason::WriteStalled).
    Heartbeat {
        /// Which connection.
        key: Key,
        /// What it was inserted with.
        value: &'a mut T,
    },
    /// Close this connection. It is in the roster no longer.
    Close {
        /// Which connection it was.
        key: Key,
        /// What it was inserted with.
        value: T,
        /// Why.
        reason: CloseReason,
        /// With [`Draining`](CloseReason::Draining): what to tell the client
        /// to wait before it comes back, if the protocol can say it.
        retry_after: Option<Duration>,
    },
    /// There is more to do: look after the sockets, then poll again.
    Yield,
}

/// What happened to a roster so far, from [`Reaper::counters`](super::Reaper::counters).
///
/// ```
/// use nabiz::{Config, Reaper, Timestamp};
///
/// let mut reaper = Reaper::new(Config::server().build()?, 42, Timestamp::EPOCH)?;
/// let key = reaper.insert((), Timestamp::EPOCH);
/// reaper.remove(key);
/// assert_eq!((reaper.counters().inserted, reaper.counters().removed), (1, 1));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Counters {
    /// Connections inserted.
    pub inserted: u64,
    /// Connections removed by their owner.
    pub removed: u64,
    /// Connections closed, for whatever reason.
    pub closed: u64,
    /// Heartbeats asked for.
    pub heartbeats: u64,
    /// Stalls forgiven, [`resumed`](super::Reaper::resumed) included.
    pub stalls: u64,
}

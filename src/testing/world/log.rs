//! What happened, and the questions that a wrapper's author has.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::plan::Side;
use crate::testing::text::Moment;
use crate::time::Timestamp;

/// Something that happened at an end of a [`World`](super::World).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Entry {
    /// When, by the world's time.
    pub when: Timestamp,
    /// At which end.
    pub side: Side,
    /// Which transport, counted by the dials from 1.
    pub link: u32,
    /// What.
    pub what: What,
}

/// What happened at an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum What {
    /// It dials.
    Dialled,
    /// Its dial succeeded; at the server, the link is accepted.
    Up,
    /// Its dial failed.
    DialFailed,
    /// It wrote so many bytes.
    Wrote(usize),
    /// What it wrote is flushed.
    Flushed,
    /// So many bytes came.
    Received(usize),
    /// It closes, or abandons its dial.
    Closed,
    /// It drops the transport.
    Aborted,
    /// It learns that the transport is gone, which was not its own doing.
    Down,
    /// Its process or machine is gone, and so is the end.
    Crashed,
}

impl What {
    /// Whether a link or a dial ends with it.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(
            self,
            Self::DialFailed | Self::Closed | Self::Aborted | Self::Down | Self::Crashed
        )
    }
}

/// As a line of a log: `3600.05s client 1 Closed`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Client => "client",
            Side::Server => "server",
        };
        let (when, link, what) = (Moment(self.when), self.link, self.what);
        write!(f, "{when} {side} {link} {what:?}")
    }
}

/// When that happened at that end.
pub(super) fn times(log: &[Entry], side: Side, what: What) -> Vec<Timestamp> {
    let entries = log.iter();
    let found = entries.filter(|entry| entry.side == side && entry.what == what);
    found.map(|entry| entry.when).collect()
}

pub(super) fn redials(log: &[Entry]) -> Vec<Duration> {
    let mut delays = Vec::new();
    let mut ended = None;
    for entry in log.iter().filter(|entry| entry.side == Side::Client) {
        if entry.what.is_end() {
            ended = Some(entry.when);
        } else if entry.what == What::Dialled {
            let since = ended.take();
            delays.extend(since.map(|since| entry.when.saturating_duration_since(since)));
        }
    }
    delays
}

pub(super) fn longest_quiet(log: &[Entry], side: Side, now: Timestamp) -> Duration {
    let mut longest = Duration::ZERO;
    // The links that are up, and when each was last written to.
    let mut links: Vec<(u32, Timestamp)> = Vec::new();
    for entry in log.iter().filter(|entry| entry.side == side) {
        let place = links.iter().position(|(link, _)| *link == entry.link);
        if let Some((_, last)) = place.and_then(|place| links.get(place)) {
            let counts = entry.what.is_end() || entry.what == What::Flushed;
            let quiet = entry.when.saturating_duration_since(*last);
            longest = longest.max(if counts { quiet } else { Duration::ZERO });
        }
        match (place, entry.what) {
            (None, What::Up) => links.push((entry.link, entry.when)),
            (Some(place), What::Flushed) => {
                if let Some((_, last)) = links.get_mut(place) {
                    *last = entry.when;
                }
            }
            (Some(place), what) if what.is_end() => {
                links.swap_remove(place);
            }
            _ => {}
        }
    }
    let open = links.iter();
    open.map(|(_, last)| now.saturating_duration_since(*last))
        .fold(longest, Ord::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_from_flush_to_flush() {
        let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
        let entry = |secs, what| Entry {
            when: at(secs),
            side: Side::Client,
            link: 1,
            what,
        };
        let log = [
            entry(0, What::Up),
            entry(10, What::Flushed),
            entry(90, What::Wrote(1)),
            entry(100, What::Flushed),
        ];
        let quiet = |now| longest_quiet(&log, Side::Client, at(now));
        assert_eq!(quiet(101), Duration::from_secs(90));
        assert_eq!(quiet(200), Duration::from_secs(100));
    }
}

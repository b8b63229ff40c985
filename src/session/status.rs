//! What a user logs or plots.

use core::num::NonZeroU32;
use core::time::Duration;

use super::event::EndReason;
use super::{Session, State};
use crate::time::{Span, Timestamp};

/// Where a session stands. A client goes `Connecting → Open → Closing →
/// Waiting → Connecting …`, and ends in `Done`; a server's session starts
/// `Open` and lives one link.
///
/// ```
/// use nabiz::{Config, Event, Phase, Session, Timestamp};
///
/// let now = Timestamp::EPOCH;
/// let mut session = Session::new(Config::client().build()?, 7, now);
/// assert_eq!(session.phase(), Phase::Connecting);
/// session.handle(Event::Shutdown, now);
/// assert_eq!(session.phase(), Phase::Done);
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// A dial is owed or under way.
    Connecting,
    /// The link is up.
    Open,
    /// The link, or the dial, is being closed.
    Closing,
    /// Until the next dial.
    Waiting,
    /// For good; nothing follows but a [`GiveUp`](super::Action::GiveUp) that
    /// is owed.
    Done,
}

/// A snapshot of a session, from [`Session::status`].
///
/// ```
/// use core::time::Duration;
/// use nabiz::{Config, Event, Phase, Session, Timestamp};
///
/// let mut session = Session::new(Config::server().build()?, 7, Timestamp::EPOCH);
/// let later = Timestamp::from_epoch(Duration::from_secs(3)).unwrap();
/// let status = session.status(later);
/// assert_eq!(status.phase, Phase::Open);
/// assert_eq!(status.silence, Some(Duration::from_secs(3)));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Status {
    /// Where the session stands.
    pub phase: Phase,
    /// Whether the link is suspect, see [`Session::is_suspect`].
    pub suspect: bool,
    /// While open: how long ago the last evidence of life came, or the link
    /// began.
    pub silence: Option<Duration>,
    /// While open: how long the link has been up.
    pub age: Option<Duration>,
    /// While open, with a `max_age`: how long it has left.
    pub age_left: Option<Duration>,
    /// The latest round-trip time of a heartbeat of this link, to the
    /// microsecond.
    pub rtt: Option<Duration>,
    /// Whether the latest answer gave it: false where it is not certain which
    /// heartbeat that answered.
    pub rtt_is_new: bool,
    /// Round-trip times of this link, smoothed with a weight of 1/8 for each new sample ([RFC 6298
    /// §2](https://www.rfc-editor.org/rfc/rfc6298#section-2)).
    pub rtt_smoothed: Option<Duration>,
    /// Heartbeats asked for, over all links.
    pub heartbeats: u32,
    /// Heartbeats flushed on this link without evidence of life since.
    pub unanswered: u16,
    /// The number of the current attempt, 0 before the first failure.
    pub attempt: u32,
    /// How the last link, or the last attempt at one, ended.
    pub last_end: Option<EndReason>,
    /// Late ticks and resumes that were forgiven, over all links; it wraps.
    pub stalls: u16,
}

impl Session {
    /// A snapshot as of `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        let now = now.max(self.now);
        let link = match &self.state {
            State::Open(link) => Some(link),
            _ => None,
        };
        let age_left = link.and_then(|link| Some(self.retire(link)?.since(now).duration()));
        Status {
            phase: self.phase(),
            suspect: self.is_suspect(),
            silence: link.map(|link| now.since(link.evidence).duration()),
            age: link.map(|link| now.since(link.connected).duration()),
            age_left,
            rtt: self.rtt.map(|rtt| micros(rtt.latest)),
            rtt_is_new: self.rtt_is_new,
            rtt_smoothed: self.rtt.map(|rtt| micros(rtt.smoothed)),
            heartbeats: self.beats,
            unanswered: link.map_or(0, |link| link.unanswered),
            attempt: self.attempt,
            last_end: self.last_end,
            stalls: self.stalls,
        }
    }

    /// Where the session stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.state {
            State::Connecting { .. } => Phase::Connecting,
            State::Open(_) => Phase::Open,
            State::Closing(_) => Phase::Closing,
            State::Waiting(_) => Phase::Waiting,
            State::Done { .. } => Phase::Done,
        }
    }

    /// Whether the link is open but, after a stall of ours, without evidence
    /// of life yet. Ask before sending what must not get lost.
    #[must_use]
    pub const fn is_suspect(&self) -> bool {
        matches!(self.state, State::Open(link) if link.suspect)
    }
}

/// Round-trip times of one link in microseconds plus one: 8 bytes, `Option`
/// included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rtt {
    latest: NonZeroU32,
    smoothed: NonZeroU32,
}

impl Rtt {
    pub(super) fn smoothed(before: Option<Self>, sample: Span) -> Self {
        let micros = u32::try_from(sample.duration().as_micros()).unwrap_or(u32::MAX);
        let latest = NonZeroU32::MIN.saturating_add(micros);
        let smoothed = before.map_or(latest, |before| {
            let eighths = u64::from(before.smoothed.get())
                .saturating_mul(7)
                .saturating_add(u64::from(latest.get()))
                .saturating_add(4); // rounds
            u32::try_from(eighths / 8)
                .ok()
                .and_then(NonZeroU32::new)
                .unwrap_or(latest)
        });
        Self { latest, smoothed }
    }
}

fn micros(stored: NonZeroU32) -> Duration {
    Duration::from_micros(u64::from(stored.get().saturating_sub(1)))
}

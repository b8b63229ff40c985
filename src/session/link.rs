//! The clocks of one open link. When they lead to sending is in `outbound`,
//! when to a verdict in `inbound`, when they start afresh in `suspicion`.

use crate::time::{Span, Timestamp};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(super) connected: Timestamp,
    /// Last evidence of life.
    pub(crate) evidence: Timestamp,
    /// Last flush of anything.
    pub(crate) flushed: Timestamp,
    /// Last flush of a heartbeat.
    pub(super) beat_flushed: Timestamp,
    /// Flush of the oldest heartbeat without evidence of life since.
    pub(super) unanswered_since: Option<Timestamp>,
    /// The wait before the next heartbeat, as drawn.
    pub(super) gap: Span,
    /// The heartbeat in flight: when it was asked for.
    pub(crate) asked: Option<Timestamp>,
    /// The last stall that was forgiven.
    pub(crate) stalled: Option<Timestamp>,
    /// The last stall, forgiven or not: what piled up meanwhile comes now.
    pub(super) thawed: Option<Timestamp>,
    /// When the flood bucket is full again.
    pub(super) flood_full: Timestamp,
    /// Heartbeats flushed without evidence of life since.
    pub(super) unanswered: u16,
    pub(super) mark: Mark,
    /// Probes asked for since the last stall.
    pub(super) probes_asked: u8,
    /// Any byte came at all.
    pub(crate) heard: bool,
    pub(crate) suspect: bool,
    /// Any heartbeat was flushed at all.
    pub(super) beaten: bool,
    /// The heartbeat in flight was answered before its flush was reported.
    pub(super) answered_early: bool,
}

/// What an answer would be the answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// No heartbeat was flushed since the last answer.
    Nothing,
    /// Exactly one, at `beat_flushed`.
    Single,
    /// More, the last at `beat_flushed`.
    Several,
    /// Some, but a stall has made their time worthless.
    Void,
}

impl Link {
    pub(crate) const fn new(gap: Span, now: Timestamp) -> Self {
        Self {
            connected: now,
            evidence: now,
            flushed: now,
            beat_flushed: now,
            unanswered_since: None,
            gap,
            asked: None,
            stalled: None,
            thawed: None,
            flood_full: now,
            unanswered: 0,
            mark: Mark::Nothing,
            probes_asked: 0,
            heard: false,
            suspect: false,
            beaten: false,
            answered_early: false,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Config;
    use core::time::Duration;

    pub(in crate::session) fn at(secs: u64) -> Timestamp {
        Timestamp::from_epoch(Duration::from_secs(secs)).unwrap()
    }

    /// Beats every 10 s exactly, bears 30 s of silence.
    pub(in crate::session) fn config() -> Config {
        Config::server()
            .with_interval(Duration::from_secs(10))
            .with_interval_jitter(crate::Ratio::ZERO)
            .with_silence_timeout(Duration::from_secs(30))
            .build()
            .unwrap()
    }

    pub(in crate::session) fn link(secs: u64) -> Link {
        Link::new(Span::saturating(Duration::from_secs(10)), at(secs))
    }
}

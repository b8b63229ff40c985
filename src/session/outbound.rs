//! When we must send.

use super::link::{Link, Mark};
use crate::chance::{Draw, draw, up_to};
use crate::config::Config;
use crate::time::{Span, Timestamp};

impl Link {
    /// Bytes of ours were flushed.
    #[inline]
    pub(super) fn sent(&mut self, now: Timestamp) {
        self.flushed = now;
    }

    /// A heartbeat was asked of the driver.
    pub(super) fn beat_asked(&mut self, config: &Config, now: Timestamp) {
        self.asked = Some(now);
        self.answered_early = false;
        if self.suspect && self.probes_asked < config.probes {
            self.probes_asked = self.probes_asked.saturating_add(1);
        }
    }

    /// The heartbeat was flushed; the next comes `gap` later.
    pub(super) fn beat_sent(&mut self, gap: Span, now: Timestamp) {
        self.sent(now);
        if self.asked.take().is_none() {
            return;
        }
        self.beat_flushed = now;
        self.beaten = true;
        self.gap = gap;
        if self.answered_early {
            return;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.unanswered_since = self.unanswered_since.or(Some(now));
        self.mark = match self.mark {
            Mark::Nothing => Mark::Single,
            Mark::Single | Mark::Several | Mark::Void => Mark::Several,
        };
    }

    /// When the next heartbeat, or the instant that convicts for want of
    /// answers, falls due by the interval.
    pub(super) fn beat_due(&self, config: &Config) -> Option<Timestamp> {
        if config.interval.is_none() || self.asked.is_some() {
            return None;
        }
        let since = if !config.only_when_idle {
            self.beat_flushed
        } else if config.expects_answers() {
            // A peer that only answers must be asked, also while we upload
            // without pause; but never twice within one interval.
            self.flushed.min(self.evidence.max(self.beat_flushed))
        } else {
            self.flushed
        };
        since.after(self.gap)
    }

    /// When the next heartbeat is to be sent.
    pub(super) fn send_due(&self, config: &Config) -> Option<Timestamp> {
        let beat = if self.is_out_of_answers(config) {
            None
        } else {
            self.beat_due(config)
        };
        earliest(beat, self.probe_due(config))
    }

    /// When a heartbeat in flight has been stuck for too long.
    pub(super) fn write_limit(&self, config: &Config) -> Option<Timestamp> {
        let since = self.asked?.max(self.flushed);
        since.after(config.write_timeout?)
    }
}

/// The wait before heartbeat `number`, counted from the last flush.
pub(super) fn beat_gap(config: &Config, seed: u64, link: u32, number: u32, first: bool) -> Span {
    let Some(interval) = config.interval else {
        return Span::ZERO;
    };
    let chance = draw(seed, link, Draw::Beat(number));
    if first && config.spread_first_beat {
        let least = Span::from_nanos(1);
        least.saturating_add(up_to(interval.saturating_sub(least), chance))
    } else {
        interval.saturating_sub(up_to(
            interval.times(config.interval_jitter.ratio()),
            chance,
        ))
    }
}

/// The earlier of two instants, where none is never.
pub(super) fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

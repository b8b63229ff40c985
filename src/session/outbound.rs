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
pub(crate) fn beat_gap(config: &Config, seed: u64, link: u32, number: u32, first: bool) -> Span {
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
    // None is one beyond the last instant.
    let order = |at: Option<Timestamp>| at.map_or(u64::MAX, Timestamp::as_nanos);
    Timestamp::from_nanos(order(one).min(order(other)))
}

#[cfg(test)]
mod tests {
    use super::super::link::tests::{at, config, link};
    use super::*;
    use core::time::Duration;

    #[test]
    fn what_we_send_pushes_the_beat_back_only_when_idle_is_what_counts() {
        let mut link = link(0);
        link.sent(at(7));
        assert_eq!(link.beat_due(&config()), Some(at(17)));
        let steady = config().to_builder().with_only_when_idle(false);
        assert_eq!(link.beat_due(&steady.build().unwrap()), Some(at(10)));
    }

    #[test]
    fn a_peer_that_only_answers_is_asked_while_we_upload() {
        let asking = config()
            .to_builder()
            .with_answer_timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let mut link = link(0);
        link.sent(at(9));
        assert_eq!(link.beat_due(&asking), Some(at(10)));
        // But never twice within one interval.
        link.beat_asked(&asking, at(10));
        link.beat_sent(link.gap, at(10));
        link.sent(at(11));
        assert_eq!(link.beat_due(&asking), Some(at(20)));
    }

    #[test]
    fn one_in_flight_at_a_time_and_its_clock_restarts_with_progress() {
        let mut link = link(0);
        link.beat_asked(&config(), at(10));
        assert_eq!(link.beat_due(&config()), None);
        assert_eq!(link.write_limit(&config()), Some(at(30)));
        link.sent(at(15));
        assert_eq!(link.write_limit(&config()), Some(at(35)));
        link.beat_sent(link.gap, at(16));
        assert_eq!(link.write_limit(&config()), None);
    }

    #[test]
    fn the_first_beat_is_anywhere_in_the_interval_and_later_ones_are_jittered() {
        let config = config()
            .to_builder()
            .with_interval_jitter(crate::Ratio::percent(10))
            .build()
            .unwrap();
        let reach = |first| {
            let gaps = (0..2000).map(|seed| beat_gap(&config, seed, 1, 1, first));
            let (least, most) = (gaps.clone().min().unwrap(), gaps.max().unwrap());
            (
                least.duration().as_secs_f64(),
                most.duration().as_secs_f64(),
            )
        };
        let (least, most) = reach(true);
        assert!(least > 0.0 && least < 0.1 && most > 9.9 && most <= 10.0);
        let (least, most) = reach(false);
        assert!((9.0..9.01).contains(&least) && most > 9.99 && most <= 10.0);
    }
}

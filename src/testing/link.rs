//! What the checker knows of one open link, and what it concludes: when which
//! verdict may and must come, and when a heartbeat.

use alloc::vec::Vec;

use super::span::{LONGEST, NEVER, Nanos, Range, after, at, len};
use crate::config::{Config, Evidence};
use crate::session::{CloseReason, Event};
use crate::time::Timestamp;

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) connected: Nanos,
    pub(super) evidence: Nanos,
    /// Last flush of anything, and of a heartbeat.
    pub(super) flushed: Nanos,
    pub(super) beat_flushed: Nanos,
    pub(super) beaten: bool,
    pub(super) heard: bool,
    /// A heartbeat was asked for and not reported flushed: since when its
    /// write clock runs.
    pub(super) in_flight: Option<Nanos>,
    /// It was answered all the same.
    pub(super) answered_early: bool,
    /// Flushed heartbeats without evidence of life since: how many, and when
    /// the first was flushed.
    pub(super) unanswered: u32,
    pub(super) unanswered_since: Option<Nanos>,
    /// Whether one was flushed since the last answer.
    pub(super) awaited: bool,
    /// The stall that was forgiven, until there is evidence of life.
    pub(super) suspect: Option<Nanos>,
    /// The last stall, forgiven or not.
    pub(super) stall: Option<Nanos>,
    pub(super) probes: u32,
    /// The wait before the next heartbeat: its bounds, until it shows.
    pub(super) gap: Range,
    /// The flood bucket: tokens × gap, and when that was counted.
    pub(super) tokens: Nanos,
    pub(super) counted: Nanos,
    /// When the link is too old: drawn, but the session tells.
    pub(super) retire: Option<Nanos>,
}

/// Something that falls due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) what: What,
    pub(super) when: Range,
    /// By a heartbeat's drawn gap; everything else is known exactly.
    drawn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Verdict(CloseReason),
    Beat,
}

impl Link {
    pub(super) fn new(config: &Config, now: Nanos) -> Self {
        let mut link = Self {
            connected: now,
            evidence: now,
            flushed: now,
            beat_flushed: now,
            beaten: false,
            heard: false,
            in_flight: None,
            answered_early: false,
            unanswered: 0,
            unanswered_since: None,
            awaited: false,
            suspect: None,
            stall: None,
            probes: 0,
            gap: Range::exactly(0),
            tokens: NEVER,
            counted: now,
            retire: None,
        };
        link.draw_gap(config);
        link
    }

    /// The bounds of the wait before the next heartbeat, which is drawn anew.
    pub(super) fn draw_gap(&mut self, config: &Config) {
        let interval = config.interval().map_or(0, len);
        let jitter = Nanos::from(config.interval_jitter().as_permille());
        let least = if config.spread_first_beat() && !self.beaten {
            1
        } else {
            interval - interval * jitter / 1000
        };
        self.gap = Range::new(least, interval);
    }

    /// A call came late, or the driver says that it slept; whether that is
    /// forgiven.
    pub(super) fn stalled(&mut self, declared: bool, now: Nanos) -> bool {
        self.stall = Some(now);
        // Once a silence; but the driver's own word always counts.
        if self.suspect.is_some() && !declared {
            return false;
        }
        self.suspect = Some(now);
        self.unanswered = 0;
        self.unanswered_since = None;
        // A heartbeat in flight serves as a probe, with all its time again,
        // unless it was answered before.
        self.probes = u32::from(self.in_flight.is_some() && !self.answered_early);
        self.in_flight = self.in_flight.map(|_| now);
        true
    }

    /// Bytes of whatever kind came; whether the flood limit allows them, as in
    /// `take_token`.
    pub(super) fn heard(
        &mut self,
        config: &Config,
        event: Event,
        beats: u32,
        now: Nanos,
    ) -> Option<bool> {
        self.heard = true;
        let mut allowed = Some(true);
        match event {
            Event::HeartbeatReceived => allowed = self.take_token(config, now),
            Event::AnswerReceived { id } => {
                let id = id.map(crate::HeartbeatId::get);
                let in_flight = self.in_flight.is_some();
                let overtook = in_flight
                    && match id {
                        Some(id) => id == beats,
                        None => !self.awaited,
                    };
                self.answered_early |= overtook;
                let flushed_last = beats.wrapping_sub(u32::from(in_flight));
                if overtook || id.is_none_or(|id| id == flushed_last) {
                    self.awaited = false;
                }
            }
            _ if config.evidence() == Evidence::Heartbeats => return allowed,
            _ => {}
        }
        self.evidence = now;
        self.suspect = None;
        self.unanswered = 0;
        self.unanswered_since = None;
        allowed
    }

    /// Whether the peer's heartbeat is within its limit; none where the session
    /// may be lenient, because the bucket is full only after the end of time.
    fn take_token(&mut self, config: &Config, now: Nanos) -> Option<bool> {
        let Some((gap, strikes)) = config.flood() else {
            return Some(true);
        };
        let thawing = |stall: Nanos| now - stall <= len(config.stall_tolerance());
        if self.suspect.is_some() || self.stall.is_some_and(thawing) {
            return Some(true); // what piled up comes in a burst
        }
        let gap = len(gap);
        let full = gap * Nanos::from(strikes);
        self.tokens = self.tokens.saturating_add(now - self.counted).min(full);
        self.counted = now;
        let allowed = self.tokens >= gap;
        self.tokens = self.tokens.saturating_sub(gap);
        if !allowed && now + full > LONGEST {
            return None;
        }
        Some(allowed)
    }

    pub(super) fn sent(&mut self, now: Nanos) {
        self.flushed = now;
    }

    pub(super) fn beat_asked(&mut self, now: Nanos) {
        self.in_flight = Some(now);
        self.answered_early = false;
        if self.suspect.is_some() {
            self.probes += 1;
        }
    }

    pub(super) fn beat_sent(&mut self, config: &Config, now: Nanos) {
        self.sent(now);
        if self.in_flight.take().is_none() {
            return;
        }
        self.beat_flushed = now;
        self.beaten = true;
        self.draw_gap(config);
        if self.answered_early {
            return;
        }
        self.unanswered += 1;
        self.unanswered_since = self.unanswered_since.or(Some(now));
        self.awaited = true;
    }

    /// Everything that falls due. What `set_limits` put into the past falls
    /// due at that instant, `settled`.
    pub(super) fn dues(&self, config: &Config, settled: Nanos) -> Vec<Due> {
        let mut dues = Vec::new();
        let mut add = |what: What, when: Range, drawn: bool| {
            let when = when.max(Range::exactly(settled));
            dues.push(Due { what, when, drawn });
        };
        let mut limit = |reason: CloseReason, since: Option<Nanos>, span: Option<Nanos>| {
            if let (Some(since), Some(span)) = (since, span) {
                let when = Range::exactly(after(since, span));
                add(What::Verdict(reason), when, false);
            }
        };
        let answers = expects_answers(config);
        let suspect = self.suspect.is_some();
        let fresh = |since: Nanos| Some(since.max(self.suspect.unwrap_or(0)));
        limit(
            CloseReason::PeerSilent,
            fresh(self.evidence),
            config.silence_timeout().map(len),
        );
        limit(
            CloseReason::NoHello,
            fresh(self.connected).filter(|_| !self.heard),
            config.hello_timeout().map(len),
        );
        limit(
            CloseReason::WriteStalled,
            self.in_flight.map(|asked| asked.max(self.flushed)),
            config.write_timeout().map(len),
        );
        let answer = if suspect {
            Some(probe_limit(config))
        } else {
            config.answer_timeout().map(len)
        };
        limit(
            CloseReason::NoAnswer,
            self.unanswered_since.filter(|_| answers),
            answer,
        );
        add(
            What::Verdict(CloseReason::TooOld),
            Range::exactly(self.retire.unwrap_or(NEVER)),
            false,
        );

        if config.interval().is_some() && self.in_flight.is_none() {
            let when = self.gap.after(self.beat_since(config));
            let what = if self.is_out_of_answers(config) {
                What::Verdict(CloseReason::NoAnswer)
            } else {
                What::Beat
            };
            add(what, when, true);
            let probes = u32::from(config.probes());
            if let Some(stall) = self.suspect.filter(|_| self.probes < probes) {
                let span = if answers {
                    probe_limit(config)
                } else {
                    len(config.silence_timeout().unwrap_or(config.resume_grace()))
                };
                let wait = span * Nanos::from(self.probes) / Nanos::from(probes);
                add(What::Beat, Range::exactly(after(stall, wait)), false);
            }
        }
        dues
    }

    /// While suspect, the probe's limit is what counts.
    pub(super) fn is_out_of_answers(&self, config: &Config) -> bool {
        let max = config.max_unanswered().map(u32::from);
        self.suspect.is_none() && max.is_some_and(|max| self.unanswered >= max)
    }

    /// What the gap before the next heartbeat is counted from.
    fn beat_since(&self, config: &Config) -> Nanos {
        if !config.only_when_idle() {
            self.beat_flushed
        } else if expects_answers(config) {
            // Due after our last flush; and after the last evidence of life,
            // but never two heartbeats within one interval.
            self.flushed.min(self.evidence.max(self.beat_flushed))
        } else {
            self.flushed
        }
    }

    /// Law 3 in its plainest form: the latest instant of the next heartbeat.
    pub(super) fn warm_until(&self, config: &Config, settled: Nanos) -> Nanos {
        match config.interval() {
            Some(interval) if self.in_flight.is_none() && !self.is_out_of_answers(config) => {
                after(self.flushed, len(interval)).max(settled)
            }
            _ => NEVER,
        }
    }

    pub(super) const fn is_beat_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// What the session tells of the age it has left: within bounds at first,
    /// and the same instant ever after.
    pub(super) fn learn_age(&mut self, config: &Config, left: Option<Nanos>, now: Nanos) -> bool {
        let told = left.map_or(NEVER, |left| after(now, left));
        if let Some(retire) = self.retire {
            return told == retire.max(now);
        }
        self.retire = Some(told);
        let Some(age) = config.max_age().map(len) else {
            return left.is_none();
        };
        let jitter = Nanos::from(config.max_age_jitter().as_permille());
        Range::new(age - age * jitter / 1000, age)
            .after(now)
            .holds(told)
    }

    /// A deadline which only the next heartbeat can have set tells its gap,
    /// and holds the session to it.
    pub(super) fn learn_gap(
        &mut self,
        config: &Config,
        settled: Nanos,
        deadline: Option<Timestamp>,
    ) {
        let Some(deadline) = deadline.map(at).filter(|at| *at > settled) else {
            return;
        };
        let dues = self.dues(config, settled);
        let known = dues.iter().filter(|due| !due.drawn);
        if dues.iter().any(|due| due.drawn) && known.clone().all(|due| deadline < due.when.least) {
            self.gap = Range::exactly(deadline - self.beat_since(config));
        }
    }
}

fn expects_answers(config: &Config) -> bool {
    config.answer_timeout().is_some() || config.max_unanswered().is_some()
}

/// How long a suspect peer has to answer.
fn probe_limit(config: &Config) -> Nanos {
    len(config.resume_grace()).max(config.answer_timeout().map_or(0, len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const SECOND: Nanos = 1_000_000_000;

    /// Two beats at once, one in 10 s; after a stall for 5 s any number.
    fn limited() -> Config {
        let config = Config::server().with_flood(Duration::from_secs(10), 2);
        let config = config.with_stall_tolerance(Duration::from_secs(5));
        config.build().unwrap()
    }

    #[test]
    fn what_piled_up_is_allowed_for_as_long_as_a_stall_is_borne() {
        let config = limited();
        let mut link = Link::new(&config, SECOND);
        link.stall = Some(100 * SECOND);
        for _ in 0..9 {
            assert_eq!(link.take_token(&config, 105 * SECOND), Some(true));
        }
        let after: Vec<_> = (0..3)
            .map(|_| link.take_token(&config, 105 * SECOND + 1))
            .collect();
        assert_eq!(after, [Some(true), Some(true), Some(false)]);
    }

    #[test]
    fn a_bucket_that_is_full_after_the_end_of_time_may_be_either() {
        let config = limited();
        let full = 20 * SECOND;
        for (now, third) in [(LONGEST - full, Some(false)), (LONGEST - full + 1, None)] {
            let mut link = Link::new(&config, now);
            assert_eq!(link.take_token(&config, now), Some(true));
            assert_eq!(link.take_token(&config, now), Some(true));
            assert_eq!(link.take_token(&config, now), third);
        }
    }
}

//! When the peer is dead.

use super::event::{CloseReason, HeartbeatId};
use super::link::{Link, Mark};
use crate::config::{Config, Evidence};
use crate::time::{Span, Timestamp};

impl Link {
    /// Any bytes came.
    #[inline]
    pub(super) fn received(&mut self, config: &Config, now: Timestamp) {
        self.heard = true;
        if matches!(config.evidence, Evidence::AnyBytes) {
            self.evidence_of_life(now);
        }
    }

    /// Proof that the peer lives, which clears every verdict in the making.
    #[inline]
    pub(super) fn evidence_of_life(&mut self, now: Timestamp) {
        self.heard = true;
        self.evidence = now;
        self.suspect = false;
        self.unanswered = 0;
        self.unanswered_since = None;
    }

    /// An answer came; `asked_last` is the number of the heartbeat asked last.
    /// Gives the round-trip time where it is certain which one was answered.
    pub(super) fn answered(
        &mut self,
        id: Option<HeartbeatId>,
        asked_last: u32,
        now: Timestamp,
    ) -> Option<Span> {
        self.evidence_of_life(now);
        let in_flight = self.asked.is_some();
        let overtook = match id {
            Some(id) => id.get() == asked_last,
            None => self.mark == Mark::Nothing,
        };
        if in_flight && overtook {
            self.answered_early = true;
            self.mark = Mark::Nothing;
            return None;
        }
        let flushed_last = asked_last.wrapping_sub(u32::from(in_flight));
        let certain = match id {
            Some(id) if id.get() != flushed_last => return None,
            Some(_) => matches!(self.mark, Mark::Single | Mark::Several),
            // Karn: of several that await an answer, which was this one for?
            None => self.mark == Mark::Single,
        };
        self.mark = Mark::Nothing;
        certain.then(|| now.since(self.beat_flushed))
    }

    /// Takes a token for the peer's heartbeat; false when the bucket is empty.
    ///
    /// The bucket is told by the instant at which it is full again (the
    /// *generic cell rate algorithm*), which needs one clock and no timer.
    pub(super) fn take_token(&mut self, config: &Config, now: Timestamp) -> bool {
        let Some(gap) = config.flood_gap else {
            return true;
        };
        let thawing = self
            .stalled
            .is_some_and(|stalled| now.since(stalled) <= config.tolerance());
        if self.suspect || thawing {
            return true; // what piled up while nobody read comes in a burst
        }
        let full = self.flood_full.max(now);
        let room = gap.scaled(u64::from(config.flood_strikes).saturating_sub(1), 1);
        if full.since(now) > room {
            return false;
        }
        self.flood_full = full.after(gap).unwrap_or(Timestamp::MAX);
        true
    }

    /// The earliest limit, and the reason it would close for. Of limits at one
    /// instant the first listed wins.
    pub(super) fn verdict(
        &self,
        config: &Config,
        retire: Option<Timestamp>,
    ) -> Option<(Timestamp, CloseReason)> {
        let fresh = |since: Timestamp| match self.stalled {
            Some(stalled) if self.suspect => stalled,
            _ => since,
        };
        let silence = config
            .silence_timeout
            .and_then(|limit| fresh(self.evidence).after(limit));
        let hello = config
            .hello_timeout
            .filter(|_| !self.heard)
            .and_then(|limit| fresh(self.connected).after(limit));
        [
            (silence, CloseReason::PeerSilent),
            (self.answer_limit(config), CloseReason::NoAnswer),
            (hello, CloseReason::NoHello),
            (self.write_limit(config), CloseReason::WriteStalled),
            (retire, CloseReason::TooOld),
        ]
        .into_iter()
        .filter_map(|(at, reason)| Some((at?, reason)))
        .min_by_key(|(at, _)| *at)
    }

    /// Whether so many heartbeats went unanswered that the next one due
    /// convicts. While suspect, the probe's limit is what counts.
    pub(super) fn is_out_of_answers(&self, config: &Config) -> bool {
        !self.suspect
            && config
                .max_unanswered()
                .is_some_and(|max| self.unanswered >= max)
    }

    fn answer_limit(&self, config: &Config) -> Option<Timestamp> {
        if !config.expects_answers() {
            return None;
        }
        if self.is_out_of_answers(config) {
            let clock = self.answer_clock(config.answer_timeout);
            return super::outbound::earliest(clock, self.beat_due(config));
        }
        self.answer_clock(if self.suspect {
            Some(config.probe_limit())
        } else {
            config.answer_timeout
        })
    }

    fn answer_clock(&self, limit: Option<Span>) -> Option<Timestamp> {
        self.unanswered_since?.after(limit?)
    }
}

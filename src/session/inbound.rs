//! When the peer is dead.

use super::event::{CloseReason, HeartbeatId};
use super::link::{Link, Mark};
use super::outbound::earliest;
use crate::chance::{Draw, draw, up_to};
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
    pub(super) fn take_token(&mut self, config: &Config, now: Timestamp) -> bool {
        let Some(gap) = config.flood_gap else {
            return true;
        };
        // What piled up while nobody read comes in a burst.
        if self.suspect || is_thawing(self.thawed, config.tolerance(), now) {
            return true;
        }
        take_token(&mut self.flood_full, gap, config.flood_strikes, now)
    }

    /// The earliest limit, and the reason it would close for. Of limits at one
    /// instant the first listed wins.
    pub(crate) fn verdict(
        &self,
        config: &Config,
        retire: Option<Timestamp>,
    ) -> Option<(Timestamp, CloseReason)> {
        let mut first: Option<(Timestamp, CloseReason)> = None;
        for (at, reason) in self.limits(config, retire) {
            if let Some(at) = at {
                if first.is_none_or(|(first, _)| at < first) {
                    first = Some((at, reason));
                }
            }
        }
        first
    }

    /// When the verdict would be taken.
    fn limit(&self, config: &Config, retire: Option<Timestamp>) -> Option<Timestamp> {
        self.limits(config, retire)
            .into_iter()
            .fold(None, |first, (at, _)| earliest(first, at))
    }

    fn silence_limit(&self, config: &Config) -> Option<Timestamp> {
        self.fresh(self.evidence).after(config.silence_timeout?)
    }

    /// Since when a clock runs that began at `since`.
    fn fresh(&self, since: Timestamp) -> Timestamp {
        match self.stalled {
            Some(stalled) if self.suspect => stalled,
            _ => since,
        }
    }

    /// When something is due, be it a verdict or a heartbeat.
    #[inline]
    pub(super) fn due(&self, config: &Config, retire: Option<Timestamp>) -> Option<Timestamp> {
        // Of all limits only these can run on an ordinary, idle link; most
        // packets come over one.
        if self.heard && !self.suspect && self.asked.is_none() && !config.expects_answers() {
            let silence = self.silence_limit(config);
            return earliest(earliest(silence, self.beat_due(config)), retire);
        }
        earliest(self.limit(config, retire), self.send_due(config))
    }

    fn limits(
        &self,
        config: &Config,
        retire: Option<Timestamp>,
    ) -> [(Option<Timestamp>, CloseReason); 5] {
        let hello = config
            .hello_timeout
            .filter(|_| !self.heard)
            .and_then(|limit| self.fresh(self.connected).after(limit));
        [
            (self.silence_limit(config), CloseReason::PeerSilent),
            (self.answer_limit(config), CloseReason::NoAnswer),
            (hello, CloseReason::NoHello),
            (self.write_limit(config), CloseReason::WriteStalled),
            (retire, CloseReason::TooOld),
        ]
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
            return earliest(clock, self.beat_due(config));
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

/// Takes a token of a bucket of `strikes`, filled by one each `gap`.
///
/// The bucket is told by the instant at which it is full again (the *generic
/// cell rate algorithm*), which needs one clock and no timer.
pub(crate) fn take_token(full: &mut Timestamp, gap: Span, strikes: u32, now: Timestamp) -> bool {
    let full_again = (*full).max(now);
    let room = gap.scaled(u64::from(strikes).saturating_sub(1), 1);
    if full_again.since(now) > room {
        return false;
    }
    *full = full_again.after(gap).unwrap_or(Timestamp::MAX);
    true
}

/// Whether what piled up during a stall may still be coming in.
pub(crate) fn is_thawing(thawed: Option<Timestamp>, tolerance: Span, now: Timestamp) -> bool {
    thawed.is_some_and(|thawed| now.since(thawed) <= tolerance)
}

/// When a link is too old, as drawn for it.
#[inline]
pub(crate) fn retire(
    config: &Config,
    seed: u64,
    link: u32,
    connected: Timestamp,
) -> Option<Timestamp> {
    let age = config.max_age?;
    let most = age.times(config.max_age_jitter.ratio());
    let cut = up_to(most, draw(seed, link, Draw::MaxAge));
    connected.after(age.saturating_sub(cut))
}

#[cfg(test)]
mod tests {
    use super::super::link::tests::{at, config, link};
    use super::*;
    use core::time::Duration;

    fn asking() -> Config {
        let builder = config().to_builder();
        let builder = builder.with_answer_timeout(Duration::from_secs(5));
        builder.with_max_unanswered(2).build().unwrap()
    }

    fn beat(link: &mut Link, config: &Config, secs: u64) {
        link.beat_asked(config, at(secs));
        link.beat_sent(link.gap, at(secs));
    }

    #[test]
    fn the_answer_clock_runs_from_the_oldest_unanswered_flush() {
        let config = asking();
        let mut link = link(0);
        beat(&mut link, &config, 10);
        beat(&mut link, &config, 12);
        let verdict = link.verdict(&config, None);
        assert_eq!(verdict, Some((at(15), CloseReason::NoAnswer)));
        link.received(&config, at(13));
        let verdict = link.verdict(&config, None);
        assert_eq!(verdict, Some((at(43), CloseReason::PeerSilent)));
    }

    #[test]
    fn of_two_limits_at_one_instant_the_first_listed_wins() {
        let verdict = link(0).verdict(&config(), Some(at(30)));
        assert_eq!(verdict, Some((at(30), CloseReason::PeerSilent)));
        let verdict = link(0).verdict(&config(), Some(at(29)));
        assert_eq!(verdict, Some((at(29), CloseReason::TooOld)));
    }

    #[test]
    fn a_round_trip_is_sampled_where_it_is_certain_what_was_answered() {
        let config = asking();
        let five = Some(Span::saturating(Duration::from_secs(5)));
        let id = |number| Some(HeartbeatId(number));

        let mut one = link(0);
        beat(&mut one, &config, 10);
        assert_eq!(one.answered(None, 1, at(15)), five);
        assert_eq!(one.answered(None, 1, at(16)), None);

        let mut two = link(0);
        beat(&mut two, &config, 10);
        beat(&mut two, &config, 20);
        let mut same = two;
        assert_eq!(two.answered(None, 2, at(25)), None);
        assert_eq!(same.answered(id(1), 2, at(24)), None);
        assert_eq!(same.answered(id(2), 2, at(25)), five);

        let mut stalled = link(0);
        beat(&mut stalled, &config, 10);
        stalled.forgive(at(15));
        assert_eq!(stalled.answered(id(1), 1, at(15)), None);
    }

    #[test]
    fn an_answer_that_overtakes_its_flush_cancels_the_clock() {
        let config = asking();
        let mut link = link(0);
        link.beat_asked(&config, at(10));
        assert_eq!(link.answered(None, 1, at(11)), None);
        link.beat_sent(link.gap, at(12));
        assert_eq!((link.unanswered, link.unanswered_since), (0, None));
    }

    #[test]
    fn the_bucket_holds_strikes_and_refills_by_the_gap() {
        let flooded = config().to_builder().with_flood(Duration::from_secs(5), 3);
        let config = flooded.build().unwrap();
        let mut link = link(0);
        let mut take = |secs| link.take_token(&config, at(secs));
        assert!(take(100) && take(100) && take(100));
        assert!(!take(100) && !take(104));
        assert!(take(105));
        assert!(!take(105));
    }
}

//! What is to come of one open link, and what its clocks tell of it.

use super::Open;
use crate::config::Config;
use crate::session::suspicion::probe_wait;
use crate::time::{Span, Timestamp};

/// The shortest time there is.
pub(super) const ONE: Span = Span::from_nanos(1);

/// How long ago each clock began that a limit reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ages {
    verdicts: [Option<Span>; VERDICTS],
    beats: [Option<Span>; BEATS],
    probe: Option<Span>,
}

/// Silence, hello, answer, write, age, and the two of the beats where they are
/// counted.
const VERDICTS: usize = 7;
const BEATS: usize = 2;

/// What is to come of one open link under one configuration.
pub(super) struct Pending {
    verdicts: [Option<Clock>; VERDICTS],
    beats: [Option<Clock>; BEATS],
    /// The last probe, and when the next is due: that it waits for the
    /// heartbeat in flight does not stop its clock.
    probe: Option<(Clock, Option<Timestamp>)>,
}

/// A clock that ends in a verdict, and the limit that reads it.
#[derive(Clone, Copy)]
struct Clock {
    since: Timestamp,
    limit: Span,
}

impl Clock {
    fn new(since: Option<Timestamp>, limit: Option<Span>) -> Option<Self> {
        Some(Self {
            since: since?,
            limit: limit?,
        })
    }

    fn due(&self) -> Option<Timestamp> {
        self.since.after(self.limit)
    }

    /// By how much it is past its limit.
    fn late(&self, now: Timestamp) -> Option<Span> {
        self.due()
            .filter(|due| *due <= now)
            .map(|due| now.since(due))
    }
}

impl Pending {
    pub(super) fn of(link: &Open, config: &Config) -> Self {
        let suspect = link.suspect;
        let stalled = link.stalled.filter(|_| suspect);
        let fresh = |since| Some(stalled.unwrap_or(since));
        let when = |live: bool, clock: Timestamp| live.then_some(clock);
        let answers = config.expects_answers();
        let counted = config.max_unanswered().is_some();

        // A heartbeat in flight is flushed before another is due, and its
        // flush sets these.
        let beats = config.interval.is_some() && link.asked.is_none();
        let gap = Some(link.gap);
        let (flushed, spoken) = if config.only_when_idle {
            // The earlier of the two counts.
            let spoken = link.evidence.max(link.beat_flushed);
            (Some(link.flushed), when(answers, spoken))
        } else {
            (None, Some(link.beat_flushed))
        };
        let beats = [flushed, spoken].map(|since| Clock::new(since.filter(|_| beats), gap));
        // One that is due is a verdict when too many went unanswered.
        let [flushed, spoken] = beats.map(|beat| beat.filter(|_| counted));

        let hello = fresh(link.connected).filter(|_| !link.heard);
        let answer = if suspect {
            Some(config.probe_limit())
        } else {
            config.answer_timeout
        };
        let write = link.asked.map(|asked| asked.max(link.flushed));
        let probing = config.interval.is_some() && link.probes < u32::from(config.probes);
        let probe = stalled.filter(|_| probing).map(|stalled| {
            let wait = |probe: u8| probe_wait(config, probe);
            let last = Clock {
                since: stalled,
                limit: wait(config.probes.saturating_sub(1)),
            };
            let next = u8::try_from(link.probes).unwrap_or(u8::MAX);
            (last, stalled.after(wait(next)))
        });
        Self {
            verdicts: [
                Clock::new(fresh(link.evidence), config.silence_timeout),
                Clock::new(hello, config.hello_timeout),
                Clock::new(link.unanswered_since.filter(|_| answers), answer),
                Clock::new(write, config.write_timeout),
                Clock::new(Some(link.connected), config.max_age),
                flushed,
                spoken,
            ],
            beats: beats.map(|beat| beat.filter(|_| !counted)),
            probe,
        }
    }

    pub(super) fn dues(&self) -> impl Iterator<Item = Timestamp> {
        let clocks = self.verdicts.into_iter().chain(self.beats).flatten();
        let probe = self.probe.and_then(|(_, next)| next);
        clocks.filter_map(|clock| clock.due()).chain(probe)
    }

    /// The ages, where what is due by no more than `exact` tells by how much.
    pub(super) fn ages(&self, now: Timestamp, exact: Option<Span>, tolerance: Span) -> Ages {
        let is_beyond = |late: &Span| exact.is_none_or(|exact| *late > exact);
        let beyond = exact.map_or(Span::ZERO, |exact| exact.saturating_add(ONE));
        let late = self
            .verdicts
            .map(|clock| clock?.late(now).filter(is_beyond));
        let mut verdicts = self.verdicts.map(|clock| Some(now.since(clock?.since)));
        for ((age, clock), own) in verdicts.iter_mut().zip(&self.verdicts).zip(&late) {
            let (Some(clock), Some(own)) = (clock, own) else {
                continue;
            };
            // How many instants are later than its own.
            let later = late.iter().enumerate().filter(|(index, other)| {
                let mut before = late.iter().take(*index);
                other.is_some_and(|other| other < *own) && before.all(|before| before != *other)
            });
            let rank = later.fold(Span::ZERO, |rank, _| rank.saturating_add(ONE));
            let order = beyond.saturating_add(rank);
            *age = Some(clock.limit.saturating_add(order));
        }
        let most = exact.map_or(Span::ZERO, |_| tolerance.saturating_add(ONE));
        let clamped = |clock: Clock| now.since(clock.since).min(clock.limit.saturating_add(most));
        Ages {
            verdicts,
            beats: self.beats.map(|clock| clock.map(clamped)),
            probe: self.probe.map(|(last, _)| clamped(last)),
        }
    }
}

//! What of a session decides its future, as a value that can be compared.
//!
//! Two sessions of one configuration whose fingerprints are equal say the same
//! for ever to the same calls, told relative to their `now`. What is left out
//! is what nothing reads again: totals, round-trip times, how the last link
//! ended, and each clock that no limit of the configuration can read. An
//! instant that lies further back than any limit reaches is moved closer,
//! which keeps the number of fingerprints finite; the order of what is past
//! stays, because the earliest limit wins.

use super::closing::Then;
use super::event::GiveUpReason;
use super::link::Mark;
use super::{Session, State};
use crate::config::{Config, Limits, Role};
use crate::time::{Span, Timestamp};

/// What decides a session's future, from [`Session::fingerprint`]: opaque,
/// and equal for sessions that behave alike.
///
/// For searches over all states of a session: times are relative to its `now`,
/// totals and round-trip times are left out. So is chance: two that agree may
/// differ in what they draw, where anything is drawn.
///
/// ```
/// use core::time::Duration;
/// use nabiz::{Config, Event, Session, Timestamp};
///
/// let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
/// let exact = Config::server().with_interval_jitter(nabiz::Ratio::ZERO);
/// let config = exact.with_spread_first_beat(false).build()?;
/// let early = Session::new(config, 7, at(1));
/// let mut late = Session::new(config, 7, at(50));
/// assert_eq!(early.fingerprint(&[]), late.fingerprint(&[]));
///
/// // The bytes do not matter, but that our heartbeat is nearer than before.
/// late.handle(Event::Received, at(60));
/// assert_ne!(early.fingerprint(&[]), late.fingerprint(&[]));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    limits: [Option<Span>; 3],
    stage: Canon,
    /// What remains of the floor, and the jitter that goes on top.
    floor: Option<(Span, Span)>,
    attempt: u32,
    step: Option<Span>,
    /// A lower bound of the deadline that is none: a bug, which is no reason
    /// to miss where it leads.
    misled: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Canon {
    Idle,
    Dialling {
        age: Option<Span>,
        forgiven: bool,
    },
    Open(Clocks),
    Closing {
        /// While `Close` is owed.
        reason: Option<u8>,
        age: Option<Span>,
        up: Option<Span>,
        then: Next,
    },
    Waiting {
        delay: Span,
        dial: Option<Span>,
        announced: bool,
        news: bool,
        hurry: u8,
    },
    Done(Option<u8>),
}

/// How long ago, where anything asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Clocks {
    ages: [Option<Span>; CLOCKS],
    sent: [Option<Span>; 3],
    /// Where something that is due lies before it.
    settled: Option<Span>,
    thawed: Option<Span>,
    flood_full: Option<Span>,
    gap: Option<Span>,
    /// Until the link counts as stable.
    up: Option<Span>,
    unanswered: u16,
    probes: u8,
    in_flight: bool,
    suspect: bool,
    heard: bool,
    beaten: bool,
    awaited: bool,
    answered_early: bool,
}

const CLOCKS: usize = 8;

/// A session's state in the terms that its checker shares.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) config: Config,
    pub(crate) now: Timestamp,
    pub(crate) stage: Stage,
    /// Until when, and the length that was asked for.
    pub(crate) floor: Option<(Timestamp, Span)>,
    pub(crate) attempt: u32,
    pub(crate) step: Option<Span>,
    /// Where something that is due lies before it.
    pub(crate) settled: Option<Timestamp>,
    pub(crate) misled: Option<Span>,
}

#[derive(Clone, Copy)]
pub(crate) enum Stage {
    Idle,
    Dialling {
        since: Timestamp,
        forgiven: bool,
    },
    Open(Open),
    Closing {
        reason: u8,
        connected: Option<Timestamp>,
        since: Option<Timestamp>,
        stable: bool,
        then: Next,
    },
    Waiting {
        delay: Span,
        dial: Option<Timestamp>,
        announced: bool,
        news: bool,
        hurry: u8,
    },
    Done(Option<GiveUpReason>),
}

/// What follows the end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Next {
    Return,
    GiveUp,
    Done,
}

#[derive(Clone, Copy)]
pub(crate) struct Open {
    pub(crate) connected: Timestamp,
    pub(crate) evidence: Timestamp,
    pub(crate) flushed: Timestamp,
    pub(crate) beat_flushed: Timestamp,
    pub(crate) unanswered_since: Option<Timestamp>,
    pub(crate) gap: Span,
    pub(crate) asked: Option<Timestamp>,
    pub(crate) stalled: Option<Timestamp>,
    pub(crate) thawed: Option<Timestamp>,
    /// Until the bucket is full again.
    pub(crate) flood_full: Span,
    pub(crate) unanswered: u32,
    pub(crate) probes: u32,
    pub(crate) heard: bool,
    pub(crate) suspect: bool,
    pub(crate) beaten: bool,
    pub(crate) awaited: bool,
    pub(crate) answered_early: bool,
}

/// What can read a clock: the configuration with any limits it may be given.
struct Reach {
    tolerance: Span,
    interval: Extent,
    silence: Extent,
    answer: Extent,
    /// What a suspect peer has to answer a probe.
    probe: Extent,
}

/// The shortest and the longest that a limit may be; none where it never is.
#[derive(Clone, Copy)]
struct Extent(Option<(Span, Span)>);

impl Extent {
    const NONE: Self = Self(None);

    fn exactly(limit: Option<Span>) -> Self {
        Self(limit.map(|limit| (limit, limit)))
    }

    fn or(self, other: Self) -> Self {
        Self(match (self.0, other.0) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        })
    }

    fn add(&mut self, limit: Option<Span>) {
        *self = self.or(Self::exactly(limit));
    }

    const fn is_some(self) -> bool {
        self.0.is_some()
    }
}

impl Reach {
    fn of(config: &Config, others: &[Limits]) -> Self {
        let mut reach = Self {
            tolerance: Span::ZERO,
            interval: Extent::NONE,
            silence: Extent::NONE,
            answer: Extent::NONE,
            probe: Extent::NONE,
        };
        reach.add(config);
        for other in others {
            if let Ok(other) = config.with_limits(*other) {
                reach.add(&other);
            }
        }
        reach
    }

    fn add(&mut self, config: &Config) {
        self.tolerance = self.tolerance.max(config.tolerance());
        self.interval.add(config.interval);
        self.silence.add(config.silence_timeout);
        self.answer.add(config.answer_timeout);
        self.probe.add(Some(config.probe_limit()));
    }

    /// Later than a limit by so much, a clock is as late as can be.
    fn beyond(&self, limit: Span) -> Span {
        let late = self.tolerance.saturating_add(Span::from_nanos(1));
        limit.saturating_add(late)
    }
}

impl Account {
    pub(crate) fn fingerprint(&self, others: &[Limits]) -> Fingerprint {
        let config = &self.config;
        let reach = Reach::of(config, others);
        // Nobody asks for the number of an attempt when none follows, or when
        // the next series starts anew.
        let mut counts = config.backoff.is_some() && self.attempt > 0;
        let mut returns = config.backoff.is_some();
        let stage = match self.stage {
            Stage::Idle => Canon::Idle,
            Stage::Dialling { since, forgiven } => {
                let most = config.connect_timeout.map(|limit| {
                    let beyond = limit.saturating_add(reach.tolerance);
                    beyond.saturating_add(Span::from_nanos(1))
                });
                Canon::Dialling {
                    age: most.map(|most| self.now.since(since).min(most)),
                    forgiven: forgiven && most.is_some(),
                }
            }
            Stage::Open(link) => {
                counts &= link.evidence.since(link.connected) < config.stable_after;
                Canon::Open(self.clocks(&link, &reach, counts))
            }
            Stage::Closing {
                reason,
                connected,
                since,
                stable,
                then,
            } => {
                returns &= then == Next::Return;
                counts &= returns;
                let up = connected.filter(|_| counts && since.is_none());
                let up = up.map(|connected| self.now.since(connected));
                counts &= up.is_none_or(|up| up < config.stable_after) && !stable;
                Canon::Closing {
                    reason: since.is_none().then_some(reason),
                    age: since.map(|since| self.now.since(since).min(config.close_grace)),
                    up: up.filter(|_| counts),
                    then: match config.role {
                        Role::Client => then,
                        Role::Server => Next::Done,
                    },
                }
            }
            Stage::Waiting {
                delay,
                dial,
                announced,
                news,
                hurry,
            } => Canon::Waiting {
                delay,
                dial: dial.map(|dial| dial.since(self.now)),
                announced,
                news,
                hurry,
            },
            Stage::Done(owed) => {
                return Fingerprint {
                    limits: [None; 3],
                    stage: Canon::Done(owed.map(|owed| owed as u8)),
                    floor: None,
                    attempt: 0,
                    step: None,
                    misled: self.misled,
                };
            }
        };
        let endless = config
            .backoff
            .is_some_and(|policy| policy.max_attempts().is_none());
        let floor = self
            .floor
            .filter(|(until, _)| returns && *until >= self.now);
        Fingerprint {
            limits: [
                config.interval,
                config.silence_timeout,
                config.answer_timeout,
            ],
            stage,
            floor: floor.map(|(until, span)| (until.since(self.now), span.scaled(1, 4))),
            attempt: match (counts, endless) {
                (false, _) => 0,
                (true, true) => 1,
                (true, false) => self.attempt,
            },
            step: self.step.filter(|_| counts),
            misled: self.misled,
        }
    }

    /// `counts`: whether it matters if the link was stable.
    fn clocks(&self, link: &Open, reach: &Reach, counts: bool) -> Clocks {
        let config = &self.config;
        let counted = config.max_unanswered().is_some();
        let answers = reach.answer.is_some() || counted;
        let beats = reach.interval.is_some() && link.asked.is_none();
        let idle = config.only_when_idle;
        let suspect = link.suspect;
        let hello = config.hello_timeout.filter(|_| !link.heard);
        let probing = reach.interval.is_some() && link.probes < u32::from(config.probes);
        let when = |live: bool, clock: Timestamp| live.then_some(clock);

        // Each clock that ends in a verdict, and what limits it.
        let hello = Extent::exactly(hello);
        let probe = if answers {
            reach.probe
        } else {
            reach.silence.or(Extent::exactly(Some(config.resume_grace)))
        };
        let write = Extent::exactly(config.write_timeout);
        let age = Extent::exactly(config.max_age);
        let fresh = reach.silence.or(hello);
        let up = if suspect { age } else { age.or(hello) };
        let answer = if suspect { reach.probe } else { reach.answer };
        // Beats are counted from the earlier of the two.
        let spoken = link.evidence.max(link.beat_flushed);
        let sent = [
            when(beats && idle && answers, spoken),
            when(beats && idle, link.flushed),
            when(beats && !idle, link.beat_flushed),
        ];
        let verdicts = [
            (
                link.stalled
                    .filter(|_| suspect && (fresh.is_some() || probing)),
                if probing { fresh.or(probe) } else { fresh },
            ),
            (
                when(!suspect && reach.silence.is_some(), link.evidence),
                reach.silence,
            ),
            (link.asked.map(|asked| asked.max(link.flushed)), write),
            (when(up.is_some(), link.connected), up),
            (
                link.unanswered_since
                    .filter(|_| answers && answer.is_some()),
                answer,
            ),
            (sent[0].filter(|_| counted), reach.interval),
            (sent[1].filter(|_| counted), reach.interval),
            (sent[2].filter(|_| counted), reach.interval),
        ];
        let flood = config.flood_gap.is_some();
        let thawing = link.thawed.map(|thawed| self.now.since(thawed));
        Clocks {
            ages: self.ages(verdicts, reach),
            // Where a beat that is due is no verdict, the order is no matter.
            sent: sent.map(|at| {
                let (_, most) = reach.interval.0.filter(|_| !counted)?;
                Some(self.now.since(at?).min(reach.beyond(most)))
            }),
            settled: self
                .settled
                .map(|settled| self.now.since(settled))
                .filter(|age| *age <= reach.tolerance),
            thawed: thawing.filter(|age| flood && *age <= reach.tolerance),
            flood_full: flood.then_some(link.flood_full),
            gap: beats.then_some(link.gap),
            up: counts.then(|| self.now.since(link.connected).min(config.stable_after)),
            unanswered: match config.max_unanswered() {
                Some(max) if !suspect => {
                    u16::try_from(link.unanswered).map_or(max, |unanswered| unanswered.min(max))
                }
                _ => 0,
            },
            probes: if suspect && reach.interval.is_some() {
                u8::try_from(link.probes).map_or(config.probes, |asked| asked.min(config.probes))
            } else {
                0
            },
            in_flight: link.asked.is_some(),
            suspect,
            heard: config.hello_timeout.is_some() && link.heard,
            beaten: config.spread_first_beat && link.beaten,
            awaited: link.awaited,
            answered_early: link.asked.is_some() && link.answered_early,
        }
    }

    /// How long ago each clock began. Where at most one has come to its
    /// limit, that is as late as can be when it is late by more than the
    /// tolerance. Of several the earliest wins, so their order counts; but of
    /// two instants further apart than any limit is long, all limits of the
    /// earlier one come first, no matter how much further apart they are.
    fn ages(
        &self,
        verdicts: [(Option<Timestamp>, Extent); CLOCKS],
        reach: &Reach,
    ) -> [Option<Span>; CLOCKS] {
        let live = verdicts.map(|(since, extent)| {
            let (least, most) = extent.0?;
            Some((since?, least, reach.beyond(most)))
        });
        let came = live.iter().flatten();
        let came = came.filter(|(since, least, _)| self.now.since(*since) >= *least);
        if came.count() <= 1 {
            return live.map(|clock| {
                let (since, _, beyond) = clock?;
                Some(self.now.since(since).min(beyond))
            });
        }
        let longest = live.iter().flatten().map(|(_, _, beyond)| *beyond).max();
        let longest = longest.unwrap_or(Span::ZERO);
        let mut ages = [None; CLOCKS];
        let (mut last, mut told) = (self.now, Span::ZERO);
        loop {
            // The latest of those before the last.
            let earlier = live.iter().flatten().filter(|(since, _, _)| *since < last);
            let next = earlier.map(|(since, _, _)| *since).max();
            for (clock, age) in live.iter().zip(&mut ages) {
                if clock.is_some_and(|(since, _, _)| since == last) {
                    *age = Some(told);
                }
            }
            let Some(next) = next else {
                return ages;
            };
            told = told.saturating_add(last.since(next).min(longest));
            last = next;
        }
    }
}

impl Session {
    /// What decides its future; `others` are the limits that
    /// [`set_limits`](Self::set_limits) may give it besides its own.
    ///
    /// Two sessions of one configuration and with equal fingerprints do and
    /// say the same from here on, given the same calls at the same times
    /// relative to their `now` (the latest instant they saw), ids relative to
    /// their last heartbeat's, no limits but the `others`, and equal chance.
    /// The numbers of heartbeats, and of attempts where these are without end,
    /// may differ.
    #[must_use]
    pub fn fingerprint(&self, others: &[Limits]) -> Fingerprint {
        let mut settled = None;
        let stage = match &self.state {
            State::Connecting { since: None, .. } => Stage::Idle,
            State::Connecting {
                since: Some(since),
                forgiven,
            } => Stage::Dialling {
                since: *since,
                forgiven: *forgiven,
            },
            State::Open(link) => {
                let due = link.due(&self.config, self.retire(link));
                settled =
                    Some(self.settled).filter(|settled| due.is_some_and(|due| due < *settled));
                Stage::Open(Open {
                    connected: link.connected,
                    evidence: link.evidence,
                    flushed: link.flushed,
                    beat_flushed: link.beat_flushed,
                    unanswered_since: link.unanswered_since,
                    gap: link.gap,
                    asked: link.asked,
                    stalled: link.stalled,
                    thawed: link.thawed,
                    flood_full: link.flood_full.since(self.now),
                    unanswered: u32::from(link.unanswered),
                    probes: u32::from(link.probes_asked),
                    heard: link.heard,
                    suspect: link.suspect,
                    beaten: link.beaten,
                    awaited: link.mark != Mark::Nothing,
                    answered_early: link.answered_early,
                })
            }
            State::Closing(closing) => Stage::Closing {
                reason: closing.reason as u8,
                connected: closing.connected,
                since: closing.since,
                stable: closing.stable,
                then: match closing.then {
                    Then::Return => Next::Return,
                    Then::GiveUp => Next::GiveUp,
                    Then::Done => Next::Done,
                },
            },
            State::Waiting(waiting) => Stage::Waiting {
                delay: waiting.delay,
                dial: waiting.dial,
                announced: waiting.announced,
                news: waiting.news,
                hurry: waiting.hurry as u8,
            },
            State::Done { owed } => Stage::Done(*owed),
        };
        let misled = match (self.bound, self.deadline()) {
            (None, Some(_)) => Some(Span::TOO_LONG),
            (Some(bound), Some(due)) if bound > due => Some(bound.since(self.now)),
            _ => None,
        };
        let account = Account {
            config: self.config,
            now: self.now,
            stage,
            floor: self.floor.map(|floor| (floor.until, floor.span)),
            attempt: self.attempt,
            step: self.step,
            settled,
            misled,
        };
        account.fingerprint(others)
    }

    /// The latest instant that it saw, which its fingerprint is relative to.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::tests::{at, config};
    use super::*;
    use crate::{Event, Session};

    fn fingerprint(session: &Session) -> Fingerprint {
        session.fingerprint(&[])
    }

    #[test]
    fn fits_in_320_bytes() {
        assert!(size_of::<Fingerprint>() <= 320);
    }

    #[test]
    fn it_is_relative_to_now() {
        let exact = config().to_builder().with_spread_first_beat(false);
        let config = exact.build().unwrap();
        let tell = |start: u64| {
            let mut session = Session::new(config, start, at(start));
            session.handle(Event::Sent, at(start + 3));
            session.handle(Event::Received, at(start + 4));
            session
        };
        assert_eq!(fingerprint(&tell(0)), fingerprint(&tell(1000)));
    }

    #[test]
    fn each_clock_that_is_read_tells() {
        let exact = config().to_builder().with_spread_first_beat(false);
        let config = exact.build().unwrap();
        let after = |event: Option<Event>| {
            let mut session = Session::new(config, 1, at(0));
            let _ = session.poll(at(1));
            if let Some(event) = event {
                session.handle(event, at(1));
            }
            fingerprint(&session)
        };
        let quiet = after(None);
        for event in [Event::Received, Event::Sent, Event::Resumed, Event::Drain] {
            assert_ne!(after(Some(event)), quiet, "{event:?}");
        }
        // Nothing reads that a peer of ours beats rather than speaks.
        assert_eq!(
            after(Some(Event::Received)),
            after(Some(Event::HeartbeatReceived))
        );
    }

    #[test]
    fn what_is_further_back_than_any_limit_is_equally_long_ago() {
        let bare = Config::server()
            .without_interval()
            .without_silence_timeout();
        let session = |now| {
            let mut session = Session::new(bare.build().unwrap(), 1, at(0));
            assert_eq!(session.poll(at(now)), None);
            fingerprint(&session)
        };
        assert_eq!(session(0), session(1_000_000));
    }
}

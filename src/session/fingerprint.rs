//! What of a session decides its future, as a value that can be compared.
//!
//! Two sessions of one configuration whose fingerprints are equal say the same
//! for ever to the same calls, told relative to their `now`. What is left out
//! is what nothing reads again: totals, round-trip times, how the last link
//! ended, and each clock that no limit of the configuration can read. A clock
//! tells its age up to its own limit. Beyond it, that it is late by more than
//! the tolerance is all that matters of by how much, and of several such the
//! order, because the earliest limit wins. That keeps the number of
//! fingerprints finite, and small.

mod pending;

use super::closing::Then;
use super::event::GiveUpReason;
use super::link::Mark;
use super::{Session, State};
use crate::backoff::Jitter;
use crate::config::{Config, Limits, Role};
use crate::time::{Span, Timestamp};
use pending::{Ages, ONE, Pending};

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
/// assert_eq!(early.fingerprint(None), late.fingerprint(None));
///
/// // The bytes do not matter, but that our heartbeat is nearer than before.
/// late.handle(Event::Received, at(60));
/// assert_ne!(early.fingerprint(None), late.fingerprint(None));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    limits: [Option<Span>; 3],
    stage: Canon,
    /// What remains of the floor, and the least bound of the jitter on top.
    floor: Option<(Span, Span)>,
    attempt: u32,
    step: Option<Span>,
    /// A lower bound of the deadline that is none: a bug, which is no reason
    /// to miss where it leads.
    misled: Option<Span>,
}

// A value to compare and copy: what most states are is its largest variant.
#[allow(clippy::large_enum_variant)]
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
    ages: Ages,
    /// Under the limits that it may be given.
    others: Option<Ages>,
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
    /// What was due before it fell due then.
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

impl Account {
    pub(crate) fn fingerprint(&self, other: Option<Limits>) -> Fingerprint {
        let config = &self.config;
        let other = other.and_then(|other| config.with_limits(other).ok());
        let tolerance = other.map_or(config.tolerance(), |other| {
            config.tolerance().max(other.tolerance())
        });
        // Nobody asks for the number of an attempt when none follows, or when
        // the next series starts anew.
        let mut counts = config.backoff.is_some() && self.attempt > 0;
        let mut returns = config.backoff.is_some();
        let stage = match self.stage {
            Stage::Idle => Canon::Idle,
            Stage::Dialling { since, forgiven } => {
                let most = config.connect_timeout.map(|limit| {
                    let beyond = limit.saturating_add(tolerance);
                    beyond.saturating_add(ONE)
                });
                Canon::Dialling {
                    age: most.map(|most| self.now.since(since).min(most)),
                    forgiven: forgiven && most.is_some(),
                }
            }
            Stage::Open(link) => {
                counts &= link.evidence.since(link.connected) < config.stable_after;
                Canon::Open(self.clocks(&link, other, tolerance, counts))
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
        // Without jitter no delay is shorter than the first.
        let least = config
            .backoff
            .map_or(Span::ZERO, |policy| match policy.jitter() {
                Jitter::None => Span::saturating(policy.initial()),
                _ => Span::ZERO,
            });
        let floor = self
            .floor
            .filter(|(until, _)| returns && *until >= self.now)
            .map(|(until, span)| (until.since(self.now), span.scaled(1, 4).max(least)));
        Fingerprint {
            limits: [
                config.interval,
                config.silence_timeout,
                config.answer_timeout,
            ],
            stage,
            floor,
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
    fn clocks(&self, link: &Open, other: Option<Config>, tolerance: Span, counts: bool) -> Clocks {
        let (config, now) = (&self.config, self.now);
        let own = Pending::of(link, config);
        let settled = self
            .settled
            .filter(|settled| own.dues().any(|due| due < *settled))
            .map(|settled| now.since(settled))
            .filter(|age| *age <= config.tolerance());
        // What fell due at `settled` is as late as that, whatever its own
        // instant; and later than tolerated is late.
        let exact = settled.unwrap_or(config.tolerance());
        // A change of limits settles anew: all that is past falls due then.
        let others = other.map(|other| {
            let gap = other.interval.unwrap_or(Span::ZERO);
            let link = Open { gap, ..*link };
            Pending::of(&link, &other).ages(now, None, other.tolerance())
        });
        let is_beating = config.interval.is_some();
        let flood = config.flood_gap.is_some();
        let thawing = link.thawed.map(|thawed| now.since(thawed));
        Clocks {
            ages: own.ages(now, Some(exact), config.tolerance()),
            others,
            settled,
            thawed: thawing.filter(|age| flood && *age <= tolerance),
            flood_full: flood.then_some(link.flood_full),
            gap: (is_beating && link.asked.is_none()).then_some(link.gap),
            up: counts.then(|| now.since(link.connected).min(config.stable_after)),
            unanswered: config.max_unanswered().map_or(0, |max| {
                u16::try_from(link.unanswered).map_or(max, |unanswered| unanswered.min(max))
            }),
            probes: if link.suspect {
                u8::try_from(link.probes).map_or(config.probes, |asked| asked.min(config.probes))
            } else {
                0
            },
            in_flight: link.asked.is_some(),
            suspect: link.suspect,
            heard: config.hello_timeout.is_some() && link.heard,
            beaten: config.spread_first_beat && link.beaten,
            awaited: link.awaited,
            answered_early: link.asked.is_some() && link.answered_early,
        }
    }

    /// Each instant from now on at which anything may be different.
    pub(crate) fn turns(&self) -> impl Iterator<Item = Timestamp> {
        let config = &self.config;
        let mut turns = [None; 4];
        let mut dues = None;
        match self.stage {
            Stage::Dialling { since, .. } => {
                turns = [
                    config.connect_timeout.and_then(|limit| since.after(limit)),
                    None,
                    None,
                    None,
                ];
            }
            Stage::Open(link) => {
                dues = Some(Pending::of(&link, config));
                let stable = config
                    .backoff
                    .and(link.connected.after(config.stable_after));
                let flood = config.flood_gap.is_some();
                let full = self.now.after(link.flood_full);
                let thawed = link
                    .thawed
                    .and_then(|thawed| thawed.after(config.tolerance()));
                turns = [
                    stable,
                    full.filter(|_| flood),
                    thawed.filter(|_| flood),
                    None,
                ];
            }
            Stage::Closing {
                since, connected, ..
            } => {
                let stable = connected.filter(|_| since.is_none() && config.backoff.is_some());
                let stable = stable.and_then(|connected| connected.after(config.stable_after));
                turns = [
                    since.and_then(|since| since.after(config.close_grace)),
                    stable,
                    None,
                    None,
                ];
            }
            Stage::Waiting { dial, .. } => turns = [dial, None, None, None],
            Stage::Idle | Stage::Done(_) => {}
        }
        let floor = self.floor.map(|(until, _)| until);
        let dues = dues.into_iter().flat_map(|pending| {
            // Owned, because the iterator outlives the match.
            pending.dues().collect::<alloc::vec::Vec<_>>()
        });
        let now = self.now;
        turns
            .into_iter()
            .flatten()
            .chain(dues)
            .chain(floor)
            .filter(move |at| *at >= now)
    }
}

impl Session {
    /// What decides its future; `other` are the limits that
    /// [`set_limits`](Self::set_limits) may give it besides those in force.
    ///
    /// Two sessions of one configuration and with equal fingerprints do and
    /// say the same from here on, given the same calls at the same times
    /// relative to their `now` (the latest instant they saw), ids relative to
    /// their last heartbeat's, no limits but the `other`, and equal chance; so
    /// far from [`Timestamp::MAX`] that no limit reaches it.
    /// The numbers of heartbeats, and of attempts where these are without end,
    /// may differ.
    #[must_use]
    pub fn fingerprint(&self, other: Option<Limits>) -> Fingerprint {
        self.account().fingerprint(other)
    }

    /// The instants from now on at which anything may be different: each limit
    /// and heartbeat that is pending, the deadline among them; and the ends of
    /// a floor, of a burst that is forgiven, and of what is too short for a
    /// stable link. For searches: more may be the same on either side of them.
    ///
    /// ```
    /// use nabiz::{Config, Session, Timestamp};
    ///
    /// let session = Session::new(Config::server().build()?, 7, Timestamp::EPOCH);
    /// let due = session.deadline().unwrap();
    /// assert!(session.turns().any(|at| at == due));
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    pub fn turns(&self) -> impl Iterator<Item = Timestamp> + use<> {
        let turns: alloc::vec::Vec<_> = self.account().turns().collect();
        turns.into_iter()
    }

    fn account(&self) -> Account {
        let stage = match &self.state {
            State::Connecting { since: None, .. } => Stage::Idle,
            State::Connecting {
                since: Some(since),
                forgiven,
            } => Stage::Dialling {
                since: *since,
                forgiven: *forgiven,
            },
            State::Open(link) => Stage::Open(Open {
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
            }),
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
        Account {
            config: self.config,
            now: self.now,
            stage,
            floor: self.floor.map(|floor| (floor.until, floor.span)),
            attempt: self.attempt,
            step: self.step,
            settled: Some(self.settled),
            misled,
        }
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
        session.fingerprint(None)
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

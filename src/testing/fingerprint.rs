//! What a checker remembers, as a value that can be compared: reduced by the
//! same rules as the session's own state.

use super::laws::Checked;
use super::link::Link;
use super::model::{Model, Stage as Of, Then};
use super::span::{Nanos, len};
use crate::config::{Config, Limits};
use crate::session::{Account, Fingerprint, Next, Open, Stage};
use crate::time::{Span, Timestamp};

/// What decides the future of a session under watch, from
/// [`Checked::fingerprint`]: the session's own [`Fingerprint`], that of the
/// second session, and what the checker remembers, but for how many actions
/// came at this instant.
///
/// ```
/// use nabiz::testing::Checked;
/// use nabiz::{Config, Timestamp};
///
/// let checked = Checked::new(Config::client().build()?, 7, Timestamp::EPOCH);
/// let fingerprint = checked.fingerprint(None);
/// assert_eq!(fingerprint.session(), checked.session().fingerprint(None));
/// assert!(fingerprint.agrees());
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckedFingerprint {
    session: Fingerprint,
    second: Fingerprint,
    account: Fingerprint,
    finished: bool,
    gave_up: bool,
}

impl CheckedFingerprint {
    /// The session's own.
    #[must_use]
    pub const fn session(&self) -> Fingerprint {
        self.session
    }

    /// Whether the session, the one that is polled too often, and the
    /// checker's account of them are in one and the same state. So it is for
    /// configurations without chance, unless one of the three is wrong.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.session == self.second && self.session == self.account
    }
}

impl Checked {
    /// Forgets the calls so far, which a clone copies: [`replay`](Self::replay)
    /// and a report's line lack them from here on, and the report says so.
    pub fn forget(&mut self) {
        self.trail.forget();
    }

    /// What decides the future of the session and of its checker; `other` as
    /// in [`Session::fingerprint`](crate::Session::fingerprint).
    #[must_use]
    pub fn fingerprint(&self, other: Option<Limits>) -> CheckedFingerprint {
        CheckedFingerprint {
            session: self.session.fingerprint(other),
            second: self.spurious.fingerprint(other),
            account: self.model.account().fingerprint(other),
            finished: self.finished,
            gave_up: self.gave_up,
        }
    }
}

/// Beyond the range is never.
fn instant(at: Nanos) -> Option<Timestamp> {
    u64::try_from(at).ok().and_then(Timestamp::from_nanos)
}

/// An instant that has passed.
fn past(at: Nanos) -> Timestamp {
    instant(at).unwrap_or(Timestamp::MAX)
}

fn span(nanos: Nanos) -> Span {
    u64::try_from(nanos).map_or(Span::TOO_LONG, Span::from_nanos)
}

impl Model {
    fn account(&self) -> Account {
        let stage = match &self.stage {
            Of::Idle => Stage::Idle,
            Of::Dialling { since, forgiven } => Stage::Dialling {
                since: past(*since),
                forgiven: *forgiven,
            },
            Of::Open(link) => Stage::Open(link.account(&self.config, self.now)),
            Of::Closing(closing) => Stage::Closing {
                reason: closing.reason as u8,
                connected: closing.connected.map(past),
                since: closing.told.map(past),
                stable: closing.told.is_some()
                    && closing.connected.is_some_and(|connected| {
                        closing.alive.saturating_sub(connected) >= len(self.config.stable_after())
                    }),
                then: match closing.then {
                    Then::Return => Next::Return,
                    Then::GiveUp => Next::GiveUp,
                    Then::Done => Next::Done,
                },
            },
            Of::Waiting(wait) => Stage::Waiting {
                delay: span(wait.draw.most),
                dial: wait.dial.and_then(instant),
                announced: wait.dial.is_some(),
                news: wait.news,
                hurry: wait.hurry as u8,
            },
            Of::Done(owed) => Stage::Done(*owed),
        };
        Account {
            config: self.config,
            now: past(self.now),
            stage,
            floor: self
                .floor
                .map(|floor| (past(floor.until), span(floor.span))),
            attempt: self.series.attempt,
            step: self.series.step.map(span),
            settled: instant(self.settled),
            misled: None,
        }
    }
}

impl Link {
    fn account(&self, config: &Config, now: Nanos) -> Open {
        // The session counts until the bucket is full, not the tokens in it.
        let missing = config.flood().map_or(0, |(gap, strikes)| {
            let full = len(gap) * Nanos::from(strikes);
            let tokens = self.tokens.saturating_add(now - self.counted);
            full.saturating_sub(tokens)
        });
        Open {
            connected: past(self.connected),
            evidence: past(self.evidence),
            flushed: past(self.flushed),
            beat_flushed: past(self.beat_flushed),
            unanswered_since: self.unanswered_since.map(past),
            gap: span(self.gap.least),
            asked: self.in_flight.map(past),
            stalled: self.suspect.map(past),
            thawed: self.stall.map(past),
            flood_full: span(missing),
            unanswered: self.unanswered,
            probes: self.probes,
            heard: self.heard,
            suspect: self.suspect.is_some(),
            beaten: self.beaten,
            awaited: self.awaited,
            answered_early: self.answered_early,
        }
    }
}

//! A session under watch.

use alloc::format;
use core::fmt;

use super::model::{Model, Verdict, broken};
use super::span::{at, maybe_at};
use super::trail::Trail;
use crate::config::{Config, ConfigError, Limits, Role};
use crate::session::{Action, Event, Phase, Session};
use crate::time::Timestamp;

/// How many actions may come in a row without an event or a later instant: the
/// longest is Abort, Reconnect, Connect.
const MOST_AT_ONCE: u32 = 3;

/// A [`Session`] under watch: the same calls, and a panic when one of the
/// [laws](crate::testing) is broken.
///
/// It keeps its own account of what happened, from outside and through public
/// items alone. Beside the session runs a second one that is polled more often
/// than it asks for, which must change nothing.
///
/// The panic names the law, and tells configuration, seed and the calls since
/// the last link began, so that it can be replayed.
///
/// ```
/// use core::time::Duration;
/// use nabiz::testing::Checked;
/// use nabiz::{Action, Config, Event, Timestamp};
///
/// let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
/// let mut session = Checked::new(Config::client().build()?, 42, at(0));
/// assert_eq!(session.poll(at(0)), Some(Action::Connect { attempt: 0 }));
/// session.handle(Event::Connected, at(1));
/// // A driver that is never heard of, and never late.
/// while let Some(due) = session.deadline() {
///     match session.poll(due) {
///         Some(Action::SendHeartbeat { .. }) => session.handle(Event::HeartbeatSent, due),
///         Some(Action::Close(reason)) => {
///             assert_eq!((reason.to_string().as_str(), due), ("PeerSilent", at(121)));
///             session.handle(Event::Shutdown, due);
///             session.handle(Event::Disconnected, due);
///         }
///         other => assert_eq!(other, None),
///     }
/// }
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checked {
    session: Session,
    /// The same session, polled too often.
    spurious: Session,
    model: Model,
    first_config: Config,
    seed: u64,
    trail: Trail<What>,
    /// Actions since the last event or later instant.
    at_once: u32,
    /// `Shutdown` or `Rejected` came: nobody returns after that.
    finished: bool,
    gave_up: bool,
}

#[derive(Clone, Debug)]
enum What {
    Handle(Event),
    Poll(Option<Action>),
    SetLimits(Limits, Result<(), ConfigError>),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle(event) => write!(f, "{event:?}"),
            Self::Poll(action) => write!(f, "poll: {action:?}"),
            Self::SetLimits(limits, result) => write!(f, "{limits:?}: {result:?}"),
        }
    }
}

impl Checked {
    /// As [`Session::new`].
    ///
    /// # Panics
    /// If a law is broken; as all calls.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Timestamp) -> Self {
        let session = Session::new(config, seed, now);
        let model = Model::new(config, now);
        let mut checked = Self {
            spurious: session.clone(),
            session,
            model,
            first_config: config,
            seed,
            trail: Trail::new(),
            at_once: 0,
            finished: false,
            gave_up: false,
        };
        checked.settle(now);
        checked
    }

    /// As [`Session::handle`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn handle(&mut self, event: Event, now: Timestamp) {
        let phase = self.session.phase();
        self.before(now);
        self.at_once = 0;
        self.session.handle(event, now);
        self.spurious.handle(event, now);
        let began = phase == Phase::Connecting && self.session.phase() == Phase::Open;
        if began {
            self.trail.clear();
        }
        self.record(What::Handle(event), now);
        if began && self.session.status(now).rtt.is_some() {
            self.demand(broken(9, "a round-trip time of the last link".into()));
        }
        self.model.handle(event, self.session.phase());
        self.finished |= matches!(event, Event::Shutdown | Event::Rejected);
        self.settle(now);
    }

    /// As [`Session::poll`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn poll(&mut self, now: Timestamp) -> Option<Action> {
        if at(now) > self.model.now {
            self.at_once = 0;
        }
        self.before(now);
        let action = self.session.poll(now);
        let second = self.spurious.poll(now);
        self.record(What::Poll(action), now);
        self.demand(self.watch(action));
        let verdict = self.model.poll(action);
        self.demand(verdict);
        if second != action {
            self.demand(broken(8, format!("{second:?} when polled too often")));
        }
        self.at_once += u32::from(action.is_some());
        self.gave_up |= matches!(action, Some(Action::GiveUp(_)));
        self.settle(now);
        if action.is_none() && maybe_at(self.session.deadline()) <= self.model.now {
            self.demand(broken(8, "a deadline that is past after None".into()));
        }
        action
    }

    /// As [`Session::deadline`].
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.session.deadline()
    }

    /// As [`Session::set_limits`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// If a law is broken.
    pub fn set_limits(&mut self, limits: Limits, now: Timestamp) -> Result<(), ConfigError> {
        let deadline = self.session.deadline();
        let config = *self.session.config();
        let result = self.session.set_limits(limits, now);
        self.record(What::SetLimits(limits, result), now);
        if result.is_err() {
            // An error changes nothing, the time that was seen neither.
            let same = self.session.deadline() == deadline && *self.session.config() == config;
            if !same {
                self.demand(broken(8, "a refused change changed something".into()));
            }
            return result;
        }
        self.at_once = 0;
        self.spuriously(now, deadline);
        let second = self.spurious.set_limits(limits, now);
        debug_assert_eq!(second, result, "the two see the same configuration");
        self.model.call(now, deadline);
        self.model.set_limits(*self.session.config());
        self.settle(now);
        result
    }

    /// The session that is watched.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// What comes before each call: the second session is polled too often,
    /// and lateness is judged by the deadline as it stands.
    fn before(&mut self, now: Timestamp) {
        let deadline = self.session.deadline();
        self.spuriously(now, deadline);
        self.model.call(now, deadline);
    }

    /// Polls the second session at the last instant, at the next if that is
    /// early, and between them: all of it before `deadline`, so for nothing.
    fn spuriously(&mut self, now: Timestamp, deadline: Option<Timestamp>) {
        let (last, due) = (self.model.now, maybe_at(deadline));
        let until = at(now).min(due.saturating_sub(1));
        for instant in [last, last.midpoint(until), until] {
            if instant < last || instant >= due {
                continue;
            }
            let Some(instant) = u64::try_from(instant).ok().and_then(Timestamp::from_nanos) else {
                continue;
            };
            if let Some(action) = self.spurious.poll(instant) {
                self.demand(broken(8, format!("{action:?} at {instant:?}, too early")));
            }
        }
    }

    /// The laws that need no account of the link.
    fn watch(&self, action: Option<Action>) -> Verdict {
        let Some(action) = action else {
            return Ok(());
        };
        if self.gave_up {
            return broken(5, format!("{action:?} after GiveUp"));
        }
        if matches!(action, Action::Connect { .. } | Action::Reconnect { .. }) {
            if self.first_config.role() == Role::Server {
                return broken(6, "a server returns".into());
            }
            if self.finished {
                return broken(6, "it returns after Shutdown or Rejected".into());
            }
        }
        if self.at_once >= MOST_AT_ONCE {
            return broken(10, format!("{} actions at once", self.at_once + 1));
        }
        Ok(())
    }

    /// What comes after each call: the session and its second agree, with each
    /// other and with the account.
    fn settle(&mut self, now: Timestamp) {
        let (deadline, status) = (self.session.deadline(), self.session.status(now));
        if self.spurious.deadline() != deadline || self.spurious.status(now) != status {
            let second = self.spurious.status(now);
            self.demand(broken(8, format!("polled too often: {second:?}")));
        }
        let verdict = self.model.check(deadline, &status);
        self.demand(verdict);
    }

    fn record(&mut self, what: What, now: Timestamp) {
        self.trail.record(what, now);
    }

    #[track_caller]
    fn demand(&self, verdict: Verdict) {
        let (seed, config) = (self.seed, self.first_config);
        self.trail
            .demand(verdict, format_args!("seed {seed}, {config:?}"));
    }
}

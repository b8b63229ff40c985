//! Law 12, one rule book: a server's session beside each connection.
//!
//! A roster forgives all at once, and beats when it likes, which sessions do
//! not. So these are told of stalls by [`Event::Resumed`], and never see one
//! themselves; and their interval is so short that they beat when the roster
//! does. What a limit is and who is suspect remains theirs to say.

use alloc::collections::BTreeMap;
use alloc::format;
use core::time::Duration;

use super::checked::{Reaped, timestamp};
use super::model::Model;
use crate::config::{Config, ConfigError, Limits};
use crate::reaper::Key;
use crate::session::{Action, CloseReason, Event, Session};
use crate::testing::model::{Verdict, broken};
use crate::testing::span::{Nanos, len};
use crate::time::{Ratio, Timestamp};

/// The shortest interval.
const NANO: Duration = Duration::from_nanos(1);

/// Longer than any stall.
const NEVER_LATE: Duration = Duration::from_nanos(u64::MAX - 2);

/// How much later the sessions may have been told something.
const DRIFT: Nanos = 16;

#[derive(Clone, Debug)]
pub(super) struct Sessions {
    config: Config,
    /// The flood limit alone, which is compared up to the first stall: how
    /// long its leniency lasts is the tolerance, taken from the sessions.
    flood: Option<Config>,
    /// Whether the age is drawn, which differs.
    draws_age: bool,
    seed: u64,
    twins: BTreeMap<Key, Twin>,
}

#[derive(Clone, Debug)]
struct Twin {
    key: Key,
    /// Forgiven once a silence, as the rule book says: the roster may not be
    /// earlier.
    strict: Session,
    /// Forgiven again where a roster that remembers two stalls must: it may not
    /// be later.
    mild: Session,
    flood: Option<Session>,
    /// When they were told something last.
    told: Nanos,
    /// The heartbeat in flight is one that the session would not send, having
    /// come to its verdict within the resolution.
    is_alone: bool,
}

impl Sessions {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        let jitters = config.max_age().is_some() && config.max_age_jitter() != Ratio::ZERO;
        let flood = config.flood().and_then(|_| {
            let builder = config.to_builder().without_interval();
            let builder = builder.without_silence_timeout().without_hello_timeout();
            builder.without_max_age().build().ok()
        });
        Self {
            config: beside(config).unwrap_or(*config),
            flood,
            draws_age: jitters,
            seed,
            twins: BTreeMap::new(),
        }
    }

    pub(super) fn insert(&mut self, key: Key, now: Nanos) {
        let session = Session::new(self.config, self.seed, instant(now));
        let twin = Twin {
            key,
            strict: session.clone(),
            mild: session,
            flood: self
                .flood
                .map(|config| Session::new(config, self.seed, instant(now))),
            told: now,
            is_alone: false,
        };
        self.twins.insert(key, twin);
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.twins.remove(&key);
    }

    pub(super) fn handle(&mut self, key: Key, event: Event, now: Nanos) {
        let Some(twin) = self.twins.get_mut(&key) else {
            return;
        };
        twin.told = twin.told.max(now);
        let now = instant(now);
        twin.strict.handle(event, now);
        twin.mild.handle(event, now);
        if let Some(flood) = &mut twin.flood {
            flood.handle(event, now);
        }
        twin.is_alone &= event != Event::HeartbeatSent;
    }

    pub(super) fn bear(&mut self, key: Key, silence_timeout: Option<Duration>, now: Nanos) {
        let limits = Limits {
            silence_timeout,
            ..self.config.limits()
        };
        if let Some(twin) = self.twins.get_mut(&key) {
            twin.told = twin.told.max(now);
            for session in [&mut twin.strict, &mut twin.mild] {
                // What the roster took, a session takes.
                if session.set_limits(limits, instant(now)).is_err() {
                    debug_assert!(false, "{limits:?} are refused");
                }
            }
        }
    }

    /// The roster saw a stall.
    pub(super) fn stalled(&mut self, model: &Model) {
        let told = model.now;
        let now = instant(told);
        self.flood = None;
        for twin in self.twins.values_mut() {
            twin.flood = None;
            twin.told = twin.told.max(told);
            for session in [&mut twin.strict, &mut twin.mild] {
                if !session.is_suspect() {
                    session.handle(Event::Resumed, now);
                }
            }
            if model.is_forgiven(twin.key) {
                twin.mild.handle(Event::Resumed, now);
            }
        }
    }

    /// The roster was told of one.
    pub(super) fn resumed(&mut self, now: Nanos) {
        let told = now;
        let now = instant(told);
        self.flood = None;
        for twin in self.twins.values_mut() {
            twin.flood = None;
            twin.told = twin.told.max(told);
            for session in [&mut twin.strict, &mut twin.mild] {
                session.handle(Event::Resumed, now);
            }
        }
    }

    /// Holds what the roster says against what its sessions do.
    pub(super) fn poll(
        &mut self,
        reaped: Option<Reaped>,
        model: &Model,
        resolution: Duration,
    ) -> Verdict {
        let (now, resolution) = (model.now, len(resolution).max(2));
        match reaped {
            None => self
                .twins
                .values()
                .try_for_each(|twin| twin.rested(model, now, resolution)),
            Some(Reaped::Heartbeat { key, .. }) => {
                if let Some(twin) = self.twins.get_mut(&key) {
                    twin.beat(now);
                }
                Ok(())
            }
            Some(Reaped::Close { key, reason, .. }) => {
                let draws_age = self.draws_age;
                match self.twins.get_mut(&key) {
                    Some(_) if draws_age && reason == CloseReason::TooOld => Ok(()),
                    Some(twin) => twin.closed(reason, model, now, resolution),
                    None => Ok(()),
                }
            }
            Some(Reaped::Yield) => Ok(()),
        }
    }
}

impl Twin {
    /// The roster asks for a heartbeat, and so does the session.
    fn beat(&mut self, now: Nanos) {
        let told = self.told.max(now);
        self.told = told + 1;
        for session in [&mut self.strict, &mut self.mild] {
            let beats = [now, told + 1].into_iter().any(|now| {
                let mut beaten = session.clone();
                let action = timestamp(now).and_then(|now| beaten.poll(now));
                let beats = matches!(action, Some(Action::SendHeartbeat { .. }));
                if beats {
                    *session = beaten;
                }
                beats
            });
            self.is_alone |= !beats;
        }
    }

    /// Nothing is left to do: nobody is overdue by more than the resolution.
    fn rested(&self, model: &Model, now: Nanos, resolution: Nanos) -> Verdict {
        let key = self.key;
        if let Some(flood) = &self.flood {
            if verdict(flood, self.told, now).is_some() {
                return broken(12, format!("{key:?} is flooded, for its session"));
            }
        }
        if model.is_lenient(key) {
            return Ok(());
        }
        let Some((since, reason)) = verdict(&self.mild, self.told, now) else {
            return Ok(());
        };
        let is_excused =
            reason == CloseReason::WriteStalled && (self.is_alone || model.bears_write(now));
        if since + resolution <= now && !is_excused {
            return broken(
                12,
                format!("{key:?} is {reason} since {since} ns, for its session"),
            );
        }
        Ok(())
    }

    fn closed(&self, reason: CloseReason, model: &Model, now: Nanos, resolution: Nanos) -> Verdict {
        let key = self.key;
        match (reason, &self.flood) {
            // From the first stall on, the flood limit is not compared.
            (CloseReason::Flooded, None) | (CloseReason::Draining, _) => return Ok(()),
            (_, Some(flood)) => {
                let is_flooded = verdict(flood, self.told, now).is_some();
                if is_flooded != (reason == CloseReason::Flooded) {
                    return broken(12, format!("{reason} of {key:?}, flooded: {is_flooded}"));
                }
                if is_flooded {
                    return Ok(());
                }
            }
            (_, None) => {}
        }
        if self.is_alone && reason == CloseReason::WriteStalled {
            return Ok(());
        }
        // A beat right after another came a nanosecond late to them.
        let now = now.max(self.told) + DRIFT;
        if verdict(&self.strict, self.told, now).is_none() {
            return broken(12, format!("{reason} of {key:?}, earlier than its session"));
        }
        match verdict(&self.mild, self.told, now) {
            None => broken(12, format!("{reason} of {key:?}, which was forgiven")),
            Some((_, own)) if own == reason => Ok(()),
            Some(_) if model.is_aged(key) || model.is_lenient(key) => Ok(()),
            Some((_, CloseReason::WriteStalled)) if self.is_alone => Ok(()),
            Some((_, CloseReason::WriteStalled))
                if model
                    .least(key, reason)
                    .is_some_and(|at| model.bears_write(at)) =>
            {
                Ok(())
            }
            // Two limits within a resolution of each other.
            Some((since, _))
                if model
                    .least(key, reason)
                    .is_some_and(|at| at <= since + resolution) =>
            {
                Ok(())
            }
            Some((_, own)) => broken(12, format!("{reason} of {key:?}, {own} for its session")),
        }
    }
}

/// What a session that was `told` something last then comes to by `now`, and
/// since when, or since it was told.
fn verdict(session: &Session, told: Nanos, now: Nanos) -> Option<(Nanos, CloseReason)> {
    let verdict = |now: Nanos| match session.clone().poll(instant(now)) {
        Some(Action::Close(reason)) => Some(reason),
        _ => None,
    };
    let now = now.max(told);
    let reason = verdict(now)?;
    let (mut first, mut last) = (told, now);
    while first < last {
        let middle = first.midpoint(last);
        if verdict(middle).is_some() {
            last = middle;
        } else {
            first = middle + 1;
        }
    }
    Some((first, reason))
}

/// The configuration of the sessions beside a roster.
fn beside(config: &Config) -> Result<Config, ConfigError> {
    let mut builder = config.to_builder().without_flood();
    builder = builder
        .with_interval_jitter(Ratio::ZERO)
        .with_spread_first_beat(false)
        .with_only_when_idle(false)
        .with_stall_tolerance(NEVER_LATE);
    if config.interval().is_some() {
        builder = builder.with_interval(NANO);
    }
    if config.max_age_jitter() != Ratio::ZERO {
        builder = builder.without_max_age().with_max_age_jitter(Ratio::ZERO);
    }
    builder.build()
}

fn instant(nanos: Nanos) -> Timestamp {
    timestamp(nanos).unwrap_or(Timestamp::MAX)
}

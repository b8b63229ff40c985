//! A roster under watch.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::model::Model;
use super::sessions::Sessions;
use crate::config::{Config, ConfigError, Rule};
use crate::reaper::{Counters, Key, Reap, Reaper};
use crate::session::CloseReason;
use crate::testing::model::{Verdict, broken};
use crate::testing::replay::{Given, Numbers, RosterCall, RosterReplay};
use crate::testing::span::{Nanos, at, len, maybe_at};
use crate::testing::trail::Trail;
use crate::time::Timestamp;

/// How many stale keys are tried again.
const STALE: usize = 32;

/// A [`Reaper`] under watch: the same calls, and a panic when one of the
/// [laws](crate::testing) is broken.
///
/// It keeps a plain list of the connections with the exact time of everything,
/// and goes through all of it at each call: who may be closed, who must be, who
/// is to be sent a heartbeat. Beside the roster runs a second one that is
/// polled more often than it asks for, which must change nothing.
///
/// What is inserted are numbers, so that it can be told whose value came back.
///
/// The panic names the law, and tells the setting and the last calls. Its last
/// line is `replay: ` and the text of the [`RosterReplay`] of all calls from the
/// start, which panics the same. The first 65,536 calls are kept for that, at
/// about a hundred bytes each, and copied by a clone; of a longer run the line is
/// the beginning, and the line before says so.
///
/// It bears what a roster cannot tell: the order of two stalls in one tick and
/// of limits that passed in a leap over 2²⁸ ticks, which of two stalls gave a
/// stalled write its time again, and flushes without a poll for 2³⁰ ticks.
///
/// ```
/// use core::time::Duration;
/// use nabiz::testing::{CheckedReaper, Reaped};
/// use nabiz::{Config, Timestamp};
///
/// let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
/// let mut reaper = CheckedReaper::new(Config::server().build()?, 42, at(0))?.with_sessions();
/// let key = reaper.insert(7, at(0));
/// reaper.received(key, at(10));
/// // A driver that is never late.
/// while let Some(due) = reaper.reaper().deadline() {
///     match reaper.poll(due) {
///         Some(Reaped::Heartbeat { key, .. }) => {
///             reaper.heartbeat_sent(key, due);
///         }
///         Some(Reaped::Close { value, reason, .. }) => {
///             assert_eq!((value, reason.to_string().as_str()), (7, "PeerSilent"));
///             assert!(due > at(130) && due < at(131));
///         }
///         Some(Reaped::Yield) | None => {}
///     }
/// }
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CheckedReaper {
    reaper: Reaper<u64>,
    /// The same roster, polled too often.
    spurious: Reaper<u64>,
    model: Model,
    sessions: Option<Sessions>,
    seed: u64,
    start: Timestamp,
    reserved: usize,
    counters: Counters,
    stale: VecDeque<Key>,
    trail: Trail<What>,
    /// Answers to polls since time went on or something else happened, and how
    /// many there may be.
    at_once: usize,
    most_at_once: usize,
    /// Duties since the last pause.
    unpaused: usize,
}

/// What a [`CheckedReaper`] says: a [`Reap`](crate::Reap), without the
/// reference.
///
/// ```
/// use nabiz::testing::{CheckedReaper, Reaped};
/// use nabiz::{CloseReason, Config, Timestamp};
///
/// let now = Timestamp::EPOCH;
/// let config = Config::server().without_interval().build()?;
/// let mut reaper = CheckedReaper::new(config, 42, now)?;
/// let key = reaper.insert(7, now);
/// let due = reaper.reaper().deadline().unwrap();
/// let closed = Reaped::Close {
///     key,
///     value: 7,
///     reason: CloseReason::PeerSilent,
///     retry_after: None,
/// };
/// assert_eq!(reaper.poll(due), Some(closed));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reaped {
    /// [`Reap::Heartbeat`](crate::Reap::Heartbeat).
    Heartbeat {
        /// Which connection.
        key: Key,
        /// What it was inserted with.
        value: u64,
    },
    /// [`Reap::Close`](crate::Reap::Close).
    Close {
        /// Which connection it was.
        key: Key,
        /// What it was inserted with.
        value: u64,
        /// Why.
        reason: CloseReason,
        /// How long the client is to stay away.
        retry_after: Option<Duration>,
    },
    /// [`Reap::Yield`](crate::Reap::Yield).
    Yield,
}

impl From<Reap<'_, u64>> for Reaped {
    fn from(reap: Reap<'_, u64>) -> Self {
        match reap {
            Reap::Heartbeat { key, value } => Self::Heartbeat { key, value: *value },
            Reap::Close {
                key,
                value,
                reason,
                retry_after,
            } => Self::Close {
                key,
                value,
                reason,
                retry_after,
            },
            Reap::Yield => Self::Yield,
        }
    }
}

/// A call, and what it gave; nothing while it is being made.
#[derive(Clone, Debug)]
struct What {
    call: RosterCall<Key>,
    gave: Option<Given>,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.call)?;
        match &self.gave {
            Some(Given::Key(key)) => write!(f, ": {key:?}"),
            Some(Given::Reaped(reaped)) => write!(f, ": {reaped:?}"),
            Some(Given::Removed(value)) => write!(f, ": {value:?}"),
            Some(Given::Bore(result)) => write!(f, ": {result:?}"),
            Some(Given::Known(known)) => write!(f, ": {known}"),
            Some(Given::Done) | None => Ok(()),
        }
    }
}

impl CheckedReaper {
    /// As [`Reaper::new`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// If a law is broken; as all calls.
    pub fn new(config: Config, seed: u64, now: Timestamp) -> Result<Self, ConfigError> {
        let reaper = Reaper::new(config, seed, now)?;
        let model = Model::new(config, reaper.resolution(), now);
        Ok(Self {
            spurious: reaper.clone(),
            counters: reaper.counters(),
            reaper,
            model,
            sessions: None,
            seed,
            start: now,
            reserved: 0,
            stale: VecDeque::new(),
            trail: Trail::new(),
            at_once: 0,
            most_at_once: 0,
            unpaused: 0,
        })
    }

    /// As [`Reaper::with_resolution`].
    ///
    /// # Errors
    /// As there.
    pub fn with_resolution(mut self, resolution: Duration) -> Result<Self, ConfigError> {
        self.reaper = self.reaper.with_resolution(resolution)?;
        self.spurious = self.reaper.clone();
        let now = self.spurious_now();
        self.model = Model::new(*self.reaper.config(), resolution, now);
        Ok(self)
    }

    /// As [`Reaper::with_capacity`].
    #[must_use]
    pub fn with_capacity(mut self, connections: usize) -> Self {
        self.reaper = self.reaper.with_capacity(connections);
        self.reserved = self.reserved.max(connections);
        if self.reaper.capacity() < connections {
            self.demand(broken(0, format!("capacity {}", self.reaper.capacity())));
        }
        self
    }

    /// Watches law 12, too: beside each connection runs a server's
    /// [`Session`](crate::Session), which is told the same and must come to the
    /// same verdict. For a roster without connections yet.
    #[must_use]
    pub fn with_sessions(mut self) -> Self {
        self.sessions = Some(Sessions::new(self.reaper.config(), self.seed));
        self
    }

    /// As [`Reaper::insert`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn insert(&mut self, value: u64, now: Timestamp) -> Key {
        self.record(RosterCall::Insert(value), now);
        self.before(now);
        let key = self.reaper.insert(value, now);
        let second = self.spurious.insert(value, now);
        self.gave(Given::Key(key));
        self.stalled(now);
        self.most_at_once = 0;
        if self.model.conn(key).is_some() || self.stale.contains(&key) || second != key {
            self.demand(broken(5, format!("{key:?} was given twice, or {second:?}")));
        }
        self.model.insert(key, value);
        self.counters.inserted += 1;
        if let Some(sessions) = &mut self.sessions {
            sessions.insert(key, self.model.now);
        }
        self.settle();
        key
    }

    /// As [`Reaper::received`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn received(&mut self, key: Key, now: Timestamp) -> bool {
        self.tell(RosterCall::Received(key), key, now)
    }

    /// As [`Reaper::heartbeat_received`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn heartbeat_received(&mut self, key: Key, now: Timestamp) -> bool {
        self.tell(RosterCall::HeartbeatReceived(key), key, now)
    }

    /// As [`Reaper::sent`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn sent(&mut self, key: Key, now: Timestamp) -> bool {
        self.tell(RosterCall::Sent(key), key, now)
    }

    /// As [`Reaper::heartbeat_sent`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn heartbeat_sent(&mut self, key: Key, now: Timestamp) -> bool {
        self.tell(RosterCall::HeartbeatSent(key), key, now)
    }

    /// As [`Reaper::exempt`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn exempt(&mut self, key: Key, now: Timestamp) -> bool {
        self.tell(RosterCall::Exempt(key), key, now)
    }

    /// As [`Reaper::set_silence_timeout`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// If a law is broken.
    pub fn set_silence_timeout(
        &mut self,
        key: Key,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<bool, ConfigError> {
        self.record(RosterCall::SetSilenceTimeout(key, timeout), now);
        let deadline = self.reaper.deadline();
        let result = self.reaper.set_silence_timeout(key, timeout, now);
        self.gave(Given::Bore(result));
        let builder = self.reaper.config().to_builder();
        let config = builder.with_silence_timeout(timeout).build();
        self.demand(self.allowed(timeout, config, result));
        let (Ok(config), Ok(known)) = (config, result) else {
            if self.reaper.deadline() != deadline {
                self.demand(broken(8, "a refused change changed something".into()));
            }
            return result;
        };
        self.spuriously(now, deadline);
        let second = self.spurious.set_silence_timeout(key, timeout, now);
        self.stalled(now);
        self.most_at_once = 0;
        let should = self.model.bear(key, Some(timeout), &config);
        self.known(key, should, [known, second == Ok(known) && known]);
        if let Some(sessions) = &mut self.sessions {
            sessions.bear(key, Some(timeout), self.model.now);
        }
        self.settle();
        result
    }

    /// What a change must come to: a resolution is so fine that a limit is
    /// refused, from somewhere within a factor of four.
    fn allowed(
        &self,
        timeout: Duration,
        config: Result<Config, ConfigError>,
        result: Result<bool, ConfigError>,
    ) -> Verdict {
        let (timeout, resolution) = (len(timeout), len(self.reaper.resolution()));
        let is_right = match (config, result) {
            (Err(error), result) => result == Err(error),
            (Ok(_), Ok(_)) => timeout >> 28 < resolution,
            (Ok(_), Err(error)) => {
                error.rule() == Rule::TooLongForResolution && timeout >> 26 >= resolution.max(4) / 4
            }
        };
        if is_right {
            return Ok(());
        }
        broken(8, format!("{result:?} for {timeout} ns"))
    }

    /// As [`Reaper::remove`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn remove(&mut self, key: Key) -> Option<u64> {
        let last = self.trail.last().map_or(self.start, |(now, _)| *now);
        self.record(RosterCall::Remove(key), last);
        let value = self.reaper.remove(key);
        let second = self.spurious.remove(key);
        self.gave(Given::Removed(value));
        self.most_at_once = 0;
        let should = self.model.remove(key).map(|conn| conn.value);
        if value != should || second != should {
            self.demand(broken(5, format!("{value:?} is removed, not {should:?}")));
        }
        if value.is_some() {
            self.counters.removed += 1;
            self.gone(key);
        }
        self.settle();
        value
    }

    /// As [`Reaper::poll`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn poll(&mut self, now: Timestamp) -> Option<Reaped> {
        self.record(RosterCall::Poll, now);
        if at(now) > self.model.now {
            self.most_at_once = 0;
        }
        self.before(now);
        let reaped = self.reaper.poll(now).map(Reaped::from);
        let second = self.spurious.poll(now).map(Reaped::from);
        self.gave(Given::Reaped(reaped));
        if second != reaped {
            self.demand(broken(8, format!("{second:?} when polled too often")));
        }
        self.stalled(now);
        self.pace(reaped);
        if let Some(sessions) = &mut self.sessions {
            let verdict = sessions.poll(reaped, &self.model, self.reaper.resolution());
            self.demand(verdict);
        }
        let verdict = self.model.poll(reaped.as_ref());
        self.demand(verdict);
        match reaped {
            Some(Reaped::Heartbeat { .. }) => self.counters.heartbeats += 1,
            Some(Reaped::Close { key, .. }) => {
                self.counters.closed += 1;
                self.gone(key);
            }
            Some(Reaped::Yield) => {}
            None => {
                if maybe_at(self.reaper.deadline()) <= self.model.now {
                    self.demand(broken(8, "a deadline that is past after None".into()));
                }
            }
        }
        self.settle();
        reaped
    }

    /// As [`Reaper::drain`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn drain(&mut self, window: Duration, now: Timestamp) {
        self.record(RosterCall::Drain(window), now);
        self.before(now);
        self.reaper.drain(window, now);
        self.spurious.drain(window, now);
        self.stalled(now);
        self.most_at_once = 0;
        self.model.drain(window);
        self.settle();
    }

    /// As [`Reaper::resumed`].
    ///
    /// # Panics
    /// If a law is broken.
    pub fn resumed(&mut self, now: Timestamp) {
        self.record(RosterCall::Resumed, now);
        self.before(now);
        self.model.pass(now);
        self.reaper.resumed(now);
        self.spurious.resumed(now);
        self.most_at_once = 0;
        self.model.stall(true);
        self.counters.stalls += 1;
        if let Some(sessions) = &mut self.sessions {
            sessions.resumed(self.model.now);
        }
        self.settle();
    }

    /// The roster that is watched.
    #[must_use]
    pub const fn reaper(&self) -> &Reaper<u64> {
        &self.reaper
    }

    /// The calls so far, as many of them as are kept. The capacity counts as
    /// reserved at the start, whenever it was.
    ///
    /// ```
    /// use nabiz::testing::CheckedReaper;
    /// use nabiz::{Config, Timestamp};
    ///
    /// let now = Timestamp::EPOCH;
    /// let mut reaper = CheckedReaper::new(Config::server().build()?, 42, now)?;
    /// let key = reaper.insert(1, now);
    /// reaper.remove(key);
    /// assert_eq!(reaper.replay().to_string(), "roster seed=42 at 0s insert remove#1");
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    #[must_use]
    pub fn replay(&self) -> RosterReplay {
        let replay = RosterReplay::new(*self.reaper.config(), self.seed, self.start)
            .and_then(|replay| replay.with_resolution(self.reaper.resolution()));
        let replay = replay.unwrap_or_else(|error| panic!("{error}, of a roster that is there"));
        let mut replay = replay.with_capacity(self.reserved);
        if self.sessions.is_some() {
            replay = replay.with_sessions();
        }
        let mut numbers = Numbers::default();
        for (now, what) in self.trail.kept() {
            replay.push(numbers.tell(what.call), *now);
            if let Some(Given::Key(key)) = what.gave {
                numbers.inserted(key);
            }
        }
        replay
    }

    /// A call that tells of one connection.
    fn tell(&mut self, what: RosterCall<Key>, key: Key, now: Timestamp) -> bool {
        self.record(what, now);
        self.before(now);
        let told = [&mut self.reaper, &mut self.spurious].map(|reaper| match what {
            RosterCall::Received(_) => reaper.received(key, now),
            RosterCall::HeartbeatReceived(_) => reaper.heartbeat_received(key, now),
            RosterCall::Sent(_) => reaper.sent(key, now),
            RosterCall::HeartbeatSent(_) => reaper.heartbeat_sent(key, now),
            _ => reaper.exempt(key, now),
        });
        self.gave(Given::Known(told == [true; 2]));
        self.stalled(now);
        if !matches!(what, RosterCall::HeartbeatSent(_)) {
            self.most_at_once = 0;
        }
        let config = *self.reaper.config();
        let known = match what {
            RosterCall::Received(_) => self.model.received(key),
            RosterCall::HeartbeatReceived(_) => self.model.heartbeat_received(key),
            RosterCall::Sent(_) => self.model.sent(key),
            RosterCall::HeartbeatSent(_) => self.model.heartbeat_sent(key),
            _ => self.model.bear(key, None, &config),
        };
        self.known(key, known, told);
        if let Some(sessions) = &mut self.sessions {
            let now = self.model.now;
            match what {
                RosterCall::Received(_) => sessions.handle(key, crate::Event::Received, now),
                RosterCall::HeartbeatReceived(_) => {
                    sessions.handle(key, crate::Event::HeartbeatReceived, now);
                }
                RosterCall::Sent(_) => sessions.handle(key, crate::Event::Sent, now),
                RosterCall::HeartbeatSent(_) => {
                    sessions.handle(key, crate::Event::HeartbeatSent, now)
                }
                _ => sessions.bear(key, None, now),
            }
        }
        self.settle();
        known
    }

    fn known(&self, key: Key, known: bool, told: [bool; 2]) {
        if told != [known; 2] {
            self.demand(broken(
                5,
                format!("{key:?} is known: {told:?}, not {known}"),
            ));
        }
    }

    fn gone(&mut self, key: Key) {
        if self.stale.len() == STALE {
            self.stale.pop_front();
        }
        self.stale.push_back(key);
        if let Some(sessions) = &mut self.sessions {
            sessions.remove(key);
        }
    }

    /// What comes before each call: the second roster is polled too often.
    fn before(&mut self, now: Timestamp) {
        self.spuriously(now, self.reaper.deadline());
    }

    /// Polls the second roster at the last instant, at the next if that is
    /// early, and between them: all of it before `deadline`, so for nothing.
    fn spuriously(&mut self, now: Timestamp, deadline: Option<Timestamp>) {
        let (last, due) = (self.model.now, maybe_at(deadline));
        let mut until = at(now).min(due.saturating_sub(1));
        if self.model.is_leap(now) {
            until = last; // to go there in steps is something else
        }
        for instant in [last, last.midpoint(until), until] {
            if instant < last || instant >= due {
                continue;
            }
            let Some(instant) = timestamp(instant) else {
                continue;
            };
            if let Some(reap) = self.spurious.poll(instant).map(Reaped::from) {
                self.demand(broken(8, format!("{reap:?} at {instant:?}, too early")));
            }
        }
    }

    /// Time went on, and whether the call was a stall is for the roster to tell
    /// as it is for the list.
    fn stalled(&mut self, now: Timestamp) {
        let told = self.reaper.counters().stalls;
        self.model.call(now, told);
        let should = self.model.stalls;
        if told != should {
            self.demand(broken(4, format!("{told} stalls, not {should}")));
        }
        if self.counters.stalls < should {
            self.counters.stalls = should;
            self.most_at_once = 0;
            if let Some(sessions) = &mut self.sessions {
                sessions.stalled(&self.model);
            }
        }
    }

    /// Law 10: so many polls at an instant, and so many duties at a time.
    fn pace(&mut self, reaped: Option<Reaped>) {
        if self.most_at_once == 0 {
            // A beat (or three, if the interval is about the resolution), all
            // probes, and the end, of each; and some pauses.
            let each = usize::from(self.reaper.config().probes()) + 5;
            self.most_at_once = self.model.conns.len() * each + 8;
            self.at_once = 0;
        }
        match reaped {
            None | Some(Reaped::Yield) => self.unpaused = 0,
            Some(_) => self.unpaused += 1,
        }
        self.at_once += usize::from(reaped.is_some());
        if self.at_once > self.most_at_once {
            self.demand(broken(10, format!("{} duties at once", self.at_once)));
        }
        // A group is looked at as a whole.
        if self.unpaused >= 1024 + 64 {
            self.demand(broken(10, format!("{} without a pause", self.unpaused)));
        }
    }

    /// What comes after each call: the roster and its second agree, with each
    /// other and with the list.
    fn settle(&mut self) {
        let verdict = self.model.check_deadline(self.reaper.deadline());
        self.demand(verdict.and_then(|()| self.settled()));
    }

    fn settled(&self) -> Verdict {
        let (reaper, model) = (&self.reaper, &self.model);
        let deadline = reaper.deadline();
        if self.spurious.deadline() != deadline || self.spurious.counters() != reaper.counters() {
            return broken(8, format!("polled too often: {:?}", self.spurious));
        }
        if reaper.counters() != self.counters {
            let (told, should) = (reaper.counters(), self.counters);
            return broken(0, format!("{told:?}, not {should:?}"));
        }
        let now = self.spurious_now();
        let count = model.conns.len();
        let listed = model.conns.iter().map(|conn| (conn.key, &conn.value));
        if !reaper.iter().eq(listed) || reaper.len() != count || reaper.is_empty() != (count == 0) {
            let all: Vec<(Key, &u64)> = reaper.iter().collect();
            return broken(
                5,
                format!("{} connections, not {count}: {all:?}", reaper.len()),
            );
        }
        for conn in &model.conns {
            let key = conn.key;
            if !reaper.contains(key) || reaper.get(key) != Some(&conn.value) {
                return broken(5, format!("{key:?} with {} is not known", conn.value));
            }
            model.check_silence(conn, reaper.silence(key, now))?;
        }
        for key in &self.stale {
            let silence = reaper.silence(*key, now);
            if reaper.contains(*key) || reaper.get(*key).is_some() || silence.is_some() {
                return broken(5, format!("the stale {key:?} is known"));
            }
        }
        Ok(())
    }

    fn spurious_now(&self) -> Timestamp {
        timestamp(self.model.now).unwrap_or(Timestamp::MAX)
    }

    /// Before the call is made, so that a report has it whatever it does.
    fn record(&mut self, call: RosterCall<Key>, now: Timestamp) {
        self.trail.record(What { call, gave: None }, now);
    }

    fn gave(&mut self, gave: Given) {
        if let Some(what) = self.trail.last_mut() {
            what.gave = Some(gave);
        }
    }

    #[track_caller]
    fn demand(&self, verdict: Verdict) {
        let (seed, resolution) = (self.seed, self.reaper.resolution());
        let config = self.reaper.config();
        self.trail.demand(
            verdict,
            format_args!("seed {seed}, resolution {resolution:?}, {config:?}"),
            || self.replay(),
        );
    }
}

pub(super) fn timestamp(nanos: Nanos) -> Option<Timestamp> {
    u64::try_from(nanos).ok().and_then(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::trail::report;

    fn flood(strikes: u32) -> Config {
        let config = Config::server().with_flood(Duration::from_secs(10), strikes);
        config.build().unwrap()
    }

    fn secs(secs: u64) -> Timestamp {
        Timestamp::from_epoch(Duration::from_secs(secs)).unwrap()
    }

    /// A checker that believes in 5 strikes, and watches a roster of 2.
    fn misled() -> CheckedReaper {
        let resolution = Duration::from_millis(5);
        let checked = CheckedReaper::new(flood(5), 7, secs(1)).unwrap();
        let mut checked = checked.with_resolution(resolution).unwrap();
        checked.spurious = Reaper::new(flood(2), 7, secs(1)).unwrap();
        checked.spurious = checked.spurious.with_resolution(resolution).unwrap();
        checked.reaper = checked.spurious.clone();
        checked.with_capacity(9).with_sessions()
    }

    #[test]
    fn a_report_replays() {
        let told = report(|| {
            let mut reaper = misled();
            let first = reaper.insert(1, secs(1));
            let second = reaper.insert(22, secs(2));
            reaper.remove(first);
            assert!(!reaper.received(first, secs(3)));
            for _ in 0..4 {
                reaper.heartbeat_received(second, secs(3));
            }
            let _ = reaper.poll(secs(3));
        });
        let line = "replay: roster flood=10s,2 resolution=5ms reserve=9 sessions seed=7 at 1s \
            insert at 2s insert=22 remove#1 at 3s received#1 heartbeat-received#2 \
            heartbeat-received#2 heartbeat-received#2 heartbeat-received#2 poll";
        assert!(
            told.starts_with("law 2 (never late) is broken: Flooded"),
            "{told}"
        );
        assert!(
            told.contains("\nat 2000000000 ns: Remove(0.1): Some(1)\n"),
            "{told}"
        );
        assert!(told.contains("HeartbeatReceived(1.1): true\n"), "{told}");
        assert!(told.contains("Received(0.1): false\n"), "{told}");
        assert_eq!(told.lines().last(), Some(line));

        let line = line.strip_prefix("replay: ").unwrap();
        let replay: RosterReplay = line.parse().unwrap();
        let calls = || replay.watch_with(misled(), |_, _, _, _| {});
        assert_eq!(report(calls), told);
        let _ = replay.run();
    }

    #[test]
    fn a_key_is_given_once_and_by_both() {
        let law = "law 5 (once) is broken: 0.1 was given twice";
        let config = || Config::server().build().unwrap();
        let fresh = || CheckedReaper::new(config(), 7, secs(1)).unwrap();
        let told = report(|| {
            let mut checked = fresh();
            let key = checked.insert(1, secs(1));
            checked.remove(key);
            // It begins anew, and so does what it gives.
            let again = fresh();
            (checked.reaper, checked.spurious) = (again.reaper, again.spurious);
            checked.insert(2, secs(1));
        });
        assert!(told.starts_with(law), "{told}");
        let told = report(|| {
            let mut checked = fresh();
            checked.spurious.insert(1, secs(1));
            checked.insert(2, secs(1));
        });
        assert!(told.starts_with(law), "{told}");
    }

    fn quiet() -> CheckedReaper {
        let config = Config::server()
            .without_interval()
            .without_silence_timeout();
        CheckedReaper::new(config.build().unwrap(), 7, secs(1)).unwrap()
    }

    fn silent(count: u64) -> (CheckedReaper, Vec<Key>, Timestamp) {
        let config = Config::server().without_interval().build().unwrap();
        let mut checked = CheckedReaper::new(config, 7, secs(1)).unwrap();
        let keys = (0..count).map(|name| checked.insert(name, secs(1)));
        let keys = keys.collect();
        let due = checked.reaper.deadline().unwrap();
        (checked, keys, due)
    }

    #[test]
    fn a_limit_is_refused_where_ticks_cannot_tell_it() {
        let checked = quiet();
        let resolution = checked.reaper.resolution();
        let config = Ok(*checked.reaper.config());
        let timeout = |nanos: u128| Duration::from_nanos(u64::try_from(nanos).unwrap());
        let most = resolution.as_nanos() << 28;
        let too_long = ConfigError::new("silence_timeout", Rule::TooLongForResolution);
        let zero = ConfigError::new("silence_timeout", Rule::Zero);
        let allowed = |nanos, config, result| checked.allowed(timeout(nanos), config, result);
        assert!(allowed(most - 1, config, Ok(true)).is_ok());
        assert!(allowed(most, config, Ok(true)).is_err());
        assert!(allowed(most / 16, config, Err(too_long)).is_ok());
        assert!(allowed(most / 16 - 1, config, Err(too_long)).is_err());
        assert!(allowed(most, config, Err(zero)).is_err());
        assert!(allowed(0, Err(zero), Err(zero)).is_ok());
        assert!(allowed(0, Err(zero), Ok(true)).is_err());
    }

    #[test]
    fn both_rosters_know_the_same() {
        let told = report(|| {
            let (mut checked, keys, _) = silent(1);
            checked.spurious = Reaper::new(*checked.reaper.config(), 7, secs(1)).unwrap();
            checked.remove(keys[0]);
        });
        assert!(
            told.starts_with("law 5 (once) is broken: Some(0) is removed"),
            "{told}"
        );
        let told = report(|| {
            let mut checked = quiet();
            let key = checked.insert(1, secs(1));
            checked.spurious = quiet().spurious;
            checked.received(key, secs(1));
        });
        assert!(
            told.starts_with("law 5 (once) is broken: 0.1 is known: [true, false]"),
            "{told}"
        );
        let told = report(|| {
            let mut checked = quiet();
            checked.spurious.resumed(secs(1));
            checked.drain(Duration::MAX, secs(1));
        });
        assert!(
            told.starts_with("law 8 (quiescence) is broken: polled too often"),
            "{told}"
        );
        let told = report(|| {
            let mut checked = quiet();
            checked.insert(1, secs(1));
            let mut other = quiet();
            other.insert(2, secs(1));
            (checked.reaper, checked.spurious) = (other.reaper, other.spurious);
            checked.drain(Duration::MAX, secs(1));
        });
        assert!(
            told.starts_with("law 5 (once) is broken: 1 connections, not 1"),
            "{told}"
        );
    }

    #[test]
    fn a_poll_too_many_must_say_nothing() {
        for late in [0, 5] {
            let told = report(|| {
                let mut checked = quiet();
                let key = checked.insert(1, secs(1));
                // The other has something to say, now and later.
                checked.spurious.drain(Duration::ZERO, secs(1));
                checked.received(key, secs(1 + late));
            });
            assert!(
                told.lines().next().unwrap().ends_with("at 1s, too early"),
                "{told}"
            );
        }
    }

    #[test]
    fn the_keys_that_were_given_back_are_remembered_a_while() {
        let mut checked = quiet();
        for (round, kept) in [(1, 1), (1, 2), (38, STALE)] {
            for name in 0..round {
                let key = checked.insert(name, secs(1));
                checked.remove(key);
            }
            assert_eq!(checked.stale.len(), kept);
        }
    }

    #[test]
    fn what_is_done_at_once_is_bounded() {
        // So many for each, and some.
        let (mut checked, _, due) = silent(2);
        assert!(checked.poll(due).is_some());
        let each = usize::from(checked.reaper.config().probes()) + 5;
        let counted = (checked.most_at_once, checked.at_once, checked.unpaused);
        assert_eq!(counted, (2 * each + 8, 1, 1));

        // As many as may be, and no more.
        let told = report(|| {
            let (mut checked, _, due) = silent(3);
            assert!(checked.poll(due).is_some());
            checked.most_at_once = 2;
            assert!(checked.poll(due).is_some());
            let _ = checked.poll(due);
        });
        assert!(
            told.starts_with("law 10 (total) is broken: 3 duties at once"),
            "{told}"
        );

        // Later they are counted anew.
        let (mut checked, _, due) = silent(1);
        (checked.most_at_once, checked.at_once) = (1, 1);
        assert!(checked.poll(due).is_some());

        // So are they when something else happens, but for what is owed anyway.
        for is_owed in [false, true] {
            let (mut checked, keys, due) = silent(2);
            assert!(checked.poll(due).is_some());
            checked.most_at_once = 1;
            match is_owed {
                true => checked.heartbeat_sent(keys[1], due),
                false => checked.sent(keys[1], due),
            };
            assert_eq!(checked.most_at_once, usize::from(is_owed));
        }
    }

    #[test]
    fn a_pause_comes_after_a_thousand_at_most() {
        let told = report(|| {
            let (mut checked, _, due) = silent(2);
            checked.unpaused = 1024 + 64 - 2;
            assert!(checked.poll(due).is_some());
            let _ = checked.poll(due);
        });
        assert!(
            told.starts_with("law 10 (total) is broken: 1088 without a pause"),
            "{told}"
        );
    }
}

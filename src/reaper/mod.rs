//! A server's whole roster: who is connected, and who is no longer.

mod amnesty;
mod beats;
mod bits;
mod clock;
mod compare;
mod drain;
mod dues;
#[cfg(feature = "testing")]
mod fingerprint;
mod iter;
mod news;
mod reap;
mod roster;
mod ticks;
mod verdict;
mod work;

pub use iter::Iter;
#[cfg(feature = "std")]
pub(crate) use news::{News, Past};
pub use reap::{Counters, Reap};
pub use roster::Key;
#[cfg(feature = "std")]
pub(crate) use ticks::RESOLUTION;

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::config::{Config, ConfigError, Evidence, Limits, Role, Rule};
use crate::session::{is_thawing, retire, take_token};
use crate::time::{Span, Timestamp};
use amnesty::Amnesties;
use beats::{Flush, Round};
use drain::Drain;
use dues::{Dues, NEVER};
use roster::{GROUP, Roster, Slot};
use ticks::Ticks;
use verdict::Nanos;
use work::Step;

/// A server's roster of connections: closes what went silent, and beats to
/// what is quiet, for ten million as for one.
///
/// It gives the verdicts that as many server [`Session`](crate::Session)s
/// would give, by the same [`Config`], to a [resolution](Self::with_resolution)
/// of its own: a connection is closed in `[limit, limit + resolution]` when the
/// roster is polled at its deadlines, and never early. Beats may come earlier
/// than a session's, never later.
///
/// - **Feed** it: [`insert`](Self::insert), [`received`](Self::received),
///   [`sent`](Self::sent), [`heartbeat_sent`](Self::heartbeat_sent),
///   [`remove`](Self::remove). Per packet it is a few nanoseconds and no
///   allocation, whatever the number of connections.
/// - **Poll** it until it says `None`. Between two [`Yield`](Reap::Yield)s it
///   looks at a bounded number of connections, so that a tick never pauses the
///   server.
/// - **Sleep** until the [`deadline`](Self::deadline).
///
/// The duties of a [`Session`](crate::Session)'s driver hold here too: report
/// each event when it happened, and read until nothing is left before each
/// poll. A loop does best to take one instant for each turn: read all that
/// there is, tell it at that instant, then poll at it.
///
/// A late tick convicts nobody: after a stall of more than the
/// [tolerance](crate::ConfigBuilder::with_stall_tolerance) (here never less
/// than the resolution) everyone is suspect, is asked for a probe, and judged
/// from then on; once a silence. A roster remembers two such stalls. Whoever
/// fell silent before the older one is not forgiven again; who did since is
/// forgiven at each until the older has run out, and then once more, so that
/// polled at any period P a silent peer is closed within 2 × (limit + P), limit
/// being the longest in force for anybody.
///
/// ```
/// use core::time::Duration;
/// use nabiz::{CloseReason, Config, Reap, Reaper, Timestamp};
///
/// let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
/// let config = Config::server().without_interval().build()?; // bears 120 s of silence
/// let mut reaper = Reaper::new(config, 42, at(0))?;
/// let alice = reaper.insert("alice", at(0));
/// let bob = reaper.insert("bob", at(0));
/// reaper.received(alice, at(50));
///
/// let mut closed = Vec::new();
/// while let Some(due) = reaper.deadline() {
///     while let Some(reap) = reaper.poll(due) {
///         match reap {
///             Reap::Close { value, reason, .. } => closed.push((value, reason)),
///             Reap::Heartbeat { .. } => unreachable!("no interval is set"),
///             Reap::Yield => {} // a server would look after its sockets here
///         }
///     }
/// }
/// let silent = CloseReason::PeerSilent;
/// assert_eq!(closed, [("bob", silent), ("alice", silent)]);
/// assert!(!reaper.received(bob, at(200))); // its key is stale
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
///
/// # Heartbeats
/// They are spread by place: a round, of an interval less half its jitter,
/// passes all connections at an even pace, and beats where nothing was sent
/// for the last sixth of the interval. So who came together, or was sent to
/// together, does not beat together, and none waits longer than the interval;
/// but other traffic saves fewer beats than with a session. Without
/// [`spread_first_beat`](crate::ConfigBuilder::with_spread_first_beat) each
/// connection beats as its session would, and a broadcast is followed by as
/// many beats at once.
///
/// Of a configuration a roster has no use for `close_grace` (a closed
/// connection is its owner's) nor, but for the spread of probes where there is
/// no `silence_timeout`, for `resume_grace`.
///
/// # What it costs
/// Eight bytes and a third for each connection, and the size of an
/// `Option<T>`; four more where the configuration has an interval, eight each
/// with `max_age`, with `flood`, and once any connection has a
/// [timeout of its own](Self::set_silence_timeout). Nothing where `T` has no
/// size. [`with_capacity`](Self::with_capacity) reserves it; a roster that
/// outgrows its capacity moves, in the middle of an insert.
///
/// # How late
/// One poll hands out one duty, and does the work of a thousand connections at
/// most; of a million that fall silent together the last is reported when the
/// server has closed all the others.
#[derive(Clone)]
pub struct Reaper<T> {
    /// The latest instant seen.
    now: Timestamp,
    /// What the slot of a connection becomes that is heard of now. Its tick is
    /// that of `now`, or the next if an amnesty was granted in that one, so
    /// that what comes after it tells.
    heard: Slot,
    /// Until when that is so and no call is a stall, which keeps a call per
    /// packet down to a few compares and stores.
    plain: Timestamp,
    ticks: Ticks,
    roster: Roster<T>,
    /// When each group of the roster is due, at the earliest.
    dues: Dues,
    /// The group that is being looked at: which of it may be due.
    visit: Visit,
    /// How many were looked at since the last pause.
    visited: usize,
    /// When the last poll was, if it left work.
    busy: Option<Timestamp>,
    /// When there is work again.
    next: u64,
    /// From when on a call is a stall.
    late: Timestamp,
    /// Up to when all that fell due was done, if not up to `next`.
    done: Timestamp,
    config: Config,
    seed: u64,
    resolution: Span,
    /// The shortest that any limit so far has asked for.
    tolerance: Span,
    nanos: Nanos,
    amnesties: Amnesties,
    round: Option<Round>,
    drain: Option<Drain>,
    /// For each slot, where the configuration asks for it: the last flush, …
    flushes: Vec<Flush>,
    /// … when the flood bucket is full again (none: flooded), …
    buckets: Vec<Option<Timestamp>>,
    /// … when the connection is too old, …
    retirements: Vec<Option<Timestamp>>,
    /// … and, once one differs, how much silence is borne.
    silences: Vec<Option<Span>>,
    counters: Counters,
}

/// The connections of a group that may be due, a bit each.
#[derive(Clone, Copy, Debug, Default)]
struct Visit {
    group: usize,
    todo: u64,
}

impl<T> Reaper<T> {
    /// An empty roster, which resolves 20 ms.
    ///
    /// `seed` decides all chance, as in [`Session::new`](crate::Session::new).
    ///
    /// # Errors
    /// What a roster cannot honour: a client's configuration, answers (which
    /// take a [`Session`](crate::Session) each), a limit beyond 26 days.
    pub fn new(config: Config, seed: u64, now: Timestamp) -> Result<Self, ConfigError> {
        if config.role != Role::Server {
            return Err(ConfigError::new("role", Rule::NotServer));
        }
        if config.answer_timeout.is_some() {
            return Err(ConfigError::new("answer_timeout", Rule::NotInRoster));
        }
        if config.expects_answers() {
            return Err(ConfigError::new("max_unanswered", Rule::NotInRoster));
        }
        let reaper = Self {
            now,
            heard: Slot::heard(0),
            plain: now,
            ticks: Ticks::new(ticks::RESOLUTION, now),
            roster: Roster::new(),
            dues: Dues::new(),
            visit: Visit::default(),
            visited: 0,
            busy: None,
            next: NEVER,
            late: Timestamp::MAX,
            done: now,
            config,
            seed,
            resolution: ticks::RESOLUTION,
            tolerance: config.tolerance(),
            nanos: Nanos::of(&config),
            amnesties: Amnesties::default(),
            round: None,
            drain: None,
            flushes: Vec::new(),
            buckets: Vec::new(),
            retirements: Vec::new(),
            silences: Vec::new(),
            counters: Counters::default(),
        };
        reaper.with_resolution(ticks::RESOLUTION.duration())
    }

    /// How exact verdicts are: a connection is closed within so much after its
    /// limit, when the roster is polled at its deadlines. Coarser is less
    /// work: the roster then asks to be polled less often. Default 20 ms.
    ///
    /// # Errors
    /// A resolution of zero, or one so fine that a limit is too long for it;
    /// a roster that ever had a connection. A limit may take 2²⁸ ticks, of
    /// which there are two to four in a resolution: 26 days at 20 ms, 19 hours
    /// at 1 ms.
    pub fn with_resolution(mut self, resolution: Duration) -> Result<Self, ConfigError> {
        let resolution = Span::saturating(resolution);
        ConfigError::check_span("resolution", resolution)?;
        if self.roster.places() > 0 {
            return Err(ConfigError::new("resolution", Rule::AfterInsert));
        }
        self.ticks = Ticks::new(resolution, self.now);
        self.heard = Slot::heard(self.ticks.at(self.now));
        self.ticks.check(&self.config)?;
        self.resolution = resolution;
        self.tolerance = self.usual_tolerance();
        // The clocks of the other scale mean nothing in this one.
        self.amnesties = Amnesties::default();
        self.plain = self.now;
        self.round = Round::new(&self.config, resolution, self.now.as_nanos());
        self.expect();
        Ok(self)
    }

    /// Reserves memory for so many connections, which then come and go without
    /// another allocation, but for one when the first gets a
    /// [timeout of its own](Self::set_silence_timeout).
    #[must_use]
    pub fn with_capacity(mut self, connections: usize) -> Self {
        self.roster.reserve(connections);
        let places = self.roster.capacity();
        self.dues.reserve(places.div_ceil(GROUP));
        if self.config.interval.is_some() {
            self.flushes.reserve_exact(places);
        }
        if self.config.flood_gap.is_some() {
            self.buckets.reserve_exact(places);
        }
        if self.config.max_age.is_some() {
            self.retirements.reserve_exact(places);
        }
        self
    }

    /// A connection was accepted. Its key is refused once it is gone.
    pub fn insert(&mut self, value: T, now: Timestamp) -> Key {
        self.advance(now);
        let tick = self.tick();
        let key = self.roster.insert(value, tick);
        let index = key.index();
        while self.dues.len() < self.roster.places() / GROUP {
            self.grow();
        }
        let link = self.link();
        self.counters.inserted = self.counters.inserted.wrapping_add(1);
        if let Some(flush) = self.flushes.get_mut(index) {
            *flush = Flush::new(tick);
        }
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket = Some(self.now);
        }
        if let Some(retirement) = self.retirements.get_mut(index) {
            *retirement = retire(&self.config, self.seed, link, self.now);
        }
        if let Some(silence) = self.silences.get_mut(index) {
            *silence = self.config.silence_timeout;
        }
        if self.roster.len().is_power_of_two() {
            self.doubled();
        }
        self.fall_due(index);
        key
    }

    /// Any bytes came from the peer, be it part of a message: evidence of life
    /// under [`Evidence::AnyBytes`]. False, and nothing else, if the key is
    /// stale.
    #[inline]
    pub fn received(&mut self, key: Key, now: Timestamp) -> bool {
        self.advance(now);
        match self.config.evidence {
            Evidence::AnyBytes => self.roster.touch(key, self.heard),
            Evidence::Heartbeats => self.roster.hear(key),
        }
    }

    /// A heartbeat of the peer's came: evidence of life, and counted against
    /// the flood limit. Implies [`received`](Self::received). False, and
    /// nothing else, if the key is stale.
    #[inline]
    pub fn heartbeat_received(&mut self, key: Key, now: Timestamp) -> bool {
        self.advance(now);
        if let Some(gap) = self.config.flood_gap {
            self.count_beat(key, gap);
        }
        self.roster.touch(key, self.heard)
    }

    /// Bytes of ours were flushed, which pushes the next heartbeat back (with
    /// `only_when_idle`) and shows that output progresses. False, and nothing
    /// else, if the key is stale.
    #[inline]
    pub fn sent(&mut self, key: Key, now: Timestamp) -> bool {
        self.flush(key, now, Flush::flushed)
    }

    /// The heartbeat asked for was flushed. Implies [`sent`](Self::sent).
    /// False, and nothing else, if the key is stale.
    #[inline]
    pub fn heartbeat_sent(&mut self, key: Key, now: Timestamp) -> bool {
        self.flush(key, now, |_, tick| Flush::new(tick))
    }

    /// The connection is gone, or is to be: takes it out, and gives back what
    /// it was inserted with. None if the key is stale.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let index = self.roster.find(key)?;
        self.counters.removed = self.counters.removed.wrapping_add(1);
        self.roster.remove(index)
    }

    /// What to do at `now`; call until `None`. Calls too many change nothing.
    pub fn poll(&mut self, now: Timestamp) -> Option<Reap<'_, T>> {
        self.advance(now);
        self.poll_now(&|_| news::News::default())
    }

    /// When to poll again, unless there is none to poll for. Never later than
    /// something is due, and sometimes earlier: what was heard meanwhile is
    /// only looked at then.
    ///
    /// It does not lie in the future while work is left.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.busy {
            Some(_) => Some(self.now),
            None => Timestamp::from_nanos(self.next),
        }
    }

    /// Closes everyone, spread evenly over a window, each with
    /// [`Draining`](crate::CloseReason::Draining) and a `retry_after` of its own: what
    /// is left of the window, and a random part of another one. So neither the
    /// end nor the return is an avalanche.
    ///
    /// Who is inserted meanwhile is closed within the window too; after it, at
    /// once. Heartbeats and other verdicts go on. It cannot be undone; of two
    /// drains the one that ends first counts. The times are to the resolution,
    /// and a `retry_after` counts from its `Close`.
    ///
    /// ```
    /// use core::time::Duration;
    /// use nabiz::{CloseReason, Config, Reap, Reaper, Timestamp};
    ///
    /// let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
    /// let mut reaper = Reaper::new(Config::server().build()?, 42, at(0))?;
    /// for name in ["alice", "bob"] {
    ///     reaper.insert(name, at(0));
    /// }
    /// reaper.drain(Duration::from_secs(10), at(0));
    /// assert_eq!(reaper.deadline(), Some(at(5)));
    /// let Some(Reap::Close { reason, retry_after, .. }) = reaper.poll(at(5)) else { unreachable!() };
    /// assert_eq!(reason, CloseReason::Draining);
    /// assert!(retry_after >= Some(Duration::from_secs(5)));
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    pub fn drain(&mut self, window: Duration, now: Timestamp) {
        self.advance(now);
        let drain = Drain::new(Span::saturating(window), self.now, self.roster.len());
        self.drain = Some(drain.hastened(self.drain));
        self.schedule();
    }

    /// The machine slept, and its clock does not tell: everyone is suspect, and
    /// forgiven, as by [`Event::Resumed`](crate::Event::Resumed).
    pub fn resumed(&mut self, now: Timestamp) {
        let now = self.now.max(now);
        self.leap(now);
        let amnesty = self.amnesty();
        self.amnesties.grant_all(amnesty);
        self.forgave(amnesty);
    }

    /// Bears any silence of this connection: a long poll, a peer that is
    /// watched by other means. Its other limits stay. False, and nothing else,
    /// if the key is stale.
    ///
    /// ```
    /// use core::time::Duration;
    /// use nabiz::{Config, Reaper, Timestamp};
    ///
    /// let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
    /// let config = Config::server().without_interval().build()?;
    /// let mut reaper = Reaper::new(config, 42, at(0))?;
    /// let key = reaper.insert((), at(0));
    /// reaper.exempt(key, at(0));
    /// assert_eq!(reaper.poll(at(10_000)), None);
    /// assert!(reaper.contains(key));
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    pub fn exempt(&mut self, key: Key, now: Timestamp) -> bool {
        self.advance(now);
        self.bear(key, None)
    }

    /// Bears so much silence of this connection, in place of the
    /// configuration's `silence_timeout`: for protocols in which the client
    /// says how often it will beat. A limit that is thereby past falls due at
    /// `now`. Where the stall tolerance is derived, a shorter timeout lowers it
    /// for the whole roster, for good.
    ///
    /// # Errors
    /// As [`ConfigBuilder::build`](crate::ConfigBuilder::build), and a timeout
    /// too long for the resolution; then nothing is changed. A stale key is no
    /// error but `false`.
    ///
    /// ```
    /// use core::time::Duration;
    /// use nabiz::{Config, Reaper, Timestamp};
    ///
    /// let now = Timestamp::EPOCH;
    /// let config = Config::server().without_interval().build()?;
    /// let mut reaper = Reaper::new(config, 42, now)?;
    /// let key = reaper.insert((), now);
    /// reaper.set_silence_timeout(key, Duration::from_secs(30), now)?;
    /// let due = reaper.deadline().unwrap().since_epoch();
    /// assert!(due >= Duration::from_secs(30) && due <= Duration::from_millis(30_020));
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    pub fn set_silence_timeout(
        &mut self,
        key: Key,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<bool, ConfigError> {
        let config = self.config.with_limits(Limits {
            silence_timeout: Some(timeout),
            ..self.config.limits()
        })?;
        self.ticks.check(&config)?;
        self.advance(now);
        let silence = Span::saturating(timeout);
        if !self.contains(key) {
            return Ok(false);
        }
        let tolerance = config.tolerance().max(self.resolution);
        self.tolerance = self.tolerance.min(tolerance);
        self.expect();
        Ok(self.bear(key, Some(silence)))
    }

    /// How long ago the last evidence of life came, or the connection was
    /// inserted: by up to the resolution less than it was, and never more.
    /// None if the key is stale.
    #[must_use]
    pub fn silence(&self, key: Key, now: Timestamp) -> Option<Duration> {
        let slot = self.roster.slot(self.roster.find(key)?)?;
        let end = self.ticks.end(slot.tick());
        let now = self.now.max(now).as_nanos();
        Some(Duration::from_nanos(now.saturating_sub(end)))
    }

    /// What the connection was inserted with.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        self.roster.value(self.roster.find(key)?)
    }

    /// What the connection was inserted with, to change.
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.roster.value_mut(self.roster.find(key)?)
    }

    /// Whether the connection is in the roster.
    #[must_use]
    pub fn contains(&self, key: Key) -> bool {
        self.roster.find(key).is_some()
    }

    /// All connections, in the order of their places.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(&self.roster)
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.roster.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many connections have room without another allocation.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.roster.capacity()
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// See [`with_resolution`](Self::with_resolution).
    #[must_use]
    pub const fn resolution(&self) -> Duration {
        self.resolution.duration()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What the configuration tolerates, which a roster can only tell to its
    /// resolution.
    fn usual_tolerance(&self) -> Span {
        self.config.tolerance().max(self.resolution)
    }

    /// Something may be due at `due`; what should have been before falls due
    /// now.
    #[inline]
    fn fall_due_at(&mut self, index: usize, due: u64) {
        let due = due.max(self.now.as_nanos());
        self.dues.lower(index / GROUP, due);
        if due < self.next {
            self.plan(due);
        }
    }

    #[inline]
    fn fall_due(&mut self, index: usize) {
        if let Some(slot) = self.roster.slot(index) {
            self.fall_due_at(index, self.bound(index, slot));
        }
    }

    /// Notes a flush, if it counts. It moves the next beat later, unless there
    /// was none to come while one was in flight, or each wait is drawn anew.
    #[inline]
    fn flush(&mut self, key: Key, now: Timestamp, noted: fn(Flush, u64) -> Flush) -> bool {
        self.advance(now);
        let tick = self.tick();
        let Some(index) = self.roster.find(key) else {
            return false;
        };
        if let Some(flush) = self.flushes.get_mut(index) {
            let was_in_flight = flush.is_in_flight();
            if self.config.only_when_idle || was_in_flight {
                *flush = noted(*flush, tick);
                let flush = *flush;
                if !flush.is_in_flight() && (was_in_flight || self.round.is_none()) {
                    self.fall_due_at(index, self.beat_bound(index, flush));
                }
            }
        }
        true
    }

    /// Makes room beside the slots that were added.
    #[cold]
    fn grow(&mut self) {
        let places = self.roster.places();
        self.dues.push();
        if self.config.interval.is_some() {
            self.flushes.resize(places, Flush::new(0));
        }
        if self.config.flood_gap.is_some() {
            self.buckets.resize(places, None);
        }
        if self.config.max_age.is_some() {
            self.retirements.resize(places, None);
        }
        if !self.silences.is_empty() {
            self.silences.resize(places, self.config.silence_timeout);
        }
    }

    /// The first came, or as many again: what was planned for few is late.
    #[cold]
    fn doubled(&mut self) {
        let (now, count) = (self.now, self.roster.len());
        if count == 1 {
            self.amnesties.end_probes();
        }
        if let Some(round) = &mut self.round {
            if count == 1 {
                round.begin(self.seed, now.as_nanos());
            }
            round.hasten(now.as_nanos(), count);
        }
        if let Some(drain) = &mut self.drain {
            drain.hasten(now, count);
        }
        self.schedule();
    }

    fn bear(&mut self, key: Key, silence: Option<Span>) -> bool {
        let Some(index) = self.roster.find(key) else {
            return false;
        };
        if self.silences.is_empty() {
            let usual = self.config.silence_timeout;
            self.silences.reserve_exact(self.roster.capacity());
            self.silences.resize(self.roster.places(), usual);
        }
        if let Some(own) = self.silences.get_mut(index) {
            *own = silence;
        }
        self.fall_due(index);
        true
    }

    /// Takes a token for a heartbeat of the peer's; without one it is flooded,
    /// and closed at the next poll whatever comes.
    fn count_beat(&mut self, key: Key, gap: Span) {
        let Some(index) = self.roster.find(key) else {
            return;
        };
        let Some(slot) = self.roster.slot(index) else {
            return;
        };
        // What piled up while nobody read comes in a burst.
        if self.amnesties.standing(slot.tick()).is_suspect
            || is_thawing(self.amnesties.last(), self.usual_tolerance(), self.now)
        {
            return;
        }
        let Some(Some(full)) = self.buckets.get_mut(index) else {
            return;
        };
        if take_token(full, gap, self.config.flood_strikes, self.now) {
            return;
        }
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket = None;
        }
        self.fall_due_at(index, self.now.as_nanos());
    }

    /// The number of the connection being inserted, for what is drawn for it.
    #[allow(clippy::cast_possible_truncation)] // it may wrap
    const fn link(&self) -> u32 {
        self.counters.inserted as u32
    }
}

impl<T> fmt::Debug for Reaper<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaper")
            .field("connections", &self.len())
            .field("now", &self.now)
            .field("deadline", &self.deadline())
            .field("counters", &self.counters)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

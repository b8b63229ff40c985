//! A run of a roster, made of any bytes.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::checked::{CheckedReaper, Reaped};
use crate::config::{Config, ConfigError, Role};
use crate::reaper::{Key, Reaper};
use crate::testing::bytes::{Bytes, configured, earlier, instant};
use crate::testing::replay::{Given, Numbers, RosterCall, RosterReplay};
use crate::time::{Ratio, Timestamp};

/// How many connections, or crowds of them, there are at most.
const MOST: usize = 8;

/// How often a step polls at one instant, at most: for a roster that nobody
/// watches, and that would never come to rest.
const POLLS: usize = 1 << 20;

/// A roster's configuration, its seed and what happens to it, made of any
/// bytes: as [`Script`](crate::testing::Script) for a session.
///
/// All bytes make a valid run. Half of the steps are those of a driver that
/// sleeps until the deadline and does as it is told, mostly at once; the others
/// are any call at any time, late, backwards and at the ends of the range, with
/// keys that may be stale, and polls that stop half-way.
///
/// ```
/// use nabiz::testing::RosterScript;
///
/// let script = RosterScript::new(b"any bytes will do");
/// assert_eq!(script.run(), script.run());
/// // Law 12, too.
/// assert_eq!(script.run_beside_sessions(), script.run());
/// ```
#[derive(Clone, Copy)]
pub struct RosterScript<'a> {
    config: Config,
    resolution: Duration,
    seed: u64,
    start: Timestamp,
    reserved: usize,
    /// How the driver answers heartbeats.
    habit: u8,
    crowd: usize,
    steps: Bytes<'a>,
}

/// What a roster said, one item of a run.
///
/// ```
/// use nabiz::testing::{RosterOutput, RosterScript};
///
/// let said = RosterScript::new(&[0; 20]).run();
/// assert!(matches!(said.last(), Some(RosterOutput::Deadline(_))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RosterOutput {
    /// What a poll returned.
    Reaped(Timestamp, Reaped),
    /// The deadline after a call.
    Deadline(Option<Timestamp>),
}

impl RosterOutput {
    /// What a call came to.
    pub(in crate::testing) fn push(
        said: &mut Vec<Self>,
        now: Timestamp,
        reaped: Option<Reaped>,
        deadline: Option<Timestamp>,
    ) {
        said.extend(reaped.map(|reaped| Self::Reaped(now, reaped)));
        said.push(Self::Deadline(deadline));
    }
}

impl<'a> RosterScript<'a> {
    /// The run that these bytes make, of up to eight connections at a time.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut bytes = Bytes(bytes);
        let config = server(&mut bytes);
        let resolution = match bytes.byte() {
            0..=139 => Duration::from_millis(20),
            140..=159 => Duration::from_millis(1),
            160..=179 => Duration::from_millis(300),
            180..=219 => bytes.span(),
            _ => Duration::from_nanos(bytes.wide()),
        };
        let seed = u64::from(bytes.byte());
        let start = match bytes.byte() {
            255 => Timestamp::MAX,
            250..=254 => earlier(Timestamp::MAX, bytes.wide()),
            0 => Timestamp::EPOCH,
            _ => instant(bytes.wide()),
        };
        let (reserved, habit) = (usize::from(bytes.byte()), bytes.byte());
        Self {
            config,
            resolution,
            seed,
            start,
            reserved,
            habit,
            crowd: 1,
            steps: bytes,
        }
    }

    /// The same with a crowd of so many in place of each connection, which are
    /// inserted together, and mostly heard of and sent to together.
    #[must_use]
    pub const fn with_crowd(self, crowd: usize) -> Self {
        Self { crowd, ..self }
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> Config {
        self.config
    }

    /// Runs it under watch, and returns what the roster said.
    ///
    /// # Panics
    /// If a law is broken.
    #[must_use]
    pub fn run(&self) -> Vec<RosterOutput> {
        self.run_with(self.roster())
    }

    /// Runs it under watch beside as many sessions: law 12, too.
    ///
    /// # Panics
    /// If a law is broken.
    #[must_use]
    pub fn run_beside_sessions(&self) -> Vec<RosterOutput> {
        self.run_with(self.roster().with_sessions())
    }

    /// The calls that it makes, as [`Script::replay`](crate::testing::Script::replay).
    ///
    /// ```
    /// use nabiz::testing::{RosterReplay, RosterScript};
    ///
    /// let script = RosterScript::new(b"any bytes will do");
    /// let line = script.replay().to_string();
    /// assert!(line.starts_with("roster "));
    /// assert_eq!(line.parse::<RosterReplay>()?.run(), script.run());
    /// # Ok::<(), nabiz::testing::ParseTextError>(())
    /// ```
    #[must_use]
    pub fn replay(&self) -> RosterReplay {
        let reaper = self.chosen(
            || Reaper::new(self.config, self.seed, self.start),
            Reaper::with_resolution,
        );
        let replay = self.chosen(
            || RosterReplay::new(self.config, self.seed, self.start),
            RosterReplay::with_resolution,
        );
        let recorder = Recorder {
            reaper: reaper.with_capacity(self.reserved),
            replay: replay.with_capacity(self.reserved),
            numbers: Numbers::default(),
        };
        self.drive(recorder).replay
    }

    fn roster(&self) -> CheckedReaper {
        let reaper = self.chosen(
            || CheckedReaper::new(self.config, self.seed, self.start),
            CheckedReaper::with_resolution,
        );
        reaper.with_capacity(self.reserved)
    }

    /// With the resolution, or one that is refused leaves the usual.
    fn chosen<R>(
        &self,
        new: impl Fn() -> Result<R, ConfigError>,
        with_resolution: impl Fn(R, Duration) -> Result<R, ConfigError>,
    ) -> R {
        let new = || new().unwrap_or_else(|error| panic!("{error}, which scripts do not know"));
        with_resolution(new(), self.resolution).unwrap_or_else(|_| new())
    }

    fn run_with(&self, reaper: CheckedReaper) -> Vec<RosterOutput> {
        let said = Vec::new();
        self.drive(Watched { reaper, said }).said
    }

    fn drive<D: Driven>(&self, reaper: D) -> D {
        let mut run = Run {
            reaper,
            now: self.start,
            habit: self.habit,
            crowd: self.crowd.max(1),
            inserted: 0,
            asked: 0,
            keys: Vec::new(),
            stale: VecDeque::new(),
            owed: Vec::new(),
        };
        let mut bytes = self.steps;
        while !bytes.0.is_empty() {
            run.step(&mut bytes);
        }
        run.reaper
    }
}

impl fmt::Debug for RosterScript<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RosterScript")
            .field("config", &self.config)
            .field("resolution", &self.resolution)
            .field("seed", &self.seed)
            .field("start", &self.start)
            .field("crowd", &self.crowd)
            .field("steps", &self.steps.0)
            .finish_non_exhaustive()
    }
}

/// A server's configuration that a roster takes, made of any bytes.
fn server(bytes: &mut Bytes<'_>) -> Config {
    let draws_age = bytes.byte() < 128;
    let mut config = configured(bytes, Some(Role::Server));
    loop {
        let mut builder = config.to_builder();
        builder = builder.without_answer_timeout().without_max_unanswered();
        if !draws_age {
            builder = builder.with_max_age_jitter(Ratio::ZERO);
        }
        let second = Duration::from_secs(1);
        let refused = match CheckedReaper::new(config, 0, Timestamp::EPOCH) {
            Ok(_) if draws_age || config.max_age_jitter() == Ratio::ZERO => return config,
            Ok(_) => "",
            Err(error) => error.field(),
        };
        builder = match refused {
            "interval" => builder.with_interval(second),
            "silence_timeout" => builder.with_silence_timeout(second),
            "write_timeout" => builder.with_write_timeout(second),
            "hello_timeout" => builder.without_hello_timeout(),
            _ => builder,
        };
        config = match builder.build() {
            Ok(config) => config,
            // A shorter silence may leave no room for it.
            Err(_) => match builder.without_hello_timeout().build() {
                Ok(config) => config,
                Err(error) => panic!("{error}, which scripts do not know"),
            },
        };
    }
}

/// What a script drives.
trait Driven {
    fn call(&mut self, call: RosterCall<Key>, now: Timestamp) -> Given;
    fn deadline(&self) -> Option<Timestamp>;
}

struct Watched {
    reaper: CheckedReaper,
    said: Vec<RosterOutput>,
}

impl Driven for Watched {
    fn call(&mut self, call: RosterCall<Key>, now: Timestamp) -> Given {
        let given = call.make(&mut self.reaper, now);
        let reaped = match given {
            Given::Reaped(reaped) => reaped,
            _ => None,
        };
        let deadline = self.deadline();
        RosterOutput::push(&mut self.said, now, reaped, deadline);
        given
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.reaper.reaper().deadline()
    }
}

struct Recorder {
    reaper: Reaper<u64>,
    replay: RosterReplay,
    numbers: Numbers,
}

impl Driven for Recorder {
    fn call(&mut self, call: RosterCall<Key>, now: Timestamp) -> Given {
        self.replay.push(self.numbers.tell(call), now);
        let given = call.make_unwatched(&mut self.reaper, now);
        if let Given::Key(key) = given {
            self.numbers.inserted(key);
        }
        given
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.reaper.deadline()
    }
}

struct Run<D> {
    reaper: D,
    now: Timestamp,
    habit: u8,
    crowd: usize,
    /// How many were inserted, and asked for a heartbeat, so far.
    inserted: u64,
    asked: u64,
    keys: Vec<Key>,
    stale: VecDeque<Key>,
    /// Heartbeats that are to be written later.
    owed: Vec<Key>,
}

impl<D: Driven> Run<D> {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() {
            // A driver that wakes when it should, or nearly so.
            0..=71 => {
                self.sleep();
                self.poll();
            }
            72..=83 => {
                self.sleep();
                self.pass(bytes.span());
                self.poll();
            }
            84..=89 => {
                self.sleep();
                self.now = earlier(self.now, 1);
                self.poll();
            }
            // It looks after its sockets half-way.
            90..=99 => {
                self.sleep();
                for _ in 0..=bytes.byte() % 4 {
                    self.poll_once();
                }
            }
            100..=123 => {
                self.moment(bytes);
                self.insert();
            }
            // The peers, at the deadline or after a while; at times a burst,
            // for the flood limit.
            124..=159 => {
                self.moment(bytes);
                let keys = self.some(bytes.byte());
                let what = bytes.byte();
                for _ in 0..=u8::from(what > 200) * 4 {
                    for key in &keys {
                        if what % 3 == 0 {
                            self.call(RosterCall::HeartbeatReceived(*key));
                        } else {
                            self.call(RosterCall::Received(*key));
                        }
                    }
                }
            }
            160..=167 => {
                self.moment(bytes);
                for key in core::mem::take(&mut self.owed) {
                    self.call(RosterCall::HeartbeatSent(key));
                }
            }
            168..=181 => {
                self.moment(bytes);
                let is_beat = bytes.byte() % 4 == 0;
                for key in self.some(bytes.byte()) {
                    if is_beat {
                        self.call(RosterCall::HeartbeatSent(key));
                    } else {
                        self.call(RosterCall::Sent(key));
                    }
                }
            }
            182..=187 => {
                for key in self.some(bytes.byte()) {
                    self.call(RosterCall::Remove(key));
                    self.gone(key);
                }
            }
            188..=199 => {
                self.moment(bytes);
                let keys = self.some(bytes.byte());
                let timeout = bytes.maybe();
                for key in keys {
                    self.bear(key, timeout);
                }
            }
            200..=207 => self.stale(bytes),
            208..=210 => {
                self.moment(bytes);
                self.call(RosterCall::Resumed);
            }
            211 => {
                let window = bytes.span();
                self.call(RosterCall::Drain(window));
            }
            212..=231 => {
                self.pass(bytes.span());
                self.poll();
            }
            // A driver that ticks, and peers that say nothing.
            232..=239 => {
                let period = bytes.span();
                for _ in 0..6 {
                    self.pass(period);
                    self.poll();
                }
            }
            // Time as no clock should tell it.
            240..=243 => {
                self.now = instant(bytes.wide());
                self.poll();
            }
            244..=251 => {
                self.now = earlier(self.now, bytes.wide());
                for key in self.some(bytes.byte()) {
                    self.call(RosterCall::Received(key));
                }
            }
            _ => {
                self.poll_once();
            }
        }
    }

    /// Until the deadline, if one is set.
    fn sleep(&mut self) {
        if let Some(due) = self.reaper.deadline() {
            self.now = self.now.max(due);
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.checked_add(span).unwrap_or(Timestamp::MAX);
    }

    /// When something else happens: now, at the deadline, or after a while.
    fn moment(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() {
            0..=63 => {}
            64..=127 => self.sleep(),
            byte @ 128..=191 => self.pass(Duration::from_millis(u64::from(byte - 127) * 3)),
            _ => self.pass(bytes.span()),
        }
    }

    fn insert(&mut self) {
        for _ in 0..self.crowd {
            if self.keys.len() < MOST * self.crowd {
                self.inserted += 1;
                let insert = RosterCall::Insert(self.inserted);
                if let Given::Key(key) = self.reaper.call(insert, self.now) {
                    self.keys.push(key);
                }
            }
        }
    }

    /// A connection, or a crowd of them, not all of it.
    fn some(&self, byte: u8) -> Vec<Key> {
        let crowds = self.keys.len().div_ceil(self.crowd).max(1);
        let first = usize::from(byte) % crowds * self.crowd;
        let skipped = usize::from(byte) / MOST % self.crowd.div_ceil(2);
        let crowd = self.keys.iter().skip(first).take(self.crowd);
        crowd.skip(skipped).copied().collect()
    }

    fn gone(&mut self, key: Key) {
        self.keys.retain(|held| *held != key);
        if self.stale.len() == MOST {
            self.stale.pop_front();
        }
        self.stale.push_back(key);
    }

    fn bear(&mut self, key: Key, timeout: Option<Duration>) {
        match timeout {
            // A refusal is as good a step as any.
            Some(timeout) => self.call(RosterCall::SetSilenceTimeout(key, timeout)),
            None => self.call(RosterCall::Exempt(key)),
        }
    }

    /// What is still told of who is gone.
    fn stale(&mut self, bytes: &mut Bytes<'_>) {
        self.moment(bytes);
        let (what, which) = (bytes.byte(), usize::from(bytes.byte()));
        let Some(key) = self.stale.get(which % self.stale.len().max(1)).copied() else {
            return;
        };
        match what % 8 {
            0 => self.call(RosterCall::Remove(key)),
            1 => self.call(RosterCall::Received(key)),
            2 => self.call(RosterCall::HeartbeatReceived(key)),
            3 => self.call(RosterCall::Sent(key)),
            4 => self.call(RosterCall::HeartbeatSent(key)),
            5 => self.bear(key, None),
            _ => self.bear(key, bytes.maybe()),
        }
    }

    fn call(&mut self, call: RosterCall<Key>) {
        self.reaper.call(call, self.now);
    }

    fn poll(&mut self) {
        for _ in 0..POLLS {
            if !self.poll_once() {
                break;
            }
        }
    }

    fn poll_once(&mut self) -> bool {
        let Given::Reaped(Some(reaped)) = self.reaper.call(RosterCall::Poll, self.now) else {
            return false;
        };
        match reaped {
            Reaped::Heartbeat { key, .. } => {
                self.asked += 1;
                // Mostly at once, sometimes late, sometimes never.
                match (self.asked * 37 + u64::from(self.habit)) % 16 {
                    0..=2 => self.owed.push(key),
                    3 if self.habit >= 64 => {}
                    4..=7 if self.habit >= 224 => {}
                    _ => self.call(RosterCall::HeartbeatSent(key)),
                }
            }
            Reaped::Close { key, .. } => self.gone(key),
            Reaped::Yield => {}
        }
        true
    }
}

//! A run of a roster, call by call.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use crate::config::{Config, ConfigError, Role};
use crate::reaper::{Key, Reaper};
use crate::testing::roster::{CheckedReaper, Reaped, RosterOutput};
use crate::testing::text::{
    AT, ParseTextError, Settings, Shown, Unusual, Value, Words, show_calls,
};
use crate::time::Timestamp;

/// Which connection, in a [`RosterReplay`].
///
/// ```
/// use nabiz::testing::Who;
///
/// assert_eq!(Who::Nth(3).to_string(), "#3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// The one that was inserted as so manieth, from 1, there still or not.
    Nth(usize),
    /// A key that the roster has given to nobody so far.
    Stranger(Key),
}

/// `#3`, or `#0x1f` for the bits of a stranger's key.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nth(number) => write!(f, "#{number}"),
            Self::Stranger(key) => write!(f, "#{:#x}", key.into_bits()),
        }
    }
}

/// A call on a roster, about whom `K` tells.
///
/// ```
/// use nabiz::testing::{RosterCall, Who};
///
/// assert_eq!(RosterCall::Received(Who::Nth(3)).to_string(), "received#3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RosterCall<K = Who> {
    /// [`Reaper::insert`], of this value.
    Insert(u64),
    /// [`Reaper::received`].
    Received(K),
    /// [`Reaper::heartbeat_received`].
    HeartbeatReceived(K),
    /// [`Reaper::sent`].
    Sent(K),
    /// [`Reaper::heartbeat_sent`].
    HeartbeatSent(K),
    /// [`Reaper::exempt`].
    Exempt(K),
    /// [`Reaper::set_silence_timeout`].
    SetSilenceTimeout(K, Duration),
    /// [`Reaper::remove`], which happens at no instant of its own.
    Remove(K),
    /// [`Reaper::poll`], once.
    Poll,
    /// [`Reaper::drain`].
    Drain(Duration),
    /// [`Reaper::resumed`].
    Resumed,
}

impl<K> RosterCall<K> {
    /// The same about whom `name` says.
    pub(in crate::testing) fn about<J>(self, name: impl FnOnce(K) -> J) -> RosterCall<J> {
        match self {
            Self::Insert(value) => RosterCall::Insert(value),
            Self::Received(who) => RosterCall::Received(name(who)),
            Self::HeartbeatReceived(who) => RosterCall::HeartbeatReceived(name(who)),
            Self::Sent(who) => RosterCall::Sent(name(who)),
            Self::HeartbeatSent(who) => RosterCall::HeartbeatSent(name(who)),
            Self::Exempt(who) => RosterCall::Exempt(name(who)),
            Self::SetSilenceTimeout(who, timeout) => {
                RosterCall::SetSilenceTimeout(name(who), timeout)
            }
            Self::Remove(who) => RosterCall::Remove(name(who)),
            Self::Poll => RosterCall::Poll,
            Self::Drain(window) => RosterCall::Drain(window),
            Self::Resumed => RosterCall::Resumed,
        }
    }

    pub(in crate::testing) const fn who(&self) -> Option<&K> {
        match self {
            Self::Received(who)
            | Self::HeartbeatReceived(who)
            | Self::Sent(who)
            | Self::HeartbeatSent(who)
            | Self::Exempt(who)
            | Self::SetSilenceTimeout(who, _)
            | Self::Remove(who) => Some(who),
            Self::Insert(_) | Self::Poll | Self::Drain(_) | Self::Resumed => None,
        }
    }

    pub(in crate::testing) const fn name(&self) -> &'static str {
        match self {
            Self::Insert(_) => "insert",
            Self::Received(_) => "received",
            Self::HeartbeatReceived(_) => "heartbeat-received",
            Self::Sent(_) => "sent",
            Self::HeartbeatSent(_) => "heartbeat-sent",
            Self::Exempt(_) => "exempt",
            Self::SetSilenceTimeout(..) => "silence-timeout",
            Self::Remove(_) => "remove",
            Self::Poll => "poll",
            Self::Drain(_) => "drain",
            Self::Resumed => "resumed",
        }
    }
}

/// What a call gave.
#[derive(Clone, Copy, Debug)]
pub(in crate::testing) enum Given {
    Key(Key),
    Reaped(Option<Reaped>),
    /// Whether the connection is known.
    Known(bool),
    Removed(Option<u64>),
    Bore(Result<bool, ConfigError>),
    Done,
}

/// Makes a call on a roster, watched or not.
macro_rules! make {
    ($call:expr, $reaper:expr, $now:expr) => {
        match $call {
            RosterCall::Insert(value) => Given::Key($reaper.insert(value, $now)),
            RosterCall::Received(key) => Given::Known($reaper.received(key, $now)),
            RosterCall::HeartbeatReceived(key) => {
                Given::Known($reaper.heartbeat_received(key, $now))
            }
            RosterCall::Sent(key) => Given::Known($reaper.sent(key, $now)),
            RosterCall::HeartbeatSent(key) => Given::Known($reaper.heartbeat_sent(key, $now)),
            RosterCall::Exempt(key) => Given::Known($reaper.exempt(key, $now)),
            RosterCall::SetSilenceTimeout(key, timeout) => {
                Given::Bore($reaper.set_silence_timeout(key, timeout, $now))
            }
            RosterCall::Remove(key) => Given::Removed($reaper.remove(key)),
            RosterCall::Poll => Given::Reaped($reaper.poll($now).map(Reaped::from)),
            RosterCall::Drain(window) => {
                $reaper.drain(window, $now);
                Given::Done
            }
            RosterCall::Resumed => {
                $reaper.resumed($now);
                Given::Done
            }
        }
    };
}

impl RosterCall<Key> {
    pub(in crate::testing) fn make(self, reaper: &mut CheckedReaper, now: Timestamp) -> Given {
        make!(self, reaper, now)
    }

    /// The same on a roster that nobody watches.
    pub(in crate::testing) fn make_unwatched(
        self,
        reaper: &mut Reaper<u64>,
        now: Timestamp,
    ) -> Given {
        make!(self, reaper, now)
    }
}

/// Who has which key.
#[derive(Debug, Default)]
pub(in crate::testing) struct Numbers(BTreeMap<Key, usize>);

impl Numbers {
    pub(in crate::testing) fn inserted(&mut self, key: Key) {
        let number = self.0.len() + 1;
        self.0.entry(key).or_insert(number);
    }

    /// The call, with numbers for keys.
    pub(in crate::testing) fn tell(&self, call: RosterCall<Key>) -> RosterCall {
        call.about(|key| match self.0.get(&key) {
            Some(number) => Who::Nth(*number),
            None => Who::Stranger(key),
        })
    }
}

/// A run of a [`Reaper`]: as [`Replay`](crate::testing::Replay) for a session.
///
/// The line begins with `roster`, the fields in which the configuration differs
/// from [`Config::server`]'s, `resolution=` where it is not the usual,
/// `reserve=` for [`Reaper::with_capacity`], `sessions` where law 12 is watched
/// too, and the seed. Connections are named in the order in which they are
/// inserted: `#3` is the third, long gone or not. A call is one word:
///
/// | word | call |
/// |---|---|
/// | `insert`, `insert=77` | [`insert`](Reaper::insert) of its own number, or of another |
/// | `received#3`, `heartbeat-received#3`, `sent#3`, `heartbeat-sent#3` | what happened to it |
/// | `silence-timeout#3=5s`, `exempt#3` | its own timeout |
/// | `remove#3` | [`remove`](Reaper::remove) |
/// | `poll` | [`poll`](Reaper::poll), once |
/// | `drain=2s`, `resumed` | what happened to all |
///
/// ```
/// use nabiz::testing::RosterReplay;
///
/// let line = "roster silence_timeout=10s resolution=1ms seed=42 \
///             at 0s insert insert at 4s received#2 at 10s poll at 10.001s poll received#1";
/// let replay: RosterReplay = line.parse()?;
/// let said = replay.run(); // under watch of the laws
/// assert_eq!(replay.to_string(), line);
/// # Ok::<(), nabiz::testing::ParseTextError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RosterReplay {
    config: Config,
    resolution: Duration,
    reserved: usize,
    has_sessions: bool,
    seed: u64,
    start: Timestamp,
    calls: Vec<(Timestamp, RosterCall)>,
    inserted: usize,
}

impl RosterReplay {
    /// A run without calls yet; as [`Reaper::new`].
    ///
    /// # Errors
    /// As there.
    pub fn new(config: Config, seed: u64, start: Timestamp) -> Result<Self, ConfigError> {
        let reaper = Reaper::<u64>::new(config, seed, start)?;
        Ok(Self {
            config,
            resolution: reaper.resolution(),
            reserved: 0,
            has_sessions: false,
            seed,
            start,
            calls: Vec::new(),
            inserted: 0,
        })
    }

    /// As [`Reaper::with_resolution`].
    ///
    /// # Errors
    /// As there.
    pub fn with_resolution(mut self, resolution: Duration) -> Result<Self, ConfigError> {
        let reaper = Reaper::<u64>::new(self.config, self.seed, self.start)?;
        self.resolution = reaper.with_resolution(resolution)?.resolution();
        Ok(self)
    }

    /// As [`Reaper::with_capacity`].
    #[must_use]
    pub const fn with_capacity(mut self, connections: usize) -> Self {
        self.reserved = connections;
        self
    }

    /// As [`CheckedReaper::with_sessions`].
    #[must_use]
    pub const fn with_sessions(mut self) -> Self {
        self.has_sessions = true;
        self
    }

    /// Adds a call, after all others.
    ///
    /// # Panics
    /// If it is about a connection that was not inserted yet.
    ///
    /// ```
    /// use nabiz::testing::{RosterCall, RosterReplay, Who};
    /// use nabiz::{Config, Timestamp};
    ///
    /// let now = Timestamp::EPOCH;
    /// let mut replay = RosterReplay::new(Config::server().build()?, 7, now)?;
    /// replay.push(RosterCall::Insert(1), now);
    /// replay.push(RosterCall::Remove(Who::Nth(1)), now);
    /// replay.push(RosterCall::Insert(77), now);
    /// assert_eq!(replay.to_string(), "roster seed=7 at 0s insert remove#1 insert=77");
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    pub fn push(&mut self, call: RosterCall, now: Timestamp) {
        if let Some(Who::Nth(number)) = call.who() {
            let inserted = self.inserted;
            assert!(
                (1..=inserted).contains(number),
                "#{number} of {inserted} inserted"
            );
        }
        self.inserted += usize::from(matches!(call, RosterCall::Insert(_)));
        self.calls.push((now, call));
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> Config {
        self.config
    }

    /// The resolution.
    #[must_use]
    pub const fn resolution(&self) -> Duration {
        self.resolution
    }

    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// When the roster begins.
    #[must_use]
    pub const fn start(&self) -> Timestamp {
        self.start
    }

    /// The calls, in order.
    #[must_use]
    pub fn calls(&self) -> &[(Timestamp, RosterCall)] {
        &self.calls
    }

    /// Runs it under watch, and returns what the roster said.
    ///
    /// # Panics
    /// If a law is broken.
    #[must_use]
    pub fn run(&self) -> Vec<RosterOutput> {
        let mut said = Vec::new();
        self.watch(|reaper, now, _, answer| {
            let deadline = reaper.reaper().deadline();
            RosterOutput::push(&mut said, now, answer.unwrap_or_default(), deadline);
        });
        said
    }

    /// Runs it under watch, and shows each call when it is made: the roster
    /// after it, the instant, the call, and what a poll returned or why a
    /// timeout was refused.
    ///
    /// # Panics
    /// If a law is broken.
    ///
    /// ```
    /// use nabiz::testing::RosterReplay;
    ///
    /// let replay: RosterReplay = "roster seed=7 at 0s insert insert remove#1".parse()?;
    /// let mut lengths = Vec::new();
    /// replay.watch(|reaper, _, _, _| lengths.push(reaper.reaper().len()));
    /// assert_eq!(lengths, [1, 2, 1]);
    /// # Ok::<(), nabiz::testing::ParseTextError>(())
    /// ```
    pub fn watch(
        &self,
        see: impl FnMut(&CheckedReaper, Timestamp, RosterCall, Result<Option<Reaped>, ConfigError>),
    ) {
        self.watch_with(self.roster(), see);
    }

    pub(in crate::testing) fn watch_with(
        &self,
        mut reaper: CheckedReaper,
        mut see: impl FnMut(&CheckedReaper, Timestamp, RosterCall, Result<Option<Reaped>, ConfigError>),
    ) {
        let mut keys = Vec::new();
        for (now, call) in &self.calls {
            let keyed = call.about(|who| match who {
                Who::Stranger(key) => key,
                Who::Nth(number) => match keys.get(number - 1) {
                    Some(key) => *key,
                    None => panic!("#{number} was not inserted"),
                },
            });
            let answer = match keyed.make(&mut reaper, *now) {
                Given::Key(key) => {
                    keys.push(key);
                    Ok(None)
                }
                Given::Reaped(reaped) => Ok(reaped),
                Given::Bore(result) => result.map(|_| None),
                Given::Known(_) | Given::Removed(_) | Given::Done => Ok(None),
            };
            see(&reaper, *now, *call, answer);
        }
    }

    fn roster(&self) -> CheckedReaper {
        let reaper = CheckedReaper::new(self.config, self.seed, self.start);
        let reaper = reaper.and_then(|reaper| reaper.with_resolution(self.resolution));
        let reaper = reaper
            .unwrap_or_else(|error| panic!("{error}"))
            .with_capacity(self.reserved);
        if self.has_sessions {
            reaper.with_sessions()
        } else {
            reaper
        }
    }
}

/// A call after so many insertions, as a word.
struct Word {
    call: RosterCall,
    inserted: usize,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_own = |value: u64| u64::try_from(self.inserted + 1) == Ok(value);
        match self.call {
            RosterCall::Insert(value) if is_own(value) => f.write_str("insert"),
            call => call.fmt(f),
        }
    }
}

/// The word that it is in the text of a [`RosterReplay`], which leaves out the
/// value of most insertions.
impl fmt::Display for RosterCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Some(who) = self.who() {
            write!(f, "{who}")?;
        }
        match self {
            Self::Insert(value) => write!(f, "={value}"),
            Self::SetSilenceTimeout(_, time) | Self::Drain(time) => write!(f, "={}", Shown(time)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for RosterReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "roster{}", Unusual(&self.config))?;
        let usual = Self::new(self.config, self.seed, self.start);
        if usual.map(|usual| usual.resolution) != Ok(self.resolution) {
            write!(f, " resolution={}", Shown(&self.resolution))?;
        }
        if self.reserved != 0 {
            write!(f, " reserve={}", self.reserved)?;
        }
        if self.has_sessions {
            f.write_str(" sessions")?;
        }
        write!(f, " seed={}", self.seed)?;
        let mut inserted = 0;
        let words = self.calls.iter().map(|(now, call)| {
            let word = Word {
                call: *call,
                inserted,
            };
            inserted += usize::from(matches!(call, RosterCall::Insert(_)));
            (*now, word)
        });
        show_calls(f, self.start, words)
    }
}

impl FromStr for RosterReplay {
    type Err = ParseTextError;

    fn from_str(line: &str) -> Result<Self, ParseTextError> {
        let mut words = Words::new(line);
        if words.read() != Some("roster") {
            return Err(words.expected("roster"));
        }
        let (mut resolution, mut reserved, mut has_sessions) = (None, 0, false);
        let others = "resolution, reserve, sessions, ";
        let settings = Settings::read(&mut words, Role::Server, others, |words, name, value| {
            match (name, value) {
                ("resolution", Some(value)) => resolution = Some(words.value(value)?),
                ("reserve", Some(value)) => {
                    reserved = words.value(value)?;
                    if reserved > MOST_RESERVED {
                        return Err(words.refused(format_args!("at most {MOST_RESERVED}")));
                    }
                }
                ("sessions", None) => has_sessions = true,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let start = words.instant()?;
        let replay =
            Self::new(settings.config()?, settings.seed(), start).and_then(
                |replay| match resolution {
                    Some(resolution) => replay.with_resolution(resolution),
                    None => Ok(replay),
                },
            );
        let mut replay = replay
            .map_err(|error| settings.refused(error))?
            .with_capacity(reserved);
        replay.has_sessions = has_sessions;
        let mut now = start;
        while let Some(word) = words.read() {
            if word == AT {
                now = words.instant()?;
            } else {
                replay.push(replay.call(&words, word)?, now);
            }
        }
        Ok(replay)
    }
}

/// More would be memory for a word's sake.
const MOST_RESERVED: usize = 1 << 24;

impl RosterReplay {
    /// The call that a word says, next after those that are there.
    fn call(&self, words: &Words<'_>, word: &str) -> Result<RosterCall, ParseTextError> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let (name, who) = match name.split_once('#') {
            Some((name, who)) => (name, Some(self.who(words, who)?)),
            None => (name, None),
        };
        Ok(match (name, who, value) {
            ("insert", None, None) => match u64::try_from(self.inserted + 1) {
                Ok(value) => RosterCall::Insert(value),
                Err(error) => return Err(words.refused(error)),
            },
            ("insert", None, Some(value)) => RosterCall::Insert(words.value(value)?),
            ("received", Some(who), None) => RosterCall::Received(who),
            ("heartbeat-received", Some(who), None) => RosterCall::HeartbeatReceived(who),
            ("sent", Some(who), None) => RosterCall::Sent(who),
            ("heartbeat-sent", Some(who), None) => RosterCall::HeartbeatSent(who),
            ("exempt", Some(who), None) => RosterCall::Exempt(who),
            ("silence-timeout", Some(who), Some(timeout)) => {
                RosterCall::SetSilenceTimeout(who, words.value(timeout)?)
            }
            ("remove", Some(who), None) => RosterCall::Remove(who),
            ("poll", None, None) => RosterCall::Poll,
            ("drain", None, Some(window)) => RosterCall::Drain(words.value(window)?),
            ("resumed", None, None) => RosterCall::Resumed,
            _ => {
                return Err(words.expected(
                    "a call: poll, insert, received#N, heartbeat-received#N, sent#N, \
                     heartbeat-sent#N, silence-timeout#N=TIME, exempt#N, remove#N, resumed, \
                     drain=TIME; or at",
                ));
            }
        })
    }

    fn who(&self, words: &Words<'_>, text: &str) -> Result<Who, ParseTextError> {
        if let Some(bits) = text.strip_prefix("0x") {
            let key = u64::from_str_radix(bits, 16).ok().and_then(Key::from_bits);
            let key = key.ok_or_else(|| words.expected("a key's bits after #0x"));
            return key.map(Who::Stranger);
        }
        match usize::read(text) {
            Some(number) if (1..=self.inserted).contains(&number) => Ok(Who::Nth(number)),
            _ if self.inserted == 0 => Err(words.expected("insert before it")),
            _ => Err(words.expected(format_args!("#1 to #{}", self.inserted))),
        }
    }
}

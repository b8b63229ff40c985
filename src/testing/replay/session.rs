//! A run of a session, call by call.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::config::{Config, ConfigError, Limits, Role};
use crate::session::{Action, Event, HeartbeatId, Session};
use crate::testing::laws::Checked;
use crate::testing::script::Output;
use crate::testing::text::{AT, ParseTextError, Settings, Shown, Unusual, Words, show_calls};
use crate::time::Timestamp;

/// A call on a session.
///
/// ```
/// use nabiz::Event;
/// use nabiz::testing::Call;
///
/// assert_eq!(Call::Handle(Event::HeartbeatSent).to_string(), "heartbeat-sent");
/// assert_eq!(Call::Poll.to_string(), "poll");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// [`Session::handle`].
    Handle(Event),
    /// [`Session::poll`].
    Poll,
    /// [`Session::set_limits`].
    SetLimits(Limits),
}

impl Call {
    /// Makes the call: what a poll returned, or the refusal of limits.
    pub(in crate::testing) fn make(
        self,
        session: &mut Checked,
        now: Timestamp,
    ) -> Result<Option<Action>, ConfigError> {
        match self {
            Self::Handle(event) => session.handle(event, now),
            Self::Poll => return Ok(session.poll(now)),
            Self::SetLimits(limits) => session.set_limits(limits, now)?,
        }
        Ok(None)
    }

    /// The same on a session that nobody watches.
    pub(in crate::testing) fn make_unwatched(
        self,
        session: &mut Session,
        now: Timestamp,
    ) -> Option<Action> {
        match self {
            Self::Handle(event) => session.handle(event, now),
            Self::Poll => return session.poll(now),
            // A refusal is as good a call as any.
            Self::SetLimits(limits) => drop(session.set_limits(limits, now)),
        }
        None
    }

    fn read(words: &Words<'_>, word: &str) -> Result<Self, ParseTextError> {
        if let Some(limits) = word.strip_prefix("limits") {
            return words.value(limits).map(Self::SetLimits);
        }
        if let Some((name, value)) = word.split_once('=') {
            match name {
                "answer" => {
                    let id: u32 = words.value(value)?;
                    let id = Some(HeartbeatId::from_bytes(id.to_be_bytes()));
                    return Ok(Self::Handle(Event::AnswerReceived { id }));
                }
                "retry-after" => {
                    return words
                        .value(value)
                        .map(|after| Self::Handle(Event::RetryAfter(after)));
                }
                _ => {}
            }
        }
        if word == "poll" {
            return Ok(Self::Poll);
        }
        let plain = PLAIN.into_iter().find(|event| name(event) == word);
        let unknown = || {
            let names = PLAIN.each_ref().map(name).join(", ");
            words.expected(format_args!(
                "a call: poll, {names}, answer=ID, retry-after=TIME, limits(…); or at"
            ))
        };
        plain.map(Self::Handle).ok_or_else(unknown)
    }
}

/// The events that are told by their names alone.
const PLAIN: [Event; 12] = [
    Event::Connected,
    Event::ConnectFailed,
    Event::Received,
    Event::HeartbeatReceived,
    Event::AnswerReceived { id: None },
    Event::Sent,
    Event::HeartbeatSent,
    Event::Disconnected,
    Event::Rejected,
    Event::Resumed,
    Event::Shutdown,
    Event::Drain,
];

const fn name(event: &Event) -> &'static str {
    match event {
        Event::Connected => "connected",
        Event::ConnectFailed => "connect-failed",
        Event::Received => "received",
        Event::HeartbeatReceived => "heartbeat-received",
        Event::AnswerReceived { .. } => "answer",
        Event::Sent => "sent",
        Event::HeartbeatSent => "heartbeat-sent",
        Event::Disconnected => "disconnected",
        Event::RetryAfter(_) => "retry-after",
        Event::Rejected => "rejected",
        Event::Resumed => "resumed",
        Event::Shutdown => "shutdown",
        Event::Drain => "drain",
    }
}

/// The word that it is in the text of a [`Replay`].
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle(event) => {
                f.write_str(name(event))?;
                match event {
                    Event::AnswerReceived { id: Some(id) } => write!(f, "={id}"),
                    Event::RetryAfter(after) => write!(f, "={}", Shown(after)),
                    _ => Ok(()),
                }
            }
            Self::Poll => f.write_str("poll"),
            Self::SetLimits(limits) => write!(f, "limits{}", Shown(limits)),
        }
    }
}

/// A run of a session: its configuration, its seed, and each call at its
/// instant. No driver is left in it, and its text is one line that reads back
/// the same: for reports, tests and tickets.
///
/// The line begins with `session`, the role, the fields of the configuration
/// that are not as in the role's preset (by their names, `none` for what is off,
/// `backoff.max=5s` for a part of the policy) and the seed. The first `at` says
/// when the session begins; each later one when the calls after it are made, as
/// time since the epoch, which may go backwards. A call is one word: `poll`,
/// an event by its name, as [`Call`] prints it, or
/// `limits(interval=5s,silence_timeout=none,answer_timeout=none)`. Times are exact decimals
/// in `s`, `ms`, `us` or `ns`; by hand also in `m`, `h` and `d`.
///
/// ```
/// use nabiz::testing::Replay;
///
/// let line = "session client interval=5s spread_first_beat=no interval_jitter=0% seed=42 \
///             at 0s poll at 1s connected at 6s poll heartbeat-sent at 6.02s answer=1 poll";
/// let replay: Replay = line.parse()?;
/// assert_eq!(replay.calls().len(), 6);
/// let said = replay.run(); // under watch of the laws
/// assert_eq!(replay.to_string().parse(), Ok(replay));
/// # Ok::<(), nabiz::testing::ParseTextError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replay {
    config: Config,
    seed: u64,
    start: Timestamp,
    calls: Vec<(Timestamp, Call)>,
}

impl Replay {
    /// A run without calls yet; as [`Session::new`].
    #[must_use]
    pub const fn new(config: Config, seed: u64, start: Timestamp) -> Self {
        Self {
            config,
            seed,
            start,
            calls: Vec::new(),
        }
    }

    /// Adds a call, after all others.
    ///
    /// ```
    /// use nabiz::testing::{Call, Replay};
    /// use nabiz::{Config, Timestamp};
    ///
    /// let mut replay = Replay::new(Config::server().build()?, 7, Timestamp::EPOCH);
    /// replay.push(Call::Poll, Timestamp::MAX);
    /// let line = "session server seed=7 at 0s at 18446744073.709551614s poll";
    /// assert_eq!(replay.to_string(), line);
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    pub fn push(&mut self, call: Call, now: Timestamp) {
        self.calls.push((now, call));
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> Config {
        self.config
    }

    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// When the session begins.
    #[must_use]
    pub const fn start(&self) -> Timestamp {
        self.start
    }

    /// The calls, in order.
    #[must_use]
    pub fn calls(&self) -> &[(Timestamp, Call)] {
        &self.calls
    }

    /// Runs it under watch, and returns what the session said.
    ///
    /// # Panics
    /// If a law is broken.
    #[must_use]
    pub fn run(&self) -> Vec<Output> {
        let mut said = Vec::new();
        self.watch(|session, now, _, answer| {
            let deadline = session.deadline();
            Output::push(&mut said, now, answer.unwrap_or_default(), deadline);
        });
        said
    }

    /// Runs it under watch, and shows each call when it is made: the session
    /// after it, the instant, the call, and the action that a poll returned or
    /// why limits were refused.
    ///
    /// # Panics
    /// If a law is broken.
    ///
    /// ```
    /// use nabiz::Phase;
    /// use nabiz::testing::Replay;
    ///
    /// let replay: Replay = "session client seed=7 at 0s poll connected".parse()?;
    /// let mut phases = Vec::new();
    /// replay.watch(|session, _, _, _| phases.push(session.session().phase()));
    /// assert_eq!(phases, [Phase::Connecting, Phase::Open]);
    /// # Ok::<(), nabiz::testing::ParseTextError>(())
    /// ```
    pub fn watch(
        &self,
        see: impl FnMut(&Checked, Timestamp, Call, Result<Option<Action>, ConfigError>),
    ) {
        self.watch_with(Checked::new(self.config, self.seed, self.start), see);
    }

    pub(in crate::testing) fn watch_with(
        &self,
        mut session: Checked,
        mut see: impl FnMut(&Checked, Timestamp, Call, Result<Option<Action>, ConfigError>),
    ) {
        for (now, call) in &self.calls {
            let answer = call.make(&mut session, *now);
            see(&session, *now, *call, answer);
        }
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.config.role() {
            Role::Client => "client",
            Role::Server => "server",
        };
        let (settings, seed) = (Unusual(&self.config), self.seed);
        write!(f, "session {role}{settings} seed={seed}")?;
        show_calls(f, self.start, self.calls.iter().copied())
    }
}

impl FromStr for Replay {
    type Err = ParseTextError;

    fn from_str(line: &str) -> Result<Self, ParseTextError> {
        let mut words = Words::new(line);
        if words.read() != Some("session") {
            return Err(words.expected("session"));
        }
        let role = match words.read() {
            Some("client") => Role::Client,
            Some("server") => Role::Server,
            _ => return Err(words.expected("client or server")),
        };
        let settings = Settings::read(&mut words, role, "", |_, _, _| Ok(false))?;
        let start = words.instant()?;
        let mut replay = Self::new(settings.config()?, settings.seed(), start);
        let mut now = start;
        while let Some(word) = words.read() {
            if word == AT {
                now = words.instant()?;
            } else {
                replay.push(Call::read(&words, word)?, now);
            }
        }
        Ok(replay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_event_has_a_name_of_its_own() {
        for event in PLAIN {
            let word = name(&event);
            assert_eq!(Call::read(&Words::new(""), word), Ok(Call::Handle(event)));
            assert_eq!(Call::Handle(event).to_string(), word);
        }
    }
}

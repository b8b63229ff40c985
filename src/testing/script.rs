//! A run of a session, made of any bytes.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::bytes::{Bytes, configured, earlier, instant};
use super::laws::Checked;
use super::replay::{Call, Replay};
use crate::config::{Config, Limits};
use crate::session::{Action, Event, HeartbeatId, Session};
use crate::time::Timestamp;

/// How often a step polls at one instant; a session that still has something
/// to say then breaks law 10, and the checker says so.
const POLLS: u32 = 8;

/// A session's configuration, its seed and what happens to it, made of any
/// bytes: for fuzzers, and for property tests that shrink.
///
/// All bytes make a valid run, and short ones a short run. Half of the steps
/// are those of a driver that does as it is told, which is what leads deep into
/// a session's life; the others are any event at any time, backwards and at the
/// ends of the range.
///
/// ```
/// use nabiz::testing::Script;
///
/// let script = Script::new(b"any bytes will do");
/// assert_eq!(script.run(), script.run());
/// ```
#[derive(Clone, Copy)]
pub struct Script<'a> {
    config: Config,
    seed: u64,
    start: Timestamp,
    steps: Bytes<'a>,
}

/// What a session said at an instant, one item of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Output {
    /// What a poll returned.
    Action(Timestamp, Action),
    /// The deadline after a call.
    Deadline(Option<Timestamp>),
}

impl Output {
    /// What a call came to.
    pub(super) fn push(
        said: &mut Vec<Self>,
        now: Timestamp,
        action: Option<Action>,
        deadline: Option<Timestamp>,
    ) {
        said.extend(action.map(|action| Self::Action(now, action)));
        said.push(Self::Deadline(deadline));
    }
}

impl<'a> Script<'a> {
    /// The run that these bytes make.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut bytes = Bytes(bytes);
        let config = configured(&mut bytes, None);
        let seed = u64::from(bytes.byte());
        let start = match bytes.byte() {
            255 => Timestamp::MAX,
            0 => Timestamp::EPOCH,
            _ => instant(bytes.wide()),
        };
        Self {
            config,
            seed,
            start,
            steps: bytes,
        }
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> Config {
        self.config
    }

    /// Runs it under watch, and returns what the session said.
    ///
    /// # Panics
    /// If a law is broken.
    #[must_use]
    pub fn run(&self) -> Vec<Output> {
        let session = Checked::new(self.config, self.seed, self.start);
        let said = Vec::new();
        self.drive(Watched { session, said }).said
    }

    /// The calls that it makes, which a driver is no longer needed for. They
    /// are found out without the watch, so that a run that breaks a law can be
    /// had, too.
    ///
    /// ```
    /// use nabiz::testing::{Replay, Script};
    ///
    /// let script = Script::new(b"any bytes will do");
    /// let line = script.replay().to_string();
    /// assert!(line.starts_with("session server "));
    /// assert_eq!(line.parse::<Replay>()?.run(), script.run());
    /// # Ok::<(), nabiz::testing::ParseTextError>(())
    /// ```
    #[must_use]
    pub fn replay(&self) -> Replay {
        let session = Session::new(self.config, self.seed, self.start);
        let replay = Replay::new(self.config, self.seed, self.start);
        self.drive(Recorder { session, replay }).replay
    }

    fn drive<D: Driven>(&self, session: D) -> D {
        let mut run = Run {
            session,
            now: self.start,
            last: None,
            beat: 0,
        };
        let mut bytes = self.steps;
        while !bytes.0.is_empty() {
            run.step(&mut bytes);
        }
        run.session
    }
}

impl fmt::Debug for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("config", &self.config)
            .field("seed", &self.seed)
            .field("start", &self.start)
            .field("steps", &self.steps.0)
            .finish()
    }
}

/// A valid configuration made of any bytes: every field, small and huge.
///
/// ```
/// use nabiz::testing::config;
///
/// assert_eq!(config(&[]), config(&[0; 64]));
/// ```
#[must_use]
pub fn config(bytes: &[u8]) -> Config {
    configured(&mut Bytes(bytes), None)
}

/// What a script drives.
trait Driven {
    fn call(&mut self, call: Call, now: Timestamp) -> Option<Action>;
    fn deadline(&self) -> Option<Timestamp>;
}

struct Watched {
    session: Checked,
    said: Vec<Output>,
}

impl Driven for Watched {
    fn call(&mut self, call: Call, now: Timestamp) -> Option<Action> {
        // A refusal is as good a step as any.
        let action = call.make(&mut self.session, now).unwrap_or_default();
        Output::push(&mut self.said, now, action, self.session.deadline());
        action
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.session.deadline()
    }
}

struct Recorder {
    session: Session,
    replay: Replay,
}

impl Driven for Recorder {
    fn call(&mut self, call: Call, now: Timestamp) -> Option<Action> {
        self.replay.push(call, now);
        call.make_unwatched(&mut self.session, now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.session.deadline()
    }
}

struct Run<D> {
    session: D,
    now: Timestamp,
    /// What the driver was told last.
    last: Option<Action>,
    /// The last heartbeat's number.
    beat: u32,
}

impl<D: Driven> Run<D> {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() {
            // A driver that wakes when it should, or nearly so.
            0..=63 => {
                self.sleep();
                self.poll();
            }
            64..=71 => {
                self.sleep();
                self.now = earlier(self.now, 1);
                self.poll();
            }
            72..=87 => {
                self.sleep();
                self.pass(bytes.span());
                self.poll();
            }
            // It does as it was told, at once or after a while.
            88..=119 => self.obey(),
            120..=139 => {
                self.pass(bytes.span());
                self.obey();
            }
            // The peer, at the deadline or after a while.
            140..=167 => {
                if bytes.byte() < 64 {
                    self.sleep();
                } else {
                    self.pass(bytes.span());
                }
                let event = self.heard(bytes);
                // At times a burst, for the flood limit.
                for _ in 0..=u8::from(bytes.byte() > 200) * 4 {
                    self.handle(event);
                }
            }
            168..=179 => {
                self.pass(bytes.span());
                self.poll();
            }
            180..=195 => {
                let event = self.any(bytes);
                self.handle(event);
            }
            196..=223 => {
                self.pass(bytes.span());
                let event = self.any(bytes);
                self.handle(event);
                self.poll();
            }
            224..=231 => {
                let limits = Limits {
                    interval: bytes.maybe(),
                    silence_timeout: bytes.maybe(),
                    answer_timeout: bytes.maybe(),
                };
                self.session.call(Call::SetLimits(limits), self.now);
            }
            // Time as no clock should tell it.
            232..=239 => {
                self.now = instant(bytes.wide());
                self.poll();
            }
            240..=247 => {
                self.now = earlier(self.now, bytes.wide());
                let event = self.any(bytes);
                self.handle(event);
            }
            _ => {
                let _ = self.said(self.now);
            }
        }
    }

    /// Until the deadline, if one is set.
    fn sleep(&mut self) {
        if let Some(due) = self.session.deadline() {
            self.now = self.now.max(due);
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.checked_add(span).unwrap_or(Timestamp::MAX);
    }

    fn handle(&mut self, event: Event) {
        self.session.call(Call::Handle(event), self.now);
    }

    fn poll(&mut self) {
        for _ in 0..POLLS {
            if self.said(self.now).is_none() {
                break;
            }
        }
    }

    fn said(&mut self, now: Timestamp) -> Option<Action> {
        let action = self.session.call(Call::Poll, now)?;
        if let Action::SendHeartbeat { id } = action {
            self.beat = id.get();
        }
        self.last = Some(action);
        Some(action)
    }

    fn obey(&mut self) {
        let event = match self.last.take() {
            Some(Action::Connect { .. }) => Event::Connected,
            Some(Action::SendHeartbeat { .. }) => Event::HeartbeatSent,
            Some(Action::Close(_)) => Event::Disconnected,
            _ => Event::Received,
        };
        self.handle(event);
        self.poll();
    }

    fn heard(&self, bytes: &mut Bytes<'_>) -> Event {
        match bytes.byte() {
            0..=99 => Event::Received,
            100..=169 => Event::HeartbeatReceived,
            170..=199 => Event::AnswerReceived { id: None },
            // The last heartbeat, or the one before.
            one => {
                let id = self.beat.wrapping_sub(u32::from(one % 4 == 0));
                Event::AnswerReceived {
                    id: Some(HeartbeatId::from_bytes(id.to_be_bytes())),
                }
            }
        }
    }

    fn any(&self, bytes: &mut Bytes<'_>) -> Event {
        match bytes.byte() {
            0..=19 => Event::Connected,
            20..=39 => Event::ConnectFailed,
            40..=69 => self.heard(bytes),
            70..=89 => Event::Sent,
            90..=109 => Event::HeartbeatSent,
            110..=149 => Event::Disconnected,
            150..=179 => Event::RetryAfter(bytes.span()),
            180..=219 => Event::Resumed,
            220..=239 => Event::Drain,
            240..=245 => Event::Rejected,
            246..=249 => Event::Shutdown,
            id => Event::AnswerReceived {
                id: Some(HeartbeatId::from_bytes([0, 0, 0, id])),
            },
        }
    }
}

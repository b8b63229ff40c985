//! An end that is a session and nothing else.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::end::{Deed, Endpoint};
use crate::config::Config;
use crate::session::{Action, Event, HeartbeatId};
use crate::testing::Checked;
use crate::time::Timestamp;

const HEARTBEAT: u8 = b'H';
const ANSWER: u8 = b'A';
/// A kind and a heartbeat's id.
const FRAME: usize = 5;

/// An end that is a session and nothing else, under watch: the laws are
/// checked while the world runs.
///
/// Its protocol has frames of five bytes: `H` or `A`, for a heartbeat and its
/// answer, and the heartbeat's id.
///
/// ```
/// use core::time::Duration;
/// use nabiz::testing::world::{Deed, Endpoint, SessionEnd};
/// use nabiz::{Action, Config, Timestamp};
///
/// let start = Timestamp::EPOCH;
/// let mut server = SessionEnd::new(Config::server().build()?, 42, start).answering();
/// server.received(b"H\0\0\0\x07", start);
/// assert_eq!(server.poll(start), Some(Deed::Write(b"A\0\0\0\x07".to_vec())));
/// assert_eq!(server.said(), []);
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SessionEnd {
    session: Checked,
    answers: bool,
    /// What came of a frame that is not yet whole.
    inbox: Vec<u8>,
    outbox: VecDeque<[u8; FRAME]>,
    /// The heartbeat asked for is written, and not flushed.
    beating: bool,
    said: Vec<(Timestamp, Action)>,
}

impl SessionEnd {
    /// An end with such a session; as [`Session::new`](crate::Session::new).
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Timestamp) -> Self {
        Self {
            session: Checked::new(config, seed, now),
            answers: false,
            inbox: Vec::new(),
            outbox: VecDeque::new(),
            beating: false,
            said: Vec::new(),
        }
    }

    /// Answers the peer's heartbeats.
    #[must_use]
    pub const fn answering(mut self) -> Self {
        self.answers = true;
        self
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Checked {
        &self.session
    }

    /// The session, to tell it what no wire does, such as
    /// [`Event::Shutdown`].
    ///
    /// The world then looks at its deadline when it runs on.
    #[must_use]
    pub const fn session_mut(&mut self) -> &mut Checked {
        &mut self.session
    }

    /// What the session asked for, and when, by its own clock.
    pub fn said(&self) -> &[(Timestamp, Action)] {
        &self.said
    }

    fn ended(&mut self) {
        self.inbox.clear();
        self.outbox.clear();
        self.beating = false;
    }

    fn frame(&mut self, kind: u8, id: [u8; 4], now: Timestamp) {
        match kind {
            HEARTBEAT => {
                self.session.handle(Event::HeartbeatReceived, now);
                if self.answers {
                    self.outbox.push_back(frame(ANSWER, id));
                }
            }
            ANSWER => {
                let id = Some(HeartbeatId::from_bytes(id));
                self.session.handle(Event::AnswerReceived { id }, now);
            }
            // The wire changes no byte; another end may speak otherwise.
            _ => self.session.handle(Event::Received, now),
        }
    }
}

fn frame(kind: u8, [a, b, c, d]: [u8; 4]) -> [u8; FRAME] {
    [kind, a, b, c, d]
}

impl Endpoint for SessionEnd {
    fn connected(&mut self, now: Timestamp) {
        self.session.handle(Event::Connected, now);
    }

    fn dial_failed(&mut self, now: Timestamp) {
        self.session.handle(Event::ConnectFailed, now);
    }

    fn received(&mut self, bytes: &[u8], now: Timestamp) {
        self.inbox.extend_from_slice(bytes);
        let inbox = core::mem::take(&mut self.inbox);
        let (mut whole, mut rest) = (false, inbox.as_slice());
        while let Some(([kind, id @ ..], after)) = rest.split_first_chunk::<FRAME>() {
            (whole, rest) = (true, after);
            self.frame(*kind, *id, now);
        }
        self.inbox = rest.to_vec();
        if !whole && !bytes.is_empty() {
            self.session.handle(Event::Received, now);
        }
    }

    fn flushed(&mut self, now: Timestamp) {
        let event = if self.beating {
            Event::HeartbeatSent
        } else {
            Event::Sent
        };
        self.beating = false;
        self.session.handle(event, now);
    }

    fn disconnected(&mut self, now: Timestamp) {
        self.ended();
        self.session.handle(Event::Disconnected, now);
    }

    fn poll(&mut self, now: Timestamp) -> Option<Deed> {
        if let Some(frame) = self.outbox.pop_front() {
            return Some(Deed::Write(frame.to_vec()));
        }
        loop {
            let action = self.session.poll(now)?;
            self.said.push((now, action));
            match action {
                Action::Connect { .. } => return Some(Deed::Dial),
                Action::SendHeartbeat { id } => {
                    self.beating = true;
                    return Some(Deed::Write(frame(HEARTBEAT, id.to_bytes()).to_vec()));
                }
                Action::Close(_) => {
                    self.ended();
                    return Some(Deed::Close);
                }
                Action::Abort => {
                    self.ended();
                    return Some(Deed::Abort);
                }
                Action::Reconnect { .. } | Action::GiveUp(_) => {}
            }
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.session.deadline()
    }
}

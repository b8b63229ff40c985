//! A client that stays connected, without the I/O: what every runtime's
//! `Link` has in common.

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::vec::Vec;

use super::outbox::{Flushed, Outbox};
use crate::config::Config;
use crate::session::{Action, EndReason, Event, GiveUpReason, HeartbeatId, Phase, Session};
use crate::time::Timestamp;

/// What a `Link` tells its user.
#[derive(Debug)]
#[non_exhaustive]
pub enum LinkEvent<'a> {
    /// The link is up. Whatever the protocol says first is to be sent now.
    #[non_exhaustive]
    Up {
        /// 0 for the first dial, then counted from the last stable link.
        attempt: u32,
    },
    /// Bytes came. Tell the link with `report` if they are a heartbeat or an
    /// answer.
    Data(&'a [u8]),
    /// A heartbeat of ours went out.
    #[non_exhaustive]
    HeartbeatSent {
        /// Its number.
        id: HeartbeatId,
    },
    /// We were asleep or stalled, and nobody is judged for that: where the
    /// peer has not spoken since, it is asked whether it is still there.
    Stalled,
    /// The link, or the attempt at one, has ended.
    #[non_exhaustive]
    Down {
        /// How.
        why: EndReason,
        /// What the transport said, if it did.
        error: Option<io::Error>,
        /// How long the peer had been silent, if the link was up.
        silence: Option<Duration>,
        /// When the next dial comes; none: never.
        retry_in: Option<Duration>,
        /// The number of that dial.
        attempt: u32,
    },
    /// The next dial was moved.
    #[non_exhaustive]
    Retry {
        /// When it comes now.
        retry_in: Duration,
        /// Its number.
        attempt: u32,
    },
    /// No dial follows.
    GaveUp(GiveUpReason),
}

/// Why bytes were not taken for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The link is not up. What was meant for one link rarely makes sense on
    /// the next, so nothing is kept for it.
    NotConnected,
    /// More waits to be written than the link's send limit: the peer does not
    /// read.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "the link is not up",
            Self::Full => "too much waits to be written: the peer does not read",
        })
    }
}

impl core::error::Error for SendError {}

/// A seed from the standard library's randomly keyed hasher.
pub(super) fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Writes the heartbeat with that number.
pub(super) type Heartbeat = Box<dyn FnMut(HeartbeatId, &mut Vec<u8>) + Send>;

/// The most bytes that may wait to be written, unless set.
pub(super) const SEND_LIMIT: usize = 1 << 20;

/// What the runtime is to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Dial, within the budget.
    Dial { budget: Option<Duration> },
    /// Write while there is something to write, and read, until then.
    Transfer { until: Option<Timestamp> },
    /// Tell the peer that no more will be sent; then go on.
    Finish,
    /// Drop the transport at once; then go on.
    Drop,
    /// Nothing to do until then.
    Sleep { until: Option<Timestamp> },
    /// Nothing to do ever again.
    Done,
}

/// A session, its output, and what its user has yet to be told.
pub(super) struct Engine {
    session: Session,
    heartbeat: Heartbeat,
    outbox: Outbox,
    send_limit: usize,
    reports: VecDeque<LinkEvent<'static>>,
    /// How the link ended, while its user does not know yet.
    end: Option<End>,
    /// There is a transport.
    up: bool,
    /// The peer was told that no more will be sent.
    finished: bool,
    stalls: u16,
}

#[derive(Debug, Default)]
struct End {
    error: Option<io::Error>,
    silence: Option<Duration>,
}

impl Engine {
    pub(super) fn new(config: Config, seed: u64, heartbeat: Heartbeat, now: Timestamp) -> Self {
        Self {
            session: Session::new(config, seed, now),
            heartbeat,
            outbox: Outbox::default(),
            send_limit: SEND_LIMIT,
            reports: VecDeque::new(),
            end: None,
            up: false,
            finished: false,
            stalls: 0,
        }
    }

    pub(super) fn set_send_limit(&mut self, send_limit: usize) {
        self.send_limit = send_limit;
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// What the user is to be told next.
    pub(super) fn report(&mut self) -> Option<LinkEvent<'static>> {
        self.reports.pop_front()
    }

    pub(super) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// What the user knows and the transport does not.
    pub(super) fn tell(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::HeartbeatReceived
            | Event::AnswerReceived { .. }
            | Event::RetryAfter(_)
            | Event::Rejected
            | Event::Resumed
            | Event::Shutdown
            | Event::Drain => self.session.handle(event, now),
            // The rest is the transport's, which we watch ourselves.
            _ => {}
        }
    }

    /// Takes bytes for sending.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if self.session.phase() != Phase::Open {
            return Err(SendError::NotConnected);
        }
        let waiting = self.outbox.waiting();
        if waiting > 0 && waiting.saturating_add(bytes.len()) > self.send_limit {
            return Err(SendError::Full);
        }
        self.outbox.push(bytes);
        Ok(())
    }

    pub(super) fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Writes until `write` takes no more. An error other than `WouldBlock`
    /// is the transport's end.
    pub(super) fn flush(
        &mut self,
        now: Timestamp,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while let Some(flushed) = self.outbox.flush(&mut write) {
            match flushed {
                Ok(Flushed::Some) => self.session.handle(Event::Sent, now),
                Ok(Flushed::Heartbeat(id)) => {
                    self.session.handle(Event::HeartbeatSent, now);
                    self.reports.push_back(LinkEvent::HeartbeatSent { id });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.outbox.clear();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The dial succeeded.
    pub(super) fn connected(&mut self, now: Timestamp) {
        self.outbox.clear();
        self.finished = false;
        let attempt = self.session.status(now).attempt;
        self.session.handle(Event::Connected, now);
        self.up = self.session.phase() == Phase::Open;
        if self.up {
            self.reports.push_back(LinkEvent::Up { attempt });
        }
    }

    /// Bytes came.
    pub(super) fn received(&mut self, now: Timestamp) {
        self.session.handle(Event::Received, now);
    }

    /// The transport is gone, or the dial failed.
    pub(super) fn gone(&mut self, error: Option<io::Error>, now: Timestamp) {
        let silence = self.session.status(now).silence;
        let end = self.end.get_or_insert_default();
        end.error = end.error.take().or(error);
        end.silence = end.silence.or(silence);
        self.up = false;
        self.outbox.clear();
        self.session.handle(Event::Disconnected, now);
    }

    /// What to do next. Everything that was there to read has been read.
    pub(super) fn step(&mut self, now: Timestamp) -> Step {
        loop {
            let silence = self.session.status(now).silence;
            let action = self.session.poll(now);
            let status = self.session.status(now);
            if status.stalls != self.stalls {
                self.stalls = status.stalls;
                self.reports.push_back(LinkEvent::Stalled);
            }
            let Some(action) = action else {
                return self.idle(status.phase);
            };
            match action {
                Action::Connect { .. } => {
                    let budget = self.session.config().connect_timeout();
                    return Step::Dial { budget };
                }
                Action::SendHeartbeat { id } => {
                    let mut bytes = Vec::new();
                    (self.heartbeat)(id, &mut bytes);
                    self.outbox.push_heartbeat(id, bytes);
                }
                Action::Close(reason) => {
                    self.end = Some(End {
                        error: None,
                        silence,
                    });
                    if reason.is_liveness() || !self.up {
                        // Nobody is there to be polite to.
                        self.gone(None, now);
                        return Step::Drop;
                    }
                }
                Action::Abort => {
                    self.up = false;
                    self.outbox.clear();
                    return Step::Drop;
                }
                Action::Reconnect { after, attempt } => {
                    let report = match self.end.take() {
                        Some(end) => self.down(end, Some(after), attempt),
                        None => LinkEvent::Retry {
                            retry_in: after,
                            attempt,
                        },
                    };
                    self.reports.push_back(report);
                }
                Action::GiveUp(reason) => {
                    if let Some(end) = self.end.take() {
                        let report = self.down(end, None, status.attempt);
                        self.reports.push_back(report);
                    }
                    self.reports.push_back(LinkEvent::GaveUp(reason));
                }
            }
        }
    }

    fn idle(&mut self, phase: Phase) -> Step {
        let until = self.session.deadline();
        match phase {
            Phase::Waiting => Step::Sleep { until },
            Phase::Done => {
                if let Some(end) = self.end.take() {
                    let report = self.down(end, None, 0);
                    self.reports.push_back(report);
                }
                Step::Done
            }
            Phase::Closing if self.outbox.is_empty() && !self.finished => {
                self.finished = true;
                Step::Finish
            }
            _ => Step::Transfer { until },
        }
    }

    fn down(&self, end: End, retry_in: Option<Duration>, attempt: u32) -> LinkEvent<'static> {
        LinkEvent::Down {
            why: self.last_end(),
            error: end.error,
            silence: end.silence,
            retry_in,
            attempt,
        }
    }

    fn last_end(&self) -> EndReason {
        let status = self.session.status(Timestamp::EPOCH);
        status.last_end.unwrap_or(EndReason::Disconnected)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("session", &self.session)
            .field("outbox", &self.outbox)
            .finish_non_exhaustive()
    }
}

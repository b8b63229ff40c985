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
use crate::config::{Config, ConfigError, Role, Rule};
use crate::session::{Action, EndReason, Event, GiveUpReason, HeartbeatId, Phase, Session, Status};
use crate::time::Timestamp;

/// What a `Link` tells its user.
///
/// ```
/// use nabiz::blocking::LinkEvent;
///
/// fn log(event: &LinkEvent<'_>) -> String {
///     match event {
///         LinkEvent::Up { attempt, .. } => format!("up after {attempt} attempts"),
///         LinkEvent::Data(bytes) => format!("{} bytes", bytes.len()),
///         LinkEvent::Down { why, error: Some(error), .. } => format!("down: {why}, {error}"),
///         LinkEvent::Down { why, .. } => format!("down: {why}"),
///         other => format!("{other:?}"),
///     }
/// }
/// assert_eq!(log(&LinkEvent::Data(b"hello")), "5 bytes");
/// ```
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
    /// We were asleep, stalled, or told to look again (`reconnect_now`).
    /// Nobody is judged for that: where the peer has not spoken since, it is
    /// asked whether it is still there.
    Stalled,
    /// The link, or the attempt at one, has ended.
    #[non_exhaustive]
    Down {
        /// How. A dial that took its whole budget is closed for
        /// `ConnectTimeout`, whatever the transport said.
        why: EndReason,
        /// What the transport said, if it did.
        error: Option<io::Error>,
        /// How long the peer had been silent, if the link was up.
        silence: Option<Duration>,
        /// When the next dial comes; none: never.
        retry_in: Option<Duration>,
        /// The number of that dial; of the last one if there is none to come.
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
///
/// ```
/// use std::io::{Error, ErrorKind};
/// use nabiz::blocking::SendError;
///
/// assert_eq!(SendError::NotConnected.to_string(), "the link is not up");
/// assert_eq!(Error::from(SendError::Full).kind(), ErrorKind::WouldBlock);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        let kind = match error {
            SendError::NotConnected => io::ErrorKind::NotConnected,
            SendError::Full => io::ErrorKind::WouldBlock,
        };
        Self::new(kind, error)
    }
}

/// A seed from the standard library's randomly keyed hasher.
///
/// ```
/// use nabiz::blocking::random_seed;
///
/// assert_ne!(random_seed(), random_seed());
/// ```
#[must_use]
pub fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Writes the heartbeat with that number.
pub(super) type Heartbeat = Box<dyn FnMut(HeartbeatId, &mut Vec<u8>) + Send>;

/// The most bytes that may wait to be written, unless set.
const SEND_LIMIT: usize = 1 << 20;
/// Writes in a row, after which others get their turn.
const MOST_WRITES: usize = 64;
/// Reads that may go ahead of a verdict, if there is time: a peer that never
/// pauses cannot put it off for ever.
const MOST_READS: u32 = 256;

/// Where a link's bytes go. Neither call waits: what cannot be done at once
/// fails with `WouldBlock`.
pub(super) trait Output {
    /// Takes some of the bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Lets go of what it took.
    fn flush(&mut self) -> io::Result<()>;
}

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
    /// Written, but not known to have left the transport.
    unflushed: Option<Flushed>,
    /// The transport failed in writing: it is written to no more, for what it
    /// failed with is lost.
    is_mute: bool,
    send_limit: usize,
    reports: VecDeque<LinkEvent<'static>>,
    /// How the link ended, while its user does not know yet.
    end: Option<End>,
    /// There is a transport.
    up: bool,
    /// The user has had the chance to speak first.
    greeted: bool,
    /// The peer was told that no more will be sent.
    finished: bool,
    stalls: u16,
    /// The user has no use for the transport any more.
    is_unwanted: bool,
    /// A flush that came while the driver was late; told when it is back.
    flushed_late: Option<Event>,
    /// The peer's silence when the user ended the link.
    silence: Option<Duration>,
    /// The phase that watchers know of, and how often it changed.
    phase: Phase,
    changes: u64,
    /// How often was read since the last step.
    reads: u32,
}

#[derive(Debug, Default)]
struct End {
    error: Option<io::Error>,
    silence: Option<Duration>,
}

impl Engine {
    /// Refuses a server's configuration.
    pub(super) fn new(
        config: Config,
        seed: u64,
        heartbeat: Heartbeat,
        now: Timestamp,
    ) -> Result<Self, ConfigError> {
        if config.role() != Role::Client {
            return Err(ConfigError::new("role", Rule::NotClient));
        }
        let session = Session::new(config, seed, now);
        Ok(Self {
            phase: session.phase(),
            changes: 0,
            session,
            heartbeat,
            outbox: Outbox::default(),
            unflushed: None,
            is_mute: false,
            send_limit: SEND_LIMIT,
            reports: VecDeque::new(),
            end: None,
            up: false,
            greeted: false,
            finished: false,
            is_unwanted: false,
            stalls: 0,
            flushed_late: None,
            silence: None,
            reads: 0,
        })
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

    /// Whether the phase is another one than when this was asked before.
    pub(super) fn has_changed(&mut self) -> bool {
        let phase = self.session.phase();
        let has_changed = phase != self.phase;
        if has_changed {
            self.phase = phase;
            self.changes = self.changes.wrapping_add(1);
        }
        has_changed
    }

    /// For a watcher that has seen so many changes of the phase: none if there
    /// are no others yet, else what to tell it, and none of that if there will
    /// be none.
    pub(super) fn change(&self, seen: &mut u64, now: Timestamp) -> Option<Option<Status>> {
        if self.changes != *seen {
            *seen = self.changes;
            return Some(Some(self.session.status(now)));
        }
        (self.phase == Phase::Done).then_some(None)
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
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
            Event::Disconnected if self.up => {
                self.gone(None, now);
                self.is_unwanted = true;
            }
            Event::HeartbeatReceived
            | Event::AnswerReceived { .. }
            | Event::RetryAfter(_)
            | Event::Rejected
            | Event::Resumed
            | Event::Shutdown
            | Event::Drain => {
                self.silence = self.session.status(now).silence.or(self.silence);
                self.session.handle(event, now);
            }
            // The rest is the transport's, which we watch ourselves.
            _ => {}
        }
    }

    /// The user knows that the link is up, and said what it wanted to say.
    pub(super) fn greeted(&mut self) {
        self.greeted = self.up;
    }

    pub(super) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Takes bytes for sending.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if !self.up || self.is_mute || self.session.phase() != Phase::Open {
            return Err(SendError::NotConnected);
        }
        let waiting = self.outbox.waiting();
        if waiting > 0 && waiting.saturating_add(bytes.len()) > self.send_limit {
            return Err(SendError::Full);
        }
        self.outbox.push(bytes, !self.greeted);
        Ok(())
    }

    pub(super) fn has_output(&self) -> bool {
        !self.outbox.is_empty() || self.unflushed.is_some()
    }

    /// Writes until `write` or `flush` takes no more, and says whether it would
    /// take more. An error other than `WouldBlock` is the transport's end.
    ///
    /// `flush` is for transports that hold back what was written: what did not
    /// leave them is not sent.
    pub(super) fn flush(
        &mut self,
        now: Timestamp,
        transport: &mut impl Output,
    ) -> io::Result<bool> {
        if self.is_mute {
            self.clear_output();
            return Ok(false);
        }
        for _ in 0..MOST_WRITES {
            if self.unflushed.is_none() {
                match self.outbox.flush(|bytes| transport.write(bytes)) {
                    None => break,
                    Some(Ok(flushed)) => self.unflushed = Some(flushed),
                    Some(Err(error)) => match self.output_failed(error) {
                        Some(outcome) => return outcome,
                        None => continue,
                    },
                }
            }
            if let Err(error) = transport.flush() {
                match self.output_failed(error) {
                    Some(outcome) => return outcome,
                    None => continue,
                }
            }
            match self.unflushed.take() {
                Some(Flushed::Heartbeat(id)) => {
                    self.flushed(Event::HeartbeatSent, now);
                    self.reports.push_back(LinkEvent::HeartbeatSent { id });
                }
                _ => self.flushed(Event::Sent, now),
            }
        }
        Ok(true)
    }

    /// None: to be tried again at once.
    fn output_failed(&mut self, error: io::Error) -> Option<io::Result<bool>> {
        match error.kind() {
            io::ErrorKind::Interrupted => None,
            io::ErrorKind::WouldBlock => Some(Ok(false)),
            _ => {
                self.is_mute = true;
                self.clear_output();
                Some(Err(error))
            }
        }
    }

    fn clear_output(&mut self) {
        self.outbox.clear();
        self.unflushed = None;
    }

    /// A write that comes late must not spend the forgiveness that belongs to
    /// the reader, who alone can send a probe: it is told with the next step.
    fn flushed(&mut self, event: Event, now: Timestamp) {
        if !self.is_due(now) {
            self.session.handle(event, now);
        } else if self.flushed_late != Some(Event::HeartbeatSent) {
            self.flushed_late = Some(event);
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.session.deadline().is_some_and(|due| due <= now)
    }

    /// Whether a step at `now` would call the peer dead. Then what is there to
    /// read is to be read first: it may withdraw the verdict. It is put off for
    /// a part of what would count as a stall of ours, or for one read.
    pub(super) fn would_convict(&self, now: Timestamp) -> bool {
        self.session.would_convict(now) && (self.reads == 0 || self.may_read_on(now))
    }

    fn may_read_on(&self, now: Timestamp) -> bool {
        const PART: u32 = 4;
        let tolerance = self.session.config().stall_tolerance();
        let patience = tolerance.checked_div(PART).unwrap_or_default();
        let due = self.session.deadline().unwrap_or(now);
        self.reads < MOST_READS && now.saturating_duration_since(due) < patience
    }

    /// The dial succeeded; false if it is not wanted any more.
    pub(super) fn connected(&mut self, now: Timestamp) -> bool {
        self.clear_output();
        self.is_mute = false;
        self.greeted = false;
        self.finished = false;
        self.flushed_late = None;
        self.silence = None;
        let attempt = self.session.status(now).attempt;
        self.session.handle(Event::Connected, now);
        self.slow_dial_is_no_stall(now);
        self.up = self.session.phase() == Phase::Open;
        if self.up {
            self.reports.push_back(LinkEvent::Up { attempt });
        }
        self.up
    }

    /// Bytes came.
    pub(super) fn received(&mut self, now: Timestamp) {
        self.reads = self.reads.saturating_add(1);
        self.session.handle(Event::Received, now);
    }

    /// The transport is gone, or the dial failed.
    pub(super) fn gone(&mut self, error: Option<io::Error>, now: Timestamp) {
        let is_dial = self.session.phase() == Phase::Connecting;
        let silence = self.session.status(now).silence.or(self.silence.take());
        let end = self.end.get_or_insert_default();
        end.error = end.error.take().or(error);
        end.silence = end.silence.or(silence);
        self.up = false;
        self.clear_output();
        self.session.handle(Event::Disconnected, now);
        if is_dial {
            self.slow_dial_is_no_stall(now);
        }
    }

    /// Whether the session gives up on a dial by itself; ends it if so.
    pub(super) fn ends_dial(&mut self, now: Timestamp) -> bool {
        self.session.phase() == Phase::Connecting
            && matches!(self.session.clone().poll(now), Some(Action::Close(_)))
            && matches!(self.step(now), Step::Drop)
    }

    /// The session cannot tell a dial that took its time from a driver that
    /// did; the user is not told of either.
    fn slow_dial_is_no_stall(&mut self, now: Timestamp) {
        self.stalls = self.session.status(now).stalls;
    }

    /// What to do next. Everything that was there to read has been read.
    pub(super) fn step(&mut self, now: Timestamp) -> Step {
        self.reads = 0;
        if core::mem::take(&mut self.is_unwanted) {
            return Step::Drop;
        }
        if let Some(event) = self.flushed_late.take() {
            self.session.handle(event, now);
        }
        loop {
            let silence = self.session.status(now).silence;
            let action = self.session.poll(now);
            let status = self.session.status(now);
            if status.stalls != self.stalls {
                self.stalls = status.stalls;
                self.reports.push_back(LinkEvent::Stalled);
            }
            let Some(action) = action else {
                return self.idle(status, now);
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
                        silence: silence.or(self.silence.take()),
                    });
                    if reason.is_liveness() || !self.up {
                        // Nobody is there to be polite to.
                        self.gone(None, now);
                        return Step::Drop;
                    }
                }
                Action::Abort => {
                    self.up = false;
                    self.clear_output();
                    return Step::Drop;
                }
                Action::Reconnect { after, attempt } => {
                    if !self.report_end(Some(after), attempt) {
                        self.reports.push_back(LinkEvent::Retry {
                            retry_in: after,
                            attempt,
                        });
                    }
                }
                Action::GiveUp(reason) => {
                    self.report_end(None, status.attempt);
                    self.reports.push_back(LinkEvent::GaveUp(reason));
                }
            }
        }
    }

    fn idle(&mut self, status: Status, now: Timestamp) -> Step {
        let until = self.session.deadline();
        match status.phase {
            Phase::Waiting => Step::Sleep { until },
            Phase::Done => {
                self.report_end(None, status.attempt);
                Step::Done
            }
            // A polite end would pass for the end of what was lost half-way.
            Phase::Closing if self.is_mute => {
                self.gone(None, now);
                Step::Drop
            }
            Phase::Closing if !self.has_output() && !self.finished => {
                self.finished = true;
                Step::Finish
            }
            _ => Step::Transfer { until },
        }
    }

    /// Tells the user how the link ended; false if that was told already.
    fn report_end(&mut self, retry_in: Option<Duration>, attempt: u32) -> bool {
        let Some(end) = self.end.take() else {
            return false;
        };
        let last_end = self.session.status(Timestamp::EPOCH).last_end;
        self.reports.push_back(LinkEvent::Down {
            why: last_end.unwrap_or(EndReason::Disconnected),
            error: end.error,
            silence: end.silence,
            retry_in,
            attempt,
        });
        true
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mebibyte_may_wait_unless_it_is_set() {
        let config = Config::client().build().unwrap();
        let engine = Engine::new(config, 1, Box::new(|_, _| {}), Timestamp::EPOCH).unwrap();
        assert_eq!(engine.send_limit, 1_048_576);
    }

    #[test]
    fn of_flushes_that_come_late_the_heartbeats_is_told() {
        let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
        let config = Config::client().build().unwrap();
        for events in [
            [Event::Sent, Event::HeartbeatSent],
            [Event::HeartbeatSent, Event::Sent],
        ] {
            let mut engine = Engine::new(config, 1, Box::new(|_, _| {}), at(0)).unwrap();
            // The first dial is due at once, so all of this is late.
            for event in events {
                engine.flushed(event, at(1));
            }
            assert_eq!(engine.flushed_late, Some(Event::HeartbeatSent));
        }
    }
}

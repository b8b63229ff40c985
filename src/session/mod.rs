//! One connection: its phases, and what each event and each instant does.

mod closing;
mod event;
#[cfg(feature = "testing")]
mod fingerprint;
mod inbound;
mod link;
mod outbound;
mod status;
mod suspicion;
mod waiting;

pub use event::{Action, CloseReason, EndReason, Event, GiveUpReason, HeartbeatId};
#[cfg(feature = "testing")]
pub use fingerprint::Fingerprint;
#[cfg(feature = "testing")]
pub(crate) use fingerprint::{Account, Next, Open, Stage};
pub use status::{Phase, Status};

// The rules that a roster shares.
pub(crate) use inbound::retire;
#[cfg(feature = "alloc")]
pub(crate) use inbound::{is_thawing, take_token};
pub(crate) use link::Link;
pub(crate) use outbound::beat_gap;
#[cfg(feature = "alloc")]
pub(crate) use suspicion::probe_wait;

use crate::config::{Config, ConfigError, Limits, Role};
use crate::time::{Span, Timestamp};
use closing::{Closing, Then};
use status::Rtt;
use waiting::{Floor, Waiting};

/// The state machine of one connection, seen from either end.
///
/// Three verbs: [`handle`](Self::handle) what happened, [`poll`](Self::poll)
/// what to do until it says `None`, and sleep until the
/// [`deadline`](Self::deadline). It does no I/O and reads no clock; see the
/// [crate's page](crate) for a loop around it.
///
/// Three duties of the driver:
/// - Report each event when it happened, and what an [`Action`] asks for when
///   it is done.
/// - **Read until nothing is left before each poll.** Verdicts are taken in
///   `poll` alone, and bytes that were there but not yet reported cannot
///   withdraw one.
/// - Wake at the deadline. Late wakes are forgiven (see
///   [`with_stall_tolerance`](crate::ConfigBuilder::with_stall_tolerance)),
///   but only once a silence.
///
/// `now` going backwards is treated as no time passing. An event that means
/// nothing in the current phase is ignored; nothing panics.
///
/// ```
/// use core::time::Duration;
/// use nabiz::{Action, CloseReason, Config, Event, Session, Timestamp};
///
/// let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
/// let config = Config::client()
///     .with_interval(Duration::from_secs(5))
///     .with_silence_timeout(Duration::from_secs(12))
///     .with_spread_first_beat(false)
///     .build()?;
/// let mut session = Session::new(config, 42, at(0));
///
/// assert_eq!(session.poll(at(0)), Some(Action::Connect { attempt: 0 }));
/// session.handle(Event::Connected, at(1));
/// assert_eq!(session.poll(at(1)), None);
///
/// // The heartbeat: 4.5 to 5 s after the last thing we sent.
/// let due = session.deadline().unwrap();
/// assert!(matches!(session.poll(due), Some(Action::SendHeartbeat { .. })));
/// session.handle(Event::HeartbeatSent, due);
///
/// // The peer is last heard at 8 s, and we keep beating.
/// session.handle(Event::Received, at(8));
/// let verdict = loop {
///     let due = session.deadline().unwrap();
///     match session.poll(due) {
///         Some(Action::Close(reason)) => break (reason, due),
///         Some(Action::SendHeartbeat { .. }) => session.handle(Event::HeartbeatSent, due),
///         other => panic!("{other:?}"),
///     }
/// };
/// assert_eq!(verdict, (CloseReason::PeerSilent, at(20)));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Session {
    config: Config,
    seed: u64,
    /// The latest instant seen.
    now: Timestamp,
    /// A lower bound of the deadline, which keeps a call per packet down to a
    /// compare and a few stores.
    bound: Option<Timestamp>,
    /// When the limits were last changed, or a stall was forgiven: what lay in
    /// the past by then fell due then, and is no stall again.
    settled: Timestamp,
    state: State,
    floor: Option<Floor>,
    rtt: Option<Rtt>,
    /// Whether the latest answer gave it.
    rtt_is_new: bool,
    /// The number of the current attempt, and the last step of its series.
    attempt: u32,
    step: Option<Span>,
    /// Dials so far.
    dials: u32,
    /// Heartbeats asked for so far; the number of the last one.
    beats: u32,
    stalls: u16,
    last_end: Option<EndReason>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// `since` is when the dial began, or its time began again; none while
    /// the first dial is owed.
    Connecting {
        since: Option<Timestamp>,
        forgiven: bool,
    },
    Open(Link),
    Closing(Closing),
    Waiting(Waiting),
    Done {
        owed: Option<GiveUpReason>,
    },
}

impl Session {
    /// A new connection. A client's first [`poll`](Self::poll) says
    /// [`Connect`](Action::Connect); a server's session is open already.
    ///
    /// `seed` decides all chance. Take it from an entropy source: clients with
    /// equal seeds beat and return in lockstep, which is what jitter is there
    /// to prevent. For a replay, give the same one again.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Timestamp) -> Self {
        let state = match config.role {
            Role::Client => State::Connecting {
                since: None,
                forgiven: false,
            },
            Role::Server => State::Open(Link::new(beat_gap(&config, seed, 0, 1, true), now)),
        };
        let mut session = Self {
            config,
            seed,
            now,
            bound: None,
            settled: now,
            state,
            floor: None,
            rtt: None,
            rtt_is_new: false,
            attempt: 0,
            step: None,
            dials: 0,
            beats: 0,
            stalls: 0,
            last_end: None,
        };
        session.bound = session.deadline();
        session
    }

    /// Takes in what happened.
    #[inline]
    pub fn handle(&mut self, event: Event, now: Timestamp) {
        let now = self.advance(now);
        if self.is_early(now) {
            // These only move deadlines later, so the bound still holds.
            match (event, &mut self.state) {
                (Event::Received, State::Open(link)) => return link.received(&self.config, now),
                (Event::Sent, State::Open(link)) => return link.sent(now),
                (Event::HeartbeatReceived, State::Open(link)) => {
                    let is_allowed = link.take_token(&self.config, now);
                    if is_allowed {
                        return link.evidence_of_life(now);
                    }
                }
                _ => {}
            }
        }
        self.handle_in_full(event, now);
    }

    /// What to do at `now`; call until `None`. Calls too many change nothing.
    #[inline]
    pub fn poll(&mut self, now: Timestamp) -> Option<Action> {
        let now = self.advance(now);
        if self.is_early(now) {
            return None;
        }
        self.poll_in_full(now)
    }

    /// Whether a poll at `now` would call the peer dead: what came from it
    /// meanwhile is to be read first.
    #[cfg(feature = "std")]
    pub(crate) fn would_convict(&self, now: Timestamp) -> bool {
        self.deadline().is_some_and(|due| due <= now.max(self.now))
            && matches!(
                self.clone().poll(now),
                Some(Action::Close(reason)) if reason.is_liveness()
            )
    }

    /// When to poll again, unless something happens first. None: never.
    ///
    /// It lies in the past while an action is due that was not polled for.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Connecting { since: None, .. } | State::Done { owed: Some(_) } => Some(self.now),
            State::Connecting {
                since: Some(since), ..
            } => since.after(self.config.connect_timeout?),
            State::Open(link) => {
                let due = link.due(&self.config, self.retire(link));
                due.map(|due| due.max(self.settled))
            }
            State::Closing(closing) => match closing.since {
                None => Some(self.now),
                Some(since) => since.after(self.config.close_grace),
            },
            State::Waiting(waiting) => waiting.deadline(self.now),
            State::Done { owed: None } => None,
        }
    }

    /// Changes what protocols settle after connecting: STOMP, AMQP Tune, the
    /// Server Keep Alive of MQTT 5, gRPC's `too_many_pings`.
    ///
    /// Valid until changed again, for later links too. The clocks run on, and
    /// a limit that is thereby past falls due at `now`.
    ///
    /// # Errors
    /// As [`ConfigBuilder::build`](crate::ConfigBuilder::build); then nothing
    /// is changed.
    pub fn set_limits(&mut self, limits: Limits, now: Timestamp) -> Result<(), ConfigError> {
        let config = self.config.with_limits(limits)?;
        let now = self.advance(now);
        self.judge(now);
        self.config = config;
        self.settled = now;
        if let State::Open(link) = self.state {
            let gap = self.next_gap(!link.beaten);
            self.state = State::Open(Link { gap, ..link });
        }
        self.bound = self.deadline();
        Ok(())
    }

    /// The configuration, with the limits in force.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Time never goes backwards.
    #[inline]
    fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }

    #[inline]
    fn is_early(&self, now: Timestamp) -> bool {
        self.bound.is_none_or(|bound| now < bound)
    }

    #[inline(never)]
    fn handle_in_full(&mut self, event: Event, now: Timestamp) {
        if event != Event::Resumed {
            self.judge(now); // a resume is forgiven as it is, and once
        }
        self.apply(event, now);
        self.bound = self.deadline();
    }

    #[inline(never)]
    fn poll_in_full(&mut self, now: Timestamp) -> Option<Action> {
        self.judge(now);
        let action = self.act(now);
        self.bound = self.deadline();
        action
    }

    /// Judges whether this call is a stall: late by more than the tolerance.
    fn judge(&mut self, now: Timestamp) {
        let late = self
            .deadline()
            .and_then(|due| due.after(self.config.tolerance()))
            .is_some_and(|tolerated| tolerated < now);
        if !late {
            return;
        }
        let forgiven = match &mut self.state {
            State::Connecting { forgiven, .. } => *forgiven,
            State::Open(link) => {
                link.thawed = Some(now);
                link.suspect
            }
            _ => true,
        };
        if !forgiven {
            self.forgive(now);
        }
    }

    fn forgive(&mut self, now: Timestamp) {
        match &mut self.state {
            State::Connecting {
                since: Some(since),
                forgiven,
            } => {
                *since = now;
                *forgiven = true;
            }
            State::Open(link) => link.forgive(now),
            _ => return,
        }
        self.settled = now;
        self.stalls = self.stalls.wrapping_add(1);
    }

    fn apply(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Received | Event::HeartbeatReceived | Event::AnswerReceived { .. } => {
                self.heard(event, now);
            }
            Event::Sent => {
                if let State::Open(link) = &mut self.state {
                    link.sent(now);
                }
            }
            Event::HeartbeatSent => {
                let gap = self.next_gap(false);
                if let State::Open(link) = &mut self.state {
                    link.beat_sent(gap, now);
                }
            }
            Event::Connected => {
                if let State::Connecting { since: Some(_), .. } = self.state {
                    self.state = State::Open(Link::new(self.next_gap(true), now));
                    self.floor = None;
                    self.rtt = None;
                    self.rtt_is_new = false;
                }
            }
            Event::ConnectFailed | Event::Disconnected => self.gone(event, now),
            Event::RetryAfter(span) => self.retry_after(span, now),
            Event::Resumed => match &mut self.state {
                State::Waiting(waiting) => waiting.hurry(),
                _ => self.forgive(now),
            },
            Event::Rejected => self.finish(CloseReason::Rejected, Then::GiveUp),
            Event::Shutdown => self.finish(CloseReason::Shutdown, Then::Done),
            Event::Drain => {
                if let State::Open(_) = self.state {
                    self.close(CloseReason::Draining, Then::Return);
                }
            }
        }
    }

    fn heard(&mut self, event: Event, now: Timestamp) {
        let State::Open(link) = &mut self.state else {
            return;
        };
        match event {
            Event::HeartbeatReceived => {
                let allowed = link.take_token(&self.config, now);
                link.evidence_of_life(now);
                if !allowed {
                    self.close(CloseReason::Flooded, Then::Return);
                }
            }
            Event::AnswerReceived { id } => {
                let sample = link.answered(id, self.beats, now);
                self.rtt_is_new = sample.is_some();
                if let Some(sample) = sample {
                    self.rtt = Some(Rtt::smoothed(self.rtt, sample));
                }
            }
            _ => link.received(&self.config, now),
        }
    }

    fn act(&mut self, now: Timestamp) -> Option<Action> {
        match &mut self.state {
            State::Connecting { since: None, .. } => Some(self.dial(now)),
            State::Connecting {
                since: Some(since), ..
            } => {
                let limit = since.after(self.config.connect_timeout?)?;
                (limit <= now).then(|| {
                    let closing = self.closing(CloseReason::ConnectTimeout, Then::Return);
                    self.emit_close(closing, now, now)
                })
            }
            State::Open(_) => self.act_open(now),
            State::Closing(closing) => {
                let closing = *closing;
                let Some(since) = closing.since else {
                    return Some(self.emit_close(closing, now, now));
                };
                (since.after(self.config.close_grace)? <= now).then(|| {
                    self.closed(closing, now);
                    Action::Abort
                })
            }
            State::Waiting(_) => self.act_waiting(now),
            State::Done { owed } => owed.take().map(Action::GiveUp),
        }
    }

    fn act_open(&mut self, now: Timestamp) -> Option<Action> {
        let State::Open(link) = &self.state else {
            return None;
        };
        if let Some((at, reason)) = link.verdict(&self.config, self.retire(link)) {
            if at <= now {
                // A mute peer was not stable because we waited for it.
                let until = if reason.is_liveness() {
                    link.evidence
                } else {
                    now
                };
                let closing = self.closing(reason, Then::Return);
                return Some(self.emit_close(closing, until, now));
            }
        }
        let State::Open(link) = &mut self.state else {
            return None;
        };
        if link.send_due(&self.config)? > now {
            return None;
        }
        link.beat_asked(&self.config, now);
        self.beats = self.beats.wrapping_add(1);
        Some(Action::SendHeartbeat {
            id: HeartbeatId(self.beats),
        })
    }

    fn dial(&mut self, now: Timestamp) -> Action {
        self.dials = self.dials.wrapping_add(1);
        self.state = State::Connecting {
            since: Some(now),
            forgiven: false,
        };
        Action::Connect {
            attempt: self.attempt,
        }
    }

    /// The wait before the next heartbeat, the first of its link or a later one.
    fn next_gap(&self, first: bool) -> Span {
        let number = self.beats.wrapping_add(1);
        beat_gap(&self.config, self.seed, self.dials, number, first)
    }

    /// When the link is too old.
    #[inline]
    fn retire(&self, link: &Link) -> Option<Timestamp> {
        retire(&self.config, self.seed, self.dials, link.connected)
    }
}

#[cfg(test)]
mod tests;

//! What the checker believes a session to be: its own account of the contract,
//! kept from what goes in and what comes out alone.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::comeback::{Floor, Series, Wait};
use super::link::{Link, What};
use super::span::{LONGEST, NEVER, Nanos, Range, after, at, len, maybe_at};
use crate::config::{Config, Role};
use crate::session::{Action, CloseReason, EndReason, Event, GiveUpReason, Phase, Status};
use crate::time::Timestamp;

/// A law that was broken, and how. Law 0 is the status, which none names.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) law: usize,
    pub(super) why: String,
}

pub(super) type Verdict = Result<(), Broken>;

pub(super) fn broken(law: usize, why: String) -> Verdict {
    Err(Broken { law, why })
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) config: Config,
    pub(super) now: Nanos,
    /// When the limits were last changed, or a stall was forgiven.
    pub(super) settled: Nanos,
    pub(super) stage: Stage,
    pub(super) floor: Option<Floor>,
    pub(super) series: Series,
    beats: u32,
    last_end: Option<EndReason>,
}

#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// The first dial is owed.
    Idle,
    Dialling {
        since: Nanos,
        forgiven: bool,
    },
    Open(Link),
    Closing(Closing),
    Waiting(Wait),
    Done(Option<GiveUpReason>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    pub(super) reason: CloseReason,
    /// Since when the link was up; none for a dial.
    pub(super) connected: Option<Nanos>,
    /// When `Close` came; none while it is owed.
    pub(super) told: Option<Nanos>,
    /// Until when the link counts as alive, once `Close` came.
    pub(super) alive: Nanos,
    pub(super) then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Return,
    GiveUp,
    Done,
}

impl Model {
    pub(super) fn new(config: Config, now: Timestamp) -> Self {
        let now = at(now);
        let stage = match config.role() {
            Role::Client => Stage::Idle,
            Role::Server => Stage::Open(Link::new(&config, now)),
        };
        Self {
            config,
            now,
            settled: 0,
            stage,
            floor: None,
            series: Series::default(),
            beats: 0,
            last_end: None,
        }
    }

    /// A call at `now`, after the session had told `deadline`.
    pub(super) fn call(&mut self, now: Timestamp, deadline: Option<Timestamp>) {
        self.now = self.now.max(at(now));
        let tolerated = after(maybe_at(deadline), len(self.config.stall_tolerance()));
        if self.now > tolerated {
            self.stall(false);
        }
    }

    fn stall(&mut self, declared: bool) {
        let now = self.now;
        match &mut self.stage {
            Stage::Dialling { since, forgiven } if declared || !*forgiven => {
                *since = now;
                *forgiven = true;
            }
            Stage::Open(link) => {
                let is_forgiven = link.stalled(declared, now);
                if is_forgiven {
                    self.settled = now;
                }
            }
            _ => {}
        }
    }

    pub(super) fn set_limits(&mut self, config: Config) {
        self.config = config;
        self.settled = self.now;
        if let Stage::Open(link) = &mut self.stage {
            link.draw_gap(&self.config);
        }
    }

    pub(super) fn handle(&mut self, event: Event, phase: Phase) {
        let now = self.now;
        match (event, &mut self.stage) {
            (
                Event::Received | Event::HeartbeatReceived | Event::AnswerReceived { .. },
                Stage::Open(link),
            ) => {
                let allowed = link.heard(&self.config, event, self.beats, now);
                if !allowed.unwrap_or(phase == Phase::Open) {
                    self.close(CloseReason::Flooded, Then::Return);
                }
            }
            (Event::Sent, Stage::Open(link)) => link.sent(now),
            (Event::HeartbeatSent, Stage::Open(link)) => link.beat_sent(&self.config, now),
            (Event::Connected, Stage::Dialling { .. }) => {
                self.stage = Stage::Open(Link::new(&self.config, now));
                self.floor = None;
            }
            (Event::ConnectFailed | Event::Disconnected, Stage::Dialling { .. }) => {
                self.end(EndReason::ConnectFailed, None, Then::Return);
            }
            (Event::Disconnected, Stage::Open(link)) => {
                let lived = now - link.connected;
                self.end(EndReason::Disconnected, Some(lived), Then::Return);
            }
            (Event::ConnectFailed | Event::Disconnected, Stage::Closing(closing)) => {
                let closing = *closing;
                self.closed(closing);
            }
            (Event::RetryAfter(span), _) => self.retry_after(span),
            (Event::Resumed, Stage::Waiting(wait)) => wait.hurry(),
            (Event::Resumed, _) => self.stall(true),
            (Event::Rejected, _) => self.finish(CloseReason::Rejected, Then::GiveUp),
            (Event::Shutdown, _) => self.finish(CloseReason::Shutdown, Then::Done),
            (Event::Drain, Stage::Open(_)) => self.close(CloseReason::Draining, Then::Return),
            _ => {}
        }
    }

    fn retry_after(&mut self, span: Duration) {
        if self.config.role() == Role::Server {
            return;
        }
        let span = len(span).min(len(self.config.max_retry_after()));
        let until = (self.now + span).min(LONGEST);
        // The later floor wins.
        if self.floor.is_none_or(|floor| floor.until < until) {
            self.floor = Some(Floor { until, span });
            if let Stage::Waiting(wait) = &mut self.stage {
                wait.news = true;
            }
        }
    }

    fn finish(&mut self, reason: CloseReason, then: Then) {
        match &mut self.stage {
            Stage::Idle | Stage::Waiting(_) => self.rest(then),
            Stage::Dialling { .. } | Stage::Open(_) => self.close(reason, then),
            Stage::Closing(closing) => {
                if closing.then != Then::Done {
                    closing.then = then;
                }
            }
            Stage::Done(owed) => {
                if then == Then::Done {
                    *owed = None;
                }
            }
        }
    }

    fn close(&mut self, reason: CloseReason, then: Then) {
        let connected = match &self.stage {
            Stage::Open(link) => Some(link.connected),
            _ => None,
        };
        self.stage = Stage::Closing(Closing {
            reason,
            connected,
            told: None,
            alive: 0,
            then,
        });
    }

    fn closed(&mut self, closing: Closing) {
        let (why, alive) = match (closing.told, closing.connected) {
            (Some(_), _) => (EndReason::Closed(closing.reason), closing.alive),
            (None, Some(_)) => (EndReason::Disconnected, self.now),
            (None, None) => (EndReason::ConnectFailed, 0),
        };
        let lived = closing.connected.map(|since| alive.saturating_sub(since));
        self.end(why, lived, closing.then);
    }

    /// A link that `lived` so long, or a dial, has ended.
    fn end(&mut self, why: EndReason, lived: Option<Nanos>, then: Then) {
        self.last_end = Some(why);
        if lived.is_some_and(|lived| lived >= len(self.config.stable_after())) {
            self.series = Series::default();
        }
        self.rest(then);
    }

    /// No transport is left.
    fn rest(&mut self, then: Then) {
        let is_client = self.config.role() == Role::Client;
        self.stage = match (then, self.config.backoff()) {
            (Then::Return, Some(policy)) if is_client => match self.series.next(policy) {
                Some(draw) => Stage::Waiting(Wait::new(policy, draw)),
                None => Stage::Done(Some(GiveUpReason::AttemptsExhausted)),
            },
            (Then::GiveUp, _) if is_client => Stage::Done(Some(GiveUpReason::Rejected)),
            _ => Stage::Done(None),
        };
    }

    /// Holds what a poll returned against what it may and must.
    pub(super) fn poll(&mut self, action: Option<Action>) -> Verdict {
        let now = self.now;
        match &mut self.stage {
            Stage::Idle => self.expect_connect(action),
            Stage::Dialling { since, .. } => {
                let limit = after(*since, self.config.connect_timeout().map_or(NEVER, len));
                match action {
                    None if limit <= now => broken(2, format!("no ConnectTimeout at {limit} ns")),
                    None => Ok(()),
                    Some(Action::Close(CloseReason::ConnectTimeout)) if limit <= now => {
                        self.close(CloseReason::ConnectTimeout, Then::Return);
                        self.told(0)
                    }
                    Some(Action::Close(CloseReason::ConnectTimeout)) => {
                        broken(1, format!("the dial has until {limit} ns"))
                    }
                    Some(other) => broken(5, format!("{other:?} while dialling")),
                }
            }
            Stage::Open(_) => self.poll_open(action),
            &mut Stage::Closing(closing) => self.poll_closing(closing, action),
            Stage::Waiting(_) => self.poll_waiting(action),
            Stage::Done(owed) => {
                let owed = owed.take().map(Action::GiveUp);
                if action == owed {
                    Ok(())
                } else {
                    broken(5, format!("{action:?} when done, owed was {owed:?}"))
                }
            }
        }
    }

    fn poll_open(&mut self, action: Option<Action>) -> Verdict {
        let (now, config) = (self.now, self.config);
        let Stage::Open(link) = &mut self.stage else {
            return Ok(());
        };
        let dues = link.dues(&config, self.settled);
        let suspect = link.suspect.is_some();
        // What had to come by now, the earliest first.
        let missed = dues.iter().filter(|due| due.when.most <= now);
        let missed = missed.min_by_key(|due| due.when.most);
        match action {
            None => {
                if link.warm_until(&config, self.settled) <= now {
                    return broken(3, "no heartbeat within the interval".into());
                }
                match missed.map(|due| (due.what, due.when.most)) {
                    None => Ok(()),
                    Some((What::Beat, at)) => broken(3, format!("no heartbeat, due at {at} ns")),
                    Some((What::Verdict(reason), at)) => {
                        let law = if suspect { 4 } else { 2 };
                        broken(law, format!("no {reason}, due at {at} ns"))
                    }
                }
            }
            Some(Action::SendHeartbeat { id }) => {
                if link.is_beat_in_flight() {
                    return broken(5, "a second heartbeat in flight".into());
                }
                self.beats = self.beats.wrapping_add(1);
                if id.get() != self.beats {
                    return broken(5, format!("heartbeat {id}, not {}", self.beats));
                }
                for due in dues.iter().filter(|due| due.when.most <= now) {
                    if let What::Verdict(reason) = due.what {
                        let law = if suspect { 4 } else { 2 };
                        return broken(law, format!("a heartbeat, but {reason} is due"));
                    }
                }
                let mut beats = dues.iter().filter(|due| due.what == What::Beat);
                if !beats.any(|due| due.when.least <= now) {
                    return broken(1, "a heartbeat before it is due".into());
                }
                link.beat_asked(now);
                Ok(())
            }
            Some(Action::Close(reason)) => {
                let verdict = |due: &&super::link::Due| due.what == What::Verdict(reason);
                let Some(due) = dues.iter().filter(verdict).min_by_key(|due| due.when.least) else {
                    return broken(1, format!("{reason}, of which nothing is known"));
                };
                if due.when.least > now {
                    let law = if suspect { 4 } else { 1 };
                    return broken(law, format!("{reason} before {} ns", due.when.least));
                }
                let verdicts = dues.iter().filter(|due| due.what != What::Beat);
                if let Some(earlier) = verdicts
                    .clone()
                    .find(|other| other.when.most < due.when.least)
                {
                    return broken(2, format!("{reason}, but first came {:?}", earlier.what));
                }
                // A mute peer was not stable because we waited for it.
                let alive = if reason.is_liveness() {
                    link.evidence
                } else {
                    now
                };
                self.close(reason, Then::Return);
                self.told(alive)
            }
            Some(other) => broken(5, format!("{other:?} while open")),
        }
    }

    /// `Close` came.
    fn told(&mut self, alive: Nanos) -> Verdict {
        if let Stage::Closing(closing) = &mut self.stage {
            closing.told = Some(self.now);
            closing.alive = alive;
        }
        Ok(())
    }

    fn poll_closing(&mut self, closing: Closing, action: Option<Action>) -> Verdict {
        let Some(told) = closing.told else {
            return if action == Some(Action::Close(closing.reason)) {
                self.told(self.now)
            } else {
                broken(2, format!("{action:?}, owed is Close({})", closing.reason))
            };
        };
        let limit = after(told, len(self.config.close_grace()));
        match action {
            None if limit <= self.now => broken(2, format!("no Abort, due at {limit} ns")),
            None => Ok(()),
            Some(Action::Abort) if limit <= self.now => {
                self.closed(closing);
                Ok(())
            }
            Some(Action::Abort) => broken(1, format!("Abort before {limit} ns")),
            Some(other) => broken(5, format!("{other:?} after Close")),
        }
    }

    fn poll_waiting(&mut self, action: Option<Action>) -> Verdict {
        let (now, floor) = (self.now, self.floor);
        let Stage::Waiting(wait) = &mut self.stage else {
            return Ok(());
        };
        let (range, standing) = wait.announcement(floor, now);
        match action {
            Some(Action::Reconnect { after, attempt }) => {
                if attempt != self.series.attempt {
                    return broken(7, format!("not attempt {}", self.series.attempt));
                }
                if standing == Some(len(after)) {
                    return broken(7, "announced anew what stands".into());
                }
                if !range.holds(len(after)) {
                    return broken(7, format!("{} ns is not within {range:?}", len(after)));
                }
                if wait.is_plain(floor, now) {
                    self.series.learn(wait.policy(), len(after));
                }
                wait.looked();
                wait.announced(len(after), now);
                Ok(())
            }
            None | Some(Action::Connect { .. }) => {
                let Some(standing) = standing.filter(|standing| range.holds(*standing)) else {
                    return broken(7, format!("no Reconnect within {range:?}"));
                };
                wait.looked();
                match (action, standing) {
                    (Some(_), 0) => self.expect_connect(action),
                    (Some(_), _) => broken(7, format!("Connect {standing} ns too early")),
                    (None, 0) => broken(2, "no Connect when it is due".into()),
                    (None, _) => Ok(()),
                }
            }
            Some(other) => broken(5, format!("{other:?} while waiting")),
        }
    }

    fn expect_connect(&mut self, action: Option<Action>) -> Verdict {
        let attempt = self.series.attempt;
        if action != Some(Action::Connect { attempt }) {
            return broken(7, format!("{action:?} where attempt {attempt} is due"));
        }
        self.stage = Stage::Dialling {
            since: self.now,
            forgiven: false,
        };
        Ok(())
    }

    /// When the session has to be polled next.
    fn deadline(&self) -> Range {
        let owed = Range::exactly(self.now);
        match &self.stage {
            Stage::Idle | Stage::Done(Some(_)) => owed,
            Stage::Done(None) => Range::exactly(NEVER),
            Stage::Dialling { since, .. } => {
                let limit = self.config.connect_timeout().map_or(NEVER, len);
                Range::exactly(after(*since, limit))
            }
            Stage::Open(link) => {
                let dues = link.dues(&self.config, self.settled);
                dues.iter()
                    .fold(Range::exactly(NEVER), |first, due| first.min(due.when))
            }
            Stage::Closing(closing) => closing.told.map_or(owed, |told| {
                Range::exactly(after(told, len(self.config.close_grace())))
            }),
            Stage::Waiting(wait) if wait.news => owed,
            Stage::Waiting(wait) => Range::exactly(wait.dial.unwrap_or(self.now)),
        }
    }

    /// Holds what the session says of itself against what is known.
    pub(super) fn check(&mut self, deadline: Option<Timestamp>, status: &Status) -> Verdict {
        if let Stage::Open(link) = &mut self.stage {
            if !link.learn_age(&self.config, status.age_left.map(len), self.now) {
                return broken(1, format!("to live for {:?}", status.age_left));
            }
        }
        let due = self.deadline();
        let told = maybe_at(deadline);
        if told > due.most {
            return broken(2, format!("a deadline after {} ns", due.most));
        }
        if told < due.least {
            return broken(1, format!("a deadline before {} ns", due.least));
        }
        if let Stage::Open(link) = &mut self.stage {
            link.learn_gap(&self.config, self.settled, deadline);
        }
        self.check_status(status)
    }

    fn check_status(&self, status: &Status) -> Verdict {
        let link = match &self.stage {
            Stage::Open(link) => Some(link),
            _ => None,
        };
        let suspect = link.is_some_and(|link| link.suspect.is_some());
        let silence = link.map(|link| self.now - link.evidence);
        let age = link.map(|link| self.now - link.connected);
        let unanswered = link.map_or(0, |link| link.unanswered.min(u32::from(u16::MAX)));
        let same = status.phase == self.phase()
            && status.suspect == suspect
            && status.silence.map(len) == silence
            && status.age.map(len) == age
            && u32::from(status.unanswered) == unanswered
            && status.attempt == self.series.attempt
            && status.heartbeats == self.beats
            && status.last_end == self.last_end
            && (link.is_none() || status.rtt.is_none_or(|rtt| Some(len(rtt)) <= age));
        if same {
            return Ok(());
        }
        // A link that has just begun shows what it has inherited.
        let law = if age == Some(0) { 9 } else { 0 };
        broken(law, format!("{status:?} is not what {self:?} says"))
    }

    fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Idle | Stage::Dialling { .. } => Phase::Connecting,
            Stage::Open(_) => Phase::Open,
            Stage::Closing(_) => Phase::Closing,
            Stage::Waiting(_) => Phase::Waiting,
            Stage::Done(_) => Phase::Done,
        }
    }
}

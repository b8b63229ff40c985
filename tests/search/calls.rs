//! What may be told to a session, and when.

use std::time::Duration;

use nabiz::testing::Checked;
use nabiz::{Action, Config, Event, HeartbeatId, Limits, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    Poll,
    Handle(Event),
    /// The answer to the last heartbeat, or to one so many before.
    Answer(u32),
    SetLimits(Limits),
}

impl Call {
    pub(crate) fn make(self, session: &mut Checked, now: Timestamp) -> Option<Action> {
        match self {
            Self::Poll => return session.poll(now),
            Self::Handle(event) => session.handle(event, now),
            Self::Answer(before) => {
                let last = session.session().status(now).heartbeats;
                let id = HeartbeatId::from_bytes(last.wrapping_sub(before).to_be_bytes());
                session.handle(Event::AnswerReceived { id: Some(id) }, now);
            }
            Self::SetLimits(limits) => {
                // A refusal is as good a call as any.
                let _ = session.set_limits(limits, now);
            }
        }
        None
    }
}

/// What a search needs to know besides the configuration.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) config: Config,
    /// One tick: just before is one before.
    pub(crate) tick: u64,
    /// Limits that it may be given, the first its own.
    pub(crate) limits: Vec<Limits>,
}

impl Setting {
    pub(crate) fn new(name: String, config: Config, tick: u64) -> Self {
        Self {
            name,
            config,
            tick,
            limits: vec![config.limits()],
        }
    }

    /// That may also be given other limits: the first of some that are valid.
    pub(crate) fn with_other_limits(mut self) -> Self {
        let own = self.config.limits();
        let ticks = |ticks| Some(Duration::from_nanos(self.tick * ticks));
        // What is absent comes, what is there goes or is another.
        let turned = Limits {
            interval: ticks(2),
            silence_timeout: match own.silence_timeout {
                Some(_) => None,
                None => ticks(4),
            },
            answer_timeout: match own.answer_timeout {
                Some(_) => None,
                None => ticks(2),
            },
        };
        let shorter = Limits {
            interval: ticks(2),
            silence_timeout: ticks(3),
            ..own
        };
        let valid = |limits: &Limits| {
            let mut session = self.start();
            session.set_limits(*limits, Timestamp::MAX).is_ok()
        };
        let other = [turned, shorter].into_iter().find(valid);
        self.limits.extend(other);
        self.name.push_str(", with limits that change");
        self
    }

    /// Long enough before the end of time.
    pub(crate) fn start(&self) -> Checked {
        Checked::new(self.config, 7, Timestamp::from_nanos(1 << 40).unwrap())
    }

    /// All that may be told at an instant.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let config = &self.config;
        let events = [
            Event::Connected,
            Event::ConnectFailed,
            Event::Received,
            Event::HeartbeatReceived,
            Event::AnswerReceived { id: None },
            Event::Sent,
            Event::HeartbeatSent,
            Event::Disconnected,
            Event::RetryAfter(Duration::from_nanos(self.tick)),
            Event::RetryAfter(config.max_retry_after() * 2),
            Event::Rejected,
            Event::Resumed,
            Event::Shutdown,
            Event::Drain,
        ];
        let mut calls = vec![Call::Poll];
        calls.extend(events.map(Call::Handle));
        calls.extend([0, 1, 2].map(Call::Answer));
        calls.extend(self.limits.iter().copied().map(Call::SetLimits));
        let refused = Limits {
            silence_timeout: Some(Duration::ZERO),
            ..config.limits()
        };
        calls.push(Call::SetLimits(refused));
        calls
    }

    /// Every instant at which something may be different: at once, a tick
    /// later, just before, at and after the deadline, at the tolerance and
    /// late by a stall.
    pub(crate) fn instants(&self, session: &Checked) -> Vec<Timestamp> {
        let now = session.session().now().as_nanos();
        let mut instants = vec![now, now + self.tick];
        if let Some(due) = session.deadline() {
            let due = due.as_nanos();
            let config = session.session().config();
            let tolerated = due + nanos(config.stall_tolerance());
            instants.extend([
                due.saturating_sub(self.tick),
                due,
                due + self.tick,
                tolerated,
                tolerated + self.tick,
            ]);
        }
        instants.retain(|at| *at >= now);
        instants.sort_unstable();
        instants.dedup();
        let told = instants.into_iter();
        told.map(|at| Timestamp::from_nanos(at).unwrap()).collect()
    }
}

pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap()
}

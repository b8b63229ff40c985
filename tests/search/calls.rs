//! What may be told to a session, and when.

use std::time::Duration;

use nabiz::testing::Checked;
use nabiz::{Action, Config, Event, HeartbeatId, Limits, Session, Timestamp};

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
    /// How many ticks of all time are left at its start, where it is to end.
    pub(crate) left: Option<u64>,
    /// Limits that it may be given, the first its own.
    pub(crate) limits: Vec<Limits>,
}

impl Setting {
    pub(crate) fn new(name: String, config: Config, tick: u64) -> Self {
        Self {
            name,
            config,
            tick,
            left: None,
            limits: vec![config.limits()],
        }
    }

    /// That may also be given other limits.
    pub(crate) fn with_other_limits(mut self, other: Limits) -> Self {
        assert!(self.start().set_limits(other, Timestamp::MAX).is_ok());
        self.limits.push(other);
        self.name.push_str(", with limits that change");
        self
    }

    /// Long enough before the end of time, or so long.
    pub(crate) fn start(&self) -> Checked {
        let start = match self.left {
            Some(left) => Timestamp::MAX.as_nanos() - left * self.tick,
            None => 1 << 40,
        };
        Checked::new(self.config, 7, Timestamp::from_nanos(start).unwrap())
    }

    /// At the end of time, which no limit reaches beyond.
    pub(crate) fn ending(mut self, left: u64) -> Self {
        self.left = Some(left);
        self.name.push_str(", at the end of time");
        self
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

    /// Every interesting instant: at once; just before, at and after each
    /// limit and heartbeat that is pending, not only the earliest, and whatever
    /// else may make a difference; at the tolerance and late by a stall. And a
    /// tick later, by which every clock comes to every age there is in whole
    /// ticks: what happens between two such instants is reached by waiting,
    /// because a call before the deadline that tells nothing changes nothing.
    pub(crate) fn instants(&self, session: &Checked) -> Vec<Timestamp> {
        let inner = session.session();
        let now = inner.now().as_nanos();
        let later = |at: u64, span: u64| at.saturating_add(span);
        let mut instants = vec![now, later(now, self.tick)];
        for turn in inner.turns() {
            let turn = turn.as_nanos();
            instants.extend([turn.saturating_sub(self.tick), turn, later(turn, self.tick)]);
        }
        if let Some(due) = session.deadline() {
            let tolerance = nanos(inner.config().stall_tolerance());
            let tolerated = later(due.as_nanos(), tolerance);
            instants.extend([tolerated, later(tolerated, self.tick)]);
        }
        instants.retain(|at| *at >= now);
        instants.sort_unstable();
        instants.dedup();
        let told = instants.into_iter();
        told.filter_map(Timestamp::from_nanos).collect()
    }

    /// The limits that a session may be given besides those in force.
    pub(crate) fn other(&self, session: &Session) -> Option<Limits> {
        let own = session.config().limits();
        self.limits.iter().copied().find(|limits| *limits != own)
    }
}

pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap()
}

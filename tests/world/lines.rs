//! A wrapper as a downstream crate might have it, and what can be wrong with
//! it: lines of text, `PING` and `PONG`, and the user's own lines.

use std::collections::VecDeque;

use nabiz::testing::Checked as Pulse;
use nabiz::testing::world::{Deed, Endpoint};
use nabiz::{Action, Config, Event, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// It does not report what is flushed.
    ForgetsSent,
    /// It does not report that the link is gone.
    SwallowsDisconnected,
    /// Nor that the dial failed.
    SwallowsDialFailed,
    /// It begins anew when the link is gone, with a session of its own.
    ReconnectsAtOnce,
    /// It takes each read for one line.
    OneLineARead,
    /// What was to be written to the last link goes to the next.
    KeepsTheOutbox,
}

#[derive(Debug)]
pub struct Lines {
    pub pulse: Pulse,
    config: Config,
    seed: u64,
    bug: Bug,
    line: Vec<u8>,
    outbox: VecDeque<&'static str>,
    beating: bool,
    /// The user's lines that came.
    pub heard: usize,
}

impl Lines {
    pub fn new(config: Config, seed: u64, now: Timestamp) -> Self {
        Self {
            pulse: Pulse::new(config, seed, now),
            config,
            seed,
            bug: Bug::None,
            line: Vec::new(),
            outbox: VecDeque::new(),
            beating: false,
            heard: 0,
        }
    }

    pub const fn with(mut self, bug: Bug) -> Self {
        self.bug = bug;
        self
    }

    /// The user writes a line, which waits for the next poll.
    pub fn say(&mut self, line: &'static str) {
        self.outbox.push_back(line);
    }

    fn forget(&mut self) {
        self.line.clear();
        self.beating = false;
        if self.bug != Bug::KeepsTheOutbox {
            self.outbox.clear();
        }
    }

    fn ended(&mut self, event: Event, now: Timestamp) {
        self.forget();
        self.pulse.handle(event, now);
        if self.bug == Bug::ReconnectsAtOnce {
            self.pulse = Pulse::new(self.config, self.seed, now);
        }
    }

    fn read(&mut self, now: Timestamp) {
        match core::mem::take(&mut self.line).as_slice() {
            b"PING" => {
                self.pulse.handle(Event::HeartbeatReceived, now);
                self.say("PONG\n");
            }
            b"PONG" => self.pulse.handle(Event::AnswerReceived { id: None }, now),
            _ => self.heard += 1,
        }
    }
}

impl Endpoint for Lines {
    fn connected(&mut self, now: Timestamp) {
        self.pulse.handle(Event::Connected, now);
    }

    fn dial_failed(&mut self, now: Timestamp) {
        if self.bug != Bug::SwallowsDialFailed {
            self.ended(Event::ConnectFailed, now);
        }
    }

    fn received(&mut self, bytes: &[u8], now: Timestamp) {
        self.pulse.handle(Event::Received, now);
        if self.bug == Bug::OneLineARead {
            self.line = bytes.strip_suffix(b"\n").unwrap_or(bytes).to_vec();
            return self.read(now);
        }
        for byte in bytes {
            match byte {
                b'\n' => self.read(now),
                _ => self.line.push(*byte),
            }
        }
    }

    fn flushed(&mut self, now: Timestamp) {
        let beat = core::mem::take(&mut self.beating);
        if self.bug != Bug::ForgetsSent {
            let event = if beat {
                Event::HeartbeatSent
            } else {
                Event::Sent
            };
            self.pulse.handle(event, now);
        }
    }

    fn disconnected(&mut self, now: Timestamp) {
        if self.bug != Bug::SwallowsDisconnected {
            self.ended(Event::Disconnected, now);
        }
    }

    fn poll(&mut self, now: Timestamp) -> Option<Deed> {
        if let Some(line) = self.outbox.pop_front() {
            return Some(Deed::Write(line.into()));
        }
        loop {
            match self.pulse.poll(now)? {
                Action::Connect { .. } => return Some(Deed::Dial),
                Action::SendHeartbeat { .. } => {
                    self.beating = true;
                    return Some(Deed::Write(b"PING\n".to_vec()));
                }
                Action::Close(_) => {
                    self.forget();
                    return Some(Deed::Close);
                }
                Action::Abort => {
                    self.forget();
                    return Some(Deed::Abort);
                }
                Action::Reconnect { .. } | Action::GiveUp(_) => {}
            }
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.pulse.deadline()
    }
}

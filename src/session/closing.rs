//! How a link ends, and what follows.

use super::event::{Action, CloseReason, EndReason, Event, GiveUpReason};
use super::waiting::Waiting;
use super::{Session, State};
use crate::config::Role;
use crate::time::Timestamp;

#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    pub(super) reason: CloseReason,
    /// Since when the link was up; none for an abandoned dial.
    pub(super) connected: Option<Timestamp>,
    /// When `Close` was emitted; none while it is owed.
    pub(super) since: Option<Timestamp>,
    pub(super) stable: bool,
    pub(super) then: Then,
}

/// What follows the end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Return,
    GiveUp,
    Done,
}

impl Session {
    /// The transport is gone, or never came to be.
    pub(super) fn gone(&mut self, event: Event, now: Timestamp) {
        match self.state {
            State::Connecting { since: Some(_), .. } => {
                self.end(EndReason::ConnectFailed, false, Then::Return);
            }
            State::Open(link) if event == Event::Disconnected => {
                let stable = self.was_stable(Some(link.connected), now);
                self.end(EndReason::Disconnected, stable, Then::Return);
            }
            State::Closing(closing) => self.closed(closing, now),
            _ => {}
        }
    }

    /// The user, or the peer's refusal, ends it for good.
    pub(super) fn finish(&mut self, reason: CloseReason, then: Then) {
        match &mut self.state {
            State::Connecting { since: None, .. } | State::Waiting(_) => self.rest(then),
            State::Connecting { .. } | State::Open(_) => self.close(reason, then),
            State::Closing(closing) if closing.then != Then::Done => closing.then = then,
            State::Closing(_) => {}
            State::Done { owed } => {
                if then == Then::Done {
                    *owed = None;
                }
            }
        }
    }

    /// Owes a `Close`; the next poll emits it.
    pub(super) fn close(&mut self, reason: CloseReason, then: Then) {
        self.state = State::Closing(self.closing(reason, then));
    }

    /// The close of what is open now, still owed.
    pub(super) const fn closing(&self, reason: CloseReason, then: Then) -> Closing {
        let connected = match &self.state {
            State::Open(link) => Some(link.connected),
            _ => None,
        };
        Closing {
            reason,
            connected,
            since: None,
            stable: false,
            then,
        }
    }

    /// Emits the `Close` that is owed; the link counts as alive up to `until`.
    pub(super) fn emit_close(
        &mut self,
        closing: Closing,
        until: Timestamp,
        now: Timestamp,
    ) -> Action {
        let stable = self.was_stable(closing.connected, until);
        self.state = State::Closing(Closing {
            since: Some(now),
            stable,
            ..closing
        });
        Action::Close(closing.reason)
    }

    /// A close has run its course: the link has ended.
    pub(super) fn closed(&mut self, closing: Closing, now: Timestamp) {
        let (why, stable) = match (closing.since, closing.connected) {
            (Some(_), _) => (EndReason::Closed(closing.reason), closing.stable),
            // Gone before it was asked to close.
            (None, Some(_)) => {
                let stable = self.was_stable(closing.connected, now);
                (EndReason::Disconnected, stable)
            }
            (None, None) => (EndReason::ConnectFailed, false),
        };
        self.end(why, stable, closing.then);
    }

    /// Whether a link that was up since then, if at all, held long enough.
    fn was_stable(&self, connected: Option<Timestamp>, until: Timestamp) -> bool {
        connected.is_some_and(|connected| until.since(connected) >= self.config.stable_after)
    }

    fn end(&mut self, why: EndReason, stable: bool, then: Then) {
        self.last_end = Some(why);
        if stable {
            self.attempt = 0;
            self.step = None;
        }
        self.rest(then);
    }

    /// No transport is left.
    fn rest(&mut self, then: Then) {
        self.state = match (then, self.config.backoff) {
            (Then::Return, Some(backoff)) => {
                match backoff.next(&mut self.attempt, &mut self.step, self.seed, self.dials) {
                    Some(delay) => State::Waiting(Waiting::new(delay)),
                    None => State::Done {
                        owed: Some(GiveUpReason::AttemptsExhausted),
                    },
                }
            }
            (Then::GiveUp, _) if self.config.role == Role::Client => State::Done {
                owed: Some(GiveUpReason::Rejected),
            },
            _ => State::Done { owed: None },
        };
    }
}

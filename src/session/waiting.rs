//! Between links: when to come back.

use core::time::Duration;

use super::event::Action;
use super::{Session, State};
use crate::chance::{Draw, draw, up_to};
use crate::time::{Span, Timestamp};

#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// The policy's delay for this attempt.
    pub(super) delay: Span,
    /// When to dial; none before it was announced, or never.
    pub(super) dial: Option<Timestamp>,
    pub(super) announced: bool,
    /// Something happened that may move the dial.
    pub(super) news: bool,
    pub(super) hurry: Hurry,
}

/// Once per wait the user may ask to go sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hurry {
    Not,
    Asked,
    Spent,
}

/// The instant before which the peer does not want us back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    pub(super) until: Timestamp,
    /// How long it asked for; jitter goes on top in proportion.
    pub(super) span: Span,
}

impl Waiting {
    pub(super) const fn new(delay: Span) -> Self {
        Self {
            delay,
            dial: None,
            announced: false,
            news: true,
            hurry: Hurry::Not,
        }
    }

    pub(super) fn hurry(&mut self) {
        if self.hurry == Hurry::Not {
            self.hurry = Hurry::Asked;
            self.news = true;
        }
    }

    pub(super) const fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        if self.news { Some(now) } else { self.dial }
    }
}

impl Session {
    pub(super) fn retry_after(&mut self, span: Duration, now: Timestamp) {
        let span = Span::saturating(span).min(self.config.max_retry_after);
        let until = now.after(span).unwrap_or(Timestamp::MAX);
        if self.floor.is_some_and(|floor| floor.until >= until) {
            return;
        }
        self.floor = Some(Floor { until, span });
        if let State::Waiting(waiting) = &mut self.state {
            waiting.news = true;
        }
    }

    pub(super) fn act_waiting(&mut self, now: Timestamp) -> Option<Action> {
        let State::Waiting(mut waiting) = self.state else {
            return None;
        };
        if waiting.news {
            waiting.news = false;
            let announcement = self.announce(&mut waiting, now);
            self.state = State::Waiting(waiting);
            if announcement.is_some() {
                return announcement;
            }
        }
        (waiting.dial? <= now).then(|| self.dial(now))
    }

    /// Settles when to dial, as of `now`; none if that moves nothing.
    fn announce(&self, waiting: &mut Waiting, now: Timestamp) -> Option<Action> {
        let standing = match waiting.dial {
            None if waiting.announced => return None, // never is never
            None => waiting.delay,
            Some(dial) => dial.since(now),
        };
        let mut after = standing;
        let mut remains = Span::ZERO;
        if let Some(floor) = self.floor.filter(|floor| floor.until > now) {
            remains = floor.until.since(now);
            // On top, because identical hints would re-herd the fleet.
            let most = waiting.delay.max(floor.span.scaled(1, 4));
            let jitter = up_to(most, draw(self.seed, self.dials, Draw::Floor));
            after = after.max(remains.saturating_add(jitter));
        }
        if waiting.hurry == Hurry::Asked {
            waiting.hurry = Hurry::Spent;
            if let Some(backoff) = self.config.backoff {
                let sooner = backoff.first(self.seed, self.dials);
                after = after.min(remains.saturating_add(sooner));
            }
        }
        if waiting.announced && after == standing {
            return None;
        }
        waiting.announced = true;
        waiting.dial = now.after(after);
        Some(Action::Reconnect {
            after: after.duration(),
            attempt: self.attempt,
        })
    }
}

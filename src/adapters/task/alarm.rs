//! A timer that is set as seldom as can be.

use core::fmt;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use super::{Runtime, Timer};
use crate::adapters::clock::{LEAST_WAIT, NAP};
use crate::time::Timestamp;

/// Wakes its task at a deadline, or before it: never is the timer set anew for
/// a deadline that moved later, as most do with each packet.
pub(super) struct Alarm<R: Runtime> {
    timer: Option<R::Timer>,
    /// When it rings, by the clock that set it.
    rings: Option<Timestamp>,
}

impl<R: Runtime> Alarm<R> {
    pub(super) const fn new() -> Self {
        Self {
            timer: None,
            rings: None,
        }
    }

    /// Ready when it rang, with the instant that it was set for; the caller
    /// then looks at the clock, which alone decides what is due.
    ///
    /// A timer stands still while the machine sleeps, so it rings at least once
    /// a [`NAP`].
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        due: Timestamp,
        now: Timestamp,
    ) -> Poll<Timestamp> {
        let wait = due.saturating_duration_since(now).clamp(LEAST_WAIT, NAP);
        let at = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let rings = match self.rings {
            Some(rings) if rings <= at => rings,
            _ => {
                self.set(wait);
                self.rings = Some(at);
                at
            }
        };
        if let Some(timer) = &mut self.timer {
            ready!(timer.poll_rung(cx));
        }
        self.rings = None;
        Poll::Ready(rings)
    }

    fn set(&mut self, wait: Duration) {
        match &mut self.timer {
            Some(timer) => timer.reset(wait),
            None => self.timer = Some(R::Timer::after(wait)),
        }
    }
}

impl<R: Runtime> fmt::Debug for Alarm<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("rings", &self.rings).finish()
    }
}

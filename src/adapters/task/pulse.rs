//! A session that knows what time it is.

use core::future::poll_fn;
use core::task::{Context, Poll, ready};

use super::Runtime;
use super::alarm::Alarm;
use crate::adapters::clock::Clock;
use crate::adapters::link::random_seed;
use crate::config::{Config, ConfigError, Limits};
use crate::session::{Action, Event, Phase, Session, Status};
use crate::time::Timestamp;

/// A [`Session`] with a clock, a seed and a timer of its own, for any
/// transport.
///
/// Await [`next`](Self::next) beside the transport's input, and before it
/// (`biased;` in `tokio::select!`, the first of `futures_lite::future::or`): so
/// a peer that never pauses keeps no heartbeat from being sent. A verdict lets
/// the input go first all the same: when it is due, `next` waits once more, for
/// the others of the `select!` to be polled. `next` is cancel-safe, sets its timer only
/// when a deadline comes earlier than it would ring, and goes by the clock when
/// that and the timer disagree. A timer stands still while the machine sleeps,
/// so it rings every ten seconds at least.
///
/// It may be made anywhere, and awaited where the runtime's timers run.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), nabiz::ConfigError> {
/// use nabiz::{Action, Config, Event};
///
/// let mut pulse = nabiz::tokio::Pulse::new(Config::client().build()?);
/// let dial = pulse.next().await;
/// assert_eq!(dial, Some(Action::Connect { attempt: 0 }));
/// pulse.handle(Event::Connected);
/// pulse.handle(Event::Shutdown);
/// assert!(matches!(pulse.next().await, Some(Action::Close(_))));
/// pulse.handle(Event::Disconnected);
/// assert_eq!(pulse.next().await, None);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct Pulse<R: Runtime> {
    session: Session,
    clock: Clock,
    alarm: Alarm<R>,
    /// Since when a verdict is due that was put off for the input to be read.
    put_off: Option<Timestamp>,
}

impl<R: Runtime> Pulse<R> {
    /// A session by the default [`Clock`], with a random seed.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with(config, random_seed(), Clock::default())
    }

    /// A session with this seed, by this clock.
    #[must_use]
    pub fn with(config: Config, seed: u64, clock: Clock) -> Self {
        Self {
            session: Session::new(config, seed, clock.now()),
            clock,
            alarm: Alarm::new(),
            put_off: None,
        }
    }

    /// Takes in what happened just now.
    pub fn handle(&mut self, event: Event) {
        self.session.handle(event, self.clock.now());
    }

    /// What to do next; waits until there is something. None: the session is
    /// done.
    ///
    /// Cancel-safe: a future dropped before it was ready has taken nothing.
    pub async fn next(&mut self) -> Option<Action> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, for futures and streams written by hand.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Action>> {
        let mut rang = None;
        loop {
            let now = self.clock.now();
            let due = self.session.deadline();
            if due != self.put_off && self.session.would_convict(now) {
                let due = due.unwrap_or(now);
                // Where the timer rings, tokio's reactor has told of all input,
                // even if the clock ran ahead of it.
                if rang < Some(due) {
                    rang = Some(ready!(self.alarm.poll(cx, due, now)));
                    continue;
                }
                self.put_off = Some(due);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(action) = self.session.poll(now) {
                return Poll::Ready(Some(action));
            }
            let Some(due) = self.session.deadline() else {
                return match self.session.phase() {
                    Phase::Done => Poll::Ready(None),
                    _ => Poll::Pending, // until something is handled
                };
            };
            rang = Some(ready!(self.alarm.poll(cx, due, now)));
        }
    }

    /// See [`Session::set_limits`].
    ///
    /// # Errors
    /// As there.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), ConfigError> {
        self.session.set_limits(limits, self.clock.now())
    }

    /// A snapshot as of now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.session.status(self.clock.now())
    }

    /// The session within.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }
}

//! A connection's place in a roster, and what is asked of its holder.

use core::fmt;
use core::future::poll_fn;
use core::mem;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::Arc;

use super::seats::{Mail, Row, Seat, Silence, Verdict};
use super::{State, wake};
use crate::config::{ConfigError, Evidence};
use crate::reaper::Past;
use crate::session::CloseReason;
use crate::time::Timestamp;

/// What a [`Lease`] asks of the task or thread that holds it.
///
/// Exhaustive on purpose: a duty that a wildcard swallows is a silent bug.
///
/// ```
/// use nabiz::blocking::Duty;
/// use nabiz::CloseReason;
///
/// fn log(duty: Duty) -> String {
///     match duty {
///         Duty::Heartbeat => "ping".into(),
///         Duty::Close { reason, retry_after: None } => format!("closing: {reason}"),
///         Duty::Close { reason, retry_after: Some(wait) } => {
///             format!("closing: {reason}, come back in {wait:?}")
///         }
///     }
/// }
/// let silent = Duty::Close { reason: CloseReason::PeerSilent, retry_after: None };
/// assert_eq!(log(silent), "closing: PeerSilent");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Duty {
    /// Write a heartbeat, and report [`heartbeat_sent`](Lease::heartbeat_sent)
    /// when it is flushed.
    Heartbeat,
    /// Close the connection. It is in the roster no longer.
    Close {
        /// Why.
        reason: CloseReason,
        /// With [`Draining`](CloseReason::Draining): what to tell the client
        /// to wait before it comes back, if the protocol can say it.
        retry_after: Option<Duration>,
    },
}

/// A connection's place in a [`Registry`](super::Registry). Dropping it removes the connection,
/// whatever became of its task.
///
/// Report what came and went: a verdict that was not taken yet is withdrawn by
/// what came. [`received`](Self::received) and [`sent`](Self::sent), which are
/// called for each packet, read the clock and store the time; they take no lock.
///
/// All of it goes by a shared reference, so that a reading and a writing task
/// may share a lease in an `Arc`; but only one task may wait for its duties.
///
/// ```
/// use nabiz::Config;
/// use nabiz::blocking::{Duty, Registry};
///
/// let (registry, driver) = Registry::new(Config::server().build()?)?;
/// let lease = registry.register();
/// lease.received();
/// assert_eq!(lease.poll(), None); // nothing to do for a while
///
/// drop(driver); // nobody watches any more
/// assert!(matches!(lease.poll(), Some(Duty::Close { .. })));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
// Two words: where a server holds a hundred thousand, what a packet costs is what
// it takes to get at its lease.
pub struct Lease {
    pub(super) row: Arc<Row>,
    pub(super) seat: Seat,
}

/// How often a thread looks whether it has a duty: nothing else would end its
/// read.
const GLANCE: Duration = Duration::from_millis(50);

impl Lease {
    /// Any bytes came. See [`Reaper::received`](crate::Reaper::received).
    #[inline]
    pub fn received(&self) {
        self.row.received(self.seat).set(self.row.clock.now());
    }

    /// They were a heartbeat of the peer's. Takes a lock where that means more
    /// than any bytes: where heartbeats alone are evidence of life, or are
    /// counted against a flood.
    pub fn heartbeat_received(&self) {
        self.received();
        if self.row.shared.counts_beats || self.row.shared.evidence == Evidence::Heartbeats {
            self.change(|state, mail, now| {
                mail.heard = mail.heard.max(now);
                mail.beaten = !state.reaper.heartbeat_received(mail.key, now);
            });
        }
    }

    /// Bytes of ours were flushed. See [`Reaper::sent`](crate::Reaper::sent).
    #[inline]
    pub fn sent(&self) {
        self.row.sent(self.seat).set(self.row.clock.now());
    }

    /// The heartbeat asked for was flushed.
    pub fn heartbeat_sent(&self) {
        self.sent();
        self.change(|state, mail, now| {
            mail.asked = None;
            state.reaper.heartbeat_sent(mail.key, now);
        });
    }

    /// Bears any silence of this connection. See
    /// [`Reaper::exempt`](crate::Reaper::exempt).
    pub fn exempt(&self) {
        self.change(|state, mail, now| {
            mail.silence = Silence::Any;
            state.reaper.exempt(mail.key, now);
        });
    }

    /// Bears so much silence of this connection. See
    /// [`Reaper::set_silence_timeout`](crate::Reaper::set_silence_timeout).
    ///
    /// # Errors
    /// As there; then nothing is changed.
    pub fn set_silence_timeout(&self, timeout: Duration) -> Result<(), ConfigError> {
        self.change(|state, mail, now| {
            state.reaper.set_silence_timeout(mail.key, timeout, now)?;
            mail.silence = Silence::For(timeout);
            Ok(())
        })
    }

    /// How long ago the last evidence of life came, or the connection was
    /// registered.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let heard = self.heard(&self.row.mail(self.seat));
        self.row.shared.clock.now().saturating_duration_since(heard)
    }

    /// What to do next; waits until there is something. After
    /// [`Duty::Close`] it says so again.
    ///
    /// Await it beside the input, and before it (`biased;` in `tokio::select!`):
    /// so a peer that never pauses keeps no duty from being done. That somebody
    /// is dead is told to no task before the others of its `select!` were polled
    /// once more.
    ///
    /// Cancel-safe: a future dropped before it was ready has taken nothing.
    /// It works in any runtime.
    pub async fn next(&self) -> Duty {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, for futures and streams written by hand.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Duty> {
        match self.take(Some(cx.waker())) {
            Some(duty) => Poll::Ready(duty),
            None => Poll::Pending,
        }
    }

    /// What to do now, if there is something: for threads.
    #[must_use]
    pub fn poll(&self) -> Option<Duty> {
        self.take(None)
    }

    /// How long a thread may read before it polls again: 50 ms, fit for
    /// `set_read_timeout`.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        GLANCE
    }

    /// The last evidence of life, or when it was opened.
    fn heard(&self, mail: &Mail) -> Timestamp {
        match self.row.shared.evidence {
            Evidence::AnyBytes => self.row.received(self.seat).get().unwrap_or(mail.opened),
            Evidence::Heartbeats => mail.heard,
        }
    }

    fn take(&self, waker: Option<&Waker>) -> Option<Duty> {
        loop {
            let mut mail = self.row.mail(self.seat);
            if self.is_withdrawn(&mail) {
                drop(mail); // the roster is locked first
                self.change(|state, mail, now| {
                    if self.is_withdrawn(mail) {
                        self.return_to(state, mail, now);
                    }
                });
                continue;
            }
            if let Some(verdict) = &mut mail.close {
                if let Some(waker) = waker.filter(|_| verdict.may_be_put_off()) {
                    verdict.is_put_off = true;
                    drop(mail);
                    waker.wake_by_ref();
                    return None;
                }
                verdict.is_told = true;
                return Some(verdict.duty());
            }
            if mem::take(&mut mail.beat) {
                return Some(Duty::Heartbeat);
            }
            let old = match waker {
                Some(waker) if !mail.waker.as_ref().is_some_and(|old| old.will_wake(waker)) => {
                    mail.waker.replace(waker.clone())
                }
                _ => None,
            };
            drop(mail);
            drop(old); // which may drop a task, and its lease with it
            return None;
        }
    }

    /// Whether there is a verdict that nobody acted on yet, and that what came
    /// or went since disproves.
    fn is_withdrawn(&self, mail: &Mail) -> bool {
        let Some(verdict) = mail.close.filter(|verdict| !verdict.is_told) else {
            return false;
        };
        let news = self.row.news(self.seat);
        match verdict.reason {
            CloseReason::PeerSilent if self.row.shared.evidence == Evidence::Heartbeats => {
                mail.beaten
            }
            CloseReason::PeerSilent | CloseReason::NoHello => {
                news.received != verdict.news.received
            }
            CloseReason::WriteStalled => news.sent != verdict.news.sent,
            _ => false,
        }
    }

    /// Takes its place in the roster again, as it was.
    fn return_to(&self, state: &mut State, mail: &mut Mail, now: Timestamp) {
        mail.close = state.is_abandoned.then(Verdict::abandoned);
        let reaper = &mut state.reaper;
        let news = self.row.news(self.seat);
        let past = Past {
            link: mail.link,
            opened: mail.opened,
            evidence: self.heard(mail),
            is_heard: news.received.is_some(),
            sent: news.sent.max(mail.asked).unwrap_or(mail.opened),
            is_in_flight: mail.asked.is_some(),
        };
        mail.key = reaper.insert_again(self.seat, past, now);
        mail.beaten = false;
        match mail.silence {
            Silence::Usual => {}
            Silence::Any => {
                reaper.exempt(mail.key, now);
            }
            Silence::For(timeout) => {
                // It was accepted before.
                let _ = reaper.set_silence_timeout(mail.key, timeout, now);
            }
        }
    }

    fn change<C>(&self, change: impl FnOnce(&mut State, &mut Mail, Timestamp) -> C) -> C {
        let shared = &self.row.shared;
        shared.change(|state, now| change(state, &mut self.row.mail(self.seat), now))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.row.shared.lock();
        let mut mail = self.row.mail(self.seat);
        state.reaper.remove(mail.key);
        let waker = mail.waker.take();
        drop(mail);
        self.row.received(self.seat).clear();
        self.row.sent(self.seat).clear();
        state.free.push(self.seat);
        let driver = state.end();
        drop(state);
        drop(waker);
        wake(driver);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("silence", &self.silence())
            .finish_non_exhaustive()
    }
}

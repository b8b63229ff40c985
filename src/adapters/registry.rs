//! A roster that many tasks or threads share: what every runtime's `Registry`
//! has in common, all but the wait for the next deadline.

use core::fmt;
use core::future::poll_fn;
use core::marker::PhantomData;
use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::clock::Clock;
use super::link::random_seed;
use crate::config::{Config, ConfigError, Evidence};
use crate::reaper::{Counters, Key, News, Reap, Reaper};
use crate::session::CloseReason;
use crate::time::Timestamp;

/// A server's roster, for a task or a thread per connection: a shared
/// [`Reaper`](crate::Reaper).
///
/// [`register`](Self::register) each connection that is accepted, and do what
/// its [`Lease`] asks. The [`Driver`](Self::new) that comes with the registry
/// is its clockwork: run it in a task or thread of its own. Nothing is spawned
/// here.
///
/// It is cheap to clone, and shared by its clones.
pub struct Registry<D> {
    handle: Arc<Handle>,
    driver: PhantomData<fn() -> D>,
}

/// A registry's clockwork, as each runtime has its own; only this crate makes
/// them.
pub trait Drive: Sized {
    #[doc(hidden)]
    fn new(watch: Watch) -> Self;
}

impl<D: Drive> Registry<D> {
    /// An empty roster by the default [`Clock`], with a random seed, that
    /// resolves 20 ms; and its driver.
    ///
    /// # Errors
    /// As [`Reaper::new`](crate::Reaper::new): what a roster cannot honour.
    pub fn new(config: Config) -> Result<(Self, D), ConfigError> {
        let resolution = Duration::from_millis(20);
        Self::with(config, random_seed(), Clock::default(), resolution)
    }

    /// The same with this seed, by this clock, with this
    /// [resolution](crate::Reaper::with_resolution).
    ///
    /// # Errors
    /// As there.
    pub fn with(
        config: Config,
        seed: u64,
        clock: Clock,
        resolution: Duration,
    ) -> Result<(Self, D), ConfigError> {
        let reaper = Reaper::new(config, seed, clock.now())?.with_resolution(resolution)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                reaper,
                driver: None,
                wakes_at: Timestamp::EPOCH,
                is_abandoned: false,
                is_over: false,
            }),
            clock,
        });
        let driver = D::new(Watch {
            shared: Arc::clone(&shared),
            woken: Vec::new(),
        });
        let registry = Self {
            handle: Arc::new(Handle { shared }),
            driver: PhantomData,
        };
        Ok((registry, driver))
    }
}

impl<D> Registry<D> {
    /// A connection was accepted. It is in the roster until its lease is
    /// dropped.
    #[must_use]
    pub fn register(&self) -> Lease {
        let shared = &self.handle.shared;
        let now = shared.clock.now();
        let mut state = shared.lock();
        let seat = Arc::new(Seat::new(state.reaper.config(), now));
        let key = state.reaper.insert(Arc::clone(&seat), now);
        seat.key.store(key.into_bits(), Ordering::Relaxed);
        if state.is_abandoned {
            seat.mail().close = Some(Verdict::abandoned());
        }
        let driver = state.hasten();
        drop(state);
        wake(driver);
        Lease {
            seat,
            clock: shared.clock,
            handle: Arc::clone(&self.handle),
        }
    }

    /// Closes everyone, spread over a window, each with a `retry_after` of its
    /// own: for a deploy. See [`Reaper::drain`](crate::Reaper::drain).
    pub fn drain(&self, window: Duration) {
        let now = self.handle.shared.clock.now();
        let mut state = self.handle.shared.lock();
        state.reaper.drain(window, now);
        let driver = state.hasten();
        drop(state);
        wake(driver);
    }

    /// The machine slept, and the clock does not tell. See
    /// [`Reaper::resumed`](crate::Reaper::resumed).
    pub fn resumed(&self) {
        let now = self.handle.shared.clock.now();
        let mut state = self.handle.shared.lock();
        state.reaper.resumed(now);
        let driver = state.hasten();
        drop(state);
        wake(driver);
    }

    /// How many connections there are. Those that were told to close are not
    /// among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.handle.shared.lock().reaper.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.handle.shared.lock().reaper.counters()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> Config {
        *self.handle.shared.lock().reaper.config()
    }
}

impl<D> Clone for Registry<D> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
            driver: PhantomData,
        }
    }
}

impl<D> fmt::Debug for Registry<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.handle.shared.lock();
        f.debug_struct("Registry")
            .field("reaper", &state.reaper)
            .finish_non_exhaustive()
    }
}

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

/// A connection's place in a [`Registry`]. Dropping it removes the connection,
/// whatever became of its task.
///
/// Report what came and went, the input before duties are taken: a verdict that
/// was not taken yet is withdrawn by what came. [`received`](Self::received)
/// and [`sent`](Self::sent), which are called for each packet, read the clock
/// and store the time; they take no lock.
///
/// All of it goes by a shared reference, so that a reading and a writing task
/// may share a lease in an `Arc`; but only one task may wait for its duties.
pub struct Lease {
    seat: Arc<Seat>,
    clock: Clock,
    handle: Arc<Handle>,
}

/// How often a thread looks whether it has a duty: nothing else would end its
/// read.
const GLANCE: Duration = Duration::from_millis(50);

impl Lease {
    /// Any bytes came. See [`Reaper::received`](crate::Reaper::received).
    #[inline]
    pub fn received(&self) {
        self.seat.received.set(self.clock.now());
    }

    /// They were a heartbeat of the peer's. Takes a lock where that means more
    /// than any bytes: where heartbeats alone are evidence of life, or are
    /// counted against a flood.
    pub fn heartbeat_received(&self) {
        let now = self.clock.now();
        self.seat.received.set(now);
        if self.seat.counts_beats || self.seat.evidence == Evidence::Heartbeats {
            let mut state = self.handle.shared.lock();
            if !state.reaper.heartbeat_received(self.seat.key(), now) {
                self.seat.mail().beaten = true;
            }
            let driver = state.hasten();
            drop(state);
            wake(driver);
        }
    }

    /// Bytes of ours were flushed. See [`Reaper::sent`](crate::Reaper::sent).
    #[inline]
    pub fn sent(&self) {
        self.seat.sent.set(self.clock.now());
    }

    /// The heartbeat asked for was flushed.
    pub fn heartbeat_sent(&self) {
        let now = self.clock.now();
        self.seat.sent.set(now);
        self.change(|reaper, key| reaper.heartbeat_sent(key, now));
    }

    /// Bears any silence of this connection. See
    /// [`Reaper::exempt`](crate::Reaper::exempt).
    pub fn exempt(&self) {
        let now = self.clock.now();
        self.seat.mail().silence = Silence::Any;
        self.change(|reaper, key| reaper.exempt(key, now));
    }

    /// Bears so much silence of this connection. See
    /// [`Reaper::set_silence_timeout`](crate::Reaper::set_silence_timeout).
    ///
    /// # Errors
    /// As there; then nothing is changed.
    pub fn set_silence_timeout(&self, timeout: Duration) -> Result<(), ConfigError> {
        let now = self.clock.now();
        self.change(|reaper, key| reaper.set_silence_timeout(key, timeout, now))?;
        self.seat.mail().silence = Silence::For(timeout);
        Ok(())
    }

    /// How long ago the last bytes came, or the connection was registered.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let last = self.seat.received.get().unwrap_or(self.seat.opened);
        self.clock.now().saturating_duration_since(last)
    }

    /// What to do next; waits until there is something. After
    /// [`Duty::Close`] it says so again.
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

    fn take(&self, waker: Option<&Waker>) -> Option<Duty> {
        loop {
            let mut mail = self.seat.mail();
            if mail.close.is_some_and(|_| self.seat.is_withdrawn(&mail)) {
                drop(mail);
                self.withdraw();
                continue;
            }
            if let Some(verdict) = &mut mail.close {
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

    /// Something came after the verdict, and before anybody acted on it.
    fn withdraw(&self) {
        let now = self.clock.now();
        let mut state = self.handle.shared.lock();
        let mut mail = self.seat.mail();
        if !self.seat.is_withdrawn(&mail) {
            return;
        }
        mail.close = None;
        let was_beaten = mem::take(&mut mail.beaten);
        let silence = mail.silence;
        drop(mail);
        let seat = Arc::clone(&self.seat);
        let key = state.reaper.insert_again(seat, self.seat.opened, now);
        self.seat.key.store(key.into_bits(), Ordering::Relaxed);
        if self.seat.received.get().is_some() {
            state.reaper.received(key, now);
        }
        if was_beaten {
            state.reaper.heartbeat_received(key, now);
        }
        match silence {
            Silence::Usual => {}
            Silence::Any => {
                state.reaper.exempt(key, now);
            }
            Silence::For(timeout) => {
                // It was accepted before.
                let _ = state.reaper.set_silence_timeout(key, timeout, now);
            }
        }
        let driver = state.hasten();
        drop(state);
        wake(driver);
    }

    fn change<C>(&self, change: impl FnOnce(&mut Reaper<Arc<Seat>>, Key) -> C) -> C {
        let mut state = self.handle.shared.lock();
        let changed = change(&mut state.reaper, self.seat.key());
        let driver = state.hasten();
        drop(state);
        wake(driver);
        changed
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let seat = self.handle.shared.lock().reaper.remove(self.seat.key());
        drop(seat); // and its waker, not under the lock
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.seat.key())
            .field("silence", &self.silence())
            .finish_non_exhaustive()
    }
}

/// What the driver and the lease of a connection tell each other.
struct Seat {
    evidence: Evidence,
    /// There is a flood limit.
    counts_beats: bool,
    opened: Timestamp,
    key: AtomicU64,
    received: LastTime,
    sent: LastTime,
    mail: Mutex<Mail>,
}

#[derive(Default)]
struct Mail {
    /// A heartbeat is asked for.
    beat: bool,
    close: Option<Verdict>,
    /// A heartbeat came after the verdict.
    beaten: bool,
    silence: Silence,
    waker: Option<Waker>,
}

/// What silence of this connection is borne.
#[derive(Clone, Copy, Default)]
enum Silence {
    #[default]
    Usual,
    Any,
    For(Duration),
}

#[derive(Clone, Copy)]
struct Verdict {
    reason: CloseReason,
    retry_after: Option<Duration>,
    /// What was known when it was taken.
    news: News,
    /// The lease's holder knows, and acts on it.
    is_told: bool,
}

impl Verdict {
    /// Nobody watches the connection any more.
    fn abandoned() -> Self {
        Self {
            reason: CloseReason::Shutdown,
            retry_after: None,
            news: News::default(),
            is_told: false,
        }
    }

    fn duty(&self) -> Duty {
        Duty::Close {
            reason: self.reason,
            retry_after: self.retry_after,
        }
    }
}

impl Seat {
    fn new(config: &Config, now: Timestamp) -> Self {
        Self {
            evidence: config.evidence(),
            counts_beats: config.flood().is_some(),
            opened: now,
            key: AtomicU64::new(0),
            received: LastTime::default(),
            sent: LastTime::default(),
            mail: Mutex::default(),
        }
    }

    /// It has one from its registration on.
    fn key(&self) -> Key {
        Key::from_bits(self.key.load(Ordering::Relaxed)).unwrap_or(Key::NOBODY)
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn news(&self) -> News {
        News {
            received: self.received.get(),
            sent: self.sent.get(),
        }
    }

    /// Whether there is a verdict that what came or went since disproves.
    fn is_withdrawn(&self, mail: &Mail) -> bool {
        let Some(verdict) = mail.close.filter(|verdict| !verdict.is_told) else {
            return false;
        };
        match verdict.reason {
            CloseReason::PeerSilent if self.evidence == Evidence::Heartbeats => mail.beaten,
            CloseReason::PeerSilent | CloseReason::NoHello => {
                self.received.get() != verdict.news.received
            }
            CloseReason::WriteStalled => self.sent.get() != verdict.news.sent,
            _ => false,
        }
    }

    /// Tells of a duty; gives whom to wake.
    fn post(&self, post: impl FnOnce(&mut Mail)) -> Option<Waker> {
        let mut mail = self.mail();
        post(&mut mail);
        mail.waker.take()
    }
}

/// When something last happened, for one thread to set and another to read.
// Nanoseconds and one more, so that zero means never.
#[derive(Default)]
struct LastTime(AtomicU64);

impl LastTime {
    #[inline]
    fn set(&self, now: Timestamp) {
        // No timestamp is the last that the bits could tell.
        self.0
            .store(now.as_nanos().wrapping_add(1), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Timestamp> {
        let nanos = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        Timestamp::from_nanos(nanos)
    }
}

/// What registries and leases hold; when the last is gone, it is over.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        let driver = state.driver.take();
        drop(state);
        wake(driver);
    }
}

struct Shared {
    state: Mutex<State>,
    clock: Clock,
}

// Locked before any mail, never after. No waker is woken or dropped under
// either: it may drop a task, and that a lease.
struct State {
    reaper: Reaper<Arc<Seat>>,
    /// The driver, if it waits.
    driver: Option<Waker>,
    /// Until when it waits.
    wakes_at: Timestamp,
    /// The driver is gone.
    is_abandoned: bool,
    /// Registry and leases are gone.
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement: a panic elsewhere while it
        // was held is no reason to panic here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The driver to wake, if something is due before it would.
    fn hasten(&mut self) -> Option<Waker> {
        let due = self.reaper.deadline().filter(|due| *due < self.wakes_at)?;
        self.wakes_at = due;
        self.driver.take()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A driver's view of the roster.
pub struct Watch {
    shared: Arc<Shared>,
    /// Whom a turn has to wake; empty between turns.
    woken: Vec<Waker>,
}

/// When a driver is needed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// Then, or when it is woken; none: only then.
    Until(Option<Timestamp>),
    /// Never: nobody is left, or will come.
    Over,
}

impl Watch {
    pub(super) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// When a turn is due; `waker` is woken when that changes.
    pub(super) fn wait(&mut self, waker: &Waker) -> Wait {
        let mut state = self.shared.lock();
        if state.is_over {
            return Wait::Over;
        }
        let due = state.reaper.deadline();
        state.wakes_at = due.unwrap_or(Timestamp::MAX);
        let old = state.driver.replace(waker.clone());
        drop(state);
        drop(old);
        Wait::Until(due)
    }

    /// Hands out what is due. False: others are to run, and then another turn.
    pub(super) fn turn(&mut self, now: Timestamp) -> bool {
        let mut state = self.shared.lock();
        let is_done = loop {
            let waker = match state.reaper.poll_with(now, |seat| seat.news()) {
                Some(Reap::Heartbeat { value: seat, .. }) => seat.post(|mail| mail.beat = true),
                Some(Reap::Close {
                    value: seat,
                    reason,
                    retry_after,
                    ..
                }) => seat.post(|mail| {
                    mail.beaten = false;
                    mail.close = Some(Verdict {
                        reason,
                        retry_after,
                        news: seat.news(),
                        is_told: false,
                    });
                }),
                Some(Reap::Yield) => break false,
                None => break true,
            };
            self.woken.extend(waker);
        };
        drop(state);
        self.wake_all();
        is_done
    }

    fn wake_all(&mut self) {
        for waker in self.woken.drain(..) {
            waker.wake();
        }
    }
}

/// Nobody is watched any more, and so nobody may stay.
impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_abandoned = true;
        for (_, seat) in state.reaper.iter() {
            self.woken.extend(seat.post(|mail| {
                mail.close.get_or_insert_with(Verdict::abandoned);
            }));
        }
        let driver = state.driver.take();
        drop(state);
        drop(driver);
        self.wake_all();
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("reaper", &self.shared.lock().reaper)
            .finish_non_exhaustive()
    }
}

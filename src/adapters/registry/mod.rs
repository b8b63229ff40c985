//! A roster that many tasks or threads share: what every runtime's `Registry`
//! has in common, all but the wait for the next deadline.

mod seats;
mod watch;

use core::fmt;
use core::future::poll_fn;
use core::marker::PhantomData;
use core::mem;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::vec::Vec;

use super::clock::Clock;
use super::link::random_seed;
use crate::config::{Config, ConfigError, Evidence};
use crate::reaper::{Counters, Past, Reaper};
use crate::session::CloseReason;
use crate::time::Timestamp;
use seats::{Mail, Row, SEATS, Seat, Silence, Verdict};
pub(super) use watch::Wait;
pub(super) use watch::Watch;

/// A server's roster, for a task or a thread per connection: a shared
/// [`Reaper`](crate::Reaper).
///
/// [`register`](Self::register) each connection that is accepted, and do what
/// its [`Lease`] asks. The [`Driver`](Self::new) that comes with the registry
/// is its clockwork: run it in a task or thread of its own. Nothing is spawned
/// here.
///
/// It is cheap to clone, and shared by its clones.
///
/// ```
/// use std::io::Write;
/// use std::net::{TcpListener, TcpStream};
/// use std::thread;
/// use nabiz::Config;
/// use nabiz::blocking::{Duty, Lease, Registry, Transport, is_timeout};
///
/// fn serve(mut stream: TcpStream, lease: Lease) -> std::io::Result<()> {
///     let mut buffer = [0; 4096];
///     loop {
///         match stream.read_within(&mut buffer, lease.timeout()) {
///             Ok(0) => return Ok(()),
///             Ok(_) => lease.received(),
///             Err(e) if is_timeout(&e) => {}
///             Err(e) => return Err(e),
///         }
///         match lease.poll() {
///             Some(Duty::Heartbeat) => {
///                 stream.write_all(b"ping\n")?;
///                 lease.heartbeat_sent();
///             }
///             Some(Duty::Close { .. }) => return Ok(()),
///             None => {}
///         }
///     }
/// }
///
/// let (registry, driver) = Registry::new(Config::server().build()?)?;
/// let driver = thread::spawn(move || driver.run());
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let (stream, _) = listener.accept()?;
/// let lease = registry.register();
/// let task = thread::spawn(move || serve(stream, lease));
/// assert_eq!(registry.len(), 1);
///
/// drop(client);
/// task.join().unwrap()?;
/// assert!(registry.is_empty());
/// drop(registry);
/// driver.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Registry<D> {
    handle: Arc<Handle>,
    driver: PhantomData<fn() -> D>,
}

/// A registry's clockwork, as each runtime has its own; only this crate makes
/// them.
///
/// ```
/// use nabiz::blocking::{Driver, Registry};
/// use nabiz::runtime::Drive;
///
/// fn is_clockwork<D: Drive>() {}
/// is_clockwork::<Driver>();
/// let (_registry, _driver): (Registry, Driver) =
///     Registry::new(nabiz::Config::server().build()?)?;
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
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
                rows: Vec::new(),
                free: Vec::new(),
                driver: None,
                wakes_at: Timestamp::EPOCH,
                is_closed: false,
                is_abandoned: false,
            }),
            clock,
            evidence: config.evidence(),
            counts_beats: config.flood().is_some(),
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
        let (seat, row) = state.take_seat(shared);
        let key = state.reaper.insert(seat, now);
        *row.mail(seat) = Mail {
            close: state.is_abandoned.then(Verdict::abandoned),
            link: state.reaper.last_link(),
            ..Mail::new(key, now)
        };
        let driver = state.hasten();
        drop(state);
        wake(driver);
        Lease { row, seat }
    }

    /// Closes everyone, spread over a window, each with a `retry_after` of its
    /// own: for a deploy. See [`Reaper::drain`](crate::Reaper::drain). When the
    /// last registry and lease are dropped the driver ends: wait for it to know
    /// that all have left.
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
    row: Arc<Row>,
    seat: Seat,
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
        let now = self.row.shared.clock.now();
        let mut state = self.row.shared.lock();
        let changed = change(&mut state, &mut self.row.mail(self.seat), now);
        let driver = state.hasten();
        drop(state);
        wake(driver);
        changed
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

/// What the registries hold; when the last is gone, nobody new will come.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        let driver = state.end();
        drop(state);
        wake(driver);
    }
}

struct Shared {
    state: Mutex<State>,
    clock: Clock,
    evidence: Evidence,
    /// There is a flood limit.
    counts_beats: bool,
}

// Locked before any mail, never after. No waker is woken or dropped under
// either: it may drop a task, and that a lease.
struct State {
    reaper: Reaper<Seat>,
    /// Those that have a lease.
    rows: Vec<Weak<Row>>,
    /// The seats that nobody has.
    free: Vec<Seat>,
    /// The driver, if it waits.
    driver: Option<Waker>,
    /// Until when it waits.
    wakes_at: Timestamp,
    /// The registries are gone.
    is_closed: bool,
    /// The driver is gone.
    is_abandoned: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement: a panic elsewhere while it
        // was held is no reason to panic here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_seat(&mut self, shared: &Arc<Shared>) -> (Seat, Arc<Row>) {
        loop {
            let Some(seat) = self.free.pop() else {
                self.free.extend(Seat::all_of(self.rows.len()));
                self.rows.push(Weak::new());
                continue;
            };
            if let Some(place) = self.rows.get_mut(seat.row()) {
                let row = place.upgrade().unwrap_or_else(|| {
                    let row = Arc::new(Row::new(Arc::clone(shared)));
                    *place = Arc::downgrade(&row);
                    row
                });
                return (seat, row);
            }
        }
    }

    /// The driver to wake, if something is due before it would.
    fn hasten(&mut self) -> Option<Waker> {
        let due = self.reaper.deadline().filter(|due| *due < self.wakes_at)?;
        self.wakes_at = due;
        self.driver.take()
    }

    /// Nobody is left, or will come.
    fn is_over(&self) -> bool {
        self.is_closed && self.free.len() == self.rows.len().saturating_mul(SEATS)
    }

    /// The driver to wake, if it is over.
    fn end(&mut self) -> Option<Waker> {
        if self.is_over() {
            self.driver.take()
        } else {
            None
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

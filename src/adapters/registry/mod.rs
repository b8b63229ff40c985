//! A roster that many tasks or threads share: what every runtime's `Registry`
//! has in common, all but the wait for the next deadline.

mod lease;
mod seats;
mod watch;

use core::fmt;
use core::marker::PhantomData;
use core::task::Waker;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::vec::Vec;

use super::clock::Clock;
use super::link::random_seed;
use crate::config::{Config, ConfigError, Evidence};
use crate::reaper::{Counters, RESOLUTION, Reaper};
use crate::time::Timestamp;
use seats::{Mail, Row, SEATS, Seat, Verdict};

pub use lease::{Duty, Lease};
pub(super) use watch::{Wait, Watch};

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
        let resolution = RESOLUTION.duration();
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
        let (row, seat) = shared.change(|state, now| {
            let (seat, row) = state.take_seat(shared);
            let key = state.reaper.insert(seat, now);
            *row.mail(seat) = Mail {
                close: state.is_abandoned.then(Verdict::abandoned),
                link: state.reaper.last_link(),
                ..Mail::new(key, now)
            };
            (row, seat)
        });
        Lease { row, seat }
    }

    /// Closes everyone, spread over a window, each with a `retry_after` of its
    /// own: for a deploy. See [`Reaper::drain`](crate::Reaper::drain). When the
    /// last registry and lease are dropped the driver ends: wait for it to know
    /// that all have left.
    pub fn drain(&self, window: Duration) {
        let shared = &self.handle.shared;
        shared.change(|state, now| state.reaper.drain(window, now));
    }

    /// The machine slept, and the clock does not tell. See
    /// [`Reaper::resumed`](crate::Reaper::resumed).
    pub fn resumed(&self) {
        let shared = &self.handle.shared;
        shared.change(|state, now| state.reaper.resumed(now));
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

    /// Changes it now, and wakes the driver if something is due before it would.
    fn change<C>(&self, change: impl FnOnce(&mut State, Timestamp) -> C) -> C {
        let now = self.clock.now();
        let mut state = self.lock();
        let changed = change(&mut state, now);
        let driver = state.hasten();
        drop(state);
        wake(driver);
        changed
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

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn a_connection_keeps_the_number_that_its_chances_hang_on() {
        let config = Config::server().build().unwrap();
        let (registry, _driver) = crate::blocking::Registry::new(config).unwrap();
        let leases = [(); 3].map(|()| registry.register());
        let numbers = leases
            .each_ref()
            .map(|lease| lease.row.mail(lease.seat).link);
        let first = numbers[0];
        assert_eq!(numbers, [first, first + 1, first + 2]);
    }

    #[test]
    fn what_is_there_can_be_shown() {
        let config = Config::server().build().unwrap();
        let (registry, driver) = crate::blocking::Registry::new(config).unwrap();
        assert!(format!("{registry:?}").starts_with("Registry { reaper: Reaper { "));
        let shown = format!("{driver:?}");
        assert!(
            shown.starts_with("Driver { watch: Watch { reaper: "),
            "{shown}"
        );
        let shown = format!("{:?}", registry.register());
        assert!(shown.starts_with("Lease { silence: "), "{shown}");
    }
}

//! For threads and blocking sockets: [`Pulse`] around any transport, [`Link`]
//! for a client that stays connected.

mod pulse;
mod registry;
mod transport;

pub use super::clock::Clock;
pub use super::link::{LinkEvent, SendError, random_seed};
pub use super::registry::{Duty, Lease};
pub use pulse::Pulse;
pub use registry::Driver;
pub use transport::{Transport, dial_tcp, is_timeout};

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::clock::NAP;
use super::link::{Engine, Output, Step};
use crate::config::{Config, ConfigError, Limits};
use crate::session::{Event, HeartbeatId, Status};
use crate::time::Timestamp;
use pulse::wait_until;

/// A server's roster, for a thread per connection.
pub type Registry = super::registry::Registry<Driver>;

/// A client that stays connected over a byte stream.
///
/// [`next`](Self::next) is the whole driver: it dials, reads, beats, judges,
/// waits and dials again, and returns when there is something to tell. Call it
/// from one thread in a loop; [`handle`](Self::handle) gives other threads a
/// way to send, to retry now and to shut down.
///
/// Heartbeats go out ahead of the caller's messages that wait, but never inside
/// one, also when the transport took only part of it. A peer that stops reading delays
/// no verdict: nothing here waits for a write. What was read is never lost to
/// a verdict, and what can be read is read before one is taken.
///
/// ```
/// use std::net::TcpListener;
/// use nabiz::Config;
/// use nabiz::blocking::{Link, LinkEvent};
///
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr()?;
/// # std::thread::spawn(move || {
/// #     let (mut stream, _) = listener.accept().unwrap();
/// #     std::io::Write::write_all(&mut stream, b"welcome\n").unwrap();
/// #     stream // closed when this thread ends
/// # });
/// let ping = |_id, out: &mut Vec<u8>| out.extend_from_slice(b"ping\n");
/// let mut link = Link::tcp(address, Config::client().build()?, ping)?;
/// let mut buffer = [0; 4096];
/// while let Some(event) = link.next(&mut buffer) {
///     match event {
///         LinkEvent::Up { .. } => link.send(b"hello\n")?,
///         LinkEvent::Data(bytes) => assert_eq!(bytes, b"welcome\n"),
///         LinkEvent::Down { why, retry_in, .. } => {
///             println!("{why}, back in {retry_in:?}");
///             link.shutdown(); // enough for an example
///         }
///         _ => {}
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Link<T> {
    shared: Arc<Shared<T>>,
    connect: Box<dyn FnMut(Option<Duration>) -> io::Result<T> + Send>,
    /// `Up` was returned, and `next` not called since.
    is_greeting: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Wakes a link that waits to dial.
    wake: Condvar,
    /// Wakes who waits for a change of the phase.
    changed: Condvar,
    clock: Clock,
}

struct State<T> {
    engine: Engine,
    transport: Option<Arc<T>>,
    /// A write failed; what the peer still said is read before the link ends.
    broken: Option<io::Error>,
}

/// How often a link looks at what its handles asked for.
const GLANCE: Duration = Duration::from_millis(50);
/// How soon a link tries again to write what the peer does not read.
const RETRY_WRITE: Duration = Duration::from_millis(10);

impl Link<TcpStream> {
    /// A link over TCP to `address`, resolved anew for each dial, by the
    /// default [`Clock`] and with a random seed. `heartbeat` writes the
    /// heartbeat's bytes.
    ///
    /// # Errors
    /// Where the configuration is a server's.
    pub fn tcp(
        address: impl ToSocketAddrs + Send + 'static,
        config: Config,
        heartbeat: impl FnMut(HeartbeatId, &mut Vec<u8>) + Send + 'static,
    ) -> Result<Self, ConfigError> {
        Self::new(config, heartbeat, move |budget| dial_tcp(&address, budget))
    }
}

impl<T: Transport> Link<T> {
    /// A link over what `connect` makes, by the default [`Clock`] and with a
    /// random seed. `heartbeat` writes the heartbeat's bytes; `connect` is
    /// given the time it may take, none for any.
    ///
    /// `heartbeat` is called while the link is locked: it must not use the
    /// link's own handle.
    ///
    /// # Errors
    /// Where the configuration is a server's.
    pub fn new(
        config: Config,
        heartbeat: impl FnMut(HeartbeatId, &mut Vec<u8>) + Send + 'static,
        connect: impl FnMut(Option<Duration>) -> io::Result<T> + Send + 'static,
    ) -> Result<Self, ConfigError> {
        Self::with(config, random_seed(), Clock::default(), heartbeat, connect)
    }

    /// The same with this seed, by this clock.
    ///
    /// # Errors
    /// As there.
    pub fn with(
        config: Config,
        seed: u64,
        clock: Clock,
        heartbeat: impl FnMut(HeartbeatId, &mut Vec<u8>) + Send + 'static,
        connect: impl FnMut(Option<Duration>) -> io::Result<T> + Send + 'static,
    ) -> Result<Self, ConfigError> {
        let engine = Engine::new(config, seed, Box::new(heartbeat), clock.now())?;
        Ok(Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    engine,
                    transport: None,
                    broken: None,
                }),
                wake: Condvar::new(),
                changed: Condvar::new(),
                clock,
            }),
            connect: Box::new(connect),
            is_greeting: false,
        })
    }

    /// How many bytes may wait to be written, 1 MiB unless set. One message
    /// may exceed it alone.
    pub fn set_send_limit(&mut self, bytes: usize) {
        self.shared.lock().engine.set_send_limit(bytes);
    }

    /// What happened next; waits for it. None: the link is done for good.
    ///
    /// Received bytes are put into `buffer`; with an empty one nothing is read,
    /// and the end of the stream not noticed.
    pub fn next<'b>(&mut self, buffer: &'b mut [u8]) -> Option<LinkEvent<'b>> {
        let shared = Arc::clone(&self.shared);
        if self.is_greeting {
            self.is_greeting = false;
            shared.lock().engine.greeted();
        }
        loop {
            let mut state = shared.lock();
            shared.publish(&mut state);
            if let Some(report) = state.engine.report() {
                self.is_greeting = matches!(report, LinkEvent::Up { .. });
                return Some(report);
            }
            // The step is taken at the same instant: what came until then has
            // been read.
            let now = shared.clock.now();
            if state.engine.would_convict(now) {
                state.flush(now); // nor is our output stuck if it can go on
                if let Some(read) = shared.read(state, buffer, Duration::ZERO) {
                    return buffer.get(..read).map(LinkEvent::Data);
                }
                state = shared.lock();
            }
            match state.engine.step(now) {
                Step::Dial { budget } => {
                    shared.publish(&mut state);
                    drop(state); // handles must not wait for a dial
                    let dialled = (self.connect)(budget);
                    shared.dialled(dialled);
                }
                Step::Transfer { until } => {
                    let had_output = state.engine.has_output();
                    let may_write = state.flush(now);
                    let has_output = state.engine.has_output();
                    let is_flushed = had_output && !has_output;
                    if is_flushed || state.engine.has_reports() {
                        continue; // the next step may be another one
                    }
                    let mut wait = until.map_or(NAP, |until| wait_until(until, now));
                    if has_output {
                        wait = if may_write {
                            Duration::ZERO
                        } else {
                            RETRY_WRITE
                        };
                    }
                    if Arc::strong_count(&shared) > 2 {
                        wait = wait.min(GLANCE); // a handle may ask for something
                    }
                    if let Some(read) = shared.read(state, buffer, wait) {
                        return buffer.get(..read).map(LinkEvent::Data);
                    }
                }
                Step::Finish => state.finish(),
                Step::Drop => state.drop_transport(),
                Step::Sleep { until } => {
                    if !state.engine.has_reports() {
                        shared.sleep(state, until.map_or(NAP, |until| wait_until(until, now)));
                    }
                }
                Step::Done => {
                    shared.publish(&mut state);
                    state.drop_transport();
                    if !state.engine.has_reports() {
                        return None;
                    }
                }
            }
        }
    }

    /// Sends `bytes` as one message: writes what the transport takes at once,
    /// and leaves the rest to [`next`](Self::next). Never waits.
    ///
    /// What is sent between [`LinkEvent::Up`] and the next call of `next` goes
    /// ahead of everything else on that link: heartbeats and handles wait.
    ///
    /// # Errors
    /// Where the link is not up, or too much waits already.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.shared.send(bytes)
    }

    /// Tells the link what the bytes that came mean, or what the user wants:
    /// `HeartbeatReceived`, `AnswerReceived`, `RetryAfter`, `Rejected`,
    /// `Resumed`, `Shutdown`, `Drain`; and `Disconnected`, where what came
    /// makes no sense: the link is dropped at once, and dialled again. The
    /// other events are the transport's, which the link watches itself, and are
    /// ignored.
    pub fn report(&mut self, event: Event) {
        self.shared.tell(event);
    }

    /// See [`Session::set_limits`](crate::Session::set_limits).
    ///
    /// # Errors
    /// As there.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), ConfigError> {
        let now = self.shared.clock.now();
        let mut state = self.shared.lock();
        state.engine.session_mut().set_limits(limits, now)
    }

    /// While waiting: dial soon, once a wait. While up: ask the peer whether it
    /// is there. See [`Event::Resumed`].
    pub fn reconnect_now(&mut self) {
        self.report(Event::Resumed);
    }

    /// Ends it for good: what waits is still written, the peer is told, and
    /// [`next`](Self::next) returns `None` when it has closed too, or after
    /// `close_grace`. A dial under way is waited for: the closure that dials is
    /// the caller's.
    pub fn shutdown(&mut self) {
        self.report(Event::Shutdown);
    }

    /// A snapshot as of now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// A way in for other threads.
    #[must_use]
    pub fn handle(&self) -> LinkHandle<T> {
        LinkHandle {
            shared: Arc::clone(&self.shared),
            seen: self.shared.lock().engine.changes(),
        }
    }
}

/// Nobody drives the link any more: what its handles have is a link that is
/// done, and no transport.
impl<T> Drop for Link<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let now = self.shared.clock.now();
        state.engine.tell(Event::Shutdown, now);
        state.engine.gone(None, now);
        state.transport = None;
        self.shared.publish(&mut state);
    }
}

impl<T> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("engine", &self.shared.lock().engine)
            .finish_non_exhaustive()
    }
}

/// A way into a [`Link`] for other threads. While there is one, the link
/// looks 20 times a second at what was asked of it.
///
/// ```
/// use nabiz::Config;
/// use nabiz::blocking::Link;
///
/// let mut link = Link::tcp("127.0.0.1:1", Config::client().build()?, |_, _| {})?;
/// let handle = link.handle();
/// let stopper = std::thread::spawn(move || handle.shutdown());
/// while link.next(&mut [0; 64]).is_some() {}
/// # stopper.join().unwrap();
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
pub struct LinkHandle<T> {
    shared: Arc<Shared<T>>,
    /// The changes that this handle knows of.
    seen: u64,
}

impl<T: Transport> LinkHandle<T> {
    /// Sends `bytes` as one message; see [`Link::send`].
    ///
    /// # Errors
    /// Where the link is not up, or its own thread has not yet had its turn to
    /// speak after [`LinkEvent::Up`]; where too much waits already.
    pub fn send(&self, bytes: &[u8]) -> Result<(), SendError> {
        if !self.shared.lock().engine.is_greeted() {
            return Err(SendError::NotConnected);
        }
        self.shared.send(bytes)
    }

    /// See [`Link::reconnect_now`].
    pub fn reconnect_now(&self) {
        self.shared.tell(Event::Resumed);
    }

    /// See [`Link::shutdown`].
    pub fn shutdown(&self) {
        self.shared.tell(Event::Shutdown);
    }

    /// A snapshot as of now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Waits until the link's phase changed since this handle last looked, or
    /// was made. Of changes that follow each other closely it may see the last
    /// one only. None: the link is done, and that was told.
    ///
    /// ```
    /// use nabiz::blocking::Link;
    /// use nabiz::{Config, Phase};
    ///
    /// let mut link = Link::tcp("127.0.0.1:1", Config::client().build()?, |_, _| {})?;
    /// let mut handle = link.handle();
    /// let watcher = std::thread::spawn(move || {
    ///     let mut last = None;
    ///     while let Some(status) = handle.changed() {
    ///         last = Some(status.phase);
    ///     }
    ///     last
    /// });
    /// link.shutdown();
    /// while link.next(&mut [0; 64]).is_some() {}
    /// assert_eq!(watcher.join().unwrap(), Some(Phase::Done));
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    pub fn changed(&mut self) -> Option<Status> {
        let mut state = self.shared.lock();
        loop {
            let now = self.shared.clock.now();
            if let Some(change) = state.engine.change(&mut self.seen, now) {
                return change;
            }
            let woken = self.shared.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Clone for LinkHandle<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            seen: self.seen,
        }
    }
}

impl<T> fmt::Debug for LinkHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkHandle").finish_non_exhaustive()
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state is whole after every statement: a panic elsewhere while it
        // was held is no reason to panic here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> Status {
        self.lock().engine.session().status(self.clock.now())
    }

    fn tell(&self, event: Event) {
        self.lock().engine.tell(event, self.clock.now());
        self.wake.notify_all();
    }

    /// Lets the handles know of a change of phase.
    fn publish(&self, state: &mut State<T>) {
        if state.engine.has_changed() {
            self.changed.notify_all();
        }
    }

    fn sleep(&self, state: MutexGuard<'_, State<T>>, wait: Duration) {
        let woken = self.wake.wait_timeout(state, wait);
        drop(woken.unwrap_or_else(PoisonError::into_inner));
    }
}

impl<T: Transport> Shared<T> {
    fn send(&self, bytes: &[u8]) -> Result<(), SendError> {
        let mut state = self.lock();
        state.engine.send(bytes)?;
        state.flush(self.clock.now());
        Ok(())
    }

    fn dialled(&self, dialled: io::Result<T>) {
        let mut state = self.lock();
        let now = self.clock.now();
        match dialled {
            Ok(transport) => {
                state.broken = None;
                if state.engine.connected(now) {
                    state.transport = Some(Arc::new(transport));
                } else {
                    // Abandoned meanwhile; it may be gone by itself.
                    let _ = transport.abort();
                }
            }
            Err(error) => {
                // If its time is over, or it is not wanted any more, that is why.
                if !state.engine.ends_dial(now) {
                    state.engine.gone(Some(error), now);
                }
            }
        }
    }

    /// Reads into `buffer`, with the lock released while it waits. None:
    /// nothing came in time, or the transport is gone.
    fn read(
        &self,
        mut state: MutexGuard<'_, State<T>>,
        buffer: &mut [u8],
        wait: Duration,
    ) -> Option<usize> {
        let Some(transport) = state.transport.clone().filter(|_| !buffer.is_empty()) else {
            match state.broken.take() {
                Some(error) => {
                    state.engine.gone(Some(error), self.clock.now());
                    state.drop_transport();
                }
                None => self.sleep(state, wait),
            }
            return None;
        };
        let was_broken = state.broken.is_some();
        let (read, mut state) = if was_broken || wait.is_zero() {
            (transport.read_within(buffer, Duration::ZERO), state)
        } else {
            drop(state);
            (transport.read_within(buffer, wait), self.lock())
        };
        let now = self.clock.now();
        let error = match read {
            Ok(0) => state.broken.take(),
            Ok(read) => {
                state.engine.received(now);
                return Some(read);
            }
            Err(error) if is_timeout(&error) && !was_broken => return None,
            Err(error) => Some(state.broken.take().unwrap_or(error)),
        };
        state.engine.gone(error, now);
        state.drop_transport();
        None
    }
}

/// A blocking transport holds nothing back.
impl<T: Transport> Output for &T {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_now(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T: Transport> State<T> {
    /// Writes what the transport takes without waiting, and says whether it
    /// would take more.
    fn flush(&mut self, now: Timestamp) -> bool {
        let Some(transport) = &self.transport else {
            return false;
        };
        let flushed = self.engine.flush(now, &mut &**transport);
        flushed.unwrap_or_else(|error| {
            self.broken.get_or_insert(error);
            false
        })
    }

    fn finish(&mut self) {
        if let Some(transport) = &self.transport {
            // If it cannot be told it is gone, as the next read will find.
            let _ = transport.finish();
        }
    }

    fn drop_transport(&mut self) {
        self.broken = None;
        if let Some(transport) = self.transport.take() {
            // It may be gone already; there is nobody left to tell.
            let _ = transport.abort();
        }
    }
}

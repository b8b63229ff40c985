//! A client that stays connected.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::boxed::Box;
use std::io;
use std::sync::Arc;
use std::vec::Vec;

use super::alarm::Alarm;
use super::handle::{LinkHandle, Shared};
use super::{Runtime, Stream};
use crate::adapters::clock::{Clock, LEAST_WAIT};
use crate::adapters::link::{Engine, LinkEvent, Output, SendError, Step, random_seed};
use crate::config::{Config, ConfigError, Limits};
use crate::session::{Event, HeartbeatId, Status};
use crate::time::Timestamp;

/// A client that stays connected over a byte stream.
///
/// [`next`](Self::next) is the whole driver: it dials, reads, beats, judges,
/// waits and dials again, and is ready when there is something to tell. All
/// I/O happens inside it, so await it in a loop. It is cancel-safe, and so
/// may be one branch of a `select!`; [`handle`](Self::handle) gives other tasks
/// a way to send, to retry now, to shut down and to watch.
///
/// Heartbeats go out ahead of the caller's messages that wait, but never inside
/// one, also when the transport took only part of it. A peer that stops reading delays
/// no verdict: nothing here waits for a write. What was read is never lost to
/// a verdict, and what can be read is read before one is taken.
///
/// It may be made anywhere, and awaited where the runtime's timers run. In
/// `nabiz::tokio` and `nabiz::smol` there is an example of each.
pub struct Link<R: Runtime, T> {
    shared: Arc<Shared>,
    connect: Box<dyn FnMut() -> Dial<T> + Send>,
    dial: Option<Dial<T>>,
    transport: Option<Pin<Box<T>>>,
    /// A write failed, and when; what the peer still said is read before the
    /// link ends.
    broken: Option<(io::Error, Timestamp)>,
    /// The peer is being told that no more will be sent.
    is_finishing: bool,
    alarm: Alarm<R>,
    /// `Up` was returned, and `next` not called since.
    is_greeting: bool,
}

type Dial<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// What became of a call to drive the link.
enum Driven {
    Report(LinkEvent<'static>),
    Read(usize),
    Done,
}

/// What became of a read.
enum Read {
    Bytes(usize),
    /// Nothing came, and the task is woken when something does.
    Nothing,
    /// The transport is gone.
    Gone,
}

impl<R: Runtime, T: Stream<R>> Link<R, T> {
    /// A link over what `connect` makes, by the default [`Clock`] and with a
    /// random seed. `heartbeat` writes the heartbeat's bytes.
    ///
    /// The future of `connect` is dropped when the dial takes longer than
    /// `connect_timeout`, or is not wanted any more. `heartbeat`, and what writes
    /// in the stream, is called while the link is locked: it must not use the
    /// link's own handle.
    ///
    /// # Errors
    /// Where the configuration is a server's.
    pub fn new<F>(
        config: Config,
        heartbeat: impl FnMut(HeartbeatId, &mut Vec<u8>) + Send + 'static,
        connect: impl FnMut() -> F + Send + 'static,
    ) -> Result<Self, ConfigError>
    where
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        Self::with(config, random_seed(), Clock::default(), heartbeat, connect)
    }

    /// The same with this seed, by this clock.
    ///
    /// # Errors
    /// As there.
    pub fn with<F>(
        config: Config,
        seed: u64,
        clock: Clock,
        heartbeat: impl FnMut(HeartbeatId, &mut Vec<u8>) + Send + 'static,
        mut connect: impl FnMut() -> F + Send + 'static,
    ) -> Result<Self, ConfigError>
    where
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        let engine = Engine::new(config, seed, Box::new(heartbeat), clock.now())?;
        Ok(Self {
            shared: Arc::new(Shared::new(engine, clock)),
            connect: Box::new(move || Box::pin(connect())),
            dial: None,
            transport: None,
            broken: None,
            is_finishing: false,
            alarm: Alarm::new(),
            is_greeting: false,
        })
    }

    /// What happened next; waits for it. None: the link is done for good.
    ///
    /// Received bytes are put into `buffer`; with an empty one nothing is read,
    /// and the end of the stream not noticed.
    ///
    /// Cancel-safe: a future dropped before it was ready has taken nothing that
    /// the next one will not give.
    pub async fn next<'b>(&mut self, buffer: &'b mut [u8]) -> Option<LinkEvent<'b>> {
        match poll_fn(|cx| self.poll_driven(cx, buffer)).await {
            Driven::Report(report) => Some(report),
            Driven::Read(read) => buffer.get(..read).map(LinkEvent::Data),
            Driven::Done => None,
        }
    }

    /// Ends it for good: what waits is still written, the peer is told, and
    /// this is ready when it has closed too, or after `close_grace`. What still
    /// comes is thrown away; to read it, use [`report`](Self::report) with
    /// [`Event::Shutdown`] and go on with [`next`](Self::next).
    ///
    /// Cancel-safe: the link goes on ending with the next call of `next`.
    pub async fn shutdown(&mut self) {
        self.report(Event::Shutdown);
        let mut buffer = [0; 256];
        while self.next(&mut buffer).await.is_some() {}
    }

    fn poll_driven(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Driven> {
        let shared = Arc::clone(&self.shared);
        let old = shared.lock().driven_by(cx.waker());
        drop(old);
        let driven = self.drive(&shared, cx, buffer);
        shared.publish();
        driven
    }

    fn drive(&mut self, shared: &Shared, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Driven> {
        if self.is_greeting {
            self.is_greeting = false;
            shared.lock().engine.greeted();
        }
        'driving: loop {
            // A dial that is done is not too late.
            self.poll_dial(shared, cx);
            let mut state = shared.lock();
            if let Some(report) = state.engine.report() {
                self.is_greeting = matches!(report, LinkEvent::Up { .. });
                return Poll::Ready(Driven::Report(report));
            }
            // The step is taken at the same instant: what came until then has
            // been read.
            let now = shared.clock.now();
            if state.engine.would_convict(now) {
                // Nor is our output stuck if it can go on.
                self.write(&mut state.engine, now, cx);
                let due = state.engine.session().deadline().unwrap_or(now);
                drop(state);
                // Where the timer rings, tokio's reactor has told of all input,
                // be it a moment ago and on another thread: so once more after
                // it. (smol's sockets are read without their reactor.)
                for has_rung in [false, true] {
                    match self.read(shared, cx, buffer) {
                        Read::Bytes(read) => return Poll::Ready(Driven::Read(read)),
                        Read::Gone => continue 'driving,
                        Read::Nothing if has_rung => break,
                        Read::Nothing => {}
                    }
                    if ready!(self.alarm.poll(cx, due, now)) < due {
                        continue 'driving;
                    }
                }
                state = shared.lock();
            }
            let until = match state.engine.step(now) {
                Step::Dial { .. } => {
                    drop(state); // the caller's code may use a handle
                    self.dial = Some((self.connect)());
                    continue;
                }
                Step::Transfer { until } => {
                    let had_output = state.engine.has_output();
                    let may_write = self.write(&mut state.engine, now, cx);
                    let has_output = state.engine.has_output();
                    if had_output && !has_output || state.engine.has_reports() {
                        continue; // the next step may be another one
                    }
                    drop(state);
                    self.poll_finish(cx);
                    match self.read(shared, cx, buffer) {
                        Read::Bytes(read) => return Poll::Ready(Driven::Read(read)),
                        Read::Gone => continue,
                        Read::Nothing => {}
                    }
                    if let Some((_, since)) = self.broken {
                        // The reactor has told of all that came when the timer
                        // rings once more.
                        let due = since.checked_add(LEAST_WAIT).unwrap_or(since);
                        match self.alarm.poll(cx, due, now) {
                            Poll::Ready(rang) if rang > since => self.gone(shared, None),
                            Poll::Ready(_) => {}
                            Poll::Pending => return Poll::Pending,
                        }
                        continue;
                    }
                    if has_output && may_write {
                        // Others get their turn, the timer among them.
                        cx.waker().wake_by_ref();
                    }
                    until
                }
                Step::Finish => {
                    self.is_finishing = true;
                    continue;
                }
                Step::Drop => {
                    drop(state);
                    self.drop_transport();
                    continue;
                }
                Step::Sleep { until } => {
                    if state.engine.has_reports() {
                        continue;
                    }
                    drop(state);
                    until
                }
                Step::Done => {
                    let has_reports = state.engine.has_reports();
                    drop(state);
                    self.drop_transport();
                    if has_reports {
                        continue;
                    }
                    return Poll::Ready(Driven::Done);
                }
            };
            match until {
                Some(until) => match self.alarm.poll(cx, until, now) {
                    Poll::Ready(_) => {}
                    Poll::Pending => return Poll::Pending,
                },
                None => return Poll::Pending,
            }
        }
    }

    /// Takes in how a dial ended, if it did.
    fn poll_dial(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        let Some(dial) = &mut self.dial else {
            return;
        };
        let Poll::Ready(dialled) = dial.as_mut().poll(cx) else {
            return;
        };
        self.dial = None;
        let now = shared.clock.now();
        match dialled {
            Ok(transport) => {
                if shared.lock().engine.connected(now) {
                    self.transport = Some(Box::pin(transport));
                }
            }
            Err(error) => shared.lock().engine.gone(Some(error), now),
        }
    }

    /// Writes what the transport takes without waiting, and says whether it
    /// would take more.
    fn write(&mut self, engine: &mut Engine, now: Timestamp, cx: &mut Context<'_>) -> bool {
        let Some(transport) = &mut self.transport else {
            return false;
        };
        let mut output = Writer {
            transport: transport.as_mut(),
            cx,
            runtime: core::marker::PhantomData::<R>,
        };
        let written = engine.flush(now, &mut output);
        written.unwrap_or_else(|error| {
            self.broken.get_or_insert((error, now));
            false
        })
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) {
        if let Some(transport) = self.transport.as_mut().filter(|_| self.is_finishing) {
            // If it cannot be told it is gone, as the next read will find.
            self.is_finishing = transport.as_mut().poll_finish(cx).is_pending();
        }
    }

    fn read(&mut self, shared: &Shared, cx: &mut Context<'_>, buffer: &mut [u8]) -> Read {
        let transport = self.transport.as_mut().filter(|_| !buffer.is_empty());
        let Some(transport) = transport else {
            return Read::Nothing;
        };
        let error = loop {
            match transport.as_mut().poll_read(cx, buffer) {
                Poll::Pending => return Read::Nothing,
                Poll::Ready(Ok(0)) => break None,
                Poll::Ready(Ok(read)) => {
                    shared.lock().engine.received(shared.clock.now());
                    return Read::Bytes(read);
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => break Some(error),
            }
        };
        self.gone(shared, error);
        Read::Gone
    }

    /// The transport is gone; a write that failed before says why.
    fn gone(&mut self, shared: &Shared, error: Option<io::Error>) {
        let error = self.broken.take().map_or(error, |(error, _)| Some(error));
        shared.lock().engine.gone(error, shared.clock.now());
        self.drop_transport();
    }

    fn drop_transport(&mut self) {
        self.broken = None;
        self.is_finishing = false;
        self.transport = None;
        self.dial = None;
    }
}

impl<R: Runtime, T> Link<R, T> {
    /// How many bytes may wait to be written, 1 MiB unless set. One message
    /// may exceed it alone.
    pub fn set_send_limit(&mut self, bytes: usize) {
        self.shared.lock().engine.set_send_limit(bytes);
    }

    /// Sends `bytes` as one message, which [`next`](Self::next) writes. Never
    /// waits.
    ///
    /// What is sent between [`LinkEvent::Up`] and the next call of `next` goes
    /// ahead of everything else on that link: heartbeats and handles wait.
    ///
    /// # Errors
    /// Where the link is not up, or too much waits already.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.shared.lock().engine.send(bytes)
    }

    /// Tells the link what the bytes that came mean, or what the user wants:
    /// `HeartbeatReceived`, `AnswerReceived`, `RetryAfter`, `Rejected`,
    /// `Resumed`, `Shutdown`, `Drain`; and `Disconnected`, where what came
    /// makes no sense: the link is dropped at once, and dialled again. The
    /// other events are the transport's, which the link watches itself, and are
    /// ignored.
    pub fn report(&mut self, event: Event) {
        // Nobody waits in `next` now, whom it would have to wake.
        let now = self.shared.clock.now();
        self.shared.lock().engine.tell(event, now);
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

    /// A snapshot as of now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// A way in for other tasks and threads.
    #[must_use]
    pub fn handle(&self) -> LinkHandle {
        LinkHandle::new(Arc::clone(&self.shared))
    }
}

/// Nobody drives the link any more: what its handles have is a link that is
/// done.
impl<R: Runtime, T> Drop for Link<R, T> {
    fn drop(&mut self) {
        let now = self.shared.clock.now();
        let mut state = self.shared.lock();
        state.engine.tell(Event::Shutdown, now);
        state.engine.gone(None, now);
        let driver = state.driver.take();
        drop(state);
        drop(driver);
        self.shared.publish();
    }
}

impl<R: Runtime, T> fmt::Debug for Link<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("engine", &self.shared.lock().engine)
            .finish_non_exhaustive()
    }
}

/// A transport that is written to until it would make the task wait.
struct Writer<'a, 'c, R, T> {
    transport: Pin<&'a mut T>,
    cx: &'a mut Context<'c>,
    runtime: core::marker::PhantomData<R>,
}

impl<R, T: Stream<R>> Output for Writer<'_, '_, R, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        at_once(self.transport.as_mut().poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        at_once(self.transport.as_mut().poll_flush(self.cx))
    }
}

fn at_once<C>(polled: Poll<io::Result<C>>) -> io::Result<C> {
    match polled {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

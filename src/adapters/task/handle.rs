//! The ways into a link for other tasks, and what they share with it.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use crate::adapters::clock::Clock;
use crate::adapters::link::{Engine, SendError};
use crate::session::{Event, Status};

/// A way into a [`Link`](super::Link) for other tasks and threads, in any runtime.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use nabiz::tokio::Link;
/// use nabiz::{Config, Phase};
///
/// let config = Config::client().build()?;
/// let (near, far) = tokio::io::duplex(64);
/// let mut stream = Some(near);
/// let connect = move || {
///     let stream = stream.take().ok_or(std::io::ErrorKind::ConnectionRefused.into());
///     async { stream }
/// };
/// let mut link = Link::new(config, |_, out| out.extend_from_slice(b"ping"), connect)?;
/// let mut handle = link.handle();
/// let task = tokio::spawn(async move { while link.next(&mut [0; 64]).await.is_some() {} });
///
/// let status = handle.changed().await.unwrap(); // it dials, and is up
/// assert!(matches!(status.phase, Phase::Connecting | Phase::Open));
/// drop(far); // the peer goes
/// handle.shutdown().await;
/// assert_eq!(handle.status().phase, Phase::Done);
/// task.await?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
pub struct LinkHandle {
    shared: Arc<Shared>,
    /// Which of the link's handles it is.
    number: u64,
    /// The changes that this handle knows of.
    seen: u64,
}

impl LinkHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let seen = shared.lock().engine.changes();
        Self::with(shared, seen)
    }

    fn with(shared: Arc<Shared>, seen: u64) -> Self {
        let mut state = shared.lock();
        state.handles = state.handles.wrapping_add(1);
        let number = state.handles;
        drop(state);
        Self {
            shared,
            number,
            seen,
        }
    }

    /// Sends `bytes` as one message; see [`Link::send`](super::Link::send).
    ///
    /// # Errors
    /// Where the link is not up, or its own task has not yet had its turn to
    /// speak after [`LinkEvent::Up`](crate::runtime::LinkEvent::Up); where too much waits already.
    pub fn send(&self, bytes: &[u8]) -> Result<(), SendError> {
        let mut state = self.shared.lock();
        if !state.engine.is_greeted() {
            return Err(SendError::NotConnected);
        }
        state.engine.send(bytes)?;
        let driver = state.driver.take();
        drop(state);
        wake(driver);
        Ok(())
    }

    /// See [`Link::reconnect_now`](super::Link::reconnect_now).
    pub fn reconnect_now(&self) {
        self.shared.tell(Event::Resumed);
    }

    /// Asks the link to end, politely and for good, and waits until it is done:
    /// its task is to go on awaiting [`Link::next`](super::Link::next) meanwhile.
    pub async fn shutdown(&self) {
        self.shared.tell(Event::Shutdown);
        let mut watch = self.clone();
        while watch.changed().await.is_some() {}
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
    /// Cancel-safe.
    pub async fn changed(&mut self) -> Option<Status> {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Status>> {
        let now = self.shared.clock.now();
        let mut state = self.shared.lock();
        if let Some(change) = state.engine.change(&mut self.seen, now) {
            return Poll::Ready(change);
        }
        let watchers = &mut state.watchers;
        let ours = watchers
            .iter_mut()
            .find(|(number, _)| *number == self.number);
        let old = match ours {
            Some((_, waker)) if waker.will_wake(cx.waker()) => None,
            Some((_, waker)) => Some(core::mem::replace(waker, cx.waker().clone())),
            None => {
                watchers.push((self.number, cx.waker().clone()));
                None
            }
        };
        drop(state);
        drop(old);
        Poll::Pending
    }
}

/// With the same changes seen.
impl Clone for LinkHandle {
    fn clone(&self) -> Self {
        Self::with(Arc::clone(&self.shared), self.seen)
    }
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let watchers = &mut state.watchers;
        let ours = watchers
            .iter()
            .position(|(number, _)| *number == self.number);
        let ours = ours.map(|place| watchers.swap_remove(place));
        drop(state);
        drop(ours);
    }
}

impl fmt::Debug for LinkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkHandle").finish_non_exhaustive()
    }
}

pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) clock: Clock,
}

// It is not locked while wakers of ours, the timer and the caller's code run, but
// for what writes: that may drop a task, and with it the link or a handle.
pub(super) struct State {
    pub(super) engine: Engine,
    /// The task that drives the link, if it waits.
    pub(super) driver: Option<Waker>,
    /// How many handles there were.
    handles: u64,
    /// Which handles wait for a change of the phase: one waker each.
    watchers: Vec<(u64, Waker)>,
}

impl State {
    /// Gives back the waker that is not needed any more.
    pub(super) fn driven_by(&mut self, waker: &Waker) -> Option<Waker> {
        match &self.driver {
            Some(driver) if driver.will_wake(waker) => None,
            _ => self.driver.replace(waker.clone()),
        }
    }
}

impl Shared {
    pub(super) fn new(engine: Engine, clock: Clock) -> Self {
        Self {
            state: Mutex::new(State {
                engine,
                driver: None,
                handles: 0,
                watchers: Vec::new(),
            }),
            clock,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement: a panic elsewhere while it
        // was held is no reason to panic here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> Status {
        self.lock().engine.session().status(self.clock.now())
    }

    fn tell(&self, event: Event) {
        let mut state = self.lock();
        state.engine.tell(event, self.clock.now());
        let driver = state.driver.take();
        drop(state);
        wake(driver);
    }

    /// Lets the handles know of a change of phase.
    pub(super) fn publish(&self) {
        let mut state = self.lock();
        if !state.engine.has_changed() {
            return;
        }
        let watchers = core::mem::take(&mut state.watchers);
        drop(state);
        for (_, watcher) in watchers {
            watcher.wake();
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

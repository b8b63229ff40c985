//! A transport that does what the test says.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is to become of the transport's calls.
#[derive(Debug, Default)]
pub struct Wire {
    /// What reads give: bytes, none for the end, or an error.
    pub reads: VecDeque<Result<Vec<u8>, ErrorKind>>,
    /// The most that one write takes; 0: any.
    pub most: usize,
    /// Writes take nothing.
    pub blocks: bool,
    /// The next write is the last for now.
    pub once: bool,
    /// Flushes wait.
    pub holds: bool,
    /// What the next write fails with.
    pub write_error: Option<ErrorKind>,
    pub flush_error: Option<ErrorKind>,
    /// So many calls are interrupted first.
    pub interrupts: u32,
    /// The end waits, as a TLS stream's does that has yet to write.
    pub lingers: bool,
    pub written: Vec<u8>,
    pub writes: u32,
    pub finishes: u32,
    pub is_finished: bool,
    pub is_dropped: bool,
    waker: Option<Waker>,
}

/// The test's end.
#[derive(Clone, Debug, Default)]
pub struct Remote(Arc<Mutex<Wire>>);

impl Remote {
    pub fn transport(&self) -> Scripted {
        Scripted(self.0.clone())
    }

    /// Changes what happens, and wakes who waits.
    pub fn with<C>(&self, change: impl FnOnce(&mut Wire) -> C) -> C {
        let mut wire = self.0.lock().unwrap();
        let changed = change(&mut wire);
        let waker = wire.waker.take();
        drop(wire);
        if let Some(waker) = waker {
            waker.wake();
        }
        changed
    }

    pub fn says(&self, bytes: &[u8]) {
        self.with(|wire| wire.reads.push_back(Ok(bytes.to_vec())));
    }
}

#[derive(Debug)]
pub struct Scripted(Arc<Mutex<Wire>>);

impl Scripted {
    fn call<C>(
        &self,
        cx: &Context<'_>,
        call: impl FnOnce(&mut Wire) -> Poll<io::Result<C>>,
    ) -> Poll<io::Result<C>> {
        let mut wire = self.0.lock().unwrap();
        if let Some(left) = wire.interrupts.checked_sub(1) {
            wire.interrupts = left;
            return Poll::Ready(Err(ErrorKind::Interrupted.into()));
        }
        let outcome = call(&mut wire);
        if outcome.is_pending() {
            wire.waker = Some(cx.waker().clone());
        }
        outcome
    }
}

fn fails<C>(error: ErrorKind) -> Poll<io::Result<C>> {
    Poll::Ready(Err(error.into()))
}

impl AsyncRead for Scripted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.call(cx, |wire| match wire.reads.pop_front() {
            None => Poll::Pending,
            Some(Ok(bytes)) => {
                buffer.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            Some(Err(error)) => fails(error),
        })
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.call(cx, |wire| {
            if let Some(error) = wire.write_error.take() {
                return fails(error);
            }
            if wire.blocks {
                return Poll::Pending;
            }
            let most = if wire.most == 0 {
                usize::MAX
            } else {
                wire.most
            };
            let taken = bytes.len().min(most);
            wire.written.extend_from_slice(&bytes[..taken]);
            wire.writes += 1;
            wire.blocks |= wire.once;
            Poll::Ready(Ok(taken))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.call(cx, |wire| {
            if let Some(error) = wire.flush_error.take() {
                return fails(error);
            }
            if wire.holds {
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.call(cx, |wire| {
            wire.finishes += 1;
            if wire.lingers {
                return Poll::Pending;
            }
            wire.is_finished = true;
            Poll::Ready(Ok(()))
        })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // Also where the test has failed meanwhile.
        let mut wire = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wire.is_dropped = true;
    }
}

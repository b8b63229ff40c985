//! For smol, and what else lives on [`async_io`]: [`Pulse`] around any
//! transport, [`Link`] for a client that stays connected, [`Registry`] for a
//! server.
//!
//! They work in any executor, and on streams by the traits of [`futures_io`].
//! Nothing here spawns.

pub use super::clock::Clock;
pub use super::link::{LinkEvent, SendError, random_seed};
pub use super::registry::{Duty, Lease};
pub use super::task::LinkHandle;

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use async_io::Timer as AsyncTimer;
use futures_io::{AsyncRead, AsyncWrite};

use super::task::{self, Runtime, Stream, Timer};

/// Marks what lives on smol.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Smol;

impl Runtime for Smol {
    type Timer = AsyncTimer;
}

impl Timer for AsyncTimer {
    fn after(wait: Duration) -> Self {
        AsyncTimer::after(wait)
    }

    fn reset(&mut self, wait: Duration) {
        self.set_after(wait);
    }

    fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(self).poll(cx).map(|_| ())
    }
}

impl<T: AsyncRead + AsyncWrite + Send + 'static> Stream<Smol> for T {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(self, cx, buffer)
    }

    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_finish(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_close(self, cx)
    }
}

/// A session that knows what time it is.
pub type Pulse = task::Pulse<Smol>;
/// A client that stays connected.
pub type Link<T> = task::Link<Smol, T>;
/// The clockwork of a registry.
pub type Driver = task::Driver<Smol>;
/// A server's roster, for a task per connection.
pub type Registry = super::registry::Registry<Driver>;

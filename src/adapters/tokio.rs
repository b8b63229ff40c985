//! For [tokio](::tokio): [`Pulse`] around any transport, [`Link`] for a client
//! that stays connected, [`Registry`] for a server.
//!
//! They run in either of its runtimes, and ask of them only that timers are
//! enabled (`enable_time` or `enable_all`), which tokio panics about where they
//! are not. Nothing here spawns. Under paused time give them
//! [`Clock::tokio`].

pub use super::clock::Clock;
pub use super::link::{LinkEvent, SendError, random_seed};
pub use super::registry::{Duty, Lease};
pub use super::task::LinkHandle;

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::time::{Instant, Sleep, sleep};

use super::task::{self, Runtime, Stream, Timer};

/// Marks what lives on tokio.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Tokio;

impl Runtime for Tokio {
    type Timer = Pin<Box<Sleep>>;
}

impl Timer for Pin<Box<Sleep>> {
    fn after(wait: Duration) -> Self {
        Box::pin(sleep(wait))
    }

    fn reset(&mut self, wait: Duration) {
        // `wait` is at most a nap.
        if let Some(at) = Instant::now().checked_add(wait) {
            self.as_mut().reset(at);
        }
    }

    fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.as_mut().poll(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Send + 'static> Stream<Tokio> for T {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(AsyncRead::poll_read(self, cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
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
        AsyncWrite::poll_shutdown(self, cx)
    }
}

/// A session that knows what time it is; see there.
///
/// ```
/// use core::time::Duration;
/// use nabiz::tokio::Pulse;
/// use nabiz::{Action, CloseReason, Config, Event};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut near, _far) = tokio::io::duplex(64);
/// let config = Config::server()
///     .with_interval(Duration::from_millis(100))
///     .with_silence_timeout(Duration::from_millis(300))
///     .build()?;
/// let mut pulse = Pulse::new(config);
/// let mut buffer = [0; 64];
/// let reason = loop {
///     tokio::select! {
///         biased; // the input first
///         read = near.read(&mut buffer) => match read? {
///             0 => break CloseReason::Shutdown,
///             _ => pulse.handle(Event::Received),
///         },
///         action = pulse.next() => match action {
///             Action::SendHeartbeat { .. } => {
///                 near.write_all(b"ping").await?;
///                 pulse.handle(Event::HeartbeatSent);
///             }
///             Action::Close(reason) => break reason,
///             // A server's session asks for nothing else before it is closed.
///             other => unreachable!("{other:?}"),
///         },
///     }
/// };
/// assert_eq!(reason, CloseReason::PeerSilent); // the far end says nothing
/// # Ok(())
/// # }
/// ```
pub type Pulse = task::Pulse<Tokio>;
/// A client that stays connected.
pub type Link<T> = task::Link<Tokio, T>;
/// The clockwork of a registry.
pub type Driver = task::Driver<Tokio>;
/// A server's roster, for a task per connection.
pub type Registry = super::registry::Registry<Driver>;

//! For [tokio](::tokio): [`Pulse`] around any transport, [`Link`] for a client
//! that stays connected, [`Registry`] for a server.
//!
//! They run in either of its runtimes, and ask of them only that timers are
//! enabled (`enable_time` or `enable_all`), which tokio panics about where they
//! are not. Nothing here spawns. Under paused time give them
//! [`Clock::tokio`].
//!
//! Give each link a task of its own. A turn of tokio's reactor tells of 1,024
//! sockets at most, but of all timers: of more links in one task, some could be
//! judged before their input is known, after a stall within the tolerance.

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

use super::runtime;
use super::task::{self, Runtime, Stream};

/// Marks what lives on tokio.
///
/// ```
/// use nabiz::runtime::Pulse;
/// use nabiz::tokio::Tokio;
///
/// let _pulse: Pulse<Tokio> = nabiz::tokio::Pulse::new(nabiz::Config::server().build()?);
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Tokio;

/// A timer of tokio's; see [`Runtime`] for what one is.
#[derive(Debug)]
pub struct Timer(Pin<Box<Sleep>>);

impl Runtime for Tokio {
    type Timer = Timer;
}

impl runtime::Timer for Timer {
    fn after(wait: Duration) -> Self {
        Self(Box::pin(sleep(wait)))
    }

    fn reset(&mut self, wait: Duration) {
        // `wait` is at most a nap.
        if let Some(at) = Instant::now().checked_add(wait) {
            self.0.as_mut().reset(at);
        }
    }

    fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
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

/// A session that knows what time it is.
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
///         biased; // however much comes, beats go out; verdicts let it go first
///         action = pulse.next() => match action {
///             Some(Action::SendHeartbeat { .. }) => tokio::select! {
///                 sent = near.write_all(b"ping") => {
///                     sent?;
///                     pulse.handle(Event::HeartbeatSent);
///                 }
///                 // The peer does not read.
///                 Some(Action::Close(reason)) = pulse.next() => break reason,
///             },
///             Some(Action::Close(reason)) => break reason,
///             // A server's session asks for nothing else before it is closed.
///             other => unreachable!("{other:?}"),
///         },
///         read = near.read(&mut buffer) => match read? {
///             0 => break CloseReason::Shutdown,
///             _ => pulse.handle(Event::Received),
///         },
///     }
/// };
/// assert_eq!(reason, CloseReason::PeerSilent); // the far end says nothing
/// # Ok(())
/// # }
/// ```
pub type Pulse = task::Pulse<Tokio>;
/// A client that stays connected.
///
/// ```
/// use nabiz::Config;
/// use nabiz::tokio::{Link, LinkEvent};
/// use tokio::net::TcpStream;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let address = listener.local_addr()?;
/// # tokio::spawn(async move {
/// #     let (mut stream, _) = listener.accept().await.unwrap();
/// #     tokio::io::AsyncWriteExt::write_all(&mut stream, b"welcome\n").await.unwrap();
/// #     let mut hello = [0; 6];
/// #     tokio::io::AsyncReadExt::read_exact(&mut stream, &mut hello).await.unwrap();
/// # });
/// let connect = move || async move {
///     let stream = TcpStream::connect(address).await?;
///     stream.set_nodelay(true)?; // a heartbeat that waits for company comes late
///     Ok(stream)
/// };
/// let ping = |_id, out: &mut Vec<u8>| out.extend_from_slice(b"ping\n");
/// let mut link = Link::new(Config::client().build()?, ping, connect)?;
/// let mut buffer = [0; 4096];
/// while let Some(event) = link.next(&mut buffer).await {
///     match event {
///         LinkEvent::Up { .. } => link.send(b"hello\n")?,
///         LinkEvent::Data(bytes) => assert_eq!(bytes, b"welcome\n"),
///         LinkEvent::Down { why, retry_in, .. } => {
///             println!("{why}, back in {retry_in:?}");
///             link.shutdown().await; // enough for an example
///         }
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub type Link<T> = task::Link<Tokio, T>;

/// The clockwork of a [`Registry`].
pub type Driver = task::Driver<Tokio>;

/// A server's roster, for a task per connection.
///
/// ```
/// use nabiz::Config;
/// use nabiz::tokio::{Duty, Lease, Registry};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::{TcpListener, TcpStream};
///
/// async fn serve(mut stream: TcpStream, lease: Lease) -> std::io::Result<()> {
///     let mut buffer = [0; 4096];
///     loop {
///         tokio::select! {
///             biased; // however much comes, duties are done; verdicts let it go first
///             duty = lease.next() => match duty {
///                 Duty::Heartbeat => tokio::select! {
///                     sent = stream.write_all(b"ping\n") => {
///                         sent?;
///                         lease.heartbeat_sent();
///                     }
///                     // The peer does not read.
///                     Duty::Close { .. } = lease.next() => return Ok(()),
///                 },
///                 Duty::Close { .. } => return Ok(()),
///             },
///             read = stream.read(&mut buffer) => match read? {
///                 0 => return Ok(()),
///                 _ => lease.received(),
///             },
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (registry, driver) = Registry::new(Config::server().build()?)?;
/// tokio::spawn(driver.run());
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (stream, _) = listener.accept().await?;
/// let task = tokio::spawn(serve(stream, registry.register()));
/// assert_eq!(registry.len(), 1);
///
/// drop(client);
/// task.await??;
/// assert!(registry.is_empty());
/// # Ok(())
/// # }
/// ```
pub type Registry = super::registry::Registry<Driver>;

//! For smol, and what else lives on [`async_io`]: [`Pulse`] around any
//! transport, [`Link`] for a client that stays connected, [`Registry`] for a
//! server.
//!
//! They work in any executor, and on streams by the traits of [`futures_io`].
//! Nothing here spawns.
//!
//! A [`Link`] closes politely by `poll_close`. The `TcpStream` of `smol::net`
//! tells the peer by that; an [`async_io::Async`] around a socket does not, so
//! that a shutdown then lasts until the peer closes, or `close_grace`.

pub use super::clock::Clock;
pub use super::link::{LinkEvent, SendError, random_seed};
pub use super::registry::{Duty, Lease};
pub use super::task::LinkHandle;

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use futures_io::{AsyncRead, AsyncWrite};

use super::runtime;
use super::task::{self, Runtime, Stream};

/// Marks what lives on smol.
///
/// ```
/// use nabiz::runtime::Pulse;
/// use nabiz::smol::Smol;
///
/// let _pulse: Pulse<Smol> = nabiz::smol::Pulse::new(nabiz::Config::server().build()?);
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Smol;

/// A timer of async-io's; see [`Runtime`] for what one is.
#[derive(Debug)]
pub struct Timer(async_io::Timer);

impl Runtime for Smol {
    type Timer = Timer;
}

impl runtime::Timer for Timer {
    fn after(wait: Duration) -> Self {
        Self(async_io::Timer::after(wait))
    }

    fn reset(&mut self, wait: Duration) {
        self.0.set_after(wait);
    }

    fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
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
///
/// ```
/// use core::time::Duration;
/// use nabiz::smol::Pulse;
/// use nabiz::{Action, CloseReason, Config, Event};
/// use smol::future::FutureExt;
/// use smol::io::{AsyncReadExt, AsyncWriteExt};
/// # use smol::net::{TcpListener, TcpStream};
///
/// enum Came {
///     Input(usize),
///     Action(Option<Action>),
/// }
///
/// # smol::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let _far = TcpStream::connect(listener.local_addr()?).await?;
/// # let (mut near, _) = listener.accept().await?;
/// let config = Config::server()
///     .with_interval(Duration::from_millis(100))
///     .with_silence_timeout(Duration::from_millis(300))
///     .build()?;
/// let mut pulse = Pulse::new(config);
/// let mut buffer = [0; 64];
/// let reason = loop {
///     let input = async { near.read(&mut buffer).await.map(Came::Input) };
///     let action = async { Ok(Came::Action(pulse.next().await)) };
///     // However much comes, beats go out; verdicts let it go first.
///     match action.or(input).await? {
///         Came::Input(0) => break CloseReason::Shutdown,
///         Came::Input(_) => pulse.handle(Event::Received),
///         Came::Action(Some(Action::SendHeartbeat { .. })) => {
///             let sent = async { near.write_all(b"ping").await.map(|()| None) };
///             let closed = async { Ok(pulse.next().await) }; // the peer does not read
///             match sent.or(closed).await? {
///                 Some(Action::Close(reason)) => break reason,
///                 _ => pulse.handle(Event::HeartbeatSent),
///             }
///         }
///         Came::Action(Some(Action::Close(reason))) => break reason,
///         // A server's session asks for nothing else before it is closed.
///         Came::Action(other) => unreachable!("{other:?}"),
///     }
/// };
/// assert_eq!(reason, CloseReason::PeerSilent); // the far end says nothing
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub type Pulse = task::Pulse<Smol>;

/// A client that stays connected.
///
/// ```
/// use nabiz::Config;
/// use nabiz::smol::{Link, LinkEvent};
/// use smol::net::TcpStream;
///
/// # smol::block_on(async {
/// # use smol::io::{AsyncReadExt, AsyncWriteExt};
/// # let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let address = listener.local_addr()?;
/// # let _server = smol::spawn(async move {
/// #     let (mut stream, _) = listener.accept().await.unwrap();
/// #     stream.write_all(b"welcome\n").await.unwrap();
/// #     stream.read_exact(&mut [0; 6]).await.unwrap();
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
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub type Link<T> = task::Link<Smol, T>;

/// The clockwork of a [`Registry`].
pub type Driver = task::Driver<Smol>;

/// A server's roster, for a task per connection.
///
/// ```
/// use nabiz::smol::{Duty, Lease, Registry};
/// use nabiz::Config;
/// use smol::future::FutureExt;
/// use smol::io::{AsyncReadExt, AsyncWriteExt};
/// use smol::net::{TcpListener, TcpStream};
///
/// enum Came {
///     Input(usize),
///     Duty(Duty),
/// }
///
/// async fn serve(mut stream: TcpStream, lease: Lease) -> std::io::Result<()> {
///     let mut buffer = [0; 4096];
///     loop {
///         let input = async { stream.read(&mut buffer).await.map(Came::Input) };
///         let duty = async { Ok(Came::Duty(lease.next().await)) };
///         // However much comes, duties are done; verdicts let it go first.
///         match duty.or(input).await? {
///             Came::Input(0) | Came::Duty(Duty::Close { .. }) => return Ok(()),
///             Came::Input(_) => lease.received(),
///             Came::Duty(Duty::Heartbeat) => {
///                 let sent = async { stream.write_all(b"ping\n").await.map(|()| None) };
///                 let closed = async { Ok(Some(lease.next().await)) }; // the peer does not read
///                 if let Some(Duty::Close { .. }) = sent.or(closed).await? {
///                     return Ok(());
///                 }
///                 lease.heartbeat_sent();
///             }
///         }
///     }
/// }
///
/// # smol::block_on(async {
/// let (registry, driver) = Registry::new(Config::server().build()?)?;
/// let _driver = smol::spawn(driver.run());
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (stream, _) = listener.accept().await?;
/// let task = smol::spawn(serve(stream, registry.register()));
/// assert_eq!(registry.len(), 1);
///
/// drop(client);
/// task.await?;
/// assert!(registry.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub type Registry = super::registry::Registry<Driver>;

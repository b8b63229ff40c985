//! What the async runtimes have in common: all but their timer and the traits
//! of their streams.

mod alarm;
mod handle;
mod link;
mod pulse;
mod registry;

pub use handle::LinkHandle;
pub use link::Link;
pub use pulse::Pulse;
pub use registry::Driver;

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

/// An async runtime, told by its timer.
///
/// ```
/// use core::task::{Context, Poll};
/// use core::time::Duration;
/// use nabiz::runtime::{Pulse, Runtime, Timer};
///
/// /// For tests: time that never passes.
/// #[derive(Debug)]
/// struct Frozen;
/// struct Never;
///
/// impl Runtime for Frozen {
///     type Timer = Never;
/// }
///
/// impl Timer for Never {
///     fn after(_: Duration) -> Self {
///         Never
///     }
///     fn reset(&mut self, _: Duration) {}
///     fn poll_rung(&mut self, _: &mut Context<'_>) -> Poll<()> {
///         Poll::Pending
///     }
/// }
///
/// let _pulse: Pulse<Frozen> = Pulse::new(nabiz::Config::server().build()?);
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
pub trait Runtime: Sized + Send + Sync + fmt::Debug + 'static {
    /// Its timer.
    type Timer: Timer;
}

/// A timer that is set again and again. It may ring early or late: the clock is
/// looked at whenever it does. See [`Runtime`] for an example.
pub trait Timer: Send + Unpin {
    /// One that rings after `wait`.
    fn after(wait: Duration) -> Self;

    /// Rings after `wait` from now on instead.
    fn reset(&mut self, wait: Duration);

    /// Ready once it rang.
    fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A byte stream by the traits of a runtime. Given for all that read and write
/// by tokio's traits in `nabiz::tokio`, and by futures-io's in `nabiz::smol`.
///
/// ```
/// # #[cfg(feature = "tokio")] {
/// use nabiz::runtime::Stream;
/// use nabiz::tokio::Tokio;
///
/// fn is_stream<T: Stream<Tokio>>() {}
/// is_stream::<tokio::net::TcpStream>();
/// is_stream::<tokio::io::DuplexStream>();
/// # }
/// ```
pub trait Stream<R>: Send + 'static {
    /// Reads some bytes; 0 is the end.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>>;

    /// Writes some bytes.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>>;

    /// Lets go of what was written.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Tells the peer that no more will be written.
    fn poll_finish(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

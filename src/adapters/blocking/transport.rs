//! What a blocking `Link` needs of a byte stream.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Instant;
use std::vec::Vec;

/// A byte stream for a blocking [`Link`](super::Link): three verbs on a shared
/// reference, so that one thread can wait for input while another writes.
///
/// Given for [`TcpStream`] and, on Unix, `UnixStream`. For TLS, keep the state
/// of the encryption in a `Mutex` beside the socket, and wait for bytes outside
/// of it.
///
/// ```
/// use core::time::Duration;
/// use std::io;
/// use std::net::TcpStream;
/// use nabiz::blocking::Transport;
///
/// /// Counts nothing, changes nothing: the least that a wrapper does.
/// struct Plain(TcpStream);
///
/// impl Transport for Plain {
///     fn read_within(&self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
///         self.0.read_within(buffer, wait)
///     }
///     fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
///         self.0.write_now(bytes)
///     }
///     fn finish(&self) -> io::Result<()> {
///         self.0.finish()
///     }
///     fn abort(&self) -> io::Result<()> {
///         self.0.abort()
///     }
/// }
/// ```
pub trait Transport: Send + Sync {
    /// Reads some bytes; 0 is the end of the stream. Waits no longer than
    /// `wait`, and then fails with `WouldBlock` or `TimedOut`; a few
    /// milliseconds more or less do no harm. A read that may not wait at all
    /// (zero) is never made while another thread writes.
    ///
    /// # Errors
    /// Any other error is the end of the transport.
    fn read_within(&self, buffer: &mut [u8], wait: Duration) -> io::Result<usize>;

    /// Writes as much as can be written without waiting; where that is
    /// nothing, fails with `WouldBlock`.
    ///
    /// # Errors
    /// Any other error is the end of the transport.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Tells the peer that no more will be written. Reads go on.
    ///
    /// # Errors
    /// Where the peer cannot be told; the link then reads the end.
    fn finish(&self) -> io::Result<()>;

    /// Ends both directions at once; dropping follows.
    ///
    /// # Errors
    /// Ignored by the link.
    fn abort(&self) -> io::Result<()>;
}

/// Whether a read failed only because nothing came: it timed out, or a signal
/// interrupted it, as one that stops and continues the process does on Linux.
///
/// ```
/// use std::io::{Error, ErrorKind};
/// use nabiz::blocking::is_timeout;
///
/// assert!(is_timeout(&Error::from(ErrorKind::WouldBlock)));
/// assert!(is_timeout(&Error::from(ErrorKind::Interrupted)));
/// assert!(!is_timeout(&Error::from(ErrorKind::ConnectionReset)));
/// ```
#[must_use]
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

macro_rules! impl_for_socket {
    ($socket:ty) => {
        impl Transport for $socket {
            fn read_within(&self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
                if wait.is_zero() {
                    self.set_nonblocking(true)?;
                    let read = (&*self).read(buffer);
                    self.set_nonblocking(false)?;
                    return read;
                }
                self.set_read_timeout(Some(wait))?;
                (&*self).read(buffer)
            }

            fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
                // A read that waits meanwhile in another thread may return at
                // once, which the link takes for a timeout.
                self.set_nonblocking(true)?;
                let written = (&*self).write(bytes);
                self.set_nonblocking(false)?;
                written
            }

            fn finish(&self) -> io::Result<()> {
                self.shutdown(Shutdown::Write)
            }

            fn abort(&self) -> io::Result<()> {
                self.shutdown(Shutdown::Both)
            }
        }
    };
}

impl_for_socket!(TcpStream);
#[cfg(unix)]
impl_for_socket!(std::os::unix::net::UnixStream);

/// Dials the addresses that `address` resolves to, one after the other, each
/// with its share of the budget; none is any time. What [`Link::tcp`] dials
/// with. The resolver takes the time it takes.
///
/// # Errors
/// That of the resolver, or of the last address.
///
/// [`Link::tcp`]: super::Link::tcp
pub fn dial_tcp(address: &impl ToSocketAddrs, budget: Option<Duration>) -> io::Result<TcpStream> {
    let start = Instant::now();
    let mut failure = None;
    let addresses: Vec<_> = address.to_socket_addrs()?.collect();
    let mut left_to_try = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let dialled = match budget {
            None => TcpStream::connect(address),
            Some(budget) => {
                // One that swallows packets must not use up the others' time.
                let left = budget.saturating_sub(start.elapsed());
                let share = left.checked_div(left_to_try).unwrap_or(left);
                if share.is_zero() {
                    break;
                }
                TcpStream::connect_timeout(&address, share)
            }
        };
        left_to_try = left_to_try.saturating_sub(1);
        match dialled.and_then(usable) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| {
        io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "the name resolves to no address that could be dialled in time",
        )
    }))
}

fn usable(stream: TcpStream) -> io::Result<TcpStream> {
    // Where nobody listens, the kernel may pick the very port that is dialled
    // for our end, and TCP then connects a socket with itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    // A heartbeat that waits for company comes late.
    stream.set_nodelay(true)?;
    Ok(stream)
}

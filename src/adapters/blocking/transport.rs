//! What a blocking `Link` needs of a byte stream.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Instant;

/// A byte stream for a blocking [`Link`](super::Link): three verbs on a shared
/// reference, so that one thread can wait for input while another writes.
///
/// Given for [`TcpStream`] and, on Unix, `UnixStream`. For TLS, keep the state
/// of the encryption in a `Mutex` beside the socket, and wait for bytes outside
/// of it.
pub trait Transport: Send + Sync {
    /// Reads some bytes; 0 is the end of the stream. Waits no longer than
    /// `wait`, for zero hardly at all, and then fails with `WouldBlock` or
    /// `TimedOut`. A few milliseconds more or less do no harm.
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

macro_rules! impl_for_socket {
    ($socket:ty) => {
        impl Transport for $socket {
            fn read_within(&self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
                // Zero would be refused, and a timer ticks no finer anyway.
                self.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
                (&*self).read(buffer)
            }

            fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
                // A read that begins meanwhile in another thread may return at
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

/// Dials the addresses that `address` resolves to, one after the other, within
/// the budget. (The resolver itself takes the time it takes.)
pub(super) fn dial_tcp(
    address: &impl ToSocketAddrs,
    budget: Option<Duration>,
) -> io::Result<TcpStream> {
    let start = Instant::now();
    let mut failure = None;
    for address in address.to_socket_addrs()? {
        let dialled = match budget {
            None => TcpStream::connect(address),
            Some(budget) => match budget.checked_sub(start.elapsed()) {
                Some(left) if !left.is_zero() => TcpStream::connect_timeout(&address, left),
                _ => break,
            },
        };
        match dialled {
            Ok(stream) => {
                // A heartbeat that waits for company comes late.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
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

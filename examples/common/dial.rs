//! What dials have in common, and a blocking one that can be called off.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nabiz::blocking::dial_tcp;

/// Whether a dialled socket has another one at its far end. Where nobody listens,
/// the kernel may pick the very port that is dialled for our end, and TCP then
/// connects a socket with itself.
///
/// # Errors
/// Where it has not, or one of the addresses is not known any more.
pub fn not_itself(near: io::Result<SocketAddr>, far: io::Result<SocketAddr>) -> io::Result<()> {
    if near? == far? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

/// How often a dial looks whether it was called off.
const GLANCE: Duration = Duration::from_millis(50);

/// Dials `address` within the budget. A thread of its own does it, because
/// neither the resolver nor `connect` can be interrupted.
///
/// # Errors
/// Where no address answers in time, or the dial is called off.
pub fn dial(
    address: &str,
    budget: Option<Duration>,
    called_off: &AtomicBool,
) -> io::Result<TcpStream> {
    let start = Instant::now();
    let (answer, dialled) = mpsc::channel();
    let address = address.to_owned();
    thread::Builder::new().spawn(move || {
        // Nobody listens any more after the budget.
        let _ = answer.send(dial_tcp(&address, budget));
    })?;
    loop {
        match dialled.recv_timeout(GLANCE) {
            Ok(dialled) => return dialled,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::Other.into()),
        }
        if called_off.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "called off"));
        }
        if budget.is_some_and(|budget| start.elapsed() > budget) {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

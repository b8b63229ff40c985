//! A session that knows what time it is.

use core::time::Duration;

use super::{Clock, random_seed};
use crate::adapters::clock::{LEAST_WAIT, NAP};
use crate::config::{Config, ConfigError, Limits};
use crate::session::{Action, Event, Session, Status};
use crate::time::Timestamp;

/// A [`Session`] with a clock and a seed of its own, for any blocking
/// transport.
///
/// Read for as long as [`timeout`](Self::timeout) says (it fits
/// `set_read_timeout`), then once more without waiting, and
/// [`poll`](Self::poll). The second read is for the case that we were frozen
/// while we waited: what came meanwhile must be read before anybody is judged.
/// Poll also when something came: a peer that never pauses must not keep our
/// heartbeats from being sent.
///
/// ```
/// use core::time::Duration;
/// use std::io::Write;
/// use std::net::{TcpListener, TcpStream};
/// use nabiz::blocking::{Pulse, Transport, is_timeout};
/// use nabiz::{Action, Config, Event};
///
/// fn serve(mut stream: TcpStream) -> std::io::Result<()> {
///     let mut pulse = Pulse::new(Config::server().build().expect("the presets are valid"));
///     let mut buffer = [0; 4096];
///     loop {
///         let wait = pulse.timeout().unwrap_or(Duration::MAX);
///         for wait in [wait, Duration::ZERO] {
///             match stream.read_within(&mut buffer, wait) {
///                 Ok(0) => return Ok(()),
///                 Ok(_) => pulse.handle(Event::Received),
///                 Err(e) if is_timeout(&e) => {}
///                 Err(e) => return Err(e),
///             }
///         }
///         while let Some(action) = pulse.poll() {
///             match action {
///                 Action::SendHeartbeat { .. } => {
///                     stream.write_all(b"ping\n")?;
///                     pulse.handle(Event::HeartbeatSent);
///                 }
///                 Action::Close(_) | Action::Abort => return Ok(()),
///                 // Only clients do these.
///                 Action::Connect { .. } | Action::Reconnect { .. } | Action::GiveUp(_) => {}
///             }
///         }
///     }
/// }
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// client.write_all(b"hello\n")?;
/// drop(client);
/// serve(listener.accept()?.0)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pulse {
    session: Session,
    clock: Clock,
}

impl Pulse {
    /// A session by the default [`Clock`], with a random seed.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with(config, random_seed(), Clock::default())
    }

    /// A session with this seed, by this clock.
    #[must_use]
    pub fn with(config: Config, seed: u64, clock: Clock) -> Self {
        Self {
            session: Session::new(config, seed, clock.now()),
            clock,
        }
    }

    /// Takes in what happened just now.
    pub fn handle(&mut self, event: Event) {
        self.session.handle(event, self.clock.now());
    }

    /// What to do now; call until `None`, after reading what is there.
    pub fn poll(&mut self) -> Option<Action> {
        self.session.poll(self.clock.now())
    }

    /// How long to wait before the next poll: at least a millisecond, fit for
    /// `set_read_timeout`, which refuses zero; and at most ten seconds, because
    /// timers stand still while the machine sleeps, and the clock is to be
    /// looked at soon after. None: for ever.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        let due = self.session.deadline()?;
        Some(wait_until(due, self.clock.now()))
    }

    /// See [`Session::set_limits`].
    ///
    /// # Errors
    /// As there.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), ConfigError> {
        self.session.set_limits(limits, self.clock.now())
    }

    /// A snapshot as of now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.session.status(self.clock.now())
    }

    /// The session within.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }
}

/// Long enough for a socket timeout, which zero is not; never longer than a
/// nap.
pub(super) fn wait_until(due: Timestamp, now: Timestamp) -> Duration {
    due.saturating_duration_since(now).clamp(LEAST_WAIT, NAP)
}

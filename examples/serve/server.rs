//! What a server has in common on all runtimes: its roster, who comes in, and
//! when it ends.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nabiz::blocking::Clock;
use nabiz::runtime::{Drive, Registry};
use nabiz::{Config, ConfigError};
use nabiz_examples::events::{Line, Log};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::client::Client;

/// How often a server that nobody comes to looks whether it is to end.
pub const NAP: Duration = Duration::from_millis(200);
/// How long no more are accepted when files have run out: it may get better.
pub const PAUSE: Duration = Duration::from_millis(100);
/// How many clients may wait to be accepted. Where std's 128 are too few, as
/// when they all come back at once, some wait a second more each.
const QUEUE: i32 = 4096;
/// The exit code of a second signal.
const INTERRUPTED: i32 = 130;

/// What a server is made of.
pub struct Plan {
    /// Where it listens.
    pub address: SocketAddr,
    pub config: Config,
    pub seed: u64,
    pub resolution: Duration,
    pub heartbeat: Vec<u8>,
    pub log: Log,
    /// Nothing is said of single connections.
    pub is_quiet: bool,
    /// How many files may be open.
    pub files: Option<u64>,
    pub signals: Signals,
    /// Over what time SIGTERM spreads the goodbyes.
    pub drain: Duration,
}

/// A server on the runtime whose driver is `D`, shared by all its clients.
pub struct Server<D> {
    plan: Plan,
    pub registry: Registry<D>,
    accepted: AtomicU64,
    /// Those that were told of.
    stalls: AtomicU64,
}

impl<D: Drive> Server<D> {
    /// And the clockwork, to be run beside it. Tells the address.
    pub fn new(plan: Plan) -> Result<(Arc<Self>, D), ConfigError> {
        let clock = Clock::default();
        let (registry, driver) = Registry::with(plan.config, plan.seed, clock, plan.resolution)?;
        // Serving does not depend on who reads this.
        let mut stdout = io::stdout();
        let _ = writeln!(stdout, "listening {}", plan.address).and_then(|()| stdout.flush());
        let server = Self {
            plan,
            registry,
            accepted: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
        };
        Ok((Arc::new(server), driver))
    }
}

impl<D> Server<D> {
    /// To be asked each [`NAP`] at least: whether it is not to end yet.
    pub fn goes_on(&self) -> bool {
        self.note_stalls();
        !self.plan.signals.stopping.load(Ordering::Relaxed)
    }

    /// A client came in.
    pub fn admit(self: &Arc<Self>, peer: SocketAddr) -> Client<D> {
        let number = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        let log = self.plan.log.of_connection(number);
        let log = (!self.plan.is_quiet).then_some(log);
        Client::new(Arc::clone(self), log, peer)
    }

    /// One could not come in.
    pub fn accept_failed(&self, error: &io::Error) {
        let line = Line::new("accept_failed").error(Some(error));
        let few_files = error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error());
        let limit = self.plan.files.filter(|_| few_files);
        self.plan.log.write(match limit {
            Some(limit) => line.number("files", limit),
            None => line,
        });
    }

    /// Nobody comes in any more, and whoever is here leaves. It is over when
    /// the driver ends, which it does with the last client.
    pub fn drain(&self) {
        let window = if self.plan.signals.terminated.load(Ordering::Relaxed) {
            self.plan.drain
        } else {
            Duration::ZERO
        };
        if !window.is_zero() {
            let open = self.registry.len() as u64;
            let line = Line::new("drain").seconds("within", window);
            self.plan.log.write(line.number("open", open));
        }
        self.registry.drain(window);
    }

    /// A stall is the whole roster's, and told once.
    pub fn note_stalls(&self) {
        let stalls = self.registry.counters().stalls;
        if self.stalls.fetch_max(stalls, Ordering::Relaxed) < stalls {
            self.plan.log.write(Line::new("stall"));
        }
    }

    pub fn config(&self) -> &Config {
        &self.plan.config
    }

    pub fn heartbeat(&self) -> &[u8] {
        &self.plan.heartbeat
    }
}

/// A socket that a crowd can knock at. It does not block: each runtime has its
/// way to wait for one who comes.
pub fn listen(address: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    rustix::net::listen(&listener, QUEUE)?;
    Ok(listener)
}

/// What signals came.
pub struct Signals {
    /// Any that asks us to end.
    stopping: Arc<AtomicBool>,
    /// The one that asks for more politeness than Ctrl-C.
    terminated: Arc<AtomicBool>,
}

impl Signals {
    /// Catches the first; the second ends the process at once.
    pub fn catch() -> io::Result<Self> {
        let signals = Self {
            stopping: Arc::default(),
            terminated: Arc::default(),
        };
        // Before `stopping`, so that who sees that sees this.
        flag::register(SIGTERM, Arc::clone(&signals.terminated))?;
        let ends = [
            SIGINT,
            SIGTERM,
            #[cfg(unix)]
            signal_hook::consts::SIGHUP,
        ];
        for signal in ends {
            let stopping = || Arc::clone(&signals.stopping);
            flag::register_conditional_shutdown(signal, INTERRUPTED, stopping())?;
            flag::register(signal, stopping())?;
        }
        Ok(signals)
    }
}

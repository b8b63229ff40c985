//! Clients under observation: each in a thread of its own, whatever its
//! runtime.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nabiz::{CloseReason, EndReason};

/// Of a test with anything that should happen; far beyond every limit.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client tells of itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Up,
    /// How the link ended, and what the transport said.
    Down(Option<EndReason>, String),
    /// Something the server said.
    Said(String),
}

/// A client under observation; it is asked to leave when this is dropped.
pub struct Watch {
    seen: Receiver<(Instant, Seen)>,
    gauge: Box<dyn Fn() -> Gauge>,
    stop: Option<Box<dyn FnOnce()>>,
    thread: Option<JoinHandle<()>>,
    up_since: Instant,
}

/// What can be read from a client at any time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauge {
    /// The latest round trip of a heartbeat.
    pub rtt: Option<Duration>,
    /// The stalls of its own that were forgiven.
    pub stalls: u16,
}

/// A link that ended.
#[derive(Debug)]
pub struct Ended {
    pub why: Option<EndReason>,
    pub at: Instant,
    /// How long the link had been up.
    pub after: Duration,
    /// What the server said since the last look.
    pub said: Vec<String>,
}

impl Watch {
    /// Runs a client in a thread, and waits until it is up. `stop` asks it to
    /// leave.
    pub fn start(
        run: impl FnOnce(Sender<(Instant, Seen)>) + Send + 'static,
        stop: impl FnOnce() + 'static,
        gauge: impl Fn() -> Gauge + 'static,
    ) -> Self {
        let (sender, seen) = mpsc::channel();
        let mut watch = Self {
            seen,
            gauge: Box::new(gauge),
            stop: Some(Box::new(stop)),
            thread: Some(thread::spawn(move || run(sender))),
            up_since: Instant::now(),
        };
        watch.comes_up();
        watch
    }

    fn next(&self, deadline: Instant) -> Option<(Instant, Seen)> {
        let wait = deadline.saturating_duration_since(Instant::now());
        match self.seen.recv_timeout(wait) {
            Ok(seen) => Some(seen),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the client has left"),
        }
    }

    /// Waits until it is up.
    pub fn comes_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline).expect("the client comes up") {
                (at, Seen::Up) => return self.up_since = at,
                (_, seen) => println!("before it is up: {seen:?}"),
            }
        }
    }

    /// Waits until the link has ended.
    pub fn ends(&mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            match self.next(deadline).expect("the link ends") {
                (at, Seen::Down(why, error)) => {
                    println!("down: {why:?} {error}");
                    let after = at - self.up_since;
                    return Ended {
                        why,
                        at,
                        after,
                        said,
                    };
                }
                (_, Seen::Said(words)) => said.push(words),
                (_, Seen::Up) => panic!("up twice"),
            }
        }
    }

    /// Waits until the link has ended and is up again, and says how soon.
    pub fn ends_and_returns(&mut self) -> (Ended, Duration) {
        let ended = self.ends();
        self.comes_up();
        let back_in = self.up_since - ended.at;
        assert!(back_in < Duration::from_secs(5), "back in {back_in:?}");
        (ended, back_in)
    }

    /// Waits until the client has left for good, without coming back.
    pub fn leaves(&mut self) {
        match self.seen.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Disconnected) => {}
            other => panic!("it has not left: {other:?}"),
        }
    }

    /// For so long the link does not end. What the server said meanwhile.
    pub fn stays_up(&mut self, wait: Duration) -> Vec<String> {
        let deadline = Instant::now() + wait;
        let mut said = Vec::new();
        while let Some((_, seen)) = self.next(deadline) {
            match seen {
                Seen::Said(words) => said.push(words),
                other => panic!("{other:?} after {:?}", self.up_since.elapsed()),
            }
        }
        said
    }

    #[must_use]
    pub fn gauge(&self) -> Gauge {
        (self.gauge)()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop();
        }
        if let Some(thread) = self.thread.take().filter(|_| !thread::panicking()) {
            thread.join().expect("the client does not panic");
        }
    }
}

impl Ended {
    /// It was the other end that ended it, after at least and at most so many
    /// seconds.
    pub fn by_peer(&self, least: f64, most: f64) {
        assert_eq!(self.why, Some(EndReason::Disconnected));
        let after = self.after.as_secs_f64();
        assert!((least..=most).contains(&after), "{self:?}");
    }

    /// It was us, for one of these reasons.
    pub fn by_us(&self, reasons: &[CloseReason]) {
        let is_one = |why| {
            reasons
                .iter()
                .any(|reason| why == EndReason::Closed(*reason))
        };
        assert!(self.why.is_some_and(is_one), "{self:?}");
    }
}

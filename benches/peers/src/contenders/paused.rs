//! A tokio runtime whose clock moves when told.

use tokio::runtime::{Builder, EnterGuard, Runtime};
use tokio::time::Instant;

use crate::roster::Nanos;
use std::time::Duration;

/// A runtime of its own, so that its wheel starts at zero and every run is
/// the same; entered until dropped.
pub struct Paused {
    runtime: &'static Runtime,
    origin: Instant,
    _entered: EnterGuard<'static>,
}

impl Paused {
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O");
        // Leaked, some kilobytes a run: the guard borrows it.
        let runtime: &'static Runtime = Box::leak(Box::new(runtime));
        let entered = runtime.enter();
        Self {
            runtime,
            origin: Instant::now(),
            _entered: entered,
        }
    }

    pub fn instant(&self, nanos: Nanos) -> Instant {
        self.origin + Duration::from_nanos(nanos)
    }

    /// Moves the clock and lets the runtime fire what is due.
    pub fn advance_to(&self, now: Instant) {
        self.runtime
            .block_on(async { tokio::time::advance(now - Instant::now()).await });
    }
}

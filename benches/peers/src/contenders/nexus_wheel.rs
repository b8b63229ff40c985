//! `nexus_timer::BoundedWheel`, for arbitrary deadlines.
//!
//! Its documentation: `poll_and_rebalance` unless there is a reason not to.

use std::time::{Duration, Instant};

use nexus_timer::{BoundedWheel, TimerHandle};

use crate::roster::{LIMIT_DURATION, Nanos, Roster, Server};

pub struct NexusWheel {
    wheel: BoundedWheel<u32>,
    fired: Vec<u32>,
    origin: Instant,
}

impl Roster for NexusWheel {
    const NAME: &'static str = "nexus-timer Wheel";
    const CRATE: Option<&'static str> = Some("nexus-timer");

    /// Handles are spent by every call, so one is out only during it.
    type Key = Option<TimerHandle<u32>>;
    type Now = Instant;

    fn new(capacity: usize) -> Self {
        let origin = Instant::now();
        Self {
            wheel: BoundedWheel::bounded(capacity, origin),
            fired: Vec::new(),
            origin,
        }
    }

    fn now(&self, nanos: Nanos) -> Instant {
        self.origin + Duration::from_nanos(nanos)
    }

    #[inline]
    fn insert(&mut self, id: u32, now: Instant) -> Self::Key {
        Some(self.wheel.schedule(now + LIMIT_DURATION, id))
    }

    #[inline]
    fn touch(&mut self, key: &mut Self::Key, now: Instant) {
        let deadline = now + LIMIT_DURATION;
        *key = key
            .take()
            .map(|handle| self.wheel.reschedule(handle, deadline));
    }

    #[inline]
    fn remove(&mut self, key: Self::Key) {
        key.map(|handle| self.wheel.cancel(handle));
    }

    #[inline]
    fn poll(&mut self, now: Instant, server: &mut Server<Self::Key>) -> bool {
        self.wheel.poll_and_rebalance(now, &mut self.fired);
        for id in self.fired.drain(..) {
            server.close(id);
            // A fired timer keeps its place until its handle is handed in.
            if let Some(Some(handle)) = server.take(id) {
                self.wheel.cancel(handle);
            }
        }
        false
    }
}

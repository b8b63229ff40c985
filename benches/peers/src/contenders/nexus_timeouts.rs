//! `nexus_timer::BoundedTimeoutQueue`, for one timeout that all share: a
//! sorted list. Its way to postpone is to cancel and to schedule anew.

use std::time::{Duration, Instant};

use nexus_timer::{BoundedTimeoutQueue, TimerHandle};

use crate::roster::{LIMIT_DURATION, Nanos, Roster, Server};

pub struct NexusTimeouts {
    queue: BoundedTimeoutQueue<u32>,
    fired: Vec<u32>,
    origin: Instant,
}

impl Roster for NexusTimeouts {
    const NAME: &'static str = "nexus-timer TimeoutQueue";
    const CRATE: Option<&'static str> = Some("nexus-timer");

    /// Handles are spent by every call, so one is out only during it.
    type Key = Option<TimerHandle<u32>>;
    type Now = Instant;

    fn new(capacity: usize) -> Self {
        let origin = Instant::now();
        Self {
            queue: BoundedTimeoutQueue::bounded(LIMIT_DURATION, capacity, origin),
            fired: Vec::new(),
            origin,
        }
    }

    fn now(&self, nanos: Nanos) -> Instant {
        self.origin + Duration::from_nanos(nanos)
    }

    #[inline]
    fn insert(&mut self, id: u32, now: Instant) -> Self::Key {
        Some(self.queue.schedule(now, id))
    }

    #[inline]
    fn touch(&mut self, key: &mut Self::Key, now: Instant) {
        let id = key.take().and_then(|handle| self.queue.cancel(handle));
        *key = id.map(|id| self.queue.schedule(now, id));
    }

    #[inline]
    fn remove(&mut self, key: Self::Key) {
        key.map(|handle| self.queue.cancel(handle));
    }

    #[inline]
    fn poll(&mut self, now: Instant, server: &mut Server<Self::Key>) -> bool {
        self.queue.poll(now, &mut self.fired);
        for id in self.fired.drain(..) {
            server.close(id);
            // A fired timer keeps its place until its handle is handed in.
            if let Some(Some(handle)) = server.take(id) {
                self.queue.cancel(handle);
            }
        }
        false
    }
}

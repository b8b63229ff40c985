//! `tokio_util::time::DelayQueue` with `reset_at`, under tokio's paused clock.

use std::task::{Context, Poll, Waker};

use tokio::time::Instant;
use tokio_util::time::{DelayQueue, delay_queue::Key};

use super::paused::Paused;
use crate::roster::{LIMIT_DURATION, MILLISECOND, Nanos, Roster, Server};

pub struct DelayQueueRoster {
    queue: DelayQueue<u32>,
    paused: Paused,
}

impl Roster for DelayQueueRoster {
    const NAME: &'static str = "tokio-util DelayQueue";
    const CRATE: Option<&'static str> = Some("tokio-util");
    // It rounds up to a millisecond, and so does the timer that wakes it.
    const RESOLUTION: Nanos = 2 * MILLISECOND;

    type Key = Key;
    type Now = Instant;

    fn new(capacity: usize) -> Self {
        // First the clock, which the queue reads when it is made.
        let paused = Paused::new();
        Self {
            queue: DelayQueue::with_capacity(capacity),
            paused,
        }
    }

    fn now(&self, nanos: Nanos) -> Instant {
        self.paused.instant(nanos)
    }

    #[inline]
    fn insert(&mut self, id: u32, now: Instant) -> Key {
        self.queue.insert_at(id, now + LIMIT_DURATION)
    }

    #[inline]
    fn touch(&mut self, key: &mut Key, now: Instant) {
        self.queue.reset_at(key, now + LIMIT_DURATION);
    }

    #[inline]
    fn remove(&mut self, key: Key) {
        self.queue.remove(&key);
    }

    // The queue's own timer is one among all of a runtime's, so turning the
    // runtime is no cost of the queue.
    fn turn(&mut self, now: Instant) {
        self.paused.advance_to(now);
    }

    #[inline]
    fn poll(&mut self, _now: Instant, server: &mut Server<Key>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        match self.queue.poll_expired(&mut context) {
            Poll::Ready(Some(expired)) => {
                server.close(expired.into_inner());
                true
            }
            Poll::Ready(None) | Poll::Pending => false,
        }
    }
}

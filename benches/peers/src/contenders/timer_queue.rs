//! `timer_queue::TimerQueue`, in milliseconds as its documentation proposes.

use timer_queue::{Timer, TimerQueue};

use crate::roster::{LIMIT, MILLISECOND, Nanos, Roster, Server};

const LIMIT_MILLIS: u64 = LIMIT / MILLISECOND;

pub struct TimerQueueRoster(TimerQueue<u32>);

impl Roster for TimerQueueRoster {
    const NAME: &'static str = "timer-queue";
    const CRATE: Option<&'static str> = Some("timer-queue");

    type Key = Timer;
    type Now = u64;

    fn new(capacity: usize) -> Self {
        Self(TimerQueue::with_capacity(capacity))
    }

    fn now(&self, nanos: Nanos) -> u64 {
        nanos / MILLISECOND
    }

    #[inline]
    fn insert(&mut self, id: u32, now: u64) -> Timer {
        self.0.insert(now + LIMIT_MILLIS, id)
    }

    #[inline]
    fn touch(&mut self, key: &mut Timer, now: u64) {
        self.0.reset(*key, now + LIMIT_MILLIS);
    }

    #[inline]
    fn remove(&mut self, key: Timer) {
        self.0.remove(key);
    }

    #[inline]
    fn poll(&mut self, now: u64, server: &mut Server<Timer>) -> bool {
        match self.0.poll(now) {
            Some(id) => {
                server.close(id);
                true
            }
            None => false,
        }
    }
}

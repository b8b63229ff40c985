//! A boxed `tokio::time::Sleep` with each connection, under the paused clock.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

use super::paused::Paused;
use crate::roster::{LIMIT_DURATION, MILLISECOND, Nanos, Roster, Server};

thread_local! {
    static WOKEN: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// A waker that is the number of its connection: the cheapest there can be.
fn waker(id: u32) -> Waker {
    fn clone(id: *const ()) -> RawWaker {
        RawWaker::new(id, &TABLE)
    }
    fn wake(id: *const ()) {
        WOKEN.with_borrow_mut(|woken| woken.push(id.addr() as u32));
    }
    static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, |_| ());
    // SAFETY: nothing behind the pointer is ever touched.
    unsafe { Waker::new(std::ptr::without_provenance(id as usize), &TABLE) }
}

pub struct SleepRoster {
    paused: Paused,
}

impl Roster for SleepRoster {
    const NAME: &'static str = "a tokio Sleep each";
    const CRATE: Option<&'static str> = Some("tokio");
    const RESOLUTION: Nanos = 2 * MILLISECOND;

    type Key = Pin<Box<Sleep>>;
    type Now = Instant;

    fn new(_capacity: usize) -> Self {
        WOKEN.take();
        Self {
            paused: Paused::new(),
        }
    }

    fn now(&self, nanos: Nanos) -> Instant {
        self.paused.instant(nanos)
    }

    #[inline]
    fn insert(&mut self, id: u32, now: Instant) -> Self::Key {
        let mut sleep = Box::pin(sleep_until(now + LIMIT_DURATION));
        // The first poll registers it.
        let polled = sleep.as_mut().poll(&mut Context::from_waker(&waker(id)));
        assert!(polled.is_pending());
        sleep
    }

    #[inline]
    fn touch(&mut self, key: &mut Self::Key, now: Instant) {
        key.as_mut().reset(now + LIMIT_DURATION);
    }

    #[inline]
    fn remove(&mut self, key: Self::Key) {
        drop(key);
    }

    // The timers are the runtime's own, so its turn is the poll.
    #[inline]
    fn poll(&mut self, now: Instant, server: &mut Server<Self::Key>) -> bool {
        self.paused.advance_to(now);
        for id in WOKEN.with_borrow_mut(std::mem::take) {
            server.close(id);
            drop(server.take(id));
        }
        false
    }
}

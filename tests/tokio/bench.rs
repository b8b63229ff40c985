//! A runtime whose timer rings when the test says so, and which counts how
//! often it is set.

use core::cell::RefCell;
use core::task::{Context, Poll};
use core::time::Duration;

use nabiz::runtime::{Runtime, Timer};

#[derive(Debug)]
pub struct Bench;

impl Runtime for Bench {
    type Timer = Manual;
}

#[derive(Debug)]
pub struct Manual(());

/// What was done to this thread's timers.
#[derive(Debug, Default, PartialEq)]
pub struct Done {
    pub made: u32,
    pub resets: u32,
    /// What it was last set to.
    pub wait: Duration,
    pub polls: u32,
}

thread_local! {
    static DONE: RefCell<Done> = RefCell::default();
    static RINGS: RefCell<bool> = const { RefCell::new(false) };
}

/// What was done since this was asked before.
pub fn done() -> Done {
    DONE.take()
}

/// Forgets what was done, and what was to ring.
pub fn reset() {
    done();
    RINGS.take();
}

/// The timer rings at its next poll.
pub fn ring() {
    RINGS.replace(true);
}

impl Timer for Manual {
    fn after(wait: Duration) -> Self {
        DONE.with_borrow_mut(|done| {
            done.made += 1;
            done.wait = wait;
        });
        Self(())
    }

    fn reset(&mut self, wait: Duration) {
        DONE.with_borrow_mut(|done| {
            done.resets += 1;
            done.wait = wait;
        });
    }

    fn poll_rung(&mut self, _: &mut Context<'_>) -> Poll<()> {
        DONE.with_borrow_mut(|done| done.polls += 1);
        if RINGS.take() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

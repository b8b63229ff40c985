//! A shared roster's clockwork.

use core::task::Waker;
use std::sync::Arc;
use std::task::Wake;
use std::thread::{self, Thread};

use super::pulse::wait_until;
use crate::adapters::clock::NAP;
use crate::adapters::registry::{Drive, Wait, Watch};

/// Closes who went silent, and has beats sent to who is quiet: the clockwork
/// of a [`Registry`](super::Registry), to be [run](Self::run) in a thread of
/// its own.
///
/// If it is dropped before its registry, every lease is told to close with
/// [`Shutdown`](crate::CloseReason::Shutdown): nobody stays who is not watched.
///
/// ```
/// use nabiz::Config;
/// use nabiz::blocking::Registry;
///
/// let (registry, driver) = Registry::new(Config::server().build()?)?;
/// let clockwork = std::thread::spawn(move || driver.run());
/// drop(registry); // and no lease is left
/// clockwork.join().unwrap();
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[must_use = "nobody is watched unless the driver runs"]
#[derive(Debug)]
pub struct Driver {
    watch: Watch,
}

impl Drive for Driver {
    fn new(watch: Watch) -> Self {
        Self { watch }
    }
}

impl Driver {
    /// Runs the roster until the registry and all leases are gone.
    pub fn run(mut self) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            let wait = match self.watch.wait(&waker) {
                Wait::Over => return,
                Wait::Until(due) => {
                    let now = self.watch.now();
                    match due {
                        Some(due) if due <= now => {
                            if !self.watch.turn(now) {
                                thread::yield_now();
                            }
                            continue;
                        }
                        Some(due) => wait_until(due, now),
                        None => NAP,
                    }
                }
            };
            thread::park_timeout(wait);
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

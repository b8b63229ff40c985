//! A shared roster's clockwork.

use core::future::poll_fn;
use core::task::{Context, Poll, ready};

use super::Runtime;
use super::alarm::Alarm;
use crate::adapters::registry::{Drive, Wait, Watch};

/// Closes who went silent, and has beats sent to who is quiet: the clockwork
/// of a [`Registry`](crate::runtime::Registry), to be
/// [run](Self::run) in a task of its own.
///
/// If it is dropped before its registry, every lease is told to close with
/// [`Shutdown`](crate::CloseReason::Shutdown): nobody stays who is not watched.
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use nabiz::Config;
/// use nabiz::tokio::Registry;
///
/// let (registry, driver) = Registry::new(Config::server().build()?)?;
/// let clockwork = tokio::spawn(driver.run());
/// drop(registry); // and no lease is left
/// clockwork.await?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
#[must_use = "nobody is watched unless the driver runs"]
#[derive(Debug)]
pub struct Driver<R: Runtime> {
    watch: Watch,
    alarm: Alarm<R>,
    /// The timer rang for what is due, so the reactor has told of all input
    /// until then.
    is_due: bool,
}

impl<R: Runtime> Drive for Driver<R> {
    fn new(watch: Watch) -> Self {
        Self {
            watch,
            alarm: Alarm::new(),
            is_due: false,
        }
    }
}

impl<R: Runtime> Driver<R> {
    /// Runs the roster until the registry and all leases are gone.
    pub async fn run(mut self) {
        poll_fn(|cx| self.poll_run(cx)).await;
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = match self.watch.wait(cx.waker()) {
                Wait::Over => return Poll::Ready(()),
                Wait::Until(None) => return Poll::Pending,
                Wait::Until(Some(due)) => due,
            };
            let now = self.watch.now();
            if !self.is_due {
                self.is_due = ready!(self.alarm.poll(cx, due, now)) >= due;
            } else if now < due {
                self.is_due = false; // the timer rang early
            } else if self.watch.turn(now) {
                self.is_due = false;
            } else {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

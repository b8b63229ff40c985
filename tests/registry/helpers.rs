//! A registry by tokio's paused time, with its driver.

use core::time::Duration;

use nabiz::tokio::{Clock, Duty, Lease, Registry};
use nabiz::{CloseReason, ConfigBuilder};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::common::{SEED, millis};

pub const RESOLUTION: Duration = millis(20);

/// How much later a verdict may be: the resolution, and what tokio's timers
/// add to it.
pub const LATE: Duration = millis(22);

/// An empty roster, and the task of its driver.
pub fn roster(config: ConfigBuilder) -> (Registry, JoinHandle<()>) {
    let config = config.build().unwrap();
    let (registry, driver) = Registry::with(config, SEED, Clock::tokio(), RESOLUTION).unwrap();
    (registry, tokio::spawn(driver.run()))
}

pub const fn close(reason: CloseReason) -> Duty {
    Duty::Close {
        reason,
        retry_after: None,
    }
}

/// The duty that comes so long after `start`, to the resolution, and nothing
/// before.
pub async fn due(lease: &Lease, start: Instant, at: Duration) -> Duty {
    let duty = lease.next().await;
    let elapsed = start.elapsed();
    assert!(
        elapsed >= at && elapsed <= at + LATE,
        "{duty:?} at {elapsed:?} and not at {at:?}"
    );
    duty
}

/// That there is no duty for so long.
pub async fn quiet(lease: &Lease, long: Duration) {
    let duty = timeout(long, lease.next()).await;
    assert!(duty.is_err(), "{duty:?}");
}

/// Does what it is asked for until it is told to close.
pub async fn serve(lease: &Lease) -> (u32, CloseReason) {
    let mut beats = 0;
    loop {
        match lease.next().await {
            Duty::Heartbeat => {
                beats += 1;
                lease.heartbeat_sent();
            }
            Duty::Close { reason, .. } => return (beats, reason),
        }
    }
}

//! A server to be tested, and a browser to test it with.

mod chromium;
mod server;

pub use chromium::Chromium;
pub use server::{Server, Signal};

use std::time::{Duration, Instant};

/// Longer than anything takes that is not waited for on purpose.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until there is something to return.
///
/// # Panics
/// Where it takes too long.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

//! What the tests of links on real sockets share. Time is real there: limits
//! are short and margins wide.

use core::time::Duration;
use std::io::ErrorKind;

use nabiz::runtime::LinkEvent;
use nabiz::{Backoff, Config, ConfigBuilder, EndReason, GiveUpReason, Jitter, Ratio};

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A client that beats every 100 ms, bears 400 ms of silence, and comes back
/// after 50, 100, 200, 400 … ms exactly.
pub fn config() -> ConfigBuilder {
    Config::client()
        .with_interval(millis(100))
        .with_silence_timeout(millis(400))
        .with_stall_tolerance(millis(2000))
        .with_stable_after(millis(300))
        .with_backoff(
            Backoff::new()
                .with_initial(millis(50))
                .with_multiplier(Ratio::percent(200))
                .with_max(millis(2000))
                .with_jitter(Jitter::None),
        )
}

/// What a test compares of an event.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Up(u32),
    Data(Vec<u8>),
    Down(EndReason, Option<ErrorKind>, Option<Duration>, u32),
    Retry(Duration, u32),
    GaveUp(GiveUpReason),
}

impl Seen {
    /// None of a heartbeat, nor of a stall: how many there are is chance.
    pub fn of(event: LinkEvent<'_>) -> Option<Self> {
        Some(match event {
            LinkEvent::Up { attempt, .. } => Self::Up(attempt),
            LinkEvent::Data(bytes) => Self::Data(bytes.to_vec()),
            LinkEvent::Down {
                why,
                error,
                retry_in,
                attempt,
                ..
            } => Self::Down(why, error.map(|error| error.kind()), retry_in, attempt),
            LinkEvent::Retry {
                retry_in, attempt, ..
            } => Self::Retry(retry_in, attempt),
            LinkEvent::GaveUp(reason) => Self::GaveUp(reason),
            _ => return None,
        })
    }
}

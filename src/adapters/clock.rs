//! Which time a connection lives by.

use core::time::Duration;
use std::time::Instant;

use crate::time::Timestamp;

/// A source of [`Timestamp`]s, which makes the choice of a clock explicit.
///
/// [`Instant`] stops on Linux while the machine sleeps (it reads
/// `CLOCK_MONOTONIC`, see [the standard library's
/// note](https://doc.rust-lang.org/std/time/struct.Instant.html#underlying-system-calls)).
/// A laptop that slept an hour would then hold on to links that its peers have
/// long dropped. On Linux and Android [`boottime`](Self::boottime) counts the
/// time asleep, and is the default; elsewhere report
/// [`Event::Resumed`](crate::Event::Resumed) after a sleep.
///
/// ```
/// use nabiz::blocking::Clock;
///
/// let clock = Clock::default();
/// let earlier = clock.now();
/// assert!(clock.now() >= earlier);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Clock(Source);

/// The longest wait without a look at the clock, which may have jumped: timers
/// stand still while the machine sleeps.
pub(super) const NAP: Duration = Duration::from_secs(10);

/// The shortest wait: a socket refuses none, and a timer of none might ring
/// before the input was looked at.
pub(super) const LEAST_WAIT: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
enum Source {
    Monotonic {
        start: Instant,
    },
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Boottime,
    #[cfg(feature = "tokio")]
    Tokio {
        start: ::tokio::time::Instant,
    },
}

impl Clock {
    /// [`Instant`], counted from this call. Whether it runs while the machine
    /// sleeps is the platform's choice.
    #[must_use]
    pub fn monotonic() -> Self {
        Self(Source::Monotonic {
            start: Instant::now(),
        })
    }

    /// `CLOCK_BOOTTIME`: time since the machine started, asleep or not.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[must_use]
    pub const fn boottime() -> Self {
        Self(Source::Boottime)
    }

    /// [`tokio::time::Instant`], counted from this call: the time of tests
    /// under [`tokio::time::pause`], which other clocks know nothing of. It
    /// does not count the time asleep on Linux.
    ///
    /// [`tokio::time::Instant`]: ::tokio::time::Instant
    /// [`tokio::time::pause`]: https://docs.rs/tokio/latest/tokio/time/fn.pause.html
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn tokio() -> Self {
        Self(Source::Tokio {
            start: ::tokio::time::Instant::now(),
        })
    }

    /// The time by this clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let since_epoch = match self.0 {
            Source::Monotonic { start } => start.elapsed(),
            #[cfg(feature = "tokio")]
            Source::Tokio { start } => start.elapsed(),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::Boottime => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                // Neither part of it is ever negative.
                Duration::new(
                    u64::try_from(now.tv_sec).unwrap_or(0),
                    u32::try_from(now.tv_nsec).unwrap_or(0),
                )
            }
        };
        Timestamp::from_epoch(since_epoch).unwrap_or(Timestamp::MAX)
    }
}

/// The clock that counts the time asleep where there is one, else the
/// monotonic one.
impl Default for Clock {
    fn default() -> Self {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        return Self::boottime();
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        Self::monotonic()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advances(clock: Clock) {
        let earlier = clock.now();
        std::thread::sleep(Duration::from_millis(20));
        let passed = clock.now().saturating_duration_since(earlier);
        assert!(passed >= Duration::from_millis(20), "{passed:?}");
        assert!(passed < Duration::from_secs(10), "{passed:?}");
    }

    #[test]
    fn clocks_advance_with_the_time() {
        advances(Clock::default());
        advances(Clock::monotonic());
        #[cfg(any(target_os = "linux", target_os = "android"))]
        advances(Clock::boottime());
    }

    #[test]
    fn copies_agree() {
        let clock = Clock::monotonic();
        let copy = clock;
        let apart = copy.now().saturating_duration_since(clock.now());
        assert!(apart < Duration::from_secs(1));
    }

    /// `/proc/uptime` counts the time asleep too.
    #[cfg(target_os = "linux")]
    #[test]
    fn boottime_is_the_time_since_the_machine_started() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let clock = Clock::boottime().now().since_epoch().as_secs_f64();
        assert!((clock - uptime).abs() < 5.0, "{clock} against {uptime}");
    }
}

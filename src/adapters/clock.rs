//! Which time a connection lives by.

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

#[derive(Clone, Copy, Debug)]
enum Source {
    Monotonic {
        start: Instant,
    },
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Boottime,
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

    /// The time by this clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let since_epoch = match self.0 {
            Source::Monotonic { start } => start.elapsed(),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::Boottime => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                // Neither part of it is ever negative.
                core::time::Duration::new(
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
    use core::time::Duration;

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

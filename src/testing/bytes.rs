//! What any bytes can be read as: numbers, times and configurations.

use core::time::Duration;

use crate::backoff::{Backoff, Jitter};
use crate::config::{Config, ConfigBuilder, Evidence, Role};
use crate::time::{Ratio, Timestamp};

pub(super) fn instant(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos).unwrap_or(Timestamp::MAX)
}

pub(super) fn earlier(now: Timestamp, by: u64) -> Timestamp {
    instant(now.as_nanos().saturating_sub(by))
}

/// Bytes to read from; zeroes when they are used up.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Bytes<'_> {
    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A number of up to 64 bits, all magnitudes alike.
    pub(super) fn wide(&mut self) -> u64 {
        let (shift, high, low) = (self.byte(), self.byte(), self.byte());
        if shift >= 240 {
            return u64::MAX.saturating_sub(u64::from(high));
        }
        u64::from(u16::from_be_bytes([high, low])) << (shift % 49)
    }

    /// Mostly seconds, like the limits, so that they meet each other; and the
    /// extremes.
    pub(super) fn span(&mut self) -> Duration {
        match self.byte() {
            0 => Duration::ZERO,
            1 => Duration::from_nanos(1),
            2 => Duration::from_nanos(u64::MAX - 1),
            3 => Duration::MAX,
            4..=9 => Duration::from_nanos(self.wide()),
            byte @ 10..=59 => Duration::from_millis(u64::from(byte) * 20),
            byte @ 60..=219 => Duration::from_millis(u64::from(byte - 59) * 500),
            byte => Duration::from_secs(u64::from(byte - 219) * 60),
        }
    }

    pub(super) fn maybe(&mut self) -> Option<Duration> {
        match self.byte() {
            0..=84 => None,
            _ => Some(self.span()),
        }
    }

    /// A proportion, sometimes too large to be one.
    pub(super) fn ratio(&mut self) -> Ratio {
        Ratio::permille(u32::from(self.byte()) * 4)
    }
}

/// Sets what the bytes say, of either end unless it is given, and takes back
/// what is refused.
pub(super) fn configured(bytes: &mut Bytes<'_>, role: Option<Role>) -> Config {
    let flags = match role {
        None => bytes.byte(),
        Some(Role::Client) => bytes.byte() & !1,
        Some(Role::Server) => bytes.byte() | 1,
    };
    let has = |bit: u32| flags >> bit & 1 == 1;
    let preset = if has(0) {
        Config::server()
    } else {
        Config::client()
    };
    let mut builder = preset
        .with_only_when_idle(!has(1))
        .with_spread_first_beat(!has(2))
        .with_evidence(if has(3) {
            Evidence::Heartbeats
        } else {
            Evidence::AnyBytes
        });
    // With few fields set a short run meets the presets.
    if has(4) {
        builder = timed(builder, bytes);
    }
    if has(5) {
        builder = match bytes.byte() {
            0..=84 => builder,
            85..=169 => builder.with_answer_timeout(bytes.span()),
            170..=212 => builder.with_max_unanswered(u16::from(bytes.byte() % 8)),
            max => builder
                .with_answer_timeout(bytes.span())
                .with_max_unanswered(u16::from(max % 8)),
        };
        builder = builder
            .with_probes(bytes.byte() % 4)
            .with_resume_grace(bytes.span());
    }
    if has(6) {
        if let Some(gap) = bytes.maybe() {
            builder = builder.with_flood(gap, u32::from(bytes.byte() % 8));
        }
        if let Some(age) = bytes.maybe() {
            builder = builder.with_max_age(age).with_max_age_jitter(bytes.ratio());
        }
        if let Some(tolerance) = bytes.maybe() {
            builder = builder.with_stall_tolerance(tolerance);
        }
    }
    if has(7) && !has(0) {
        builder = returning(builder, bytes);
    }
    repaired(builder)
}

fn timed(builder: ConfigBuilder, bytes: &mut Bytes<'_>) -> ConfigBuilder {
    let mut builder = match bytes.maybe() {
        Some(interval) => builder.with_interval(interval),
        None => builder.without_interval(),
    }
    .with_interval_jitter(bytes.ratio());
    builder = match bytes.maybe() {
        Some(limit) => builder.with_silence_timeout(limit),
        None => builder.without_silence_timeout(),
    };
    builder = match bytes.maybe() {
        Some(limit) => builder.with_write_timeout(limit),
        None => builder.without_write_timeout(),
    };
    if let Some(limit) = bytes.maybe() {
        builder = builder.with_hello_timeout(limit);
    }
    builder.with_close_grace(bytes.span())
}

fn returning(builder: ConfigBuilder, bytes: &mut Bytes<'_>) -> ConfigBuilder {
    let jitter = match bytes.byte() % 5 {
        0 => Jitter::None,
        1 => Jitter::Proportional(bytes.ratio()),
        2 => Jitter::Equal,
        3 => Jitter::Full,
        _ => Jitter::Decorrelated,
    };
    let initial = bytes.span();
    let mut policy = Backoff::new()
        .with_jitter(jitter)
        .with_initial(initial)
        .with_max(initial.saturating_add(bytes.span()))
        .with_multiplier(Ratio::permille(1000 + u32::from(bytes.byte()) * 16));
    let builder = match bytes.byte() {
        0..=199 => builder,
        200..=219 => return builder.without_backoff(),
        max => {
            policy = policy.with_max_attempts(u32::from(max - 219));
            builder
        }
    };
    let builder = match bytes.maybe() {
        Some(limit) => builder.with_connect_timeout(limit),
        None => builder,
    };
    builder
        .with_stable_after(bytes.span())
        .with_max_retry_after(bytes.span())
        .with_backoff(policy)
}

/// Takes back each field that is refused, until none is.
fn repaired(mut builder: ConfigBuilder) -> Config {
    loop {
        let error = match builder.build() {
            Ok(config) => return config,
            Err(error) => error,
        };
        let second = Duration::from_secs(1);
        builder = match error.field() {
            "interval" => builder.with_interval(second),
            "silence_timeout" => builder.with_silence_timeout(second),
            "answer_timeout" => builder.without_answer_timeout(),
            "max_unanswered" => builder.without_max_unanswered(),
            "write_timeout" => builder.with_write_timeout(second),
            "hello_timeout" => builder.without_hello_timeout(),
            "connect_timeout" => builder.without_connect_timeout(),
            "close_grace" => builder.with_close_grace(second),
            "stall_tolerance" => builder.without_stall_tolerance(),
            "resume_grace" => builder.with_resume_grace(second),
            "probes" => builder.with_probes(1),
            "flood" => builder.without_flood(),
            "max_age" => builder.without_max_age(),
            "max_age_jitter" => builder.with_max_age_jitter(Ratio::percent(10)),
            "interval_jitter" => builder.with_interval_jitter(Ratio::percent(10)),
            "stable_after" => builder.with_stable_after(second),
            "max_retry_after" => builder.with_max_retry_after(second),
            // A policy is refused as a whole.
            field if field.starts_with("backoff") => builder.with_backoff(Backoff::new()),
            field => panic!("a rule that scripts do not know: {field}"),
        };
    }
}

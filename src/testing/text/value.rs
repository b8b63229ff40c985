//! What stands after a `=`: exact, so that what is printed reads back the same.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::time::Duration;

use crate::backoff::Jitter;
use crate::config::{Evidence, Limits};
use crate::time::Ratio;

/// What a word can say.
pub(in crate::testing) trait Value: Sized + PartialEq {
    /// What to write, for whoever wrote something else.
    fn expected() -> String;

    fn read(text: &str) -> Option<Self>;

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// A value as its text.
pub(in crate::testing) struct Shown<'a, T>(pub(in crate::testing) &'a T);

impl<T: Value> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f)
    }
}

/// A decimal number, times 10 to the power of `digits`; none if it is finer
/// than that, or beyond the range.
fn decimal(text: &str, digits: usize) -> Option<u128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let part_digits = part.trim_end_matches('0');
    if !is_number(whole) || !is_number(part) || part_digits.len() > digits {
        return None;
    }
    format!("{whole}{part_digits:0<digits$}").parse().ok()
}

/// The units of time: the name, how many digits a nanosecond is after its
/// point, and how many of those make one.
const UNITS: [(&str, usize, u128); 7] = [
    ("ns", 0, 1),
    ("us", 3, 1),
    ("ms", 6, 1),
    ("s", 9, 1),
    ("m", 9, 60),
    ("h", 9, 3600),
    ("d", 9, 86_400),
];

const NANOS_PER_SECOND: u128 = 1_000_000_000;

impl Value for Duration {
    fn expected() -> String {
        "a time such as 1.5s, 20ms or 1ns".into()
    }

    fn read(text: &str) -> Option<Self> {
        let unit = text.find(|char: char| char.is_ascii_alphabetic())?;
        let (number, unit) = text.split_at_checked(unit)?;
        let (_, digits, times) = UNITS.into_iter().find(|(name, _, _)| *name == unit)?;
        let nanos = decimal(number, digits)?.checked_mul(times)?;
        let secs = u64::try_from(nanos / NANOS_PER_SECOND).ok()?;
        let rest = u32::try_from(nanos % NANOS_PER_SECOND).ok()?;
        Some(Self::new(secs, rest))
    }

    /// In the largest unit up to seconds that it reaches.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.as_nanos();
        let (unit, digits, size) = match nanos {
            1..1_000 => ("ns", 0, 1),
            1_000..1_000_000 => ("us", 3, 1_000),
            1_000_000..NANOS_PER_SECOND => ("ms", 6, 1_000_000),
            _ => ("s", 9, NANOS_PER_SECOND),
        };
        write!(f, "{}", nanos / size)?;
        let part = nanos % size;
        if part > 0 {
            let part = format!("{part:0digits$}");
            write!(f, ".{}", part.trim_end_matches('0'))?;
        }
        f.write_str(unit)
    }
}

impl Value for Ratio {
    fn expected() -> String {
        "a ratio such as 160% or 12.5%".into()
    }

    fn read(text: &str) -> Option<Self> {
        let permille = decimal(text.strip_suffix('%')?, 1)?;
        Some(Self::permille(u32::try_from(permille).ok()?))
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `none` is what is off.
impl<T: Value> Value for Option<T> {
    fn expected() -> String {
        format!("{}, or none", T::expected())
    }

    fn read(text: &str) -> Option<Self> {
        match text {
            "none" => Some(None),
            text => T::read(text).map(Some),
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Some(value) => value.show(f),
            None => f.write_str("none"),
        }
    }
}

/// The flood limit: gap and strikes.
impl Value for (Duration, u32) {
    fn expected() -> String {
        "a gap and strikes such as 10s,3".into()
    }

    fn read(text: &str) -> Option<Self> {
        let (gap, strikes) = text.split_once(',')?;
        Some((Duration::read(gap)?, u32::read(strikes)?))
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gap, strikes) = self;
        write!(f, "{},{strikes}", Shown(gap))
    }
}

/// All three, so that none is left to guess.
impl Value for Limits {
    fn expected() -> String {
        "limits such as limits(interval=5s,silence_timeout=12s,answer_timeout=none)".into()
    }

    fn read(text: &str) -> Option<Self> {
        let (interval, rest) = text.strip_prefix("(interval=")?.split_once(',')?;
        let (silence, rest) = rest.strip_prefix("silence_timeout=")?.split_once(',')?;
        let answer = rest.strip_prefix("answer_timeout=")?.strip_suffix(')')?;
        Some(Self {
            interval: Value::read(interval)?,
            silence_timeout: Value::read(silence)?,
            answer_timeout: Value::read(answer)?,
        })
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "(interval={},silence_timeout={},answer_timeout={})",
            Shown(&self.interval),
            Shown(&self.silence_timeout),
            Shown(&self.answer_timeout)
        )
    }
}

impl Value for Jitter {
    fn expected() -> String {
        "none, equal, full, decorrelated, or a ratio such as 20%".into()
    }

    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "none" => Self::None,
            "equal" => Self::Equal,
            "full" => Self::Full,
            "decorrelated" => Self::Decorrelated,
            ratio => Self::Proportional(Ratio::read(ratio)?),
        })
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Equal => "equal",
            Self::Full => "full",
            Self::Decorrelated => "decorrelated",
            Self::Proportional(ratio) => return ratio.show(f),
        })
    }
}

/// Values that are one of a few words.
macro_rules! words {
    ($type:ty { $($value:pat => $word:literal => $made:expr),+ $(,)? } or $expected:literal) => {
        impl Value for $type {
            fn expected() -> String {
                $expected.into()
            }

            fn read(text: &str) -> Option<Self> {
                match text {
                    $($word => Some($made),)+
                    _ => None,
                }
            }

            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($value => $word,)+
                })
            }
        }
    };
}

words!(bool {
    true => "yes" => true,
    false => "no" => false,
} or "yes or no");

words!(Evidence {
    Self::AnyBytes => "any-bytes" => Self::AnyBytes,
    Self::Heartbeats => "heartbeats" => Self::Heartbeats,
} or "any-bytes or heartbeats");

/// A policy whose fields are told one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usual;

words!(Usual { Self => "usual" => Self } or "usual");

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl Value for $type {
            fn expected() -> String {
                format!("a number up to {}", Self::MAX)
            }

            fn read(text: &str) -> Option<Self> {
                let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|_| is_number)
            }

            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_string())
            }
        }
    )+};
}

numbers!(u8, u16, u32, u64, usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_time(text: &str, time: Duration) {
        assert_eq!(Shown(&time).to_string(), text);
        assert_eq!(Duration::read(text), Some(time), "{text}");
    }

    #[test]
    fn times_are_exact_over_the_whole_range() {
        assert_time("0s", Duration::ZERO);
        assert_time("1ns", Duration::from_nanos(1));
        assert_time("999ns", Duration::from_nanos(999));
        assert_time("1us", Duration::from_micros(1));
        assert_time("1.001us", Duration::from_nanos(1001));
        assert_time("20ms", Duration::from_millis(20));
        assert_time("1.5s", Duration::from_millis(1500));
        assert_time("1.000000001s", Duration::new(1, 1));
        assert_time("18446744073.709551614s", Duration::from_nanos(u64::MAX - 1));
        assert_time("18446744073709551615.999999999s", Duration::MAX);
        for shift in 0..64 {
            for nanos in [1 << shift, (1 << shift) - 1] {
                let time = Duration::from_nanos(nanos);
                assert_eq!(Duration::read(&Shown(&time).to_string()), Some(time));
            }
        }
    }

    #[test]
    fn times_by_hand() {
        let read = Duration::read;
        assert_eq!(read("1.5m"), Some(Duration::from_secs(90)));
        assert_eq!(read("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(read("1.5d"), Some(Duration::from_secs(36 * 3600)));
        assert_eq!(read("0.0010us"), Some(Duration::from_nanos(1)));
        for wrong in [
            "",
            "s",
            "1",
            "1.s",
            ".5s",
            "-1s",
            "+1s",
            "1.5ns",
            "0.0001us",
            "1 s",
            "1e3s",
            "1S",
            "18446744073709551616s",
            "1.0.0s",
            "1µs",
            "₁s",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ratios() {
        for permille in [0, 1, 999, 1600, u32::MAX] {
            let ratio = Ratio::permille(permille);
            assert_eq!(Ratio::read(&Shown(&ratio).to_string()), Some(ratio));
        }
        for wrong in ["", "%", "1", "0.01%", "-1%", "429496729.6%"] {
            assert_eq!(Ratio::read(wrong), None, "{wrong}");
        }
    }
}

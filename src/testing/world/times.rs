//! Times as text: an exact decimal and a unit.

use core::fmt;
use core::time::Duration;

use crate::time::Timestamp;

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    // Last of those that `s` and `m` end: the longer suffix is found first.
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// A length of time, printed exactly in the largest of s, ms, us and ns that
/// it fills: `1.5s`, `20ms`, `1ns`.
pub(super) struct Span(pub(super) u64);

pub(super) fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// An instant, as the time since the epoch.
pub(super) const fn since_epoch(instant: Timestamp) -> Span {
    Span(instant.as_nanos())
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0;
        let (unit, size, digits) = match nanos {
            0 => return f.write_str("0s"),
            1_000_000_000.. => ("s", 1_000_000_000, 9),
            1_000_000.. => ("ms", 1_000_000, 6),
            1_000.. => ("us", 1_000, 3),
            _ => ("ns", 1, 0),
        };
        write!(f, "{}", nanos / size)?;
        let (mut rest, mut digits) = (nanos % size, digits);
        if rest > 0 {
            while rest % 10 == 0 {
                rest /= 10;
                digits -= 1;
            }
            write!(f, ".{rest:0digits$}")?;
        }
        f.write_str(unit)
    }
}

/// A length of time in nanoseconds, if the text is an exact one.
pub(super) fn nanos(text: &str) -> Option<u64> {
    let units = UNITS.iter();
    let (number, size) = units
        .filter_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)))
        // `20m` of `20ms` is no number, so at most one is left.
        .find(|(number, _)| number.ends_with(|c: char| c.is_ascii_digit()))?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let nanos = digits(whole)?.checked_mul(size)?;
    let scale = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = u128::from(digits(part)?) * u128::from(size);
    if part % u128::from(scale) != 0 {
        return None;
    }
    nanos.checked_add(u64::try_from(part / u128::from(scale)).ok()?)
}

pub(super) fn duration(text: &str) -> Option<Duration> {
    nanos(text).map(Duration::from_nanos)
}

pub(super) fn instant(text: &str) -> Option<Timestamp> {
    Timestamp::from_nanos(nanos(text)?)
}

/// Digits alone, no sign.
pub(super) fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn times_are_printed_in_the_largest_unit_they_fill() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5us"),
            (20_000_000, "20ms"),
            (1_000_001, "1.000001ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_001, "60.000000001s"),
            (u64::MAX, "18446744073.709551615s"),
        ] {
            assert_eq!(Span(nanos).to_string(), text);
            assert_eq!(super::nanos(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn times_are_read_in_any_unit_if_they_are_exact() {
        assert_eq!(nanos("1h"), nanos("60m"));
        assert_eq!(nanos("1.5d"), nanos("36h"));
        assert_eq!(nanos("0.5us"), Some(500));
        for text in [
            "",
            "s",
            "1",
            "-1s",
            "+1s",
            "1.s",
            ".5s",
            "0.5ns",
            "1.5.5s",
            "1 s",
            "1e3s",
            "18446744074s",
            "1ks",
            "1.99999999999999999999999s",
        ] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}

//! Any policy keeps each delay within its bounds, for ever: what one delay
//! hands to the next is a base within the bounds and a counter that only a hash
//! sees, so 2000 delays stand for 10⁹ (the unit tests jump there).

#![no_main]

use core::time::Duration;

use libfuzzer_sys::fuzz_target;
use nabiz::{Backoff, Jitter, Ratio};

/// Numbers from the input, zeroes when it is used up.
fn number(bytes: &mut &[u8]) -> u64 {
    let mut number = [0; 8];
    let (taken, rest) = bytes.split_at(bytes.len().min(8));
    number[..taken.len()].copy_from_slice(taken);
    *bytes = rest;
    u64::from_le_bytes(number)
}

fn ratio(number: u64) -> Ratio {
    Ratio::permille(number as u32)
}

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes;
    let flags = number(&mut bytes);
    let jitter = match flags % 5 {
        0 => Jitter::None,
        1 => Jitter::Proportional(ratio(flags / 5 % 1100)),
        2 => Jitter::Equal,
        3 => Jitter::Full,
        _ => Jitter::Decorrelated,
    };
    let initial = Duration::from_nanos(number(&mut bytes));
    let max = Duration::from_nanos(number(&mut bytes));
    let mut policy = Backoff::new()
        .with_initial(initial)
        .with_max(max)
        .with_multiplier(ratio(number(&mut bytes)))
        .with_jitter(jitter);
    let attempts = number(&mut bytes) as u32;
    if flags % 2 == 1 {
        policy = policy.with_max_attempts(attempts);
    }
    let seed = number(&mut bytes);
    let Ok(mut delays) = policy.delays(seed) else {
        return;
    };

    let mut base = initial.as_nanos();
    let mut previous = initial.as_nanos();
    for attempt in 1..=2000_u32 {
        if attempt % 700 == 0 {
            delays.reset();
            (base, previous) = (initial.as_nanos(), initial.as_nanos());
        }
        let number = delays.attempt();
        let Some(delay) = delays.next() else {
            assert_eq!(policy.max_attempts(), Some(number));
            break;
        };
        assert_eq!(delays.attempt(), number + 1);
        let delay = delay.as_nanos();
        let longest = u128::from(u64::MAX - 1);
        let (least, most) = match jitter {
            Jitter::Proportional(p) => {
                let reach = base * u128::from(p.as_permille()) / 1000;
                (base - reach, (base + reach).min(longest))
            }
            Jitter::Equal => (base - base / 2, base),
            Jitter::Full => (0, base),
            Jitter::Decorrelated => (initial.as_nanos(), (3 * previous).min(max.as_nanos())),
            _ => (base, base),
        };
        assert!(
            least <= delay && delay <= most,
            "{policy:?} {number} {delay}"
        );
        previous = delay;
        let grown = base * u128::from(policy.multiplier().as_permille()) / 1000;
        base = grown.min(max.as_nanos());
    }

    // Law 11: the same seed, the same delays.
    let again = || {
        policy
            .delays(seed)
            .map(|delays| delays.take(3).collect::<Vec<_>>())
    };
    assert_eq!(again(), again());
});

//! Closing everyone, spread evenly over a window.

use core::time::Duration;
use std::collections::BTreeSet;

use nabiz::{Key, Timestamp};

use super::driver::*;

const MANY: u32 = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

/// One close of a drain.
#[derive(Clone, Copy, Debug)]
struct Closed {
    when: Timestamp,
    name: u32,
    retry_after: Duration,
}

/// Drives the roster by its deadlines; all that it does is to drain.
#[track_caller]
fn drained(roster: &mut Roster, from: Timestamp, until: Timestamp) -> Vec<Closed> {
    let mut all = Vec::new();
    drive(roster, from, until, |_, when, _, did, retry_after| {
        let Did::Close(name, Draining) = did else {
            panic!("{did:?}");
        };
        let retry_after = retry_after.unwrap();
        all.push(Closed {
            when,
            name,
            retry_after,
        });
    });
    all
}

fn filled(count: u32) -> (Roster, Vec<Key>) {
    let mut roster = roster(bare_server());
    let keys = (0..count).map(|name| roster.insert(name, at(0))).collect();
    (roster, keys)
}

/// How many closed in each of so many equal parts of a window.
fn parts(all: &[Closed], start: Timestamp, window: Duration, count: u32) -> Vec<u32> {
    let mut parts = vec![0; usize::try_from(count).unwrap()];
    for closed in all {
        let since = closed.when.saturating_duration_since(start).as_nanos();
        let part = since * u128::from(count) / (window.as_nanos() + 1);
        let last = parts.len() - 1;
        parts[usize::try_from(part).unwrap().min(last)] += 1;
    }
    parts
}

#[track_caller]
fn assert_hints(all: &[Closed], end: Timestamp, window: Duration) {
    for closed in all {
        let rest = end.saturating_duration_since(closed.when);
        let hint = closed.retry_after;
        assert!(
            hint >= rest && hint <= rest + window,
            "{closed:?}, rest {rest:?}"
        );
    }
}

#[test]
fn everyone_is_closed_once_and_evenly_over_the_window() {
    for (count, window, parts_count) in [
        (1000, 100, 100),
        (1000, 7, 10),
        (50_000, 60, 60),
        (7, 70, 7),
    ] {
        let (mut roster, _) = filled(count);
        let window = secs(window);
        roster.drain(window, at(5));
        let all = drained(&mut roster, at(5), at(10_000));
        let names: BTreeSet<u32> = all.iter().map(|closed| closed.name).collect();
        assert_eq!((all.len(), names.len()), (count as usize, count as usize));
        assert_eq!(roster.counters().closed, u64::from(count));
        let last = all[all.len() - 1].when;
        assert!(last <= plus(at(5), window + RESOLUTION), "{last:?}");
        let mean = count / parts_count;
        let slack = 2 + mean / 50;
        for part in parts(&all, at(5), window, parts_count) {
            assert!(part.abs_diff(mean) <= slack, "{part} of {mean}");
        }
        assert_hints(&all, plus(at(5), window), window);
        assert!(roster.is_empty());
    }
}

#[test]
fn a_million_are_closed_evenly_over_the_window() {
    let (mut roster, _) = filled(MANY);
    let window = secs(300);
    roster.drain(window, at(1));
    let all = drained(&mut roster, at(1), at(1000));
    assert_eq!(all.len(), MANY as usize);
    let mean = f64::from(MANY) / 3000.0;
    let peak = parts(&all, at(1), window, 3000).into_iter().max().unwrap();
    println!(
        "drain: peak {:.2} x mean per 100 ms",
        f64::from(peak) / mean
    );
    assert!(f64::from(peak) <= 1.3 * mean, "{peak} per 100 ms");
    assert_hints(&all, at(301), window);
}

#[test]
fn each_is_told_another_time_to_come_back() {
    let (mut roster, _) = filled(10_000);
    let window = secs(60);
    roster.drain(window, at(0));
    let all = drained(&mut roster, at(0), at(100));
    // As instants: when they come back, and how long after the window.
    let back: BTreeSet<u128> = all
        .iter()
        .map(|closed| (closed.when.since_epoch() + closed.retry_after).as_nanos())
        .collect();
    assert!(back.len() > 9_990, "{} instants", back.len());
    let mut quarters = [0; 4];
    for instant in &back {
        assert!((60_000_000_000..=120_000_000_000).contains(instant));
        let quarter = (instant - 60_000_000_000) * 4 / 60_000_000_001;
        quarters[usize::try_from(quarter).unwrap()] += 1;
    }
    assert!(
        quarters
            .iter()
            .all(|quarter| (2300..2700).contains(quarter)),
        "{quarters:?}"
    );
    let hints: BTreeSet<Duration> = all.iter().map(|closed| closed.retry_after).collect();
    assert!(hints.len() > 9_990);
}

#[test]
fn who_comes_back_to_the_same_place_is_told_another_time() {
    let mut hints = BTreeSet::new();
    let (mut roster, _) = filled(0);
    roster.drain(secs(1), at(0));
    for name in 0..100 {
        roster.insert(name, at(10));
        let all = drained(&mut roster, at(10), at(10));
        assert_eq!(all.len(), 1);
        hints.insert(all[0].retry_after);
    }
    assert!(hints.len() > 90, "{} of 100: {hints:?}", hints.len());
}

#[test]
fn who_is_inserted_meanwhile_is_closed_within_the_window_too() {
    let (mut roster, _) = filled(500);
    roster.drain(secs(100), at(0));
    let (mut all, mut now, mut name) = (Vec::new(), at(0), 500);
    for milli in (50..100_000).step_by(50) {
        all.extend(drained(&mut roster, now, at_ms(milli)));
        now = at_ms(milli);
        roster.insert(name, now);
        name += 1;
    }
    all.extend(drained(&mut roster, now, at(1000)));
    assert_eq!(all.len(), name as usize);
    assert!(all.iter().all(|closed| closed.when <= at_ms(100_020)));
    assert_hints(&all, at(100), secs(100));
    assert!(roster.is_empty());
}

#[test]
fn who_is_inserted_after_the_window_is_closed_at_once() {
    let (mut roster, _) = filled(10);
    roster.drain(secs(10), at(0));
    assert_eq!(drained(&mut roster, at(0), at(20)).len(), 10);
    for second in [20, 21, 1000, 1_000_000] {
        roster.insert(7, at(second));
        assert!(roster.deadline() <= Some(at(second)));
        let all = drained(&mut roster, at(second), at(second));
        assert_eq!(all.len(), 1);
        assert!(all[0].retry_after <= secs(10));
    }
}

#[test]
fn who_is_removed_meanwhile_is_not_closed_and_the_rest_stay_even() {
    let (mut roster, keys) = filled(2000);
    roster.drain(secs(100), at(0));
    let mut all = drained(&mut roster, at(0), at(20));
    assert!((395..=405).contains(&all.len()), "{}", all.len());
    let mut removed = 0;
    for key in keys.iter().skip(1).step_by(2) {
        removed += usize::from(roster.remove(*key).is_some());
    }
    all.extend(drained(&mut roster, at(20), at(1000)));
    assert_eq!(all.len() + removed, 2000);
    assert!(all[all.len() - 1].when <= at_ms(100_020));
    let rest: Vec<Closed> = all
        .iter()
        .copied()
        .filter(|closed| closed.when >= at(20))
        .collect();
    for part in parts(&rest, at(20), secs(80), 8) {
        assert!((95..=105).contains(&part), "{part} in 10 s");
    }
    assert_hints(&all, at(100), secs(100));
}

#[test]
fn a_window_of_nothing_closes_everyone_at_once() {
    let (mut roster, _) = filled(5000);
    roster.drain(secs(0), at(3));
    let all = drained(&mut roster, at(3), at(3));
    assert_eq!(all.len(), 5000);
    assert!(all.iter().all(|closed| closed.retry_after == secs(0)));
    roster.insert(1, at(4));
    assert_eq!(drained(&mut roster, at(4), at(4)).len(), 1);
}

#[test]
fn of_two_drains_the_one_that_ends_first_counts() {
    let (mut roster, _) = filled(1000);
    roster.drain(secs(1000), at(0));
    let first = drained(&mut roster, at(0), at(100)).len();
    assert!((98..=102).contains(&first), "{first}");
    roster.drain(secs(10), at(100));
    let all = drained(&mut roster, at(100), at(2000));
    assert_eq!(all.len() + first, 1000);
    assert!(all[all.len() - 1].when <= at_ms(110_020));
    for part in parts(&all, at(100), secs(10), 10) {
        assert!((88..=92).contains(&part), "{part} in a second");
    }
    assert_hints(&all, at(110), secs(10));

    let (mut roster, _) = filled(1000);
    roster.drain(secs(100), at(0));
    let first = drained(&mut roster, at(0), at(50)).len();
    roster.drain(secs(1000), at(50));
    let all = drained(&mut roster, at(50), at(2000));
    assert_eq!(all.len() + first, 1000);
    assert!(all[all.len() - 1].when <= at_ms(100_020));
    assert_hints(&all, at(100), secs(100));
}

#[test]
fn an_empty_roster_may_be_drained() {
    let (mut roster, _) = filled(0);
    roster.drain(secs(100), at(0));
    assert_eq!(drained(&mut roster, at(0), at(50)).len(), 0);
    assert_eq!(roster.deadline(), None);
    for name in 0..10 {
        roster.insert(name, at(50));
    }
    let all = drained(&mut roster, at(50), at(1000));
    assert_eq!(all.len(), 10);
    assert!(
        all[0].when > at(50) && all[9].when <= at_ms(100_020),
        "{all:?}"
    );
}

#[test]
fn verdicts_and_beats_go_on_meanwhile() {
    let config = hearing().with_interval(secs(20));
    let mut roster = roster(config);
    for name in 0..100 {
        roster.insert(name, at(0));
    }
    roster.drain(secs(120), at(0));
    let (mut closed, mut silents, mut beats) = (0, 0, 0);
    drive(
        &mut roster,
        at(0),
        at(1000),
        |roster, now, key, did, hint| match did {
            Did::Beat(_) => {
                beats += 1;
                roster.heartbeat_sent(key, now);
            }
            Did::Close(_, Draining) => {
                assert!(hint.is_some() && now <= at_ms(60_020));
                closed += 1;
            }
            Did::Close(_, reason) => {
                assert_eq!((reason, hint), (PeerSilent, None));
                silents += 1;
            }
        },
    );
    assert!((48..=52).contains(&closed), "{closed}");
    assert_eq!(closed + silents, 100);
    assert!(beats > 100, "{beats}");
}

#[test]
fn a_drain_polled_late_catches_up_and_does_not_exceed_the_window() {
    let (mut roster, _) = filled(1000);
    roster.drain(secs(100), at(0));
    let mut closed = 0;
    for second in [37, 59, 61, 100] {
        closed += stuck(&mut roster, at(second)).len();
        let due = second * 10;
        assert!(
            (due..=due + 10).contains(&(closed as u64)),
            "{closed} of {due}"
        );
    }
    assert!(roster.is_empty());
}

#[test]
fn a_window_without_end_closes_nobody_soon() {
    for window in [Duration::MAX, secs(1 << 33)] {
        let (mut roster, _) = filled(10);
        roster.drain(window, at(0));
        assert_eq!(drained(&mut roster, at(0), at(1_000_000)).len(), 0);
        assert_eq!(roster.len(), 10);
        roster.drain(secs(5), at(1_000_000));
        assert_eq!(drained(&mut roster, at(1_000_000), at(2_000_000)).len(), 10);
    }
}

#[test]
fn only_a_drain_tells_when_to_come_back() {
    let mut roster = roster(everything());
    for name in 0..50 {
        let key = roster.insert(name, at(0));
        if name % 2 == 0 {
            roster.received(key, at(0));
        }
        if name % 5 == 0 {
            for _ in 0..4 {
                roster.heartbeat_received(key, at(0));
            }
        }
    }
    let mut reasons = BTreeSet::new();
    drive(&mut roster, at(0), at(10_000), |_, _, _, did, hint| {
        if let Did::Close(_, reason) = did {
            assert_eq!(hint, None);
            reasons.insert(format!("{reason:?}"));
        }
    });
    assert!(reasons.len() >= 3, "{reasons:?}");
}

//! Time that goes backwards, leaps, or ends; and rosters that turn over.

use core::time::Duration;

use nabiz::{Key, Timestamp};

use super::driver::*;

const YEAR: Duration = secs(365 * 24 * 3600);

#[test]
fn now_going_backwards_is_no_time_passing() {
    let mut roster = roster(hearing().with_interval(secs(30)));
    let old = roster.insert(1, at(50));
    roster.insert(2, at(40)); // counts as 50 s
    assert!(roster.received(old, at(10)));
    assert_eq!(roster.silence(old, at(0)), Some(secs(0)));
    roster.resumed(at(20));
    poll(&mut roster, at(0));
    roster.drain(secs(1000), at(5));
    roster.exempt(old, at(5));
    roster.set_silence_timeout(old, secs(61), at(5)).unwrap();
    let log = run(&mut roster, at(50), at(200));
    let closes: Log = log
        .into_iter()
        .filter(|(_, did)| matches!(did, Did::Close(_, PeerSilent)))
        .collect();
    assert_log(
        &closes,
        RESOLUTION,
        &[(at(110), silent(2)), (at(111), silent(1))],
    );
}

#[test]
fn the_last_instant_is_one_like_any() {
    let mut roster = roster(everything());
    let keys: Vec<Key> = (0..200).map(|name| roster.insert(name, at(0))).collect();
    let mut all = 0;
    for _ in 0..3 {
        all += poll(&mut roster, Timestamp::MAX).len();
        for key in &keys {
            roster.received(*key, Timestamp::MAX);
            roster.heartbeat_received(*key, Timestamp::MAX);
            roster.sent(*key, Timestamp::MAX);
            roster
                .set_silence_timeout(*key, secs(90), Timestamp::MAX)
                .unwrap();
            roster.exempt(*key, Timestamp::MAX);
        }
        roster.insert(1, Timestamp::MAX);
        roster.resumed(Timestamp::MAX);
        all += poll(&mut roster, Timestamp::MAX).len();
    }
    assert!(all >= 200, "the old ones were too old");
    assert!(roster.len() < 10, "{}", roster.len());
    roster.drain(secs(10), Timestamp::MAX);
    poll(&mut roster, Timestamp::MAX);
    assert!(
        roster
            .deadline()
            .is_none_or(|due| due == Timestamp::MAX || roster.is_empty())
    );
}

#[test]
fn near_the_end_of_time_limits_beyond_it_are_never() {
    let start = Timestamp::from_nanos(Timestamp::MAX.as_nanos() - 30_000_000_000).unwrap();
    let mut one = roster_at(hearing().with_hello_timeout(secs(10)), start);
    let (mute, heard) = (one.insert(1, start), one.insert(2, start));
    one.received(heard, start);
    let log = run(&mut one, start, Timestamp::MAX);
    assert_log(
        &log,
        RESOLUTION,
        &[(plus(start, secs(10)), Did::Close(1, NoHello))],
    );
    assert!(!one.contains(mute) && one.contains(heard));

    let config = beating().with_spread_first_beat(true);
    let mut one = roster_at(config, start);
    for name in 0..100 {
        one.insert(name, start);
    }
    let log = run(&mut one, start, before(Timestamp::MAX));
    let counts: Vec<usize> = (0..100).map(|name| beats_of(&log, name).len()).collect();
    assert!(
        counts.iter().all(|count| (2..=6).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn a_leap_of_years_is_a_stall_and_is_forgiven_once() {
    for resolution in [Duration::from_micros(1), millis(1), RESOLUTION, secs(1)] {
        for years in [1, 3, 20, 400] {
            let mut roster = resolving(hearing(), resolution, at(0));
            for name in 0..200 {
                roster.insert(name, at(0));
            }
            let there = plus(at(0), YEAR * years);
            idle(&mut roster, there);
            assert_eq!((roster.len(), roster.counters().stalls), (200, 1));
            let limit = plus(there, secs(60));
            let log = run(&mut roster, there, plus(limit, secs(60)));
            assert_eq!(log.len(), 200);
            let window = limit..=plus(limit, resolution);
            assert!(
                log.iter().all(|(when, _)| window.contains(when)),
                "{resolution:?} {years}"
            );
        }
    }
}

#[test]
fn who_is_silent_over_two_leaps_is_closed() {
    for resolution in [Duration::from_micros(1), millis(1), RESOLUTION] {
        let mut roster = resolving(hearing(), resolution, at(0));
        for name in 0..10 {
            roster.insert(name, at(0));
        }
        idle(&mut roster, plus(at(0), YEAR * 20));
        assert_eq!(stuck(&mut roster, plus(at(0), YEAR * 50)).len(), 10);
    }
}

#[test]
fn who_talks_after_each_leap_is_never_closed() {
    for resolution in [Duration::from_micros(1), millis(1), RESOLUTION] {
        let mut roster = resolving(hearing(), resolution, at(0));
        let keys: Vec<Key> = (0..10).map(|name| roster.insert(name, at(0))).collect();
        for turn in 1..100 {
            let there = plus(at(0), YEAR * turn);
            if turn % 2 == 0 {
                idle(&mut roster, there);
            }
            for key in &keys {
                assert!(roster.received(*key, there));
                assert_eq!(roster.silence(*key, there), Some(secs(0)));
            }
            idle(&mut roster, there);
            assert_eq!(run(&mut roster, there, plus(there, secs(59))), []);
        }
        let there = plus(at(0), YEAR * 99);
        let log = run(&mut roster, plus(there, secs(59)), plus(there, secs(100)));
        assert_eq!(log.len(), 10);
    }
}

#[test]
fn beats_go_on_after_a_leap() {
    for resolution in [Duration::from_micros(100), millis(1), RESOLUTION] {
        for config in [beating(), beating().with_spread_first_beat(true)] {
            let mut roster = resolving(config, resolution, at(0));
            for name in 0..10 {
                roster.insert(name, at(0));
            }
            let mut now = at(0);
            for leap in [10, 1000, 100_000, 10_000_000, 1_000_000_000, 5_000_000_000] {
                now = plus(now, secs(leap));
                poll(&mut roster, now);
                let log = run(&mut roster, now, plus(now, secs(25)));
                for name in 0..10 {
                    assert!(
                        (2..=5).contains(&beats_of(&log, name).len()),
                        "{leap} s: {log:?}"
                    );
                }
                now = plus(now, secs(25));
            }
        }
    }
}

#[test]
fn a_heartbeat_in_flight_over_a_leap_is_a_stalled_write() {
    let mut roster = roster(beating().with_write_timeout(secs(20)));
    roster.insert(1, at(0));
    assert_eq!(stuck(&mut roster, at_ms(10_010)), [Did::Beat(1)]);
    let there = plus(at(0), YEAR * 10);
    idle(&mut roster, there);
    let log = run_stuck(&mut roster, there, plus(there, secs(100)));
    assert_log(
        &log,
        RESOLUTION,
        &[(plus(there, secs(20)), Did::Close(1, WriteStalled))],
    );
}

#[test]
fn an_exempt_connection_outlives_centuries() {
    for resolution in [Duration::from_micros(1), RESOLUTION] {
        let mut roster = resolving(hearing(), resolution, at(0));
        let (exempt, mortal) = (roster.insert(1, at(0)), roster.insert(2, at(0)));
        roster.exempt(exempt, at(0));
        for years in (1..580).step_by(20) {
            poll(&mut roster, plus(at(0), YEAR * years));
        }
        assert!(roster.contains(exempt) && !roster.contains(mortal));
        let now = plus(at(0), YEAR * 581);
        assert!(roster.set_silence_timeout(exempt, secs(60), now).unwrap());
    }
}

#[test]
fn an_empty_roster_sleeps_for_years() {
    let mut roster = roster(everything());
    let mut now = at(0);
    for years in [1, 10, 100, 200] {
        assert_eq!(roster.deadline(), None);
        now = plus(now, YEAR * years);
        idle(&mut roster, now);
        let key = roster.insert(1, now);
        assert_eq!(roster.counters().stalls, 0);
        roster.remove(key);
        run(&mut roster, now, plus(now, secs(1000)));
        now = plus(now, secs(1000));
    }
    assert_eq!(roster.counters().stalls, 0);
}

#[test]
fn a_hundred_thousand_may_come_and_go() {
    let mut roster = roster(everything());
    let mut keys: Vec<Key> = Vec::new();
    let mut dice = Dice(1);
    let mut now = at(0);
    let mut gone = 0;
    for name in 0..100_000 {
        now = plus(now, dice.span(millis(2)));
        keys.push(roster.insert(name, now));
        if keys.len() > 500 || dice.one_in(3) {
            let chosen = usize::try_from(dice.below(keys.len() as u64)).unwrap();
            let key = keys.swap_remove(chosen);
            gone += u64::from(roster.remove(key).is_some());
            assert!(!roster.contains(key));
        }
        if dice.one_in(20) {
            poll(&mut roster, now);
        }
    }
    let counters = roster.counters();
    assert_eq!((counters.inserted, counters.removed), (100_000, gone));
    assert_eq!(
        counters.closed + counters.removed + roster.len() as u64,
        100_000
    );
    assert_eq!(counters.stalls, 0);
    assert!(roster.capacity() < 2000, "{}", roster.capacity());
    run(&mut roster, now, plus(now, secs(200)));
    assert!(roster.is_empty());
}

/// At a nanosecond a tick, all the bits of the clock are used up after 2⁴¹ ns;
/// what is in flight then is not taken for older than it is.
#[test]
fn a_heartbeat_in_flight_while_the_clock_is_wound_on_has_its_whole_time() {
    let config = beating()
        .with_interval(millis(100))
        .with_write_timeout(millis(200));
    let end_of_bits = 1 << 41;
    for early in (0..400).step_by(13) {
        let mut roster = resolving(config, Duration::from_nanos(2), at(0));
        let start = end_of_bits - early * 1_000_000;
        let mut now = Timestamp::from_nanos(start).unwrap();
        for name in 0..10 {
            let next = plus(now, millis(9));
            assert_eq!(run(&mut roster, now, next), []);
            now = next;
            roster.insert(name, now);
        }
        let mut asked = [None; 10];
        let mut closed = 0;
        drive(
            &mut roster,
            now,
            plus(now, secs(1)),
            |roster, now, key, did, _| match did {
                Did::Beat(name) if name % 2 == 1 => {
                    roster.heartbeat_sent(key, now);
                }
                Did::Beat(name) => {
                    let before = asked[usize::try_from(name).unwrap()].replace(now);
                    assert_eq!(before, None);
                }
                Did::Close(name, reason) => {
                    let asked = asked[usize::try_from(name).unwrap()].unwrap();
                    let stuck = now.saturating_duration_since(asked);
                    assert_eq!(reason, WriteStalled);
                    assert!(stuck >= millis(200), "{name}: {stuck:?}");
                    assert!(
                        stuck <= millis(200) + Duration::from_nanos(2),
                        "{early} ms, {name}: {stuck:?}, asked {asked:?}"
                    );
                    closed += 1;
                }
            },
        );
        assert_eq!((closed, roster.len()), (5, 5));
    }
}

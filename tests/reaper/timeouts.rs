//! Connections that bear another silence than the rest.

use nabiz::Evidence;

use super::driver::*;

#[test]
fn an_exempt_connection_may_be_silent_for_ever() {
    let mut roster = roster(hearing());
    let keys: Vec<_> = (0..200).map(|name| roster.insert(name, at(0))).collect();
    for key in keys.iter().step_by(2) {
        assert!(roster.exempt(*key, at(1)));
    }
    let log = run(&mut roster, at(1), at(1_000_000));
    assert_eq!(log.len(), 100);
    assert!(
        log.iter()
            .all(|(when, _)| (at(60)..=at_ms(60_020)).contains(when))
    );
    assert!(keys.iter().step_by(2).all(|key| roster.contains(*key)));
    assert_eq!(roster.deadline(), None);
}

#[test]
fn an_exempt_connection_keeps_its_other_limits() {
    let config = hearing()
        .with_hello_timeout(secs(30))
        .with_max_age(secs(500));
    let mut roster = roster(config);
    let (mute, heard) = (roster.insert(1, at(0)), roster.insert(2, at(0)));
    roster.exempt(mute, at(0));
    roster.exempt(heard, at(0));
    roster.received(heard, at(1));
    let log = run(&mut roster, at(1), at(1000));
    let expected = [
        (at(30), Did::Close(1, NoHello)),
        (at(500), Did::Close(2, TooOld)),
    ];
    assert_log(&log, RESOLUTION, &expected);
}

#[test]
fn an_exempt_connection_keeps_its_write_limit_and_its_flood_limit() {
    let config = hearing()
        .with_interval(secs(10))
        .with_write_timeout(secs(20))
        .with_flood(secs(100), 1);
    let mut roster = roster(config);
    let (stuck, flooding) = (roster.insert(1, at(0)), roster.insert(2, at(0)));
    roster.exempt(stuck, at(0));
    roster.exempt(flooding, at(0));
    for _ in 0..2 {
        roster.heartbeat_received(flooding, at(1));
    }
    let log = run_stuck(&mut roster, at(1), at(1000));
    let expected = [
        (at(1), Did::Close(2, Flooded)),
        (at(10), Did::Beat(1)),
        (at(30), Did::Close(1, WriteStalled)),
    ];
    assert_log(&log, millis(40), &expected);
}

#[test]
fn an_exempt_connection_is_no_longer_exempt_with_a_timeout() {
    let mut roster = roster(hearing());
    let key = roster.insert(1, at(0));
    roster.exempt(key, at(0));
    assert_eq!(run(&mut roster, at(0), at(100)), []);
    assert_eq!(
        roster.set_silence_timeout(key, secs(150), at(100)),
        Ok(true)
    );
    let log = run(&mut roster, at(100), at(1000));
    assert_log(&log, RESOLUTION, &[(at(150), silent(1))]);
}

#[test]
fn the_next_in_an_exempt_place_is_not_exempt() {
    let mut roster = roster(hearing());
    let first = roster.insert(1, at(0));
    roster.exempt(first, at(0));
    roster.remove(first);
    let second = roster.insert(2, at(5));
    assert_eq!(first.index(), second.index());
    let log = run(&mut roster, at(5), at(1000));
    assert_log(&log, RESOLUTION, &[(at(65), silent(2))]);
}

#[test]
fn a_connection_may_have_a_shorter_or_a_longer_limit_of_its_own() {
    for resolution in [millis(1), RESOLUTION, secs(1)] {
        let mut roster = resolving(hearing(), resolution, at(0));
        let mut expected = Vec::new();
        for name in 0..200 {
            let key = roster.insert(name, at_ms(u64::from(name)));
            let own = 1000 + u64::from(name) * 997;
            if name % 3 == 0 {
                expected.push((at_ms(60_000 + u64::from(name)), silent(name)));
            } else {
                let set = roster.set_silence_timeout(key, millis(own), at_ms(u64::from(name)));
                assert_eq!(set, Ok(true));
                expected.push((at_ms(own + u64::from(name)), silent(name)));
            }
        }
        let log = run(&mut roster, at_ms(200), at(1000));
        assert_log(&log, resolution, &expected);
    }
}

#[test]
fn who_comes_after_a_timeout_was_set_has_the_usual_one() {
    let mut roster = roster(hearing());
    let first = roster.insert(1, at(0));
    roster.set_silence_timeout(first, secs(10), at(0)).unwrap();
    for name in 2..100 {
        roster.insert(name, at(0));
    }
    let log = run(&mut roster, at(0), at(20));
    assert_log(&log, RESOLUTION, &[(at(10), silent(1))]);
    assert_eq!(roster.insert(100, at(20)).index(), first.index());
    let log = run(&mut roster, at(20), at(61));
    assert_eq!(log.len(), 98);
    let log = run(&mut roster, at(61), at(100));
    assert_log(&log, RESOLUTION, &[(at(80), silent(100))]);
}

#[test]
fn a_timeout_may_be_changed_and_the_clock_runs_on() {
    let mut roster = roster(hearing());
    let key = roster.insert(1, at(0));
    roster.set_silence_timeout(key, secs(100), at(10)).unwrap();
    assert_eq!(run(&mut roster, at(10), at(95)), []);
    roster.set_silence_timeout(key, secs(120), at(95)).unwrap();
    assert_eq!(run(&mut roster, at(95), at(110)), []);
    roster.set_silence_timeout(key, secs(115), at(110)).unwrap();
    let log = run(&mut roster, at(110), at(1000));
    assert_log(&log, RESOLUTION, &[(at(115), silent(1))]);
}

#[test]
fn a_limit_that_is_thereby_past_falls_due_at_once() {
    let mut roster = roster(hearing());
    let key = roster.insert(1, at(0));
    let other = roster.insert(2, at(0));
    roster.set_silence_timeout(key, secs(20), at(30)).unwrap();
    let due = roster.deadline().unwrap();
    assert!(due <= at(30), "{due:?}");
    assert_eq!(stuck(&mut roster, at(30)), [silent(1)]);
    assert!(roster.contains(other));
}

#[test]
fn a_limit_that_is_thereby_past_by_far_is_no_stall() {
    let mut roster = roster(hearing());
    let key = roster.insert(1, at(0));
    roster.set_silence_timeout(key, secs(1), at(50)).unwrap();
    assert_eq!(stuck(&mut roster, at(50)), [silent(1)]);
    assert_eq!(roster.counters().stalls, 0);
}

#[test]
fn a_timeout_without_a_usual_one_is_the_only_one() {
    let mut roster = roster(bare_server());
    let key = roster.insert(1, at(0));
    roster.insert(2, at(0));
    roster.set_silence_timeout(key, secs(30), at(5)).unwrap();
    let log = run(&mut roster, at(5), at(10_000));
    assert_log(&log, RESOLUTION, &[(at(30), silent(1))]);
    assert_eq!(roster.len(), 1);
}

#[test]
fn evidence_counts_for_a_timeout_of_its_own_too() {
    let mut roster = roster(hearing().with_evidence(Evidence::Heartbeats));
    let key = roster.insert(1, at(0));
    roster.set_silence_timeout(key, secs(10), at(0)).unwrap();
    roster.heartbeat_received(key, at(8));
    roster.received(key, at(15));
    let log = run(&mut roster, at(15), at(100));
    assert_log(&log, RESOLUTION, &[(at(18), silent(1))]);
}

#[test]
fn the_tolerance_shrinks_with_the_shortest_timeout() {
    // A quarter of 60 s, but at most 5 s.
    let config = bare_server().with_silence_timeout(secs(60));
    let late = |own: Option<u64>, late: u64| {
        let mut roster = roster(config);
        let key = roster.insert(1, at(0));
        let limit = own.map_or(60_000, |own| own * 1000);
        if let Some(own) = own {
            roster.set_silence_timeout(key, secs(own), at(0)).unwrap();
        }
        // Up to there on time, lest an early deadline be what is missed.
        assert_eq!(run(&mut roster, at(0), at_ms(limit - 1)), []);
        let closed = stuck(&mut roster, at_ms(limit + late)).len();
        (closed, roster.counters().stalls)
    };
    assert_eq!(late(None, 4_900), (1, 0));
    assert_eq!(late(None, 5_100), (0, 1));
    // A quarter of 4 s.
    assert_eq!(late(Some(4), 900), (1, 0));
    assert_eq!(late(Some(4), 1_100), (0, 1));
    // A longer one changes nothing.
    assert_eq!(late(Some(100), 4_900), (1, 0));
    assert_eq!(late(Some(100), 5_100), (0, 1));
}

#[test]
fn the_tolerance_is_never_less_than_the_resolution() {
    let config = bare_server().with_silence_timeout(secs(2));
    let mut roster = resolving(config, secs(1), at(0));
    roster.insert(1, at(0));
    let log = run(&mut roster, at(0), at(100));
    assert_log(&log, secs(1), &[(at(2), silent(1))]);
    assert_eq!(roster.counters().stalls, 0);
}

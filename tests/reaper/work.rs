//! How much is done at a time.

use nabiz::{Config, Reap};

use super::driver::*;

const MANY: u32 = if cfg!(debug_assertions) {
    200_000
} else {
    1_000_000
};

/// What one round of polls came to, up to a Yield or None.
#[derive(Debug, Default)]
struct Batch {
    beats: Vec<nabiz::Key>,
    closes: u32,
    is_last: bool,
}

fn batch(roster: &mut Roster, now: nabiz::Timestamp) -> Batch {
    let mut batch = Batch::default();
    loop {
        match roster.poll(now) {
            Some(Reap::Heartbeat { key, .. }) => batch.beats.push(key),
            Some(Reap::Close { .. }) => batch.closes += 1,
            Some(Reap::Yield) => return batch,
            None => {
                batch.is_last = true;
                return batch;
            }
        }
        let due = roster.deadline();
        assert!(
            due.is_some_and(|due| due <= now),
            "{due:?}: work may be left"
        );
    }
}

#[test]
fn a_million_that_fall_silent_together_are_closed_a_thousand_at_a_time() {
    let mut roster = roster(hearing());
    for name in 0..MANY {
        roster.insert(name, at(0));
    }
    let (mut closes, mut yields) = (0, 0);
    let mut now = roster.deadline().unwrap();
    loop {
        let batch = batch(&mut roster, now);
        assert!(batch.closes <= 1024 && batch.beats.is_empty());
        closes += batch.closes;
        if batch.is_last && roster.is_empty() {
            break;
        }
        now = match roster.deadline() {
            Some(due) => now.max(due),
            None => panic!("{} are left", roster.len()),
        };
        if !batch.is_last {
            yields += 1;
            assert!(roster.deadline() <= Some(now), "work is left");
        }
    }
    assert_eq!((closes, roster.counters().closed), (MANY, u64::from(MANY)));
    assert!(now <= plus(at(60), RESOLUTION));
    println!("{yields} pauses for {MANY}");
    assert!(
        (MANY / 1024..MANY / 256).contains(&yields),
        "{yields} pauses"
    );
}

#[test]
fn who_is_heard_of_between_two_pauses_is_not_closed() {
    let mut roster = roster(hearing());
    let keys: Vec<_> = (0..20_000).map(|name| roster.insert(name, at(0))).collect();
    let now = at(61);
    let (mut saved, mut closed) = (0, 0);
    let mut turn = 0;
    loop {
        let batch = batch(&mut roster, now);
        closed += batch.closes;
        if batch.is_last {
            break;
        }
        // Every other pause, a few more turn out to be alive.
        turn += 1;
        for key in keys.iter().skip(turn).step_by(40) {
            if roster.silence(*key, now) > Some(secs(1)) {
                saved += u32::from(roster.received(*key, now));
            }
        }
    }
    assert!(saved > 1000, "{saved}");
    assert_eq!(saved + closed, 20_000);
    let log = run(&mut roster, now, at(1000));
    assert_eq!(log.len(), saved as usize);
    assert!(
        log.iter()
            .all(|(when, _)| (at(121)..=at_ms(121_020)).contains(when))
    );
}

#[test]
fn who_is_removed_between_two_pauses_is_not_closed() {
    let mut roster = roster(hearing());
    let keys: Vec<_> = (0..20_000).map(|name| roster.insert(name, at(0))).collect();
    let mut closed = 0;
    let mut removed = 0;
    let mut turn = 0;
    loop {
        let batch = batch(&mut roster, at(61));
        closed += batch.closes;
        if batch.is_last {
            break;
        }
        turn += 1;
        for key in keys.iter().skip(turn).step_by(40) {
            removed += u32::from(roster.remove(*key).is_some());
        }
    }
    assert!(removed > 1000, "{removed}");
    assert_eq!((removed + closed, roster.len()), (20_000, 0));
}

#[test]
fn who_comes_between_two_pauses_stays() {
    let mut roster = roster(hearing());
    for name in 0..20_000 {
        roster.insert(name, at(0));
    }
    let (mut closed, mut came) = (0, 0);
    loop {
        let batch = batch(&mut roster, at(61));
        closed += batch.closes;
        if batch.is_last {
            break;
        }
        for _ in 0..50 {
            roster.insert(99_999, at(61));
            came += 1;
        }
    }
    assert_eq!((closed, roster.len()), (20_000, came));
    assert!(came >= 50 * 19);
}

#[test]
fn beats_to_a_million_come_a_thousand_at_a_time() {
    for config in [beating(), beating().with_spread_first_beat(true)] {
        let mut roster = roster(config.with_stall_tolerance(secs(100)));
        for name in 0..50_000 {
            roster.insert(name, at(0));
        }
        let now = at(11); // late, within the tolerance
        let mut beats = 0;
        loop {
            let batch = batch(&mut roster, now);
            assert!(batch.beats.len() <= 1024 && batch.closes == 0);
            for key in &batch.beats {
                assert!(roster.heartbeat_sent(*key, now));
            }
            beats += batch.beats.len();
            if batch.is_last {
                break;
            }
        }
        assert_eq!(beats, 50_000);
    }
}

#[test]
fn probes_of_a_million_come_a_thousand_at_a_time() {
    let mut roster = roster(hearing().with_interval(secs(1_000_000)));
    for name in 0..50_000 {
        roster.insert(name, at(0));
    }
    roster.resumed(at(30));
    let mut probes = 0;
    loop {
        let batch = batch(&mut roster, at(30));
        assert!(batch.beats.len() <= 1024 && batch.closes == 0);
        probes += batch.beats.len();
        if batch.is_last {
            break;
        }
    }
    assert_eq!(probes, 50_000);
}

#[test]
fn a_drain_of_a_million_at_once_comes_a_thousand_at_a_time() {
    let mut roster = roster(bare_server());
    for name in 0..50_000 {
        roster.insert(name, at(0));
    }
    roster.drain(secs(0), at(0));
    let mut closes = 0;
    loop {
        let batch = batch(&mut roster, at(0));
        assert!(batch.closes <= 1024);
        closes += batch.closes;
        if batch.is_last {
            break;
        }
    }
    assert_eq!(closes, 50_000);
}

#[test]
fn looking_at_who_needs_nothing_is_work_too() {
    let mut roster = roster(hearing());
    let keys: Vec<_> = (0..50_000).map(|name| roster.insert(name, at(0))).collect();
    for key in &keys {
        roster.received(*key, at(59));
    }
    let now = roster.deadline().unwrap();
    assert!(
        now <= at_ms(60_020),
        "{now:?}: what was heard is looked at then"
    );
    let mut pauses = 0;
    loop {
        let batch = batch(&mut roster, now);
        assert_eq!(batch.closes, 0);
        if batch.is_last {
            break;
        }
        pauses += 1;
    }
    assert!((48..100).contains(&pauses), "{pauses} pauses");
    assert!(roster.deadline() > Some(now));
}

#[test]
fn a_round_by_many_that_need_no_beat_comes_a_thousand_at_a_time() {
    let config = beating().with_spread_first_beat(true);
    let mut roster = roster(config.with_stall_tolerance(secs(100)));
    let keys: Vec<_> = (0..20_000).map(|name| roster.insert(name, at(0))).collect();
    for key in &keys {
        roster.sent(*key, at(9));
    }
    let mut pauses = 0;
    while !batch(&mut roster, at_ms(9_500)).is_last {
        pauses += 1;
    }
    assert!(pauses >= 10, "{pauses} pauses");
    assert!(roster.deadline() > Some(at_ms(9_500)));
}

#[test]
fn polls_too_many_change_nothing() {
    let config = Config::server()
        .with_silence_timeout(secs(70))
        .with_hello_timeout(secs(30))
        .with_max_age(secs(500))
        .with_max_age_jitter(nabiz::Ratio::percent(50));
    for seed in 0..20 {
        let lives = |spurious: bool| {
            let mut roster = roster(config);
            let mut dice = Dice(seed);
            let mut log = Vec::new();
            let mut now = at(0);
            let keys: Vec<_> = (0..200).map(|name| roster.insert(name, now)).collect();
            for _ in 0..300 {
                let next = plus(now, dice.span(secs(3)));
                log.extend(run(&mut roster, now, next));
                now = next;
                let chosen = usize::try_from(dice.below(200)).unwrap();
                roster.received(keys[chosen], now);
                let times = dice.below(5);
                if spurious {
                    for _ in 0..times {
                        log.extend(poll(&mut roster, now).into_iter().map(|did| (now, did)));
                    }
                }
            }
            log.extend(run(&mut roster, now, at(10_000)));
            log
        };
        assert_eq!(lives(false), lives(true), "seed {seed}");
    }
}

#[test]
fn within_a_reserved_capacity_everyone_is_closed_in_time() {
    for capacity in [1, 1000, 1024, 1025, 20_000, 300_000] {
        let mut roster = roster(hearing()).with_capacity(capacity);
        for name in 0..20_000 {
            roster.insert(name, at(0));
            // Deadlines of all kinds, so that groups differ.
            roster.insert(name, plus(at(0), millis(u64::from(name) % 977)));
        }
        let (mut closes, limit) = (0, secs(60));
        while let Some(now) = roster.deadline() {
            closes += batch(&mut roster, now).closes;
            assert!(now <= plus(plus(at(0), limit), secs(1)), "late: {now:?}");
        }
        assert_eq!(closes, 40_000, "capacity {capacity}");
    }
}

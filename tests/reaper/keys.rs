//! Who is in the roster, and which key opens what.

use core::hash::Hash;
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use nabiz::{Config, Key, Reap, Reaper};

use super::driver::*;

#[test]
fn a_key_opens_what_was_inserted_with_it() {
    let mut roster = roster(hearing());
    let keys: Vec<Key> = (0..200).map(|name| roster.insert(name, at(0))).collect();
    assert_eq!((roster.len(), roster.is_empty()), (200, false));
    for (name, key) in (0..).zip(&keys) {
        assert_eq!(roster.get(*key), Some(&name));
        assert!(roster.contains(*key));
        *roster.get_mut(*key).unwrap() += 1000;
    }
    for (name, key) in (1000..).zip(&keys) {
        assert_eq!(roster.remove(*key), Some(name));
    }
    assert_eq!((roster.len(), roster.is_empty()), (0, true));
}

#[test]
fn a_close_gives_back_what_was_inserted() {
    let mut roster = roster(hearing());
    let key = roster.insert(7, at(0));
    *roster.get_mut(key).unwrap() = 8;
    let due = roster.deadline().unwrap();
    let mut reap = roster.poll(due);
    if let Some(Reap::Yield) = reap {
        reap = roster.poll(due);
    }
    let expected = Reap::Close {
        key,
        value: 8,
        reason: PeerSilent,
        retry_after: None,
    };
    assert_eq!(reap, Some(expected));
    assert!(roster.is_empty());
}

#[test]
fn a_heartbeat_gives_the_value_to_change() {
    let mut roster = roster(beating());
    let key = roster.insert(7, at(0));
    let due = at(10);
    loop {
        match roster.poll(due) {
            Some(Reap::Heartbeat { key: asked, value }) => {
                assert_eq!((asked, *value), (key, 7));
                *value = 9;
                break;
            }
            Some(Reap::Yield) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(roster.get(key), Some(&9));
}

/// That no method takes this key for a connection.
#[track_caller]
fn assert_stale(roster: &mut Roster, key: Key) {
    let (before, counters) = (roster.len(), roster.counters());
    let now = at(1);
    assert!(!roster.received(key, now));
    assert!(!roster.heartbeat_received(key, now));
    assert!(!roster.sent(key, now));
    assert!(!roster.heartbeat_sent(key, now));
    assert!(!roster.exempt(key, now));
    let own = roster.set_silence_timeout(key, secs(31), now);
    assert_eq!(own, Ok(false));
    assert_eq!(roster.remove(key), None);
    assert_eq!(roster.get(key), None);
    assert_eq!(roster.get_mut(key), None);
    assert!(!roster.contains(key));
    assert_eq!(roster.silence(key, now), None);
    assert_eq!((roster.len(), roster.counters()), (before, counters));
}

#[test]
fn a_removed_key_is_stale_for_every_method() {
    let mut roster = roster(everything());
    let key = roster.insert(1, at(0));
    let other = roster.insert(2, at(0));
    assert_eq!(roster.remove(key), Some(1));
    assert_stale(&mut roster, key);
    assert_eq!(roster.get(other), Some(&2));
}

#[test]
fn a_closed_key_is_stale_for_every_method() {
    let mut roster = roster(hearing());
    let key = roster.insert(1, at(0));
    let log = run(&mut roster, at(0), at(100));
    assert_log(&log, RESOLUTION, &[(at(60), silent(1))]);
    assert_stale(&mut roster, key);
}

#[test]
fn a_drained_key_is_stale_for_every_method() {
    let mut roster = roster(hearing());
    let key = roster.insert(1, at(0));
    roster.drain(secs(0), at(0));
    assert_eq!(stuck(&mut roster, at(0)), [Did::Close(1, Draining)]);
    assert_stale(&mut roster, key);
}

#[test]
fn a_stale_key_is_refused_though_its_place_is_used_again() {
    let mut roster = roster(everything());
    let mut stale = Vec::new();
    for name in 0..20 {
        let key = roster.insert(name, at(0));
        assert_eq!(key.index(), 0, "places are used again");
        assert!(!stale.contains(&key));
        for old in &stale {
            assert_stale(&mut roster, *old);
        }
        assert_eq!(roster.get(key), Some(&name));
        roster.remove(key);
        stale.push(key);
    }
}

#[test]
fn what_is_told_with_a_stale_key_reaches_nobody_else() {
    let mut roster = roster(
        hearing()
            .with_interval(secs(100))
            .with_write_timeout(secs(1000))
            .with_hello_timeout(secs(30)),
    );
    let old = roster.insert(1, at(0));
    roster.remove(old);
    let new = roster.insert(2, at(0));
    assert_eq!(old.index(), new.index());
    for second in 1..30 {
        roster.received(old, at(second));
        roster.heartbeat_received(old, at(second));
        roster.exempt(old, at(second));
        roster
            .set_silence_timeout(old, secs(500), at(second))
            .unwrap();
    }
    assert!(roster.silence(new, at(29)) >= Some(millis(28_980)));
    let log = run(&mut roster, at(29), at(200));
    assert_log(&log, RESOLUTION, &[(at(30), Did::Close(2, NoHello))]);
}

#[test]
fn keys_that_were_never_given_are_stale() {
    let mut roster = roster(everything());
    for name in 0..10 {
        roster.insert(name, at(0));
    }
    for bits in (0..64)
        .map(|shift| 1u64 << shift)
        .chain([u64::MAX, 5 << 22, 3 << 22 | 2])
    {
        if let Some(key) = Key::from_bits(bits) {
            if !roster.contains(key) {
                assert_stale(&mut roster, key);
            }
        }
    }
    assert_eq!(roster.len(), 10);
}

#[test]
fn a_key_is_a_token_for_an_event_loop() {
    let mut roster = roster(hearing());
    let mut seen = HashSet::new();
    for name in 0..1000 {
        let key = roster.insert(name, at(0));
        let bits = key.into_bits();
        assert!(bits != 0 && seen.insert(bits));
        assert_eq!(Key::from_bits(bits), Some(key));
        if name % 3 == 0 {
            roster.remove(key);
        }
    }
    assert_eq!(Key::from_bits(0), None);
}

#[test]
fn a_key_is_eight_bytes_and_has_an_order() {
    fn keeps_to<T: Copy + Ord + Hash + core::fmt::Debug + Send + Sync + 'static>() {}
    fn moves<T: Clone + core::fmt::Debug + Send + Sync + 'static>() {}
    keeps_to::<Key>();
    moves::<Roster>();
    assert_eq!(size_of::<Key>(), 8);
    assert_eq!(size_of::<Option<Key>>(), 8);

    let mut roster = roster(hearing());
    let keys: Vec<Key> = (0..300).map(|name| roster.insert(name, at(0))).collect();
    let sorted: BTreeSet<Key> = keys.iter().copied().collect();
    assert!(sorted.into_iter().eq(keys), "places are given in order");
}

#[test]
fn places_stay_few() {
    let mut roster = roster(hearing());
    let mut keys: Vec<Key> = (0..1000).map(|name| roster.insert(name, at(0))).collect();
    let mut dice = Dice(3);
    for name in 1000..5000 {
        let chosen = usize::try_from(dice.below(1000)).unwrap();
        roster.remove(keys[chosen]).unwrap();
        keys[chosen] = roster.insert(name, at(0));
        assert!(keys[chosen].index() < 1024);
    }
    let places: HashSet<usize> = keys.iter().map(|key| key.index()).collect();
    assert_eq!(places.len(), 1000);
}

#[test]
fn iter_goes_by_place_and_gives_each_once() {
    let mut roster = roster(hearing());
    let keys: Vec<Key> = (0..500).map(|name| roster.insert(name, at(0))).collect();
    for key in keys.iter().step_by(3) {
        roster.remove(*key);
    }
    let all: Vec<(Key, u32)> = roster.iter().map(|(key, name)| (key, *name)).collect();
    let expected: Vec<u32> = (0..500).filter(|name| name % 3 != 0).collect();
    assert!(all.iter().map(|(_, name)| *name).eq(expected));
    assert!(all.iter().all(|(key, name)| roster.get(*key) == Some(name)));
    assert!((&roster).into_iter().eq(roster.iter()));

    let mut some = roster.iter();
    assert_eq!((some.len(), some.size_hint()), (333, (333, Some(333))));
    some.next();
    assert_eq!(some.size_hint(), (332, Some(332)));
    assert_eq!(format!("{some:?}"), "Iter { place: 2, .. }");
    assert!(some.clone().eq(some), "a clone goes on from where it was");
}

#[test]
fn an_empty_roster_has_nobody() {
    let mut roster = roster(everything());
    assert_eq!((roster.len(), roster.is_empty()), (0, true));
    assert_eq!(roster.iter().count(), 0);
    assert_eq!(roster.deadline(), None);
    idle(&mut roster, at(0));
    assert_eq!(roster.counters(), nabiz::Counters::default());
}

#[test]
fn values_are_dropped_once() {
    let value = Rc::new(());
    let config = hearing().build().unwrap();
    let mut roster = Reaper::new(config, SEED, at(0)).unwrap();
    let keys: Vec<Key> = (0..100)
        .map(|_| roster.insert(value.clone(), at(0)))
        .collect();
    assert_eq!(Rc::strong_count(&value), 101);
    for key in &keys[..40] {
        assert!(roster.remove(*key).is_some());
    }
    assert_eq!(Rc::strong_count(&value), 61);
    let more: Vec<Key> = (0..10)
        .map(|_| roster.insert(value.clone(), at(59)))
        .collect();
    while let Some(reap) = roster.poll(at(61)) {
        drop(reap);
    }
    assert_eq!((roster.len(), Rc::strong_count(&value)), (10, 11));
    let copy = roster.clone();
    assert_eq!(Rc::strong_count(&value), 21);
    drop(roster);
    assert_eq!(Rc::strong_count(&value), 11);
    assert!(more.iter().all(|key| copy.contains(*key)));
    drop(copy);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn values_need_no_size() {
    let mut roster = Reaper::new(hearing().build().unwrap(), SEED, at(0)).unwrap();
    let keys: Vec<Key> = (0..100).map(|_| roster.insert((), at(0))).collect();
    assert_eq!(roster.remove(keys[5]), Some(()));
    assert_eq!(roster.remove(keys[5]), None);
    assert_eq!(
        (roster.get(keys[5]), roster.get(keys[6])),
        (None, Some(&()))
    );
    assert_eq!((roster.iter().count(), roster.len()), (99, 99));
    let mut closed = 0;
    while let Some(reap) = roster.poll(at(61)) {
        closed += u32::from(matches!(reap, Reap::Close { value: (), .. }));
    }
    assert_eq!((closed, roster.len()), (99, 0));
}

#[test]
fn a_clone_goes_its_own_way_and_replays_the_same() {
    let mut one = roster(everything());
    let keys: Vec<Key> = (0..300).map(|name| one.insert(name, at(0))).collect();
    run(&mut one, at(0), at(20));
    let mut other = one.clone();
    for key in &keys {
        other.received(*key, at(20));
    }
    for key in &keys {
        one.received(*key, at(20));
    }
    assert_eq!(
        run(&mut one, at(20), at(4000)),
        run(&mut other, at(20), at(4000))
    );
    assert_eq!(one.counters(), other.counters());
    assert!(one.is_empty());
}

#[test]
fn the_same_seed_replays_and_another_does_not() {
    let ages = |seed| {
        let config = everything()
            .without_silence_timeout()
            .without_hello_timeout();
        let mut roster = Reaper::new(config.build().unwrap(), seed, at(0)).unwrap();
        for name in 0..100 {
            roster.insert(name, at(0));
        }
        run(&mut roster, at(0), at(4000))
    };
    assert_eq!(ages(1), ages(1));
    assert_ne!(ages(1), ages(2));
}

#[test]
fn counters_tell_what_happened() {
    let mut roster = roster(hearing().with_interval(secs(50)));
    let counted = |roster: &Roster| {
        let counters = roster.counters();
        (
            (counters.inserted, counters.removed, counters.closed),
            (counters.heartbeats, counters.stalls),
        )
    };
    let keys: Vec<Key> = (0..5).map(|name| roster.insert(name, at(0))).collect();
    assert_eq!(counted(&roster), ((5, 0, 0), (0, 0)));
    roster.remove(keys[0]);
    roster.remove(keys[0]);
    assert_eq!(counted(&roster), ((5, 1, 0), (0, 0)));
    let beats = run(&mut roster, at(0), at(59)).len();
    assert_eq!(counted(&roster), ((5, 1, 0), (4, 0)));
    assert_eq!(beats, 4);
    roster.resumed(at(59));
    assert_eq!(counted(&roster), ((5, 1, 0), (4, 1)));
    assert_eq!(poll(&mut roster, at(59)).len(), 4, "the probes");
    run(&mut roster, at(59), at(200));
    assert_eq!(roster.counters().closed, 4);
    roster.insert(9, at(200));
    roster.drain(secs(0), at(200));
    idle_but(&mut roster, Did::Close(9, Draining));
    assert_eq!(roster.counters().closed, 5);
}

#[track_caller]
fn idle_but(roster: &mut Roster, did: Did) {
    assert_eq!(stuck(roster, at(200)), [did]);
}

#[test]
fn a_capacity_is_there_from_the_start_and_grows() {
    let config = hearing().build().unwrap();
    let mut roster: Roster = Reaper::new(config, SEED, at(0)).unwrap();
    roster = roster.with_capacity(1000);
    let capacity = roster.capacity();
    assert!((1000..1100).contains(&capacity), "{capacity}");
    assert!(roster.is_empty());
    for name in 0..1000 {
        roster.insert(name, at(0));
    }
    assert_eq!(roster.capacity(), capacity);
    for name in 0..1000 {
        roster.insert(name, at(0));
    }
    assert!(roster.capacity() >= 2000);
    assert_eq!(roster.iter().count(), 2000);
}

#[test]
fn a_roster_keeps_its_configuration() {
    let config = Config::server().build().unwrap();
    let roster: Roster = Reaper::new(config, SEED, at(0)).unwrap();
    assert_eq!(
        (roster.config(), roster.resolution()),
        (&config, RESOLUTION)
    );
    let roster = roster.with_resolution(millis(7)).unwrap();
    assert_eq!(roster.resolution(), millis(7));
}

#[test]
fn it_says_what_it_is_in_debug() {
    let mut roster = roster(hearing());
    let key = roster.insert(77, at(0));
    let text = format!(
        "{roster:?} {key:?} {:?} {:?}",
        roster.iter(),
        roster.counters()
    );
    assert!(text.contains("Reaper") && text.len() < 5000, "{text}");
}

/// Over more than the 2²² keys that a place has to give.
#[test]
fn a_key_is_refused_for_ever() {
    let mut roster = roster(hearing());
    let first = roster.insert(0, at(0));
    roster.remove(first);
    let mut last = first;
    let mut places = HashSet::new();
    for turn in 0..(1 << 22) + 1000 {
        let key = roster.insert(0, at(0));
        assert!(key != last && key != first, "turn {turn}");
        if turn % 4096 == 0 || turn >= (1 << 22) - 2 {
            assert!(
                !roster.contains(first) && !roster.contains(last),
                "turn {turn}"
            );
        }
        places.insert(key.index());
        roster.remove(key);
        last = key;
    }
    assert_eq!(
        places,
        HashSet::from([0, 1]),
        "a place that is used up is left alone"
    );
    assert!(roster.is_empty());
    assert_eq!(run(&mut roster, at(0), at(1000)), []);
}

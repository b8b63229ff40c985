//! Peers whose heartbeats come too fast.

use nabiz::{Action, CloseReason, Event, Session};

use super::driver::*;

fn limited() -> nabiz::ConfigBuilder {
    bare_server()
        .with_silence_timeout(secs(60))
        .with_flood(secs(10), 3)
        .with_stall_tolerance(secs(2))
}

#[test]
fn the_bucket_holds_strikes_and_refills_by_the_gap() {
    let mut roster = roster(limited());
    let key = roster.insert(1, at(0));
    for _ in 0..3 {
        roster.heartbeat_received(key, at(20));
    }
    idle(&mut roster, at(20));
    roster.heartbeat_received(key, at(30));
    idle(&mut roster, at(30));
    roster.heartbeat_received(key, at(39));
    assert_eq!(stuck(&mut roster, at(39)), [Did::Close(1, Flooded)]);
    assert_eq!(stuck(&mut roster, at(39)), []);
}

#[test]
fn bytes_that_are_no_heartbeat_cost_nothing() {
    let mut roster = roster(limited());
    let key = roster.insert(1, at(0));
    for _ in 0..1000 {
        roster.received(key, at(1));
        roster.sent(key, at(1));
    }
    idle(&mut roster, at(1));
}

#[test]
fn a_flooded_connection_is_due_at_once() {
    let mut roster = roster(limited());
    let key = roster.insert(1, at(0));
    for _ in 0..4 {
        roster.heartbeat_received(key, at(20));
    }
    assert!(roster.deadline() <= Some(at(20)));
    assert!(roster.contains(key), "verdicts are taken in poll only");
}

#[test]
fn a_flooded_connection_is_closed_at_the_next_poll_whatever_comes() {
    let mut roster = roster(limited().with_interval(secs(100)));
    let keys: Vec<_> = (0..3).map(|name| roster.insert(name, at(0))).collect();
    for key in &keys {
        for _ in 0..4 {
            roster.heartbeat_received(*key, at(20));
        }
    }
    roster.received(keys[0], at(21));
    roster.heartbeat_received(keys[0], at(59));
    roster.exempt(keys[1], at(59));
    roster.resumed(at(90));
    let did = stuck(&mut roster, at(150));
    let flooded: Vec<_> = (0..3).map(|name| Did::Close(name, Flooded)).collect();
    assert_eq!(did, flooded);
}

#[test]
fn a_flooded_connection_may_be_removed() {
    let mut roster = roster(limited());
    let key = roster.insert(1, at(0));
    for _ in 0..4 {
        roster.heartbeat_received(key, at(20));
    }
    roster.remove(key);
    roster.insert(2, at(20));
    idle(&mut roster, at(20));
}

#[test]
fn beats_read_while_suspect_are_free() {
    let mut roster = roster(limited().with_flood(secs(1000), 1));
    let key = roster.insert(1, at(0));
    roster.heartbeat_received(key, at(10)); // the only token
    roster.resumed(at(30));
    idle(&mut roster, at(30));
    roster.heartbeat_received(key, at(50)); // suspect, past the tolerance
    idle(&mut roster, at(50));
    roster.heartbeat_received(key, at(51)); // no more
    assert_eq!(stuck(&mut roster, at(51)), [Did::Close(1, Flooded)]);
}

#[test]
fn beats_read_within_the_tolerance_after_a_stall_are_free_and_then_they_count() {
    let mut roster = roster(limited().with_flood(secs(10), 1));
    let key = roster.insert(1, at(0));
    for _ in 0..50 {
        roster.heartbeat_received(key, at(70)); // late
    }
    idle(&mut roster, at(70));
    for _ in 0..50 {
        roster.heartbeat_received(key, at(72));
    }
    idle(&mut roster, at(72));
    assert_eq!(roster.counters().stalls, 1);
    roster.heartbeat_received(key, at(73));
    idle(&mut roster, at(73));
    roster.heartbeat_received(key, at(74));
    assert_eq!(stuck(&mut roster, at(74)), [Did::Close(1, Flooded)]);
}

#[test]
fn beats_read_after_a_later_stall_are_free_too() {
    let mut roster = roster(limited().with_flood(secs(10), 1));
    let key = roster.insert(1, at(0));
    roster.resumed(at(50));
    idle(&mut roster, at(50));
    for _ in 0..50 {
        roster.heartbeat_received(key, at(200)); // due was 110 s
    }
    idle(&mut roster, at(200));
}

/// Both are told the same; both are polled at each step, so that neither
/// stalls.
#[test]
fn a_roster_and_a_session_strike_alike_step_by_step() {
    for (gap, strikes) in [(1000, 1), (1000, 3), (100, 10), (777, 2), (5000, 5)] {
        for seed in 0..60 {
            let config = bare_server()
                .with_silence_timeout(secs(1000))
                .with_flood(millis(gap), strikes)
                .with_stall_tolerance(secs(2));
            let mut session = Session::new(config.build().unwrap(), SEED, at(0));
            let mut roster = roster(config);
            let key = roster.insert(1, at(0));
            let mut dice = Dice(seed);
            let mut milli = 0;
            for step in 0..300 {
                let most = [gap / 3, gap, gap * 3, 0][usize::try_from(dice.below(4)).unwrap()];
                milli += dice.below(most + 1);
                let now = at_ms(milli);
                match dice.below(40) {
                    0 => {
                        session.handle(Event::Resumed, now);
                        roster.resumed(now);
                    }
                    1..8 => {
                        session.handle(Event::Received, now);
                        roster.received(key, now);
                    }
                    _ => {
                        session.handle(Event::HeartbeatReceived, now);
                        roster.heartbeat_received(key, now);
                    }
                }
                let alone = session.poll(now);
                let all = stuck(&mut roster, now);
                let flooded = alone == Some(Action::Close(CloseReason::Flooded));
                assert_eq!(all.len(), usize::from(flooded), "seed {seed}, step {step}");
                if flooded {
                    assert_eq!(all, [Did::Close(1, Flooded)]);
                    break;
                }
                assert_eq!(alone, None);
            }
        }
    }
}

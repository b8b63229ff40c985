//! A client and a server against each other, through a wire that delays,
//! loses and breaks; in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs
)]

mod common;

use core::time::Duration;

use common::wire::{Pair, Side, What};
use common::*;
use nabiz::{Action, CloseReason, Config, Phase, Timestamp};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The silence that either end bears by default.
const LIMIT: u64 = 120;
/// A delay of the wire, twice over.
const MARGIN: Duration = millis(100);

fn default_pair(seed: u64) -> Pair {
    let client = Config::client().build().unwrap();
    let server = Config::server().build().unwrap();
    assert_eq!(client.compatible_with(&server), Ok(()));
    Pair::new(client, server, seed)
}

fn plus(instant: Timestamp, span: Duration) -> Timestamp {
    instant.checked_add(span).unwrap()
}

/// How often the client's link came up.
fn ups(pair: &Pair) -> Vec<Timestamp> {
    pair.times(Side::Client, What::Up)
}

/// That the one verdict of that side is the peer's silence, one limit after
/// what it last heard before `since`.
#[track_caller]
fn noticed(pair: &Pair, side: Side, since: u64) {
    let closes = pair.closes();
    let own: Vec<_> = closes.iter().filter(|(_, by, _)| *by == side).collect();
    let own: Vec<_> = own
        .into_iter()
        .filter(|(_, _, reason)| *reason != CloseReason::ConnectTimeout)
        .collect();
    assert_eq!(own.len(), 1, "{closes:?}");
    let (when, _, reason) = own[0];
    assert_eq!(*reason, CloseReason::PeerSilent);
    assert!(*when <= plus(at(since + LIMIT), MARGIN), "late: {when:?}");
    // Beats come every 55 s at least, so the last was that recent.
    assert!(*when >= at(since + LIMIT - 55), "early: {when:?}");
}

#[test]
fn an_idle_pair_stays_open_for_a_week() {
    for seed in 0..5 {
        let mut pair = default_pair(seed);
        pair.run(at(7 * DAY));
        assert_eq!(ups(&pair).len(), 1);
        assert_eq!(pair.closes(), []);
        assert_eq!(pair.servers.len(), 1);
        let (client, server) = (pair.client.status(at(7 * DAY)), &pair.servers[0].1);
        assert_eq!((client.phase, client.stalls), (Phase::Open, 0));
        assert_eq!(server.status(at(7 * DAY)).stalls, 0);
        // Nor do they beat more often than they must: 49.5 to 55 s each.
        let (least, most) = (7 * DAY / 55, 7 * DAY * 10 / 495 + 2);
        let beats = u64::from(client.heartbeats);
        assert!((least..=most).contains(&beats), "{beats} beats");
    }
}

#[test]
fn a_cut_is_noticed_by_both_ends_and_the_client_returns_when_it_is_mended() {
    for seed in 0..20 {
        let mut pair = default_pair(seed);
        pair.cut((at(HOUR), at(HOUR + 10 * MINUTE)));
        pair.run(at(2 * HOUR));
        noticed(&pair, Side::Client, HOUR);
        noticed(&pair, Side::Server, HOUR);
        let ups = ups(&pair);
        assert_eq!(ups.len(), 2);
        // The dial under way is abandoned, the wait after it is at most 120 s.
        let mended = at(HOUR + 10 * MINUTE);
        let latest = plus(mended, secs(20 + 120) + MARGIN);
        assert!(ups[1] > mended && ups[1] <= latest, "{:?}", ups[1]);
        assert_eq!(pair.servers.len(), 1);
    }
}

#[test]
fn a_cut_shorter_than_the_margin_is_not_noticed() {
    for seed in 0..20 {
        let mut pair = default_pair(seed);
        pair.cut((at(HOUR), at(HOUR + 50)));
        pair.run(at(2 * HOUR));
        assert_eq!((ups(&pair).len(), pair.closes().len()), (1, 0));
    }
}

#[test]
fn a_server_that_hears_nothing_closes_and_the_client_returns() {
    for seed in 0..20 {
        let mut pair = default_pair(seed);
        let mended = at(HOUR + 10 * MINUTE);
        pair.mute_client.push((at(HOUR), mended));
        pair.run(at(2 * HOUR));
        noticed(&pair, Side::Server, HOUR);
        let gone = pair.times(Side::Client, What::Gone);
        assert_eq!(gone.len(), 1, "the client hears of it");
        let ups = ups(&pair);
        assert_eq!(ups.len(), 2);
        assert!(ups[1] > mended && ups[1] <= plus(mended, secs(140) + MARGIN));
    }
}

#[test]
fn a_client_that_hears_nothing_closes_and_returns() {
    for seed in 0..20 {
        let mut pair = default_pair(seed);
        let mended = at(HOUR + 10 * MINUTE);
        pair.mute_server.push((at(HOUR), mended));
        pair.run(at(2 * HOUR));
        noticed(&pair, Side::Client, HOUR);
        let ups = ups(&pair);
        assert_eq!(ups.len(), 2);
        assert!(ups[1] > mended && ups[1] <= plus(mended, secs(140) + MARGIN));
        assert_eq!(pair.servers.len(), 1, "half-open links are gone");
    }
}

#[test]
fn a_frozen_client_is_closed_at_the_servers_limit_and_returns_when_it_thaws() {
    for seed in 0..20 {
        let mut pair = default_pair(seed);
        let thaw = at(HOUR + 10 * MINUTE);
        pair.frozen_client.push((at(HOUR), thaw));
        pair.run(at(2 * HOUR));
        noticed(&pair, Side::Server, HOUR);
        assert_eq!(pair.closes().len(), 1, "the client convicts nobody");
        assert_eq!(pair.times(Side::Client, What::Gone), [thaw]);
        let ups = ups(&pair);
        assert_eq!(ups.len(), 2);
        // It was a stable link: the first delay again.
        assert!(ups[1] > thaw && ups[1] <= plus(thaw, secs(1) + MARGIN));
    }
}

#[test]
fn a_frozen_server_convicts_nobody_when_it_thaws() {
    for seed in 0..50 {
        for length in [6, 20, 50, 60] {
            let mut pair = default_pair(seed);
            let freeze = (at(HOUR), at(HOUR + length));
            pair.frozen_server.push(freeze);
            pair.run(at(2 * HOUR));
            assert_eq!((ups(&pair).len(), pair.closes().len()), (1, 0));
        }
    }
}

#[test]
fn a_server_frozen_for_longer_is_left_and_convicts_nobody_either() {
    for seed in 0..20 {
        let mut pair = default_pair(seed);
        let thaw = at(HOUR + 10 * MINUTE);
        pair.frozen_server.push((at(HOUR), thaw));
        pair.run(at(2 * HOUR));
        noticed(&pair, Side::Client, HOUR);
        let closes = pair.closes();
        let by_server = closes.iter().filter(|(_, side, _)| *side == Side::Server);
        assert_eq!(by_server.count(), 0, "{closes:?}");
        assert!(ups(&pair)[1] > thaw);
        assert_eq!(pair.servers.len(), 1);
    }
}

#[test]
fn both_frozen_and_thawed_convict_nobody() {
    for seed in 0..50 {
        for length in [10, 100, 130, HOUR, DAY] {
            let mut pair = default_pair(seed);
            let freeze = (at(HOUR), at(HOUR + length));
            pair.frozen_client.push(freeze);
            pair.frozen_server.push(freeze);
            pair.run(at(2 * HOUR + length));
            assert_eq!((ups(&pair).len(), pair.closes().len()), (1, 0));
            let status = pair.client.status(at(2 * HOUR + length));
            assert_eq!((status.phase, status.suspect), (Phase::Open, false));
            assert!(!pair.servers[0].1.is_suspect());
        }
    }
}

#[test]
fn both_frozen_over_and_over_convict_nobody() {
    let mut pair = default_pair(3);
    for nap in 1..50 {
        let freeze = (at(nap * HOUR), at(nap * HOUR + 30 * MINUTE));
        pair.frozen_client.push(freeze);
        pair.frozen_server.push(freeze);
    }
    pair.run(at(51 * HOUR));
    assert_eq!((ups(&pair).len(), pair.closes().len()), (1, 0));
    assert_eq!(pair.client.status(at(51 * HOUR)).stalls, 49);
}

#[test]
fn both_frozen_while_the_wire_breaks_still_notice_it() {
    for seed in 0..20 {
        let mut pair = default_pair(seed);
        let freeze = (at(HOUR), at(2 * HOUR));
        pair.frozen_client.push(freeze);
        pair.frozen_server.push(freeze);
        pair.cut((at(HOUR), at(3 * HOUR)));
        pair.run(at(4 * HOUR));
        let verdicts: Vec<_> = pair
            .closes()
            .into_iter()
            .filter(|(_, _, reason)| *reason == CloseReason::PeerSilent)
            .map(|(when, ..)| when)
            .collect();
        assert_eq!(verdicts, [at(2 * HOUR + LIMIT); 2]);
        assert_eq!(ups(&pair).len(), 2);
    }
}

#[test]
fn a_thousand_clients_of_a_restarted_server_return_spread() {
    let restart = (at(HOUR), at(HOUR + 30));
    let mut returns: Vec<Timestamp> = (0..1000)
        .map(|seed| {
            let mut pair = default_pair(seed);
            pair.down.push(restart);
            pair.run(at(HOUR + 10 * MINUTE));
            let ups = ups(&pair);
            assert_eq!(ups.len(), 2, "all return, once");
            assert_eq!(pair.servers.len(), 1);
            ups[1]
        })
        .collect();
    returns.sort_unstable();
    assert!(returns[0] >= restart.1);
    // The wait that spans the restart is drawn from up to about 27 s.
    let busiest = |window: Duration| {
        let within = |first: &Timestamp| {
            let end = plus(*first, window);
            returns
                .iter()
                .filter(|at| *first <= **at && **at < end)
                .count()
        };
        returns.iter().map(within).max().unwrap()
    };
    assert!(busiest(millis(10)) <= 10, "{}", busiest(millis(10)));
    assert!(busiest(secs(1)) <= 120, "{}", busiest(secs(1)));
    // And nobody is kept waiting for long.
    assert!(*returns.last().unwrap() <= at(HOUR + 30 + 120 + 20));
}

#[test]
fn the_first_dials_after_a_restart_are_spread_too() {
    let mut dials: Vec<Timestamp> = (0..1000)
        .map(|seed| {
            let mut pair = default_pair(seed);
            pair.down.push((at(HOUR), at(HOUR + 1)));
            pair.run(at(HOUR + 10));
            let dial = What::Did(Action::Connect { attempt: 1 });
            pair.times(Side::Client, dial)[0]
        })
        .collect();
    dials.sort_unstable();
    let span = dials[999].saturating_duration_since(dials[0]);
    assert!(span > millis(950) && span <= secs(1), "{span:?}");
    let halfway = plus(dials[0], span / 2);
    let early = dials.iter().filter(|at| **at < halfway).count();
    assert!((400..600).contains(&early), "{early} in the first half");
}

#[test]
fn beats_of_a_fleet_that_connected_together_are_spread() {
    let mut firsts: Vec<Timestamp> = (0..1000)
        .map(|seed| {
            let mut pair = default_pair(seed);
            pair.run(at(56));
            pair.times(Side::Client, What::Did(beat(1)))[0]
        })
        .collect();
    firsts.sort_unstable();
    let span = firsts[999].saturating_duration_since(firsts[0]);
    assert!(span > secs(54), "{span:?}");
}

/// A client that pings every 10 s, a server that answers and does nothing else.
fn pinging(seed: u64, count: u16) -> Pair {
    let client = Config::client()
        .with_interval(secs(10))
        .without_silence_timeout()
        .with_max_unanswered(count)
        .build()
        .unwrap();
    let server = Config::server()
        .without_interval()
        .with_silence_timeout(secs(60))
        .build()
        .unwrap();
    assert_eq!(client.compatible_with(&server), Ok(()));
    let mut pair = Pair::new(client, server, seed);
    pair.answers = true;
    pair
}

#[test]
fn a_lossy_wire_is_borne_by_the_count_of_unanswered() {
    for seed in 0..10 {
        let mut pair = pinging(seed, 5);
        pair.loss = 20;
        pair.run(at(DAY));
        // The dial itself may be lost; after that nothing is given up.
        let lasting = pair.closes();
        let lasting = lasting
            .iter()
            .filter(|(_, _, reason)| *reason != CloseReason::ConnectTimeout);
        assert_eq!(lasting.count(), 0);
        let status = pair.client.status(at(DAY));
        assert_eq!(status.rtt, Some(2 * pair.delay));
        assert_eq!(status.rtt_smoothed, status.rtt);
    }
}

#[test]
fn a_lossy_wire_is_not_borne_by_a_count_of_one() {
    let mut pair = pinging(1, 1);
    pair.loss = 20;
    pair.run(at(DAY));
    assert!(ups(&pair).len() > 10, "{}", ups(&pair).len());
    assert_eq!(pair.client.phase(), Phase::Open);
}

#[test]
fn a_wire_that_loses_all_is_noticed_when_the_count_is_full() {
    for seed in 0..20 {
        let mut pair = pinging(seed, 3);
        pair.cut((at(HOUR), at(DAY)));
        pair.run(at(HOUR + 100));
        let closes = pair.closes();
        let by = |side| {
            let mut own = closes.iter().filter(move |(_, by, _)| *by == side);
            *own.next().unwrap()
        };
        // The first ping into the void comes within 10 s, the fourth convicts.
        let (when, _, reason) = by(Side::Client);
        assert_eq!(reason, CloseReason::NoAnswer);
        assert!(when > at(HOUR + 3 * 9 - 1) && when <= at(HOUR + 4 * 10));
        let (when, _, reason) = by(Side::Server);
        assert_eq!(reason, CloseReason::PeerSilent);
        assert!(when > at(HOUR + 50 - 1) && when <= plus(at(HOUR + 60), MARGIN));
    }
}

#[test]
fn a_sleeping_laptop_learns_by_its_probe_that_the_link_is_gone() {
    for seed in 0..20 {
        let mut pair = pinging(seed, 3);
        let wake = HOUR + 10 * MINUTE;
        pair.frozen_client.push((at(HOUR), at(wake)));
        // The server gave up meanwhile, and its word of it was lost.
        pair.mute_server.push((at(HOUR), at(wake)));
        pair.run(at(2 * HOUR));
        let closes = pair.closes();
        let by_client = closes.iter().find(|(_, side, _)| *side == Side::Client);
        // One probe at once, 10 s for its answer.
        let expected = (at(wake + 10), Side::Client, CloseReason::NoAnswer);
        assert_eq!(by_client, Some(&expected));
        assert_eq!(ups(&pair).len(), 2);
    }
}

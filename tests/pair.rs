//! A client and a server against each other, through a wire that delays,
//! loses and breaks; in virtual time. Both are under watch of the laws.

#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs
)]

mod common;

use core::ops::Range;
use core::time::Duration;

use common::*;
use nabiz::testing::world::{Happening, Plan, SessionEnd, Side, What, Who, World};
use nabiz::{Action, CloseReason, Config, Phase, Ratio, Status, Timestamp};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The silence that either end bears by default.
const LIMIT: u64 = 120;
const DELAY: Duration = millis(50);
/// A delay of the wire, twice over.
const MARGIN: Duration = millis(100);

type Pair = World<SessionEnd, SessionEnd>;

fn pair(client: Config, server: Config, seed: u64, answers: bool, plan: Plan) -> Pair {
    assert_eq!(client.compatible_with(&server), Ok(()));
    let end = move |config, seed, now| {
        let end = SessionEnd::new(config, seed, now);
        if answers { end.answering() } else { end }
    };
    let accept = move |link, now| end(server, seed ^ (u64::from(link) << 32), now);
    let plan = plan.with_seed(seed);
    World::new(end(client, seed, at(0)), accept, plan)
}

fn default_pair(seed: u64, plan: Plan) -> Pair {
    let client = Config::client().build().unwrap();
    let server = Config::server().build().unwrap();
    pair(client, server, seed, false, plan)
}

/// A wire that keeps nothing of what it loses, the word of a close neither.
fn wire() -> Plan {
    Plan::new().over_datagrams().with_delay(DELAY)
}

/// Nothing gets through that these send.
fn cut(who: Who, period: Range<Timestamp>) -> Plan {
    wire().with(Happening::Cut(who, period))
}

fn frozen(who: Who, period: Range<Timestamp>) -> Plan {
    wire().with(Happening::Freeze(who, period))
}

fn down(period: Range<Timestamp>) -> Plan {
    wire().with(Happening::Down(period))
}

/// What the sessions at that end asked for, the latest last.
fn said(pair: &Pair, side: Side) -> Vec<(Timestamp, Action)> {
    let ends: Vec<_> = match side {
        Side::Client => vec![pair.client()],
        Side::Server => pair.past_servers().iter().chain(pair.servers()).collect(),
    };
    let mut said: Vec<_> = ends
        .into_iter()
        .flat_map(SessionEnd::said)
        .copied()
        .collect();
    said.sort_by_key(|(when, _)| *when);
    said
}

/// When the client asked for that.
fn times(pair: &Pair, action: Action) -> Vec<Timestamp> {
    let said = said(pair, Side::Client).into_iter();
    said.filter(|(_, did)| *did == action)
        .map(|(when, _)| when)
        .collect()
}

/// What either end closed for, and when.
fn closes(pair: &Pair) -> Vec<(Timestamp, Side, CloseReason)> {
    let of = |side| {
        let said = said(pair, side).into_iter();
        said.filter_map(move |(when, action)| match action {
            Action::Close(reason) => Some((when, side, reason)),
            _ => None,
        })
    };
    let mut closes: Vec<_> = of(Side::Client).chain(of(Side::Server)).collect();
    closes.sort_by_key(|(when, ..)| *when);
    closes
}

fn status(pair: &Pair) -> Status {
    pair.client().session().session().status(pair.now())
}

/// The statuses of the server's ends.
fn server_statuses(pair: &Pair) -> Vec<Status> {
    let ends = pair.servers();
    ends.map(|end| end.session().session().status(pair.now()))
        .collect()
}

fn plus(instant: Timestamp, span: Duration) -> Timestamp {
    instant.checked_add(span).unwrap()
}

/// That the one verdict of that side is the peer's silence, one limit after
/// what it last heard before `since`.
#[track_caller]
fn noticed(pair: &Pair, side: Side, since: u64) {
    let closes = closes(pair);
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
        let mut pair = default_pair(seed, wire());
        pair.run(at(7 * DAY));
        assert_eq!(pair.ups().len(), 1);
        assert_eq!(closes(&pair), []);
        assert_eq!(pair.servers().len(), 1);
        let (client, server) = (status(&pair), server_statuses(&pair)[0]);
        assert_eq!((client.phase, client.stalls), (Phase::Open, 0));
        assert_eq!(server.stalls, 0);
        // Nor do they beat more often than they must: 49.5 to 55 s each.
        let (least, most) = (7 * DAY / 55, 7 * DAY * 10 / 495 + 2);
        let beats = u64::from(client.heartbeats);
        assert!((least..=most).contains(&beats), "{beats} beats");
    }
}

#[test]
fn a_cut_is_noticed_by_both_ends_and_the_client_returns_when_it_is_mended() {
    for seed in 0..20 {
        let hole = at(HOUR)..at(HOUR + 10 * MINUTE);
        let mut pair = default_pair(seed, cut(Who::Both, hole));
        pair.run(at(2 * HOUR));
        noticed(&pair, Side::Client, HOUR);
        noticed(&pair, Side::Server, HOUR);
        let ups = pair.ups();
        assert_eq!(ups.len(), 2);
        // The dial under way is abandoned, the wait after it is at most 120 s.
        let mended = at(HOUR + 10 * MINUTE);
        let latest = plus(mended, secs(20 + 120) + MARGIN);
        assert!(ups[1] > mended && ups[1] <= latest, "{:?}", ups[1]);
        assert_eq!(pair.servers().len(), 1);
    }
}

#[test]
fn a_cut_shorter_than_the_margin_is_not_noticed() {
    for seed in 0..20 {
        let hole = at(HOUR)..at(HOUR + 50);
        let mut pair = default_pair(seed, cut(Who::Both, hole));
        pair.run(at(2 * HOUR));
        assert_eq!((pair.ups().len(), closes(&pair).len()), (1, 0));
    }
}

#[test]
fn a_server_that_hears_nothing_closes_and_the_client_returns() {
    for seed in 0..20 {
        let mended = at(HOUR + 10 * MINUTE);
        let mut pair = default_pair(seed, cut(Who::Client, at(HOUR)..mended));
        pair.run(at(2 * HOUR));
        noticed(&pair, Side::Server, HOUR);
        let gone = pair.times(Side::Client, What::Down);
        assert_eq!(gone.len(), 1, "the client hears of it");
        let ups = pair.ups();
        assert_eq!(ups.len(), 2);
        assert!(ups[1] > mended && ups[1] <= plus(mended, secs(140) + MARGIN));
    }
}

#[test]
fn a_client_that_hears_nothing_closes_and_returns() {
    for seed in 0..20 {
        let mended = at(HOUR + 10 * MINUTE);
        let mut pair = default_pair(seed, cut(Who::Server, at(HOUR)..mended));
        pair.run(at(2 * HOUR));
        noticed(&pair, Side::Client, HOUR);
        let ups = pair.ups();
        assert_eq!(ups.len(), 2);
        assert!(ups[1] > mended && ups[1] <= plus(mended, secs(140) + MARGIN));
        assert_eq!(pair.servers().len(), 1, "half-open links are gone");
    }
}

#[test]
fn a_frozen_client_is_closed_at_the_servers_limit_and_returns_when_it_thaws() {
    for seed in 0..20 {
        let thaw = at(HOUR + 10 * MINUTE);
        let mut pair = default_pair(seed, frozen(Who::Client, at(HOUR)..thaw));
        pair.run(at(2 * HOUR));
        noticed(&pair, Side::Server, HOUR);
        assert_eq!(closes(&pair).len(), 1, "the client convicts nobody");
        assert_eq!(pair.times(Side::Client, What::Down), [thaw]);
        let ups = pair.ups();
        assert_eq!(ups.len(), 2);
        // It was a stable link: the first delay again.
        assert!(ups[1] > thaw && ups[1] <= plus(thaw, secs(1) + MARGIN));
    }
}

#[test]
fn a_frozen_server_convicts_nobody_when_it_thaws() {
    for seed in 0..50 {
        for length in [6, 20, 50, 60] {
            let freeze = at(HOUR)..at(HOUR + length);
            let mut pair = default_pair(seed, frozen(Who::Server, freeze));
            pair.run(at(2 * HOUR));
            assert_eq!((pair.ups().len(), closes(&pair).len()), (1, 0));
        }
    }
}

#[test]
fn a_server_frozen_for_longer_is_left_and_convicts_nobody_either() {
    for seed in 0..20 {
        let thaw = at(HOUR + 10 * MINUTE);
        let mut pair = default_pair(seed, frozen(Who::Server, at(HOUR)..thaw));
        pair.run(at(2 * HOUR));
        noticed(&pair, Side::Client, HOUR);
        let closes = closes(&pair);
        let by_server = closes.iter().filter(|(_, side, _)| *side == Side::Server);
        assert_eq!(by_server.count(), 0, "{closes:?}");
        assert!(pair.ups()[1] > thaw);
        assert_eq!(pair.servers().len(), 1);
    }
}

#[test]
fn both_frozen_and_thawed_convict_nobody() {
    for seed in 0..50 {
        for length in [10, 100, 130, HOUR, DAY] {
            let freeze = at(HOUR)..at(HOUR + length);
            let mut pair = default_pair(seed, frozen(Who::Both, freeze));
            pair.run(at(2 * HOUR + length));
            assert_eq!((pair.ups().len(), closes(&pair).len()), (1, 0));
            let status = status(&pair);
            assert_eq!((status.phase, status.suspect), (Phase::Open, false));
            assert!(!server_statuses(&pair)[0].suspect);
        }
    }
}

#[test]
fn both_frozen_over_and_over_convict_nobody() {
    let plan = (1..50).fold(wire(), |plan, nap| {
        let freeze = at(nap * HOUR)..at(nap * HOUR + 30 * MINUTE);
        plan.with(Happening::Freeze(Who::Both, freeze))
    });
    let mut pair = default_pair(3, plan);
    pair.run(at(51 * HOUR));
    assert_eq!((pair.ups().len(), closes(&pair).len()), (1, 0));
    assert_eq!(status(&pair).stalls, 49);
}

#[test]
fn both_frozen_while_the_wire_breaks_still_notice_it() {
    for seed in 0..20 {
        let broken = Happening::Cut(Who::Both, at(HOUR)..at(3 * HOUR));
        let plan = frozen(Who::Both, at(HOUR)..at(2 * HOUR)).with(broken);
        let mut pair = default_pair(seed, plan);
        pair.run(at(4 * HOUR));
        let verdicts: Vec<_> = closes(&pair)
            .into_iter()
            .filter(|(_, _, reason)| *reason == CloseReason::PeerSilent)
            .map(|(when, ..)| when)
            .collect();
        assert_eq!(verdicts, [at(2 * HOUR + LIMIT); 2]);
        assert_eq!(pair.ups().len(), 2);
    }
}

/// Long after all links are stable.
const RESTART: u64 = 10 * MINUTE;

#[test]
fn a_thousand_clients_of_a_restarted_server_return_spread() {
    let restart = at(RESTART)..at(RESTART + 30);
    let mut returns: Vec<Timestamp> = (0..1000)
        .map(|seed| {
            let mut pair = default_pair(seed, down(restart.clone()));
            pair.run(at(RESTART + 10 * MINUTE));
            let ups = pair.ups();
            assert_eq!(ups.len(), 2, "all return, once");
            assert_eq!(pair.servers().len(), 1);
            ups[1]
        })
        .collect();
    returns.sort_unstable();
    assert!(returns[0] >= restart.end);
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
    assert!(*returns.last().unwrap() <= at(RESTART + 30 + 120 + 20));
}

#[test]
fn the_first_dials_after_a_restart_are_spread_too() {
    let mut dials: Vec<Timestamp> = (0..1000)
        .map(|seed| {
            let mut pair = default_pair(seed, down(at(RESTART)..at(RESTART + 1)));
            pair.run(at(RESTART + 10));
            times(&pair, connect(1))[0]
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
            let mut pair = default_pair(seed, wire());
            pair.run(at(56));
            times(&pair, beat(1))[0]
        })
        .collect();
    firsts.sort_unstable();
    let span = firsts[999].saturating_duration_since(firsts[0]);
    assert!(span > secs(54), "{span:?}");
}

/// A client that pings every 10 s, a server that answers and does nothing else.
fn pinging(seed: u64, count: u16, plan: Plan) -> Pair {
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
    pair(client, server, seed, true, plan)
}

#[test]
fn a_lossy_wire_is_borne_by_the_count_of_unanswered() {
    for seed in 0..10 {
        let mut pair = pinging(seed, 5, wire().with_loss(Ratio::permille(20)));
        pair.run(at(DAY));
        // The dial itself may be lost; after that nothing is given up.
        let lasting = closes(&pair);
        let lasting = lasting
            .iter()
            .filter(|(_, _, reason)| *reason != CloseReason::ConnectTimeout);
        assert_eq!(lasting.count(), 0);
        let status = status(&pair);
        assert_eq!(status.rtt, Some(2 * DELAY));
        assert_eq!(status.rtt_smoothed, status.rtt);
    }
}

#[test]
fn a_lossy_wire_is_not_borne_by_a_count_of_one() {
    let mut pair = pinging(1, 1, wire().with_loss(Ratio::permille(20)));
    pair.run(at(DAY));
    assert!(pair.ups().len() > 10, "{}", pair.ups().len());
    assert_eq!(status(&pair).phase, Phase::Open);
}

#[test]
fn a_wire_that_loses_all_is_noticed_when_the_count_is_full() {
    for seed in 0..20 {
        let mut pair = pinging(seed, 3, cut(Who::Both, at(HOUR)..at(DAY)));
        pair.run(at(HOUR + 100));
        let closes = closes(&pair);
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
        let wake = HOUR + 10 * MINUTE;
        // The server gave up meanwhile, and its word of it is lost, the reset
        // that the probe gets too.
        let asleep = Happening::Freeze(Who::Client, at(HOUR)..at(wake));
        let plan = cut(Who::Server, at(HOUR)..at(wake + 10)).with(asleep);
        let mut pair = pinging(seed, 3, plan);
        pair.run(at(2 * HOUR));
        let closes = closes(&pair);
        let by_client = closes.iter().find(|(_, side, _)| *side == Side::Client);
        // One probe at once, 10 s for its answer.
        let expected = (at(wake + 10), Side::Client, CloseReason::NoAnswer);
        assert_eq!(by_client, Some(&expected));
        assert_eq!(pair.ups().len(), 2);
    }
}

#[test]
fn a_probe_that_is_answered_by_a_reset_ends_the_link_at_once() {
    for seed in 0..20 {
        let wake = HOUR + 10 * MINUTE;
        let asleep = Happening::Freeze(Who::Client, at(HOUR)..at(wake));
        let plan = cut(Who::Server, at(HOUR)..at(wake)).with(asleep);
        let mut pair = pinging(seed, 3, plan);
        pair.run(at(2 * HOUR));
        let down = pair.times(Side::Client, What::Down);
        assert_eq!(down, [plus(at(wake), 2 * DELAY)]);
        assert_eq!(pair.ups().len(), 2);
    }
}

//! What the world does to an end, word by word of a plan.

use nabiz::Timestamp;
use nabiz::testing::world::{Deed, Side, What};
use proptest::prelude::*;

use crate::common::*;
use crate::recorder::{Told, heard, world, write};

/// What that plan makes of a client's and a server's deeds, up to 1000 s.
#[track_caller]
fn told(
    plan: &str,
    client: &[(u64, Deed)],
    server: &[(u64, Deed)],
) -> Vec<(&'static str, u64, Told)> {
    let own = |deeds: &[(u64, Deed)]| {
        let deeds = deeds.iter();
        deeds.map(|(ms, deed)| (at_ms(*ms), deed.clone())).collect()
    };
    let (mut world, notes) = world(plan, own(client), own(server));
    world.run(at(1000));
    let notes = notes.borrow();
    let ms = |now: Timestamp| now.as_nanos() / 1_000_000;
    notes
        .iter()
        .map(|(name, now, told)| (*name, ms(*now), told.clone()))
        .collect()
}

const C: &str = "client";
const S: &str = "server";

#[test]
fn a_dial_takes_two_delays_and_a_write_one() {
    let client = [(0, Deed::Dial), (500, write("hello"))];
    let server = [(600, write("hi")), (700, Deed::Close)];
    let expected = [
        (S, 50, Told::Made),
        (C, 70, Told::Connected),
        (C, 500, Told::Flushed),
        (S, 550, heard("hello")),
        (S, 600, Told::Flushed),
        (C, 620, heard("hi")),
        (S, 700, Told::Disconnected),
        (C, 720, Told::Disconnected),
    ];
    let plan = "delay-client=50ms delay-server=20ms";
    assert_eq!(told(plan, &client, &server), expected);
}

#[test]
fn an_abandoned_dial_leaves_nothing_at_the_server() {
    let client = [(0, Deed::Dial), (60, Deed::Close)];
    let expected = [
        (S, 50, Told::Made),
        (C, 60, Told::Disconnected),
        (S, 110, Told::Disconnected),
    ];
    assert_eq!(told("delay=50ms", &client, &[]), expected);
}

#[test]
fn an_abort_is_not_told_to_who_does_it() {
    let client = [(0, Deed::Dial), (500, Deed::Abort)];
    let expected = [
        (S, 50, Told::Made),
        (C, 100, Told::Connected),
        (S, 550, Told::Disconnected),
    ];
    assert_eq!(told("delay=50ms", &client, &[]), expected);
}

#[test]
fn a_cut_loses_datagrams_and_holds_a_stream_back() {
    let client = [
        (0, Deed::Dial),
        (1000, write("a")),
        (1100, write("b")),
        (2500, write("c")),
    ];
    let up = [(S, 50, Told::Made), (C, 100, Told::Connected)];
    let flushed = |ms| (C, ms, Told::Flushed);
    let mut expected = up.to_vec();
    expected.extend([flushed(1000), flushed(1100), flushed(2500)]);
    expected.push((S, 2550, heard("c")));
    let cut = "cut-client=1s..2s";
    assert_eq!(told(&format!("{cut} datagrams"), &client, &[]), expected);
    // Tried at 1, 1.2, 1.6 and 2.4 s, the second 100 ms later each time.
    expected.pop();
    expected.insert(4, (S, 2450, heard("a")));
    expected.push((S, 2550, heard("bc")));
    assert_eq!(told(cut, &client, &[]), expected);
}

#[test]
fn a_stream_gives_up_after_a_quarter_of_an_hour() {
    let client = [(0, Deed::Dial), (1000, write("a")), (2000, write("b"))];
    let (mut world, notes) = world(
        "cut-client=1s..1d",
        client.map(|(ms, deed)| (at_ms(ms), deed)).into(),
        Vec::new(),
    );
    world.run(at(10 * 86_400));
    let notes = notes.borrow();
    let last = notes.last().unwrap();
    // 200 ms, doubled ten times to 102.4 s, then 120 s.
    let tries = 1000 + 200 * 1023 + 6 * 120_000;
    assert_eq!(last, &(C, at_ms(tries), Told::Disconnected));
    assert!(
        notes
            .iter()
            .all(|(name, _, told)| *name != S || *told == Told::Made)
    );
    assert_eq!(world.servers().len(), 1, "half-open");
    assert!(!world.is_agreed());
}

#[test]
fn a_frozen_end_gets_all_of_it_in_one_burst_and_does_nothing_meanwhile() {
    let client = [
        (0, Deed::Dial),
        (1000, write("a")),
        (2000, write("b")),
        (4000, write("c")),
    ];
    let server = [(2500, write("x"))];
    let tail = |burst: &[Told]| {
        let mut expected = vec![
            (S, 50, Told::Made),
            (C, 100, Told::Connected),
            (C, 1000, Told::Flushed),
            (C, 2000, Told::Flushed),
        ];
        expected.extend(burst.iter().map(|told| (S, 3000, told.clone())));
        expected.extend([
            (S, 3000, Told::Flushed),
            (C, 3050, heard("x")),
            (C, 4000, Told::Flushed),
            (S, 4050, heard("c")),
        ]);
        expected
    };
    let frozen = "freeze-server=500ms..3s";
    assert_eq!(told(frozen, &client, &server), tail(&[heard("ab")]));
    let datagrams = format!("{frozen} datagrams");
    let apart = [heard("a"), heard("b")];
    assert_eq!(told(&datagrams, &client, &server), tail(&apart));
}

#[test]
fn what_a_slow_end_writes_leaves_when_it_is_flushed() {
    let client = [
        (0, Deed::Dial),
        (1000, write("a")),
        (2500, Deed::Close),
        (9000, Deed::Dial),
    ];
    let expected = [
        (S, 50, Told::Made),
        (C, 100, Told::Connected),
        (C, 3000, Told::Disconnected),
        (S, 3050, heard("a")),
        (S, 3050, Told::Disconnected),
    ];
    let slow = "slow-client=1s..2s slow-client=2s..3s";
    assert_eq!(told(slow, &client, &[])[..5], expected);
    // An abort does not wait, and takes with it what had not left.
    let client = [(0, Deed::Dial), (1000, write("a")), (2500, Deed::Abort)];
    let expected = [
        (S, 50, Told::Made),
        (C, 100, Told::Connected),
        (S, 2550, Told::Disconnected),
    ];
    assert_eq!(told(slow, &client, &[]), expected);
}

#[test]
fn a_server_that_is_down_resets_and_refuses() {
    let client = [(0, Deed::Dial), (2000, Deed::Dial), (4000, Deed::Dial)];
    let expected = [
        (S, 50, Told::Made),
        (C, 100, Told::Connected),
        (C, 1050, Told::Disconnected),
        (C, 2100, Told::DialFailed),
        (S, 4050, Told::Made),
        (C, 4100, Told::Connected),
    ];
    assert_eq!(told("down=1s..3s", &client, &[]), expected);
}

#[test]
fn a_server_that_vanished_says_nothing_until_it_is_back() {
    let client = [(0, Deed::Dial), (2000, write("a")), (4000, write("b"))];
    let mut expected = vec![
        (S, 50, Told::Made),
        (C, 100, Told::Connected),
        (C, 2000, Told::Flushed),
        (C, 4000, Told::Flushed),
        (C, 4100, Told::Disconnected),
    ];
    let vanish = "vanish=1s..3s";
    assert_eq!(told(&format!("{vanish} datagrams"), &client, &[]), expected);
    // The stream tries again: at 2, 2.2, 2.6 and 3.4 s.
    expected[3] = (C, 3500, Told::Disconnected);
    expected.pop();
    assert_eq!(told(vanish, &client[..2], &[]), expected);
}

#[test]
fn what_waits_behind_a_lost_packet_dies_with_it() {
    // The first is to be sent again at 2.4 s; the server is gone before.
    let server = [(1000, write("a")), (2100, write("b"))];
    let expected = [
        (S, 50, Told::Made),
        (C, 100, Told::Connected),
        (S, 1000, Told::Flushed),
        (S, 2100, Told::Flushed),
        (C, 2250, Told::Disconnected),
    ];
    let plan = "cut-server=1s..2s down=2200ms..3s";
    assert_eq!(told(plan, &[(0, Deed::Dial)], &server), expected);
}

#[test]
fn who_is_left_with_an_old_link_does_not_agree() {
    let client = [(0, Deed::Dial), (1500, Deed::Close), (3000, Deed::Dial)];
    let client = client.map(|(ms, deed)| (at_ms(ms), deed));
    let plan = "datagrams cut-client=1s..2s";
    let (mut world, _) = world(plan, client.into(), Vec::new());
    world.run(at(1));
    assert!(world.is_agreed());
    world.run(at(4));
    assert_eq!(world.times(Side::Client, What::Up).len(), 2);
    assert_eq!(world.servers().len(), 2, "the word of the close was lost");
    assert!(!world.is_agreed());
}

#[test]
fn a_reset_reaches_both_ends() {
    let client = [(0, Deed::Dial)];
    let expected = [
        (S, 50, Told::Made),
        (C, 100, Told::Connected),
        (C, 1000, Told::Disconnected),
        (S, 1000, Told::Disconnected),
    ];
    assert_eq!(told("reset=1s", &client, &[]), expected);
}

#[test]
fn a_clock_that_leaps_wakes_its_end_and_one_set_back_lets_it_sleep() {
    let wakes = |plan| {
        let client = vec![(at(0), Deed::Dial), (at(10), write("a"))];
        let (mut world, _) = world(plan, client, Vec::new());
        world.run(at(1000));
        world.times(Side::Client, What::Flushed)
    };
    assert_eq!(wakes(""), [at(10)]);
    assert_eq!(wakes("jump-client=1s+4s"), [at(6)]);
    assert_eq!(wakes("jump-client=1s+1h"), [at(1)]);
    assert_eq!(wakes("jump-client=5s-2s"), [at(12)]);
    // It stands at the epoch meanwhile.
    assert_eq!(wakes("jump-client=1s-5m"), [at(310)]);
    assert_eq!(wakes("jump-server=1s+4s"), [at(10)]);
    assert_eq!(wakes("jump=2s+4s jump-client=3s-1s"), [at(7)]);
}

#[test]
fn a_late_packet_of_an_old_link_comes_after_the_new_links_first() {
    // What is cut out of the first link is sent again when the second is up.
    let client = [
        (0, Deed::Dial),
        (1000, write("old")),
        (1050, Deed::Close),
        (1060, Deed::Dial),
        (1300, write("new")),
    ];
    let said = told("cut-client=1s..1055ms", &client, &[]);
    let heard_at = |what: &str| {
        let mut said = said.iter();
        said.position(|(_, _, told)| *told == heard(what)).unwrap()
    };
    assert!(heard_at("new") > heard_at("old"));
    let said = told(
        "cut-client=1s..1055ms delay-client=10ms delay-server=10ms",
        &client,
        &[],
    );
    let made: Vec<_> = said
        .iter()
        .filter(|(.., told)| *told == Told::Made)
        .collect();
    assert_eq!(made[1].1, 1070, "the new link is up at the server");
    let old = said
        .iter()
        .find(|(.., told)| *told == heard("old"))
        .unwrap();
    assert_eq!(old.1, 1210, "then the old one's last word comes");
}

#[test]
#[should_panic(expected = "Client cannot do Write")]
fn who_writes_without_a_link_is_stopped() {
    told("", &[(0, write("a"))], &[]);
}

#[test]
#[should_panic(expected = "Client cannot do Dial")]
fn who_dials_twice_is_stopped() {
    told("", &[(0, Deed::Dial), (500, Deed::Dial)], &[]);
}

#[test]
#[should_panic(expected = "Server cannot do Dial")]
fn a_server_that_dials_is_stopped() {
    told("", &[(0, Deed::Dial)], &[(500, Deed::Dial)]);
}

#[test]
#[should_panic(expected = "Client cannot do Close")]
fn who_closes_twice_is_stopped() {
    let client = [(0, Deed::Dial), (500, Deed::Close), (600, Deed::Close)];
    told("slow-client=400ms..1s", &client, &[]);
}

#[test]
#[should_panic(expected = "no end of deeds")]
fn who_never_stops_is_stopped() {
    let mut client = vec![(0, Deed::Dial)];
    client.extend((0..1_000).map(|_| (500, write("a"))));
    told("", &client, &[]);
}

#[test]
fn the_longest_quiet_is_of_links_that_are_up() {
    let client = vec![
        (at(0), Deed::Dial),
        (at(10), write("a")),
        (at(40), write("b")),
        (at(50), Deed::Close),
        (at(200), Deed::Dial),
    ];
    let (mut world, _) = world("delay=0s", client, Vec::new());
    world.run(at(210));
    assert_eq!(world.longest_quiet(Side::Client), secs(30));
    assert_eq!(world.longest_quiet(Side::Server), secs(50));
    assert_eq!(world.redials(), [secs(150)]);
    world.run(at(231));
    assert_eq!(world.longest_quiet(Side::Client), secs(31));
    let line = world.log()[0].to_string();
    assert_eq!(line, "0s client 1 Dialled");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the plan, what came of a link is what was written to it, from
    /// its beginning on; with datagrams, some of the writes.
    #[test]
    fn a_stream_misses_nothing_and_keeps_its_order(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        gaps in prop::collection::vec(1..20_000_u64, 1..40),
    ) {
        let plan = nabiz::testing::world::Plan::from_bytes(&bytes);
        let datagrams = plan.to_string().contains("datagrams");
        let written: Vec<String> = (0..gaps.len()).map(|n| format!("<{n}>")).collect();
        let mut now = 100_000;
        let mut server = Vec::new();
        for (gap, text) in gaps.iter().zip(&written) {
            now += gap;
            server.push((at_ms(now), write(text)));
        }
        let (mut world, notes) = world(&plan.to_string(), vec![(at(0), Deed::Dial)], server);
        world.run(at(100_000));
        let heard: Vec<String> = notes
            .borrow()
            .iter()
            .filter_map(|(name, _, told)| match told {
                Told::Received(bytes) if *name == C => {
                    Some(String::from_utf8(bytes.clone()).unwrap())
                }
                _ => None,
            })
            .collect();
        if datagrams {
            prop_assert!(heard.iter().all(|text| written.contains(text)));
        } else {
            prop_assert!(written.concat().starts_with(&heard.concat()), "{plan}: {heard:?}");
        }
    }
}

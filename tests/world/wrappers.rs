//! A downstream wrapper in the world, and the same with a bug.

use nabiz::testing::world::{Deed, Endpoint, Plan, SessionEnd, Side, What, World};
use nabiz::{CloseReason, Config, EndReason, Phase, Timestamp};

use crate::common::*;
use crate::lines::{Bug, Lines};

const HOUR: u64 = 3600;

fn configs() -> (Config, Config) {
    let client = Config::client()
        .with_interval(secs(10))
        .with_silence_timeout(secs(25))
        .with_answer_timeout(secs(8));
    let server = Config::server()
        .with_interval(secs(10))
        .with_silence_timeout(secs(25));
    let (client, server) = (client.build().unwrap(), server.build().unwrap());
    assert_eq!(client.compatible_with(&server), Ok(()));
    (client, server)
}

fn world(bug: Bug, plan: &str) -> World<Lines, Lines> {
    let (client, server) = configs();
    let client = Lines::new(client, SEED, at(0)).with(bug);
    let accept = move |link, now| Lines::new(server, u64::from(link), now);
    World::new(client, accept, plan.parse().unwrap())
}

fn agreed_by(plan: &str) -> Timestamp {
    let (client, server) = configs();
    let plan: Plan = plan.parse().unwrap();
    plan.agreed_by(&client, &server).unwrap()
}

/// Everything that can happen, one after the other.
const DAY: &str = "seed=9 delay=20ms..200ms cut=1h..70m freeze-client=2h..125m \
    freeze-server=3h..185m slow-client=4h..14430s down=5h..301m vanish=6h..361m reset=7h \
    jump-client=8h+1h jump-server=9h-20s freeze=10h..11h";

#[test]
fn a_wrapper_comes_back_from_everything() {
    let mut world = world(Bug::None, DAY);
    for hour in 1..12 {
        world.run(at(hour * HOUR - 1));
        assert!(world.is_agreed(), "before hour {hour}");
        assert_eq!(world.client().pulse.session().phase(), Phase::Open);
    }
    world.run(agreed_by(DAY));
    assert!(world.is_agreed());
    // The cut, the freezes, the slow output, two crashes and the reset; not
    // the clocks, nor the freeze of both.
    assert_eq!(world.ups().len(), 8, "{:?}", world.ups());
    // A beat each 10 s, which the freeze of an hour delays.
    assert!(world.longest_quiet(Side::Client) <= secs(HOUR + 10));
}

#[test]
fn a_server_that_closes_does_not_agree_before_its_client_knows() {
    let mut world = world(Bug::None, "delay=1s");
    world.run(at(100));
    assert!(world.is_agreed() && world.past_servers().is_empty());
    let shown = format!("{world:?}");
    assert!(shown.starts_with("World { plan: "), "{shown}");

    let server = world.servers_mut().next().unwrap();
    server.pulse.handle(nabiz::Event::Drain, at(100));
    world.run(at_ms(100_500));
    // The word is on its way.
    assert_eq!(world.client().pulse.session().phase(), Phase::Open);
    assert!(!world.is_agreed());
    world.run(at(200));
    assert!(world.is_agreed());
    assert_eq!(world.past_servers().len(), 1);
}

#[test]
fn a_quiet_wire_is_kept_warm_and_nobody_closes() {
    let mut world = world(Bug::None, "delay=100ms..3s");
    world.run(at(24 * HOUR));
    assert!(world.is_agreed());
    assert_eq!(world.closes().count(), 0);
    assert_eq!(world.redials(), []);
    for side in [Side::Client, Side::Server] {
        assert!(world.longest_quiet(side) <= secs(10));
        assert!(world.longest_quiet(side) > secs(5));
    }
}

#[test]
fn a_burst_after_a_freeze_is_read_line_by_line() {
    let heard = |bug| {
        let mut world = world(bug, "freeze-client=100s..105s");
        world.run(at(101));
        for end in world.servers_mut() {
            (0..3).for_each(|_| end.say("news\n"));
        }
        world.run(at(200));
        world.client().heard
    };
    assert_eq!(heard(Bug::None), 3);
    assert_eq!(heard(Bug::OneLineARead), 1);
}

#[test]
fn who_forgets_what_was_sent_is_told_by_the_closes() {
    let plan = "delay=20ms";
    for (bug, least) in [(Bug::None, 0), (Bug::ForgetsSent, 20)] {
        let mut world = world(bug, plan);
        world.run(at(HOUR));
        let closed = world.closes().filter(|entry| entry.side == Side::Client);
        assert!((least..=least * 20).contains(&closed.count()), "{bug:?}");
        let status = world.client().pulse.session().status(world.now());
        let stalled = Some(EndReason::Closed(CloseReason::WriteStalled));
        assert_eq!(status.last_end == stalled, bug == Bug::ForgetsSent);
    }
}

#[test]
fn who_swallows_a_failed_dial_is_told_by_the_disagreement() {
    let plan = "down=1h..3601s";
    for bug in [Bug::None, Bug::SwallowsDialFailed] {
        let mut config = Config::client();
        // With a limit on the dial the session helps itself.
        if bug == Bug::SwallowsDialFailed {
            config = config.without_connect_timeout();
        }
        let server = Config::server().build().unwrap();
        let client = Lines::new(config.build().unwrap(), 1, at(0)).with(bug);
        let accept = move |link, now| Lines::new(server, u64::from(link), now);
        let mut world = World::new(client, accept, plan.parse().unwrap());
        world.run(at(3 * HOUR));
        assert_eq!(world.is_agreed(), bug == Bug::None);
        assert_eq!(world.ups().len(), if bug == Bug::None { 2 } else { 1 });
    }
}

#[test]
#[should_panic(expected = "Client cannot do Write")]
fn who_swallows_the_end_of_a_link_is_stopped_when_it_beats() {
    let mut world = world(Bug::SwallowsDisconnected, "reset=1h");
    world.run(at(2 * HOUR));
}

#[test]
#[should_panic(expected = "Client cannot do Write")]
fn who_keeps_what_was_for_the_last_link_is_stopped() {
    let mut world = world(Bug::KeepsTheOutbox, "reset=1h freeze-client=1h..3601s");
    world.run(at(HOUR));
    world.client_mut().say("too late\n");
    world.run(at(2 * HOUR));
}

#[test]
fn who_reconnects_at_once_is_told_by_the_redials() {
    let plan = "delay=20ms down=1h..70m";
    let mut good = world(Bug::None, plan);
    good.run(agreed_by(plan));
    let redials = good.redials();
    assert!(redials.len() < 40, "{}", redials.len());
    assert!(redials.iter().max() > Some(&secs(30)));
    let mut bad = world(Bug::ReconnectsAtOnce, plan);
    bad.run(at(HOUR + 10 * 60));
    let redials = bad.redials();
    assert!(redials.len() > 10_000, "{}", redials.len());
    assert_eq!(redials.iter().max(), Some(&secs(0)));
}

#[test]
fn a_bare_session_can_play_the_peer_of_a_wrapper() {
    // They do not speak alike, but any bytes are a sign of life.
    let client = Config::client().build().unwrap();
    let server = Config::server().build().unwrap();
    let client = Lines::new(client, SEED, at(0));
    let accept = move |link, now| SessionEnd::new(server, u64::from(link), now);
    let mut world = World::new(client, accept, Plan::new());
    world.run(at(24 * HOUR));
    assert!(world.is_agreed());
    assert_eq!(world.closes().count(), 0);
}

#[test]
fn a_close_under_back_pressure_that_takes_too_long_is_aborted() {
    let client = Config::client()
        .with_max_age(secs(30))
        .with_max_age_jitter(nabiz::Ratio::ZERO);
    let client = client.build().unwrap();
    let server = Config::server().build().unwrap();
    let accept = move |link, now| SessionEnd::new(server, u64::from(link), now);
    let client = SessionEnd::new(client, SEED, at(0));
    let plan = "slow-client=29s..40s".parse().unwrap();
    let mut world = World::new(client, accept, plan);
    world.run(at(42));
    // The grace is 5 s.
    let closed = at_ms(30_100);
    assert_eq!(world.times(Side::Client, What::Closed), [closed]);
    let aborted = at_ms(35_100);
    assert_eq!(world.times(Side::Client, What::Aborted), [aborted]);
    assert_eq!(world.times(Side::Server, What::Down), [at_ms(35_150)]);
}

/// Who says that nothing is to do, at the deadline that it gave.
struct Undecided(Timestamp);

impl Endpoint for Undecided {
    fn connected(&mut self, _: Timestamp) {}
    fn dial_failed(&mut self, _: Timestamp) {}
    fn received(&mut self, _: &[u8], _: Timestamp) {}
    fn flushed(&mut self, _: Timestamp) {}
    fn disconnected(&mut self, _: Timestamp) {}
    fn poll(&mut self, _: Timestamp) -> Option<Deed> {
        None
    }
    fn deadline(&self) -> Option<Timestamp> {
        Some(self.0)
    }
}

#[test]
#[should_panic(expected = "has nothing to do at its deadline")]
fn who_has_nothing_to_do_at_its_deadline_is_told() {
    let accept = |_, now| Undecided(now);
    World::new(Undecided(at(5)), accept, Plan::new()).run(at(10));
}

//! Plans as text and as bytes, and what holds whatever the plan.

use nabiz::testing::world::{Happening, Plan, Side, What, Who, WorldScript};
use nabiz::{Config, Ratio};
use proptest::prelude::*;

use crate::cases::settings;
use crate::common::*;

#[test]
fn every_word_is_read_and_printed() {
    let line = "seed=7 datagrams delay-client=20ms..80ms delay-server=1.5s loss=0.5% \
        cut=3600s..4200s cut-client=1ns..2us freeze-server=1s..2s slow-client=3s..4s \
        down=5s..6s vanish=7s..8s reset=9.000000001s jump-client=10s+1s jump=11s-2s";
    let plan: Plan = line.parse().unwrap();
    let built = Plan::new()
        .with_seed(7)
        .over_datagrams()
        .with_delays(Who::Client, millis(20)..=millis(80))
        .with_delays(Who::Server, millis(1500)..=millis(1500))
        .with_loss(Ratio::permille(5))
        .with(Happening::Cut(Who::Both, at(3600)..at(4200)));
    assert_eq!(plan.happenings()[..1], *built.happenings());
    assert_eq!(plan.to_string(), line);
    assert_eq!(built.to_string(), line.split(" cut-client").next().unwrap());
    assert_eq!(plan.quiet_from(), None);
    assert_eq!("".parse(), Ok(Plan::new()));
    assert!(!Plan::new().to_string().contains("loss"));
}

#[test]
fn what_is_no_word_is_refused() {
    for word in [
        "cut",
        "cut=",
        "cut=1s",
        "cut=1s..",
        "cut=2",
        "cut-both=1s..2s",
        "down-client=1s..2s",
        "delay=1",
        "delay=-1s",
        "delay=1s...2s",
        "delay=2s..1s",
        "cut=2s..1s",
        "loss=5",
        "loss=0.55%",
        "seed=x",
        "seed=+1",
        "reset=1s..2s",
        "jump=1s",
        "jump=1s*2s",
        "datagram",
        "=",
        "speed=1",
    ] {
        let error = format!("delay=1s {word}").parse::<Plan>().unwrap_err();
        assert_eq!((error.place(), error.word()), (Some(2), Some(word)));
    }
}

#[test]
fn a_plan_is_quiet_when_all_is_over_and_the_clocks_have_caught_up() {
    let quiet = |line: &str| line.parse::<Plan>().unwrap().quiet_from();
    assert_eq!(quiet(""), Some(at(0)));
    assert_eq!(quiet("cut=1s..9s reset=5s jump=3s+1h"), Some(at(9)));
    assert_eq!(quiet("freeze-client=1s..9s jump=3s-10s"), Some(at(19)));
    assert_eq!(quiet("loss=1%"), None);
    assert_eq!(quiet("cut=1s..18446744073s jump=1s-1s"), None);
}

#[test]
fn nothing_is_promised_where_nothing_can_be() {
    let client = Config::client();
    let server = Config::server().build().unwrap();
    let plan: Plan = "cut=1h..70m".parse().unwrap();
    let promised = |plan: &Plan, client: nabiz::ConfigBuilder| {
        plan.agreed_by(&client.build().unwrap(), &server).is_some()
    };
    assert!(promised(&plan, client));
    for client in [
        client.without_backoff(),
        client.without_connect_timeout(),
        client.without_silence_timeout(),
        client.with_max_age(secs(9)),
        client.with_flood(secs(1), 2),
        client.with_silence_timeout(secs(60)),
        client.with_backoff(nabiz::Backoff::new().with_max_attempts(9)),
    ] {
        assert!(!promised(&plan, client), "{client:?}");
    }
    let lossy = plan.clone().with_loss(Ratio::permille(1));
    assert!(!promised(&lossy, client));
    assert!(!promised(&plan.with_delay(secs(30)), client));
}

/// How long after a cut that ends after 70 minutes all is well, as promised.
fn promised_of(
    plan: &str,
    client: nabiz::ConfigBuilder,
    server: nabiz::ConfigBuilder,
) -> Option<core::time::Duration> {
    let plan: Plan = format!("cut=1h..70m {plan}").parse().unwrap();
    let by = plan.agreed_by(&client.build().unwrap(), &server.build().unwrap());
    by.map(|by| by.saturating_duration_since(at(4200)))
}

#[test]
fn a_delay_of_the_backoff_may_be_longer_by_its_jitter() {
    let jitter = nabiz::Jitter::Proportional(Ratio::percent(20));
    let backoff = nabiz::Backoff::new().with_jitter(jitter);
    let client = Config::client().with_backoff(backoff);
    // A dial, a silence, a wait of 120 s and a fifth, a retry, four delays.
    let promised = promised_of("", client, Config::server());
    assert_eq!(promised, Some(millis(1000 * (20 + 120 + 144 + 120) + 200)));
}

#[test]
fn nothing_is_promised_beyond_half_of_the_range() {
    let promised = |ahead: &str| {
        let plan = format!("jump=1s+{ahead}");
        promised_of(&plan, Config::client(), Config::server()).is_some()
    };
    // All but 4580.2 s of it.
    assert!(promised("9223367456.654775806s"));
    assert!(!promised("9223367456.654775807s"));
}

#[test]
fn links_last_where_beats_and_answers_come_in_time() {
    /// Limits so long that only what is asked here decides.
    fn long(config: nabiz::ConfigBuilder) -> nabiz::ConfigBuilder {
        config.with_silence_timeout(secs(1000))
    }
    let client = || long(Config::client()).with_connect_timeout(secs(1000));
    let server = || long(Config::server());
    let lasts = |delay: &str, client, server| {
        promised_of(&format!("delay={delay}"), client, server).is_some()
    };

    // A beat each 10 s and two delays of 25 s.
    let beating = server().with_interval(secs(10));
    assert!(lasts(
        "25s",
        client().with_silence_timeout(secs(61)),
        beating
    ));
    assert!(!lasts(
        "25s",
        client().with_silence_timeout(secs(60)),
        beating
    ));

    // Answers are signs of life, too, whichever way they are waited for.
    let mute = server().without_interval();
    assert!(!lasts("50ms", client(), mute));
    assert!(lasts("50ms", client().with_answer_timeout(secs(20)), mute));
    assert!(lasts("50ms", client().with_max_unanswered(3), mute));

    // And in time: two delays of 10 s.
    let answered = client().with_answer_timeout(secs(20));
    assert!(lasts("9.9s", answered, server()));
    assert!(!lasts("10s", answered, server()));

    // Counted, they must come before the next is asked for: 49.5 s at least.
    let counting = client().with_max_unanswered(3);
    assert!(lasts("24.7s", counting, server()));
    assert!(!lasts("24.75s", counting, server()));
    assert!(lasts("24.75s", client(), server()));
    assert!(lasts("30s", client(), server()));
}

/// What makes a script of the presets, as they are, and any plan.
fn usual() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..80).prop_map(|mut plan| {
        // No loss, so that it is quiet at last.
        if let Some(flags) = plan.first_mut() {
            *flags &= !16;
        }
        [vec![1, 0, 0], plan].concat()
    })
}

proptest! {
    #![proptest_config(settings(400, 1))]

    #[test]
    fn a_plan_is_what_its_line_says(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let plan = Plan::from_bytes(&bytes);
        prop_assert_eq!(plan.to_string().parse(), Ok(plan));
    }

    #[test]
    fn any_line_is_a_plan_or_an_error(line in "[a-z=.+0-9 -]{0,40}") {
        if let Ok(plan) = line.parse::<Plan>() {
            prop_assert_eq!(plan.to_string().parse(), Ok(plan));
        }
    }

    /// The laws are watched, and what must agree does, in the run itself.
    #[test]
    fn any_world_keeps_the_laws_and_runs_the_same_again(
        bytes in prop::collection::vec(any::<u8>(), 0..160),
    ) {
        let script = WorldScript::new(&bytes);
        prop_assert_eq!(script.run(), script.run());
    }

    /// Sessions that are set as usual, through whatever happens within a day.
    #[test]
    fn two_ends_agree_again_when_it_is_quiet(bytes in usual()) {
        let script = WorldScript::new(&bytes);
        prop_assume!(script.plan().quiet_from().is_some_and(|quiet| quiet <= at(86_400)));
        let Some(by) = script.agreed_by() else {
            // The delays are too long for the limits.
            let line = script.plan().to_string();
            prop_assert!(line.contains("delay"));
            return Ok(());
        };
        let mut world = script.world();
        world.run(by);
        prop_assert!(world.is_agreed(), "{}", script.plan());
        let ups = world.ups().len();
        let later = by.checked_add(secs(3600)).unwrap();
        world.run(later);
        prop_assert!(world.is_agreed());
        prop_assert_eq!(world.ups().len(), ups, "and it lasts");
        let lost = world.times(Side::Client, What::Down);
        prop_assert!(lost.iter().all(|when| *when <= by));
    }

    /// The same for any two ends whose links last.
    #[test]
    fn matched_ends_agree_however_they_are_set(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let script = WorldScript::new(&[vec![0], bytes].concat());
        let Some(by) = script.agreed_by().filter(|by| *by <= at(100_000)) else {
            return Ok(());
        };
        let mut world = script.world();
        if world.run_steps(by, 20_000) {
            prop_assert!(world.is_agreed(), "{script:?}");
        }
    }
}

#[test]
fn much_is_promised_to_what_any_bytes_make() {
    let promised = (0..1000_usize).filter(|n| {
        let hash = |byte: usize| {
            let number = u64::try_from(n * 100 + byte).unwrap();
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
        };
        let bytes: Vec<u8> = (0..n % 100).map(hash).collect();
        let script = WorldScript::new(&[vec![0], bytes].concat());
        script.agreed_by().is_some()
    });
    let promised = promised.count();
    assert!(promised > 200, "{promised}");
}

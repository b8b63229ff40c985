//! An exhaustive search: from a session that was just made, breadth first, to
//! every state that any calls at any interesting instants lead to, with the
//! laws checked on each call.
//!
//! The states are those of the real `Session` under watch, told apart by
//! [`Checked::fingerprint`](nabiz::testing::Checked::fingerprint): of the
//! session, and of all that the checker remembers. Limits are a few ticks
//! long, so there are finitely many, and the search ends when no new one
//! appears.
//!
//! None stops before that: a search that finds no end fails. In full these are
//! every configuration of an array with all pairs of values, the presets, two
//! whose limits change, and one at the end of time:
//!
//! ```text
//! SEARCH=full cargo test --release --features testing --test search -- --nocapture
//! ```
//!
//! A plain run searches those whose states are few, each to the end as well.
//! `SEARCH_ONLY` searches those whose names contain it, in either.
//!
//! The presets are told in steps of several seconds, with a multiplier of 2 and
//! a floor of at most 10 s. Chance is left out everywhere: no jitter, and of the
//! jitter on top of a retry-after floor one draw for each state.

#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs
)]

#[path = "common/kept.rs"]
mod kept;

/// A directory of its own, so that none of this is a test target.
mod search {
    pub(crate) mod alike;
    pub(crate) mod array;
    pub(crate) mod calls;
    pub(crate) mod explore;
    pub(crate) mod peers;
}

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nabiz::{Action, CloseReason, Config, ConfigBuilder, EndReason, GiveUpReason};
use nabiz::{Jitter, Limits, Phase, Ratio};
use search::array::{build, name, pairwise, ticks, uncovered};
use search::calls::Setting;
use search::explore::{Found, explore, note};

/// Of the array, those that a plain run searches: they have the fewest states, or
/// a flood limit with a tolerance.
const SMALL: [usize; 11] = [0, 4, 6, 7, 8, 9, 10, 12, 16, 17, 19];

fn is_full() -> bool {
    std::env::var_os("SEARCH").is_some_and(|what| what == "full")
}

/// The presets, but for chance; with a floor of 10 s at most, because one of
/// 3600 s would make that many of each state; and a multiplier of 2, because
/// 1.6 makes fractions of a step. A step is so many seconds, and a nanosecond
/// here: a session has no unit, and the jitter on top of a floor, which is
/// drawn in nanoseconds, has few values then.
fn presets(step: u64) -> Vec<Setting> {
    let scaled = |span: Duration| Duration::from_nanos(span.as_secs().div_ceil(step));
    let exact = |builder: ConfigBuilder| {
        let preset = builder.build().unwrap();
        builder
            .with_interval_jitter(Ratio::ZERO)
            .with_spread_first_beat(false)
            .with_interval(scaled(preset.interval().unwrap()))
            .with_silence_timeout(scaled(preset.silence_timeout().unwrap()))
            .with_write_timeout(scaled(preset.write_timeout().unwrap()))
            .with_close_grace(scaled(preset.close_grace()))
            .with_stall_tolerance(scaled(preset.stall_tolerance()))
            .with_resume_grace(scaled(preset.resume_grace()))
    };
    let client = Config::client().build().unwrap();
    let policy = client.backoff().unwrap();
    let policy = policy
        .with_jitter(Jitter::None)
        .with_multiplier(Ratio::permille(2000))
        .with_initial(scaled(policy.initial()))
        .with_max(scaled(policy.max()));
    let client = exact(Config::client())
        .with_connect_timeout(scaled(client.connect_timeout().unwrap()))
        .with_stable_after(scaled(client.stable_after()))
        .with_max_retry_after(scaled(Duration::from_secs(10)))
        .with_backoff(policy);
    let server = exact(Config::server());
    let set = |name: &str, builder: ConfigBuilder| {
        let name = format!("{name} without jitter, multiplier 2, in steps of {step} s");
        Setting::new(name, builder.build().unwrap(), 1)
    };
    vec![
        set("Config::client()", client),
        set("Config::server()", server),
    ]
}

/// Whose limits change, each to what the other has not.
fn changing() -> Vec<Setting> {
    let exact = |builder: ConfigBuilder| {
        builder
            .with_interval_jitter(Ratio::ZERO)
            .with_spread_first_beat(false)
            .with_close_grace(ticks(1))
            .with_stall_tolerance(ticks(1))
            .with_resume_grace(ticks(2))
    };
    let silent = exact(Config::server())
        .with_interval(ticks(2))
        .with_silence_timeout(ticks(3))
        .with_write_timeout(ticks(1));
    let answered = Limits {
        interval: Some(ticks(1)),
        silence_timeout: None,
        answer_timeout: Some(ticks(2)),
    };
    let counted = exact(Config::client().without_backoff())
        .with_connect_timeout(ticks(1))
        .without_write_timeout()
        .with_interval(ticks(1))
        .with_silence_timeout(ticks(3))
        .with_hello_timeout(ticks(1))
        .with_max_unanswered(1)
        .with_max_age(ticks(4));
    let rare = Limits {
        interval: Some(ticks(2)),
        silence_timeout: Some(ticks(2)),
        answer_timeout: Some(ticks(1)),
    };
    let set = |name: &str, builder: ConfigBuilder, other| {
        let setting = Setting::new(name.into(), builder.build().unwrap(), 1);
        setting.with_other_limits(other)
    };
    vec![
        set("silence to answers", silent, answered),
        set("counted to clocks", counted, rare),
    ]
}

/// Two probes with nothing beside them that starts at the stall: the small ones
/// of the array have a limit of silence, or one probe.
fn probing() -> Setting {
    let builder = Config::server()
        .with_interval_jitter(Ratio::ZERO)
        .with_spread_first_beat(false)
        .with_close_grace(ticks(1))
        .with_stall_tolerance(ticks(1))
        .with_interval(ticks(2))
        .without_silence_timeout()
        .with_write_timeout(ticks(1))
        .with_answer_timeout(ticks(1))
        .with_resume_grace(ticks(2))
        .with_probes(2);
    Setting::new("two probes".into(), builder.build().unwrap(), 1)
}

/// What to search.
fn settings() -> Vec<Setting> {
    let choices = pairwise().choices;
    let array = choices.iter().enumerate().map(|(index, choice)| {
        let name = format!("{index}: {}", name(choice));
        (index, Setting::new(name, build(choice).unwrap(), 1))
    });
    let mut settings = if is_full() { presets(5) } else { presets(30) };
    let changing = changing().into_iter();
    settings.extend(changing.take(if is_full() { 2 } else { 1 }));
    settings.push(probing());
    let mut ending = presets(if is_full() { 20 } else { 60 }).into_iter();
    let left = if is_full() { 8 } else { 4 };
    settings.extend(ending.next().map(|client| client.ending(left)));
    let chosen = array.filter(|(index, _)| is_full() || SMALL.contains(index));
    settings.extend(chosen.map(|(_, setting)| setting));
    if let Ok(only) = std::env::var("SEARCH_ONLY") {
        settings.retain(|setting| setting.name.contains(&only));
    }
    settings
}

/// Searches each, on all cores, and tells what there was.
fn search(settings: &[Setting]) -> Vec<Found> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(vec![Found::default(); settings.len()]);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(setting) = settings.get(index) else {
                return;
            };
            let began = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| explore(setting)));
            let one = result.unwrap_or_else(|panic| {
                eprintln!("in {}: {:?}", setting.name, setting.config);
                resume_unwind(panic)
            });
            println!(
                "{:>9} states {:>11} transitions, depth {:>3}, {:>6} compared ({} by a draw), {:>7} periods, {:>6.1} s: {}",
                one.states,
                one.transitions,
                one.depth,
                one.compared,
                one.drawn,
                one.periods,
                began.elapsed().as_secs_f64(),
                setting.name
            );
            found.lock().unwrap()[index] = one;
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn the_array_has_every_pair_that_any_configuration_has() {
    let array = pairwise();
    println!(
        "{} configurations have all {} pairs; {} pairs are in no valid one",
        array.choices.len(),
        array.pairs,
        array.refused
    );
    assert_eq!(uncovered(&array.choices), 0);
    // The pairs are not there by accident: without one configuration some miss.
    assert!(uncovered(&array.choices[1..]) > 0);
}

#[test]
fn every_law_holds_in_every_state() {
    let settings = settings();
    let found = search(&settings);

    let mut all = Found::default();
    for one in &found {
        all.states += one.states;
        all.transitions += one.transitions;
        all.depth = all.depth.max(one.depth);
        all.compared += one.compared;
        all.drawn += one.drawn;
        all.periods += one.periods;
        all.suspect |= one.suspect;
        all.stalls |= one.stalls;
        for action in &one.actions {
            note(&mut all.actions, *action);
        }
        for phase in &one.phases {
            note(&mut all.phases, *phase);
        }
        for end in &one.ends {
            note(&mut all.ends, *end);
        }
    }
    println!(
        "{} configurations, all to the end: {} states, {} transitions, depth {}, {} compared ({} by a draw), {} periods",
        found.len(),
        all.states,
        all.transitions,
        all.depth,
        all.compared,
        all.drawn,
        all.periods
    );
    for action in &all.actions {
        println!("seen: {action:?}");
    }
    println!("seen: {:?}", all.phases);
    println!("seen: {:?}", all.ends);
    if std::env::var_os("SEARCH_ONLY").is_some() {
        return;
    }
    if !is_full() {
        // A fingerprint that tells apart more, or less, shows in the counts.
        let lines = settings.iter().zip(&found).map(|(setting, one)| {
            let (states, transitions, depth) = (one.states, one.transitions, one.depth);
            let name = &setting.name;
            format!("{name}: {states} states, {transitions} transitions, depth {depth}\n")
        });
        let told: String = lines.collect();
        kept::compare(
            "search/states.txt",
            include_str!("search/states.txt"),
            &told,
        );
    }
    assert!(all.compared > 100 && all.periods > 1000);
    assert!(all.suspect && all.stalls);
    sees_all_there_is(&all);
}

/// The search reaches everything that a session can say and be.
fn sees_all_there_is(all: &Found) {
    let reasons = [
        CloseReason::PeerSilent,
        CloseReason::NoAnswer,
        CloseReason::NoHello,
        CloseReason::ConnectTimeout,
        CloseReason::WriteStalled,
        CloseReason::Flooded,
        CloseReason::TooOld,
        CloseReason::Draining,
        CloseReason::Rejected,
        CloseReason::Shutdown,
    ];
    for reason in reasons {
        assert!(all.actions.contains(&Action::Close(reason)), "{reason}");
    }
    for reason in [GiveUpReason::Rejected, GiveUpReason::AttemptsExhausted] {
        assert!(all.actions.contains(&Action::GiveUp(reason)), "{reason}");
    }
    let others = ["Connect", "SendHeartbeat", "Abort", "Reconnect"];
    for other in others {
        let told = |action: &Action| format!("{action:?}").starts_with(other);
        assert!(all.actions.iter().any(told), "{other}");
    }
    let phases = [
        Phase::Connecting,
        Phase::Open,
        Phase::Closing,
        Phase::Waiting,
        Phase::Done,
    ];
    for phase in phases {
        assert!(all.phases.contains(&phase), "{phase:?}");
    }
    // Why a link was closed decides nothing once `Close` is told: of those that
    // differ in that alone, only one goes on to its end.
    let closed = |end: &EndReason| matches!(end, EndReason::Closed(_));
    assert!(all.ends.iter().any(closed));
    assert!(all.ends.contains(&EndReason::Disconnected));
    assert!(all.ends.contains(&EndReason::ConnectFailed));
}

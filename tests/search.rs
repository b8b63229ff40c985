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
//! A plain run searches the small ones of the array of configurations to the
//! end, and the beginnings of the others. `SEARCH=full` searches all, also with
//! limits that change, each to the end or to `SEARCH_STATES` states, and tells
//! which was not searched to its end. It takes minutes:
//!
//! ```text
//! SEARCH=full cargo test --release --features testing --test search -- --nocapture
//! ```
//!
//! Chance is left out: no jitter, and of the jitter on top of a retry-after
//! floor one draw for each state.

#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs
)]

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

use nabiz::{Action, Backoff, CloseReason, Config, ConfigBuilder, EndReason, GiveUpReason};
use nabiz::{Jitter, Phase, Ratio};
use search::array::{build, name, pairwise, uncovered};
use search::calls::Setting;
use search::explore::{Found, explore, note};

const SECOND: u64 = 1_000_000_000;

/// Of the array, those that a plain run searches to the end; of the others it
/// looks at the first few states.
const SMALL: [usize; 6] = [0, 4, 6, 9, 12, 19];
const FEW: usize = 300;

/// How many states of each a full run looks at, where `SEARCH_STATES` does not
/// tell: the largest have more.
const MANY: usize = 100_000;

fn is_full() -> bool {
    std::env::var_os("SEARCH").is_some_and(|what| what == "full")
}

/// The presets, but for chance, and for a floor of 3600 s, which would make
/// that many of each state.
fn presets(tick: u64) -> Vec<Setting> {
    let exact = |builder: ConfigBuilder| {
        builder
            .with_interval_jitter(Ratio::ZERO)
            .with_spread_first_beat(false)
            .with_max_retry_after(Duration::from_secs(10))
    };
    let policy = Backoff::new().with_jitter(Jitter::None);
    let client = exact(Config::client().with_backoff(policy));
    let server = exact(Config::server());
    let set = |name: &str, builder: ConfigBuilder| {
        let name = format!("{name}, in steps of {} s", tick / SECOND);
        Setting::new(name, builder.build().unwrap(), tick)
    };
    vec![
        set("Config::client()", client),
        set("Config::server()", server),
    ]
}

/// What to search, and how many states of each at most.
fn settings() -> Vec<(Setting, usize)> {
    let choices = pairwise().choices;
    let array = choices.iter().enumerate().map(|(index, choice)| {
        let name = format!("{index}: {}", name(choice));
        (index, Setting::new(name, build(choice).unwrap(), 1))
    });
    if !is_full() {
        let array = array.map(|(index, setting)| {
            let is_small = SMALL.contains(&index);
            (setting, if is_small { usize::MAX } else { FEW })
        });
        let presets = presets(5 * SECOND).into_iter();
        return array.chain(presets.map(|preset| (preset, FEW))).collect();
    }
    let told = std::env::var("SEARCH_STATES").ok();
    let most = told.map_or(MANY, |most| most.parse().expect("a number of states"));
    let fixed = array.clone().map(|(_, setting)| setting);
    let changing = array.map(|(_, setting)| setting.with_other_limits());
    let presets = presets(5 * SECOND).into_iter().chain(presets(SECOND));
    let all = presets.chain(fixed).chain(changing);
    all.map(|setting| (setting, most)).collect()
}

/// Searches each, on all cores, and tells what there was.
fn search(settings: &[(Setting, usize)]) -> Vec<Found> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(vec![Found::default(); settings.len()]);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((setting, most)) = settings.get(index) else {
                return;
            };
            let began = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| explore(setting, *most)));
            let one = result.unwrap_or_else(|panic| {
                eprintln!("in {}: {:?}", setting.name, setting.config);
                resume_unwind(panic)
            });
            println!(
                "{:>9} states {:>11} transitions, depth {:>3}, {:>6} compared ({} by a draw), {:>7} periods, {:>6.1} s{}: {}",
                one.states,
                one.transitions,
                one.depth,
                one.compared,
                one.drawn,
                one.periods,
                began.elapsed().as_secs_f64(),
                if one.is_complete { "" } else { ", NOT ALL" },
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
    let partial = found.iter().filter(|one| !one.is_complete).count();
    println!(
        "{} configurations, {partial} not to the end: {} states, {} transitions, depth {}, {} compared ({} by a draw), {} periods",
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
    for ((setting, most), one) in settings.iter().zip(&found) {
        let is_bounded = one.states >= *most;
        assert!(one.is_complete || is_bounded, "{}", setting.name);
    }
    assert!(found.len() - partial >= SMALL.len());
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
        // The end that a late verdict leads to lies deeper than a plain run goes.
        let ended = all.ends.contains(&EndReason::Closed(reason));
        assert!(ended || !is_full(), "{reason}");
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
    assert!(all.ends.contains(&EndReason::Disconnected));
    assert!(all.ends.contains(&EndReason::ConnectFailed));
}

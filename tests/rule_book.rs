//! Law 12, one rule book, by a search breadth first: whatever happens to a
//! roster of up to three connections, in so many calls, at every instant that
//! matters, it gives the verdicts of as many sessions, and keeps all other laws
//! besides. Each level that is told is complete; the states go on beyond.
//!
//! A few levels here; more of them take minutes:
//!
//! ```text
//! cargo test --release --features testing --test rule_book -- --ignored --nocapture
//! ```

#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub
)]

/// A directory of its own, so that none of this is a test target.
#[path = "rule_book"]
mod book {
    pub(crate) mod canon;
    pub(crate) mod search;
    pub(crate) mod settings;
}

use book::search::search;
use book::settings::settings;

/// How many transitions of a setting are searched, by whole levels.
const REDUCED: u64 = 2_000;
const WHOLE: u64 = 150_000;

fn searched(connections: usize, budget: u64) {
    let (mut verdicts, mut rests) = (0, 0);
    for setting in settings(connections)
        .into_iter()
        .filter(|s| std::env::var("ONLY").is_ok_and(|o| o == s.name))
    {
        let found = search(&setting, budget);
        println!("N = {connections}, {:<14} {found}", setting.name);
        verdicts += found.verdicts;
        rests += found.rests;
    }
    assert!(verdicts > 0 && rests > 0, "nothing was compared");
}

#[test]
fn one_whole() {
    searched(1, std::env::var("BUDGET").unwrap().parse().unwrap());
}

#[test]
fn one_connection() {
    searched(1, REDUCED);
}

#[test]
fn two_connections() {
    searched(2, REDUCED);
}

#[test]
fn three_connections() {
    searched(3, REDUCED);
}

#[test]
#[ignore = "takes minutes, in release"]
fn whole() {
    for connections in 1..=3 {
        searched(connections, WHOLE);
    }
}

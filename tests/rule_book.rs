//! Law 12, one rule book, by a search breadth first: whatever happens to a
//! roster of up to three connections, at every instant that matters, it gives
//! the verdicts of as many sessions, and keeps all other laws besides.
//!
//! For one connection, and for two and three with a driver that is never late,
//! some limits are searched to the end: until no call leads to a new state. All
//! others, with any driver, are searched up to some number of calls; each level
//! that is told is complete.
//!
//! The smallest here; all of it takes minutes:
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

#[path = "common/kept.rs"]
mod kept;

/// A directory of its own, so that none of this is a test target.
#[path = "rule_book"]
mod book {
    pub(crate) mod canon;
    pub(crate) mod search;
    pub(crate) mod settings;
}

use book::search::{Setting, search};
use book::settings::{deep, small, whole};

/// How many transitions of a setting are searched, by whole levels.
const FEW: u64 = 2_000;
const MANY: u64 = 150_000;

/// All sequences of calls, however long.
fn to_the_end(settings: Vec<Setting>) -> String {
    let mut lines = String::new();
    for setting in settings {
        let found = search(&setting, u64::MAX);
        let driver = if setting.is_punctual {
            "punctual"
        } else {
            "any"
        };
        let line = format!(
            "N = {}, {:<14} {driver:>8} driver: {found}",
            setting.most, setting.name
        );
        println!("{line}");
        lines = lines + &line + "\n";
        assert!(found.is_whole && found.verdicts > 0 && found.rests > 0);
    }
    lines
}

/// All sequences of calls up to some length.
fn to_a_depth(connections: usize, budget: u64) -> String {
    let (mut lines, mut verdicts) = (String::new(), 0);
    for setting in deep(connections) {
        let found = search(&setting, budget);
        let line = format!(
            "N = {connections}, {:<14}      any driver: {found}",
            setting.name
        );
        println!("{line}");
        lines = lines + &line + "\n";
        assert!(found.rests > 0 && (found.verdicts > 0 || budget < MANY));
        verdicts += found.verdicts;
    }
    assert!(verdicts > 0, "nothing was compared");
    lines
}

#[test]
fn one_connection_and_a_punctual_driver() {
    let told = to_the_end(small());
    // A state that tells more, or less, shows in the counts.
    let kept = include_str!("rule_book/states.txt");
    kept::compare("rule_book/states.txt", kept, &told);
}

#[test]
fn up_to_three_connections_and_any_driver() {
    let told: String = (1..=3).map(|most| to_a_depth(most, FEW)).collect();
    let kept = include_str!("rule_book/depths.txt");
    kept::compare("rule_book/depths.txt", kept, &told);
}

#[test]
#[ignore = "takes minutes, in release"]
fn all() {
    for connections in 1..=3 {
        for is_punctual in [true, false] {
            to_the_end(whole(connections, is_punctual));
        }
        to_a_depth(connections, MANY);
    }
}

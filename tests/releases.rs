//! From release to release: the same configuration, seed and calls give the
//! same actions, and the same deadlines to wake at. What some thousand runs of
//! any bytes said is kept in `releases.txt`.
//!
//! A difference is no bug by itself; but it is news to whoever keeps replays.
//! To accept it: `NABIZ_BLESS=1`, and a line in the changelog.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

#[path = "common/kept.rs"]
mod kept;

use core::fmt::{Debug, Write};

use nabiz::testing::world::WorldScript;
use nabiz::testing::{RosterScript, Script};

/// How many runs go into one line.
const BATCH: u64 = 40;

/// Any bytes, the same each time: a linear congruential generator.
fn bytes(run: u64, count: usize) -> Vec<u8> {
    let mut state = run.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..count).map(|_| byte()).collect()
}

/// FNV-1a of the text of what was said.
struct Digest(u64);

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

/// A line for each batch of runs.
fn lines<O: Debug>(name: &str, runs: u64, run: impl Fn(u64) -> Vec<O>) -> String {
    let mut lines = String::new();
    for batch in 0..runs / BATCH {
        let mut digest = Digest(0xcbf2_9ce4_8422_2325);
        let mut count = 0;
        for number in batch * BATCH..(batch + 1) * BATCH {
            let said = run(number);
            count += said.len();
            write!(digest, "{said:?}").unwrap();
        }
        let digest = digest.0;
        writeln!(lines, "{name} {batch}: {count} said, {digest:016x}").unwrap();
    }
    lines
}

#[test]
fn the_same_calls_give_the_same_actions() {
    let sessions = lines("session", 2400, |run| Script::new(&bytes(run, 200)).run());
    let rosters = lines("roster", 1600, |run| {
        RosterScript::new(&bytes(run, 200)).run()
    });
    let crowds = lines("crowd", 160, |run| {
        let bytes = bytes(run, 100);
        RosterScript::new(&bytes).with_crowd(40).run()
    });
    let worlds = lines("world", 400, |run| {
        let (log, said) = WorldScript::new(&bytes(run, 120)).run();
        log.iter()
            .map(|entry| format!("{entry:?}"))
            .chain(said.iter().map(|said| format!("{said:?}")))
            .collect()
    });
    let said = sessions + &rosters + &crowds + &worlds;
    kept::compare("releases.txt", include_str!("releases.txt"), &said);
}

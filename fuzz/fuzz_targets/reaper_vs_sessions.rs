//! Any bytes make a run of a roster beside as many sessions: law 12.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nabiz::testing::RosterScript;

fuzz_target!(|bytes: &[u8]| {
    let _ = RosterScript::new(bytes).run_beside_sessions();
});

//! Any bytes make a run of a roster, under watch of the laws.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nabiz::testing::RosterScript;

fuzz_target!(|bytes: &[u8]| {
    let script = RosterScript::new(bytes);
    let said = script.run();
    assert_eq!(said, script.run(), "law 11 (replay): {script:?}");
});

//! Any bytes make a run of a session, under watch of the laws.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nabiz::testing::Script;

fuzz_target!(|bytes: &[u8]| {
    let script = Script::new(bytes);
    let said = script.run();
    assert_eq!(said, script.run(), "law 11 (replay): {script:?}");
});

//! Any bytes make a client, a server, and what happens to the wire between
//! them, both under watch of the laws; and when it is quiet they agree in time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nabiz::testing::world::WorldScript;

fuzz_target!(|bytes: &[u8]| {
    let script = WorldScript::new(bytes);
    let log = script.run();
    assert_eq!(log, script.run(), "law 11 (replay): {script:?}");
});

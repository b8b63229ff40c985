//! What is searched: the limits one by one, and together.

use nabiz::{Config, ConfigBuilder, Ratio};

use super::search::{Calls, Setting, units};

/// In units: a silence is borne for four ticks.
const SILENCE: u64 = 4;
const HELLO: u64 = 2;
const INTERVAL: u64 = 3;
const WRITE: u64 = 2;
const AGE: u64 = 6;
const GAP: u64 = 2;
/// Two ticks of two units each.
const FINE: u64 = 2;
/// Longer than any limit.
const COARSE: u64 = 8;

fn bare() -> ConfigBuilder {
    Config::server()
        .without_interval()
        .with_stall_tolerance(units(FINE))
        .with_silence_timeout(units(SILENCE))
        .with_interval_jitter(Ratio::ZERO)
        .with_max_age_jitter(Ratio::ZERO)
}

fn beating() -> ConfigBuilder {
    bare()
        .with_interval(units(INTERVAL))
        .with_write_timeout(units(WRITE))
        .with_spread_first_beat(false)
}

/// What decides nothing in any of these: no clock of a flush comes round.
const NEVER_IDLE: [&str; 3] = ["polled", "settled", "now"];
/// … where nothing counts from the start of the connection.
const AGELESS: [&str; 1] = ["connected"];
/// … where no heartbeats are sent.
const BEATLESS: [&str; 3] = ["flushed", "beat_flushed", "landed"];
/// … where the peers' are not counted.
const FLOODLESS: [&str; 3] = ["counted", "flood_full", "thawed"];

fn idle(config: &Config) -> Vec<&'static str> {
    let mut idle = NEVER_IDLE.to_vec();
    if config.hello_timeout().is_none() && config.max_age().is_none() {
        idle.extend(AGELESS);
    }
    if config.interval().is_none() {
        idle.extend(BEATLESS);
    }
    if config.flood().is_none() {
        idle.extend(FLOODLESS);
    }
    idle
}

/// For so many connections.
pub fn settings(most: usize) -> Vec<Setting> {
    let setting = |name, config: ConfigBuilder, calls| {
        let config = config.build().unwrap();
        Setting {
            name,
            config,
            resolution: FINE,
            longest: if config.max_age().is_some() {
                AGE
            } else {
                SILENCE
            },
            idle: idle(&config),
            most,
            calls,
        }
    };
    let none = Calls::default();
    let beats = Calls {
        beats: true,
        ..none
    };
    let flushes = Calls {
        flushes: true,
        ..none
    };
    let timeouts = Calls {
        timeouts: true,
        ..none
    };
    let drain = Calls {
        drain: true,
        stale: true,
        ..none
    };
    vec![
        setting("silence", bare(), none),
        setting("hello", bare().with_hello_timeout(units(HELLO)), none),
        setting("max_age", bare().with_max_age(units(AGE)), none),
        setting(
            "flood alone",
            bare().without_silence_timeout().with_flood(units(GAP), 1),
            beats,
        ),
        setting("beats alone", beating().without_silence_timeout(), flushes),
        setting("flood", bare().with_flood(units(GAP), 1), beats),
        setting("beats", beating(), flushes),
        setting(
            "beats, spread",
            beating().with_spread_first_beat(true),
            flushes,
        ),
        setting("timeouts", bare(), timeouts),
        setting("drain", bare(), drain),
        Setting {
            resolution: COARSE,
            ..setting("coarse", bare(), none)
        },
    ]
}

//! What is searched: the limits one by one, and together.

use nabiz::{Config, ConfigBuilder, Ratio};

use super::search::{Calls, Setting, units};

/// In units: a silence is borne for four ticks.
const SILENCE: u64 = 4;
const SHORT: u64 = 2;
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

/// One limit or duty after the other, for so many connections.
fn all(most: usize, is_punctual: bool) -> Vec<Setting> {
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
            is_punctual,
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
    let flooding = bare().with_flood(units(GAP), 1);
    vec![
        setting("silence", bare(), none),
        Setting {
            longest: SHORT,
            ..setting("short", bare().with_silence_timeout(units(SHORT)), none)
        },
        setting("hello", bare().with_hello_timeout(units(HELLO)), none),
        setting("max_age", bare().with_max_age(units(AGE)), none),
        setting("flood", flooding.without_silence_timeout(), beats),
        setting("flood, silence", flooding, beats),
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

/// Those of which all states can be had: with a driver that is never late, and
/// for one connection with any.
pub fn whole(most: usize, is_punctual: bool) -> Vec<Setting> {
    let names: &[&str] = match (most, is_punctual) {
        (1, true) => &[
            "silence",
            "hello",
            "max_age",
            "flood",
            "flood, silence",
            "drain",
            "coarse",
        ],
        (1, false) => &["silence", "short", "hello", "max_age", "flood", "coarse"],
        (2, true) => &["silence", "max_age", "coarse"],
        (3, true) => &["short"],
        _ => &[],
    };
    let mut settings = all(most, is_punctual);
    settings.retain(|setting| names.contains(&setting.name));
    settings
}

/// The few of them that are small.
pub fn small() -> Vec<Setting> {
    let mut settings = whole(1, true);
    settings.retain(|setting| !["flood, silence", "drain"].contains(&setting.name));
    settings
}

/// All, with a driver that may be late: to some depth.
pub fn deep(most: usize) -> Vec<Setting> {
    all(most, false)
}

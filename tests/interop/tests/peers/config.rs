//! The configurations of the clients.

use std::time::Duration;

use nabiz::{Backoff, Config, ConfigBuilder};

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn client() -> ConfigBuilder {
    Config::client()
        .with_silence_timeout(secs(60))
        .with_close_grace(secs(1))
        .with_backoff(
            Backoff::new()
                .with_initial(millis(100))
                .with_max(millis(500)),
        )
}

pub fn without_beats() -> Config {
    client().without_interval().build().expect("it is valid")
}

/// Each beat is to be answered, within twice the interval.
pub fn with_beats(interval: Duration) -> Config {
    beats(interval).build().expect("it is valid")
}

/// Whatever else is sent, with time enough for the answers.
pub fn with_steady_beats(interval: Duration) -> Config {
    let steady = beats(interval).with_only_when_idle(false);
    let patient = steady.with_answer_timeout(secs(5));
    patient.build().expect("it is valid")
}

fn beats(interval: Duration) -> ConfigBuilder {
    client()
        .with_interval(interval)
        .with_answer_timeout(interval * 2)
}

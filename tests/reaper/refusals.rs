//! What a roster refuses, and how it says so.

use core::time::Duration;

use nabiz::{Config, ConfigBuilder, ConfigError, Reaper, Rule, Timestamp};

use super::driver::*;

fn new(config: ConfigBuilder) -> Result<Roster, ConfigError> {
    Reaper::new(config.build().unwrap(), SEED, at(0))
}

#[track_caller]
fn refused<T: core::fmt::Debug>(
    result: Result<T, ConfigError>,
    field: &str,
    rule: Rule,
    text: &str,
) {
    let error = result.unwrap_err();
    assert_eq!((error.field(), error.rule()), (field, rule));
    assert_eq!(error.to_string(), text);
}

const DAYS_26: Duration = secs(26 * 24 * 3600);
const DAYS_27: Duration = secs(27 * 24 * 3600);

#[test]
fn a_client_has_no_roster() {
    refused(
        new(Config::client()),
        "role",
        Rule::NotServer,
        "role must be server: a roster is a server's",
    );
}

#[test]
fn answers_take_a_session_each() {
    let text = "is not for a roster: use a session for each connection";
    refused(
        new(Config::server().with_answer_timeout(secs(5))),
        "answer_timeout",
        Rule::NotInRoster,
        &format!("answer_timeout {text}"),
    );
    refused(
        new(Config::server().with_max_unanswered(2)),
        "max_unanswered",
        Rule::NotInRoster,
        &format!("max_unanswered {text}"),
    );
    refused(
        new(Config::server()
            .with_max_unanswered(2)
            .with_answer_timeout(secs(5))),
        "answer_timeout",
        Rule::NotInRoster,
        &format!("answer_timeout {text}"),
    );
}

type Setter = fn(ConfigBuilder, Duration) -> ConfigBuilder;

const LIMITS: [(&str, Setter); 4] = [
    ("interval", ConfigBuilder::with_interval),
    ("silence_timeout", ConfigBuilder::with_silence_timeout),
    ("write_timeout", ConfigBuilder::with_write_timeout),
    ("hello_timeout", ConfigBuilder::with_hello_timeout),
];

#[test]
fn a_limit_may_be_too_long_for_the_resolution() {
    for (field, set) in LIMITS {
        let limited = |limit| set(Config::server().without_silence_timeout(), limit);
        new(limited(DAYS_26)).unwrap();
        refused(
            new(limited(DAYS_27)),
            field,
            Rule::TooLongForResolution,
            &format!("{field} is too long for so fine a resolution"),
        );
        // Ten times as fine a resolution bears a tenth.
        let fine = new(limited(DAYS_26)).unwrap().with_resolution(millis(2));
        refused(
            fine,
            field,
            Rule::TooLongForResolution,
            &format!("{field} is too long for so fine a resolution"),
        );
        let hour = new(limited(secs(3600))).unwrap();
        hour.with_resolution(millis(1)).unwrap();
    }
}

#[test]
fn an_age_is_never_too_long() {
    let years = secs(500 * 365 * 24 * 3600);
    new(Config::server().with_max_age(years)).unwrap();
}

#[test]
fn a_limit_too_long_for_the_default_resolution_is_refused_before_another_is_set() {
    assert!(new(Config::server().with_silence_timeout(DAYS_27)).is_err());
}

#[test]
fn a_resolution_is_neither_zero_nor_endless() {
    refused(
        new(Config::server()).unwrap().with_resolution(secs(0)),
        "resolution",
        Rule::Zero,
        "resolution must not be zero",
    );
    for endless in [Duration::MAX, Duration::from_nanos(u64::MAX)] {
        refused(
            new(Config::server()).unwrap().with_resolution(endless),
            "resolution",
            Rule::TooLong,
            "resolution must be shorter than 584 years",
        );
    }
}

#[test]
fn the_resolution_is_set_before_the_first_connection_comes() {
    let text = "resolution must be set before the first connection comes";
    let mut one = roster(hearing());
    let key = one.insert(1, at(0));
    let late = one.clone().with_resolution(millis(10));
    refused(late, "resolution", Rule::AfterInsert, text);
    one.remove(key);
    let late = one.with_resolution(millis(10));
    refused(late, "resolution", Rule::AfterInsert, text);
}

#[test]
fn the_capacity_may_be_set_before_and_after_the_resolution() {
    let config = hearing().build().unwrap();
    let one: Roster = Reaper::new(config, SEED, at(0)).unwrap();
    let one = one.with_capacity(100).with_resolution(secs(1)).unwrap();
    let one = one.with_capacity(200);
    assert!(one.capacity() >= 200);
    assert_eq!(one.resolution(), secs(1));
}

#[test]
fn a_resolution_may_be_as_coarse_as_a_limit_or_coarser() {
    for resolution in [secs(60), secs(3600)] {
        let mut roster = resolving(hearing(), resolution, at(0));
        roster.insert(1, at(0));
        let log = run(&mut roster, at(0), at(10_000));
        assert_log(&log, resolution, &[(at(60), silent(1))]);
    }
}

#[test]
fn a_timeout_of_its_own_is_checked_as_in_build_and_an_error_changes_nothing() {
    let mut roster = roster(hearing().with_hello_timeout(secs(30)));
    let key = roster.insert(1, at(0));
    roster.received(key, at(0));
    let cases = [
        (secs(0), Rule::Zero, "silence_timeout must not be zero"),
        (
            Duration::MAX,
            Rule::TooLong,
            "silence_timeout must be shorter than 584 years",
        ),
        (
            DAYS_27,
            Rule::TooLongForResolution,
            "silence_timeout is too long for so fine a resolution",
        ),
    ];
    for (timeout, rule, text) in cases {
        let result = roster.set_silence_timeout(key, timeout, at(1));
        refused(result, "silence_timeout", rule, text);
    }
    for timeout in [secs(30), secs(29)] {
        let result = roster.set_silence_timeout(key, timeout, at(1));
        let text = "hello_timeout must be below silence_timeout";
        refused(result, "hello_timeout", Rule::NotBelowSilence, text);
    }
    let log = run(&mut roster, at(1), at(200));
    assert_log(&log, RESOLUTION, &[(at(60), silent(1))]);
}

#[test]
fn a_bad_timeout_is_an_error_for_a_stale_key_too() {
    let mut roster = roster(hearing());
    let key = roster.insert(1, at(0));
    roster.remove(key);
    assert!(roster.set_silence_timeout(key, secs(0), at(0)).is_err());
    let fine = roster.set_silence_timeout(key, secs(9), at(0));
    assert_eq!(fine, Ok(false));
}

#[test]
fn a_roster_may_begin_at_any_time() {
    for start in [Timestamp::EPOCH, at(1 << 30), Timestamp::MAX] {
        let mut roster = roster_at(everything(), start);
        assert_eq!(roster.deadline(), None);
        let key = roster.insert(1, start);
        assert!(roster.received(key, start));
        assert_eq!(roster.silence(key, start), Some(secs(0)));
    }
}

//! `roster`: whether its figures agree with each other.

use serde_json::Value;

use super::support::run;

/// The summary, and what was said on the way.
fn roster(flags: &str) -> (Value, String) {
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let run = run("roster", &[&flags[..], &["--json"]].concat());
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{said}");
    (serde_json::from_slice(&run.stdout).unwrap(), said)
}

fn number(summary: &Value, name: &str) -> f64 {
    let number = summary[name].as_f64();
    number.unwrap_or_else(|| panic!("{name} in {summary}"))
}

fn closed(summary: &Value, reason: &str) -> f64 {
    summary["closed"][reason].as_f64().unwrap_or(0.0)
}

/// What holds of every summary.
fn check(summary: &Value) {
    let all = |names: &[&str]| names.iter().map(|name| number(summary, name)).sum::<f64>();
    let reasons = summary["closed"].as_object().unwrap().values();
    let closed: f64 = reasons.map(|count| count.as_f64().unwrap()).sum();
    assert_eq!(
        number(summary, "inserted"),
        all(&["connections", "left"]) + closed
    );
    assert_eq!(number(summary, "wrongly_closed"), 0.0);
    assert!(number(summary, "latest_close") <= 0.02, "{summary}");
    assert_eq!(number(summary, "stalls"), 1.0);

    let duration = number(summary, "duration");
    let about = |rate: f64, of: f64| assert!((rate - of).abs() <= of / 1e3, "{rate} {of}");
    for count in ["packets", "heartbeats"] {
        let rate = number(summary, &format!("{count}_per_second"));
        about(rate, number(summary, count) / duration);
    }
    about(
        number(summary, "speed_up"),
        duration / number(summary, "wall"),
    );
    let spread = &summary["heartbeats_per_100ms"];
    let beats = number(summary, "heartbeats") - number(summary, "probes");
    assert!((number(spread, "mean") / (beats / duration / 10.0) - 1.0).abs() < 0.1);
    assert!(number(spread, "mean") <= number(spread, "peak"));
    assert!(number(summary, "worst_poll") <= number(summary, "worst_tick"));
    assert!(number(summary, "mean_tick") <= number(summary, "worst_tick"));
    assert!(all(&["heartbeats", "ticks"]) <= number(summary, "polls"));
}

#[test]
fn figures_agree() {
    let (summary, said) = roster("--connections 2000 --duration 2m");
    check(&summary);
    assert_eq!(number(&summary, "connections"), 2000.0);
    assert_eq!(number(&summary, "duration"), 120.0);
    // Both ends beat each 55 s, and one client in a hundred chats each second.
    assert!(
        (4000.0..9000.0).contains(&number(&summary, "packets")),
        "{summary}"
    );
    let beats = number(&summary, "heartbeats") - number(&summary, "probes");
    assert!((3000.0..5500.0).contains(&beats), "{summary}");
    assert!(
        (1000.0..=2000.0).contains(&number(&summary, "probes")),
        "{summary}"
    );
    assert_eq!(summary["closed"], serde_json::json!({}), "120 s are borne");
    for line in [
        "0:00:40 a message to everyone, 2,000",
        "0:01:10 the server was frozen for 10s: 1 stall",
        "0:01:20 a region falls silent: 100",
        "2,000 connected, per second ",
    ] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
}

#[test]
fn whoever_falls_silent_is_closed_and_the_others_at_the_end() {
    let flags = "--connections 2000 --duration 2m --interval 5s --silence-timeout 12s --drain";
    let (summary, said) = roster(flags);
    check(&summary);
    assert!(closed(&summary, "PeerSilent") >= 100.0, "{summary}");
    assert!(
        (1900.0..=2000.0).contains(&closed(&summary, "Draining")),
        "{summary}"
    );
    assert_eq!(number(&summary, "connections"), 0.0);
    assert!(
        said.contains("0:01:56 closing everyone within 2s"),
        "{said}"
    );

    let (again, _) = roster(flags);
    let (other, _) = roster(&format!("{flags} --seed 2"));
    for name in ["inserted", "packets", "heartbeats", "ticks", "latest_close"] {
        assert_eq!(summary[name], again[name], "{name}");
    }
    assert_ne!(summary["packets"], other["packets"]);
}

#[test]
fn a_summary_to_read() {
    let flags = "--connections 100 --duration 1m";
    let (summary, _) = roster(flags);
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let text = String::from_utf8(run("roster", &flags).stdout).unwrap();
    for (row, name) in [("inserted", "inserted"), ("packets", "packets")] {
        let line = text.lines().find(|line| line.starts_with(row)).unwrap();
        let value = line.split_whitespace().nth(1).unwrap().replace(',', "");
        assert_eq!(value, summary[name].to_string(), "{text}");
    }
    assert!(text.contains("times as fast"), "{text}");
}

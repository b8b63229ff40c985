//! `replay`: lines in, timelines out.

use std::path::PathBuf;
use std::process::Output;

use super::support::{run, run_with_input};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.into()).unwrap()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// What a run printed that went well.
fn timeline(run: Output) -> String {
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert_eq!(text(&run.stderr), "");
    text(&run.stdout)
}

/// A fuzzer's input.
fn input(name: &str, bytes: &[u8]) -> PathBuf {
    let file = std::env::temp_dir().join(format!("nabiz-replay-{}-{name}", std::process::id()));
    std::fs::write(&file, bytes).unwrap();
    file
}

const CLIENT: &str = "session client interval=none silence_timeout=12s seed=42 at 0s poll \
    at 1s connected limits(interval=0s,silence_timeout=12s,answer_timeout=none) at 13s poll";
const ROSTER: &str = "roster interval=none silence_timeout=12s resolution=1ms seed=42 \
    at 0s insert insert at 9s received#2 at 12.001s poll sent#1 poll";

#[test]
fn a_session_is_shown_call_by_call() {
    let shown = timeline(run("replay", &[CLIENT]));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], CLIENT);
    let expected = [
        "time call said deadline phase",
        "0ns poll Connect { attempt: 0 } 20s Connecting",
        "1s connected 13s Open",
        "1s limits(interval=0s,silence_timeout=12s,answer_timeout=none) refused: interval must not \
         be zero 13s Open",
        "13s poll Close(PeerSilent) 18s Closing",
        "4 calls, all laws hold",
    ];
    assert_eq!(lines.len(), 1 + expected.len(), "{shown}");
    for (line, expected) in lines[1..].iter().zip(expected) {
        assert_eq!(words(line), words(expected), "{shown}");
    }
}

#[test]
fn a_roster_is_shown_call_by_call() {
    let shown = timeline(run("replay", &[ROSTER]));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], ROSTER);
    assert_eq!(
        words(lines[1]),
        words("time call said deadline connections")
    );
    assert!(lines[5].contains("reason: PeerSilent"), "{shown}");
    assert_eq!(words(lines[7]).last(), Some(&"1"), "{shown}");
    assert_eq!(lines[8], "6 calls, all laws hold");
}

/// From arguments, a file and stdin, with what a report has before them.
#[test]
fn several_lines() {
    let lines = format!("replay: {CLIENT}\n\n{ROSTER}\n");
    let file = input("lines", lines.as_bytes());
    let from_file = timeline(run("replay", &["--file", file.to_str().unwrap()]));
    std::fs::remove_file(&file).unwrap();
    let from_stdin = timeline(run_with_input("replay", &[], lines.as_bytes()));
    let from_arguments = timeline(run("replay", &[CLIENT, ROSTER]));
    assert_eq!(from_file, from_arguments);
    assert_eq!(from_stdin, from_arguments);
    assert_eq!(from_file.matches("all laws hold").count(), 2);
    let quiet = timeline(run("replay", &["--quiet", CLIENT, ROSTER]));
    assert_eq!(quiet, "4 calls, all laws hold\n6 calls, all laws hold\n");
}

/// The line that is printed is the same run again.
#[test]
fn bytes_become_a_line() {
    for (kind, flags) in [
        ("session", &["--bytes"][..]),
        ("roster", &["--roster", "--bytes"]),
    ] {
        let file = input(kind, b"any bytes will do, and these are some more of them");
        let args = [flags, &[file.to_str().unwrap()]].concat();
        let shown = timeline(run("replay", &args));
        std::fs::remove_file(&file).unwrap();
        let line = shown.lines().next().unwrap();
        assert!(line.starts_with(kind), "{line}");
        assert!(shown.lines().count() > 10, "{shown}");
        assert_eq!(timeline(run("replay", &[line])), shown);
    }
}

#[test]
fn what_is_no_run_is_refused_in_one_line() {
    let cases: &[(&[&str], &str)] = &[
        (&[""], "replay: no run is given"),
        (&[], "replay: no run is given"),
        (
            &["sesion client"],
            "replay: line 1: word 1, 'sesion': expected session or roster",
        ),
        (
            &[CLIENT, "session client seed=1 at 0s pol"],
            "replay: line 2: word 6, 'pol': expected a call: poll, ",
        ),
        (
            &["session server interval=0s seed=1 at 0s"],
            "replay: line 1: word 3, 'interval=0s': interval must not be zero",
        ),
        (
            &["--roster"],
            "replay: the following required arguments were not provided: --bytes",
        ),
        (&["--file", "/nowhere"], "replay: /nowhere: "),
        (&["--bytes", "/nowhere"], "replay: /nowhere: "),
    ];
    for (args, expected) in cases {
        let refused = run("replay", args);
        let message = text(&refused.stderr);
        assert!(message.starts_with(expected), "{args:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(refused.stdout.is_empty());
    }
}

#[test]
fn help_has_examples() {
    let help = timeline(run("replay", &["--help"]));
    for part in [
        "--bytes <FILE>",
        "--file <FILE>",
        "--roster",
        "'session client ",
        "'roster ",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}

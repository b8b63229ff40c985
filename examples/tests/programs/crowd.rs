//! `crowd`: whether it holds them all, and sees what goes wrong.

use serde_json::Value;

use super::refused;
use super::support::{on_each_runtime, run, serve};

/// The exit code, the summary if there is one, and what was said on the way.
fn crowd(flags: &str) -> (Option<i32>, Value, String) {
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let run = run("crowd", &[&flags[..], &["--json"]].concat());
    let summary = serde_json::from_slice(&run.stdout).unwrap_or_default();
    let said = String::from_utf8(run.stderr).unwrap();
    (run.status.code(), summary, said)
}

fn number(summary: &Value, name: &str) -> f64 {
    let number = summary[name].as_f64();
    number.unwrap_or_else(|| panic!("{name} in {summary}"))
}

#[test]
fn a_crowd_is_held() {
    on_each_runtime(|runtime| {
        let (code, summary, said) = crowd(&format!(
            "--runtime {runtime} --connections 300 --ramp 500ms --interval 1s --duration 3s \
             --tolerance 2s"
        ));
        assert_eq!(code, Some(0), "{summary} {said}");
        for (name, expected) in [("up", 300.0), ("failed", 0.0), ("closed", 0.0)] {
            assert_eq!(number(&summary, name), expected, "{summary}");
        }
        assert_eq!(number(&summary, "late_beats"), 0.0, "{summary}");
        // One second's interval, which is shortened by a tenth at most.
        let rate = number(&summary, "beats_per_second");
        assert!((250.0..400.0).contains(&rate), "{summary}");
        assert!(number(&summary, "answers") > 900.0, "{summary}");
        assert_eq!(said.lines().count(), 2, "{said}");
        if cfg!(target_os = "linux") {
            let each = number(&summary, "memory_per_connection");
            assert!((100.0..65_536.0).contains(&each), "{summary}");
            let processor = number(&summary, "processor");
            assert!((0.01..6.0).contains(&processor), "{summary}");
        }
    });
}

#[test]
fn a_server_that_does_not_beat_is_found_out() {
    let (server, address) = serve("tokio", "--interval none --quiet");
    let (code, summary, _) = crowd(&format!(
        "{address} --pid {} --connections 20 --ramp 100ms --interval 300ms --duration 500ms",
        server.id()
    ));
    assert_eq!(code, Some(1), "{summary}");
    assert_eq!(number(&summary, "late_beats"), 20.0, "{summary}");
    assert_eq!(number(&summary, "closed"), 0.0, "{summary}");
    assert_eq!(
        summary["memory_empty"].is_number(),
        cfg!(target_os = "linux")
    );
    assert_eq!(server.events.all(), [""; 0], "it is quiet");
}

#[test]
fn a_server_that_closes_is_found_out() {
    let flags = "--max-age 400ms --interval 300ms --only-when-idle false";
    let (_server, address) = serve("tokio", flags);
    let (code, summary, _) = crowd(&format!(
        "{address} --connections 20 --ramp 100ms --interval 300ms --duration 500ms"
    ));
    assert_eq!(code, Some(1), "{summary}");
    assert_eq!(number(&summary, "closed"), 20.0, "{summary}");
    assert_eq!(summary["error"], "the server closed", "{summary}");
    assert!(summary["memory_empty"].is_null(), "{summary}");
}

#[test]
fn no_server_is_found_out_in_one_line() {
    let (code, summary, said) = crowd(&format!("{} --connections 3 --ramp 0s", refused()));
    assert_eq!((code, summary), (Some(1), Value::Null));
    let expected = "crowd: cannot connect: Connection refused (os error 111)\n";
    assert_eq!(said, expected);
}

//! Runs the tests with one change after the other.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::Change;
use crate::build::{Built, SWITCH};

/// Memory that a test program may take, in KiB: a change can make it grow
/// without end.
const MEMORY: u64 = 8 << 20;

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Caught,
    Timeout,
    Missed,
}

/// The changes that were caught, ran out of time, or were missed.
pub fn trials(
    copy: &Path,
    built: &Built,
    jobs: u64,
    limit: u64,
    changes: &[Change],
) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let began = Instant::now();
    let is_known = std::env::var("BASELINE").is_ok_and(|baseline| baseline == "skip");
    assert!(
        is_known || run(copy, built, usize::MAX, 10 * limit) == Outcome::Missed,
        "the tests fail without any change"
    );
    eprintln!(
        "the tests take {} s; {} changes to try",
        began.elapsed().as_secs(),
        built.woven.len()
    );
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(number) = built.woven.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run(copy, built, *number, limit);
                    match outcome {
                        Outcome::Caught => {}
                        Outcome::Timeout => println!("timeout {}", changes[*number].name),
                        Outcome::Missed => println!("missed {}", changes[*number].name),
                    }
                    outcomes.lock().unwrap().push((*number, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by_key(|(number, _)| *number);
    let of = |kind: Outcome| {
        let of = outcomes.iter().filter(|(_, outcome)| *outcome == kind);
        of.map(|(number, _)| *number).collect()
    };
    (
        of(Outcome::Caught),
        of(Outcome::Timeout),
        of(Outcome::Missed),
    )
}

fn run(copy: &Path, built: &Built, number: usize, limit: u64) -> Outcome {
    for program in &built.programs {
        let mut command = Command::new("bash");
        command
            .args([
                "-c",
                "ulimit -v $1; exec timeout --signal=KILL \"$2\" \"$3\"",
                "bash",
            ])
            .args([MEMORY.to_string(), limit.to_string()])
            .arg(program)
            .current_dir(copy)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if number != usize::MAX {
            command.env(SWITCH, number.to_string());
        }
        let mut child = command.spawn().expect("a test program starts");
        let mut has_failed = false;
        if let Some(output) = child.stdout.take() {
            // One failed test is enough.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.ends_with(" ... FAILED") {
                    has_failed = true;
                    break;
                }
            }
        }
        if has_failed {
            // It passes that on to the program; killed, it could not.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
        }
        let status = child.wait().expect("a test program ends");
        if has_failed {
            return Outcome::Caught;
        }
        if status.code() == Some(137) {
            return Outcome::Timeout;
        }
        if !status.success() {
            return Outcome::Caught;
        }
    }
    Outcome::Missed
}

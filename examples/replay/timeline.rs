//! What happened, a line each call.

use std::fmt::{Debug, Display};
use std::io::{self, Write};

use nabiz::testing::{Replay, RosterReplay};
use nabiz::{ConfigError, Timestamp};

/// One line of stdout. Who closed it does not want to know.
fn line(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

pub fn blank() {
    line("");
}

/// A session's run, each call before the next is made.
pub fn session(replay: &Replay, quiet: bool) {
    if !quiet {
        line(replay);
        row("time", "call", "said", "deadline", "phase");
    }
    replay.watch(|session, now, call, answer| {
        if quiet {
            return;
        }
        let status = session.session().status(now);
        let suspect = if status.suspect { ", suspect" } else { "" };
        let phase = format!("{:?}{suspect}", status.phase);
        row(
            &time(now),
            &call.to_string(),
            &said(answer),
            &deadline(session.deadline()),
            &phase,
        );
    });
    sum(replay.calls().len());
}

/// A roster's run, the same.
pub fn roster(replay: &RosterReplay, quiet: bool) {
    if !quiet {
        line(replay);
        row("time", "call", "said", "deadline", "connections");
    }
    replay.watch(|reaper, now, call, answer| {
        if quiet {
            return;
        }
        let reaper = reaper.reaper();
        row(
            &time(now),
            &call.to_string(),
            &said(answer),
            &deadline(reaper.deadline()),
            &reaper.len().to_string(),
        );
    });
    sum(replay.calls().len());
}

fn row(time: &str, call: &str, said: &str, deadline: &str, state: &str) {
    line(format_args!(
        "{time:>14}  {call:<24}  {said:<40}  {deadline:>14}  {state}"
    ));
}

fn sum(calls: usize) {
    let plural = if calls == 1 { "" } else { "s" };
    line(format_args!("{calls} call{plural}, all laws hold"));
}

fn time(now: Timestamp) -> String {
    format!("{now:?}")
}

fn deadline(due: Option<Timestamp>) -> String {
    due.map_or("-".into(), time)
}

/// The action or duty, or the refusal.
fn said(answer: Result<Option<impl Debug>, ConfigError>) -> String {
    match answer {
        Ok(Some(said)) => format!("{said:?}"),
        Ok(None) => String::new(),
        Err(error) => format!("refused: {error}"),
    }
}

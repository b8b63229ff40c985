//! What the accounts of the checkers notice: runs that happened, retold with
//! one thing wrong.
//!
//! Which law catches what, and how soon, is kept in tables beside this file. A
//! checker that is changed shows there: look at the difference, then run with
//! `NABIZ_BLESS=1`.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{Debug, Write};
use core::time::Duration;

use super::model::{Model, Verdict};
use super::replay::Call;
use super::script::Script;
use crate::chance::{Draw, draw};
use crate::config::Config;
use crate::session::{
    Action, CloseReason, EndReason, Event, GiveUpReason, HeartbeatId, Phase, Session, Status,
};
use crate::time::Timestamp;

/// How many calls are retold after the wrong one.
pub(super) const REST: usize = 12;

/// How many calls are told of a session that is done.
const ENCORE: u32 = 6;

/// What became of the wrong tellings of one kind: how many each law caught, how
/// many none did, and after how many calls altogether.
#[derive(Default)]
struct Row {
    caught: [u32; 13],
    unnoticed: u32,
    calls: usize,
}

/// A row for each kind.
#[derive(Default)]
pub(super) struct Table(BTreeMap<String, Row>);

impl Table {
    /// Retells the rest after a wrong telling, whose verdict is the first.
    pub(super) fn add(&mut self, kind: &str, verdicts: impl Iterator<Item = Verdict>) {
        let row = self.0.entry(kind.into()).or_default();
        for verdict in verdicts {
            row.calls += 1;
            if let Err(broken) = verdict {
                row.caught[broken.law] += 1;
                return;
            }
        }
        row.unnoticed += 1;
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (kind, row) in &self.0 {
            let _ = write!(text, "{kind}:");
            for (law, count) in row.caught.iter().enumerate().filter(|(_, n)| **n > 0) {
                let _ = write!(text, " law {law} {count},");
            }
            let (unnoticed, calls) = (row.unnoticed, row.calls);
            let _ = writeln!(text, " unnoticed {unnoticed}; {calls} calls");
        }
        text
    }

    /// That no wrong of these kinds went unnoticed.
    #[track_caller]
    pub(super) fn none_unnoticed(&self, kinds: impl Fn(&str) -> bool) {
        for (kind, row) in self.0.iter().filter(|(kind, _)| kinds(kind)) {
            assert_eq!(row.unnoticed, 0, "{kind}");
        }
    }

    /// Holds the table against what it was.
    #[track_caller]
    pub(super) fn compare(&self, name: &str, kept: &str) {
        let text = self.text();
        if std::env::var_os("NABIZ_BLESS").is_some() {
            let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
            std::fs::write(root.join("src/testing").join(name), text).unwrap();
            return;
        }
        for (new, old) in text.lines().zip(kept.lines()) {
            assert_eq!(
                new, old,
                "it was the second: see the comment on this module"
            );
        }
        assert_eq!(text.lines().count(), kept.lines().count());
    }
}

/// Any bytes, the same each time.
pub(super) fn bytes(run: u32, count: u32) -> Vec<u8> {
    let word = |place| draw(u64::from(run), 0, Draw::Beat(place));
    (0..count)
        .map(|place| word(place).to_be_bytes()[0])
        .collect()
}

/// A call on a session, and all that its account is told of it.
#[derive(Clone, Copy)]
struct Told {
    now: Timestamp,
    /// The deadline before.
    due: Option<Timestamp>,
    call: Call,
    phase: Phase,
    config: Config,
    action: Option<Action>,
    deadline: Option<Timestamp>,
    status: Status,
}

fn tell(model: &mut Model, told: &Told) -> Verdict {
    model.call(told.now, told.due);
    match told.call {
        Call::Handle(event) => model.handle(event, told.phase),
        Call::Poll => model.poll(told.action)?,
        Call::SetLimits(_) => model.set_limits(told.config),
    }
    model.check(told.deadline, &told.status)
}

fn run(script: &Script<'_>) -> (Model, Vec<Told>) {
    let replay = script.replay();
    let start = replay.start();
    let mut session = Session::new(script.config(), replay.seed(), start);
    let mut model = Model::new(script.config(), start);
    let first = model.check(session.deadline(), &session.status(start));
    assert!(first.is_ok());
    let mut calls = Vec::new();
    let mut over = 0;
    for (now, call) in replay.calls().iter().copied() {
        over += u32::from(session.phase() == Phase::Done);
        if over > ENCORE {
            break;
        }
        let due = session.deadline();
        if let Call::SetLimits(limits) = call {
            if session.clone().set_limits(limits, now).is_err() {
                continue; // which the account is not told
            }
        }
        let action = call.make_unwatched(&mut session, now);
        calls.push(Told {
            now,
            due,
            call,
            phase: session.phase(),
            config: *session.config(),
            action,
            deadline: session.deadline(),
            status: session.status(now),
        });
    }
    (model, calls)
}

pub(super) fn moved(at: Timestamp, by: i64) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos().saturating_add_signed(by)).unwrap_or(Timestamp::MAX)
}

pub(super) fn longer(span: Duration, by: i64) -> Duration {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos.saturating_add_signed(by))
}

/// The name of a variant.
pub(super) fn name(variant: &dyn Debug) -> String {
    let text = alloc::format!("{variant:?}");
    let end = text.find([' ', '(']).unwrap_or(text.len());
    text[..end].into()
}

/// By how much times are told wrongly.
pub(super) const OFF: [i64; 4] = [1, -1, 1_000_000_000, -1_000_000_000];

/// The ways to tell of a call wrongly, and what is told instead.
fn wrongs(told: &Told, last: Option<Action>) -> Vec<(String, Vec<Told>)> {
    let mut wrongs = Vec::new();
    let mut add = |kind: String, wrong: Told| wrongs.push((kind, alloc::vec![wrong]));
    for by in OFF {
        let now = moved(told.now, by);
        add(
            alloc::format!("called {by} ns later"),
            Told { now, ..*told },
        );
        let due = told.due.map(|due| moved(due, by));
        add(
            alloc::format!("was due {by} ns later"),
            Told { due, ..*told },
        );
        let deadline = told.deadline.map(|due| moved(due, by));
        add(
            alloc::format!("due {by} ns later"),
            Told { deadline, ..*told },
        );
    }
    let tolerance = told.config.stall_tolerance().as_nanos();
    let borne = u128::from(told.now.as_nanos()).checked_sub(tolerance);
    let borne = borne.and_then(|nanos| u64::try_from(nanos).ok());
    if let Some(due) = borne.and_then(Timestamp::from_nanos) {
        let late = Told {
            due: Some(due),
            ..*told
        };
        add("was due as long ago as is borne".into(), late);
        let stall = Told {
            due: Some(moved(due, -1)),
            ..*told
        };
        add("was due longer ago than is borne".into(), stall);
    }
    add("was never due".into(), Told { due: None, ..*told });
    add(
        "never due".into(),
        Told {
            deadline: None,
            ..*told
        },
    );
    let deadline = Some(told.now);
    add("due at once".into(), Told { deadline, ..*told });

    match told.call {
        Call::Handle(_) => {
            let retry = Event::RetryAfter(Duration::from_secs(1));
            let id = |number: u32| Some(HeartbeatId::from_bytes(number.to_be_bytes()));
            let beats = told.status.heartbeats;
            let events = [
                Event::Connected,
                Event::ConnectFailed,
                Event::Received,
                Event::HeartbeatReceived,
                Event::AnswerReceived { id: None },
                Event::AnswerReceived { id: id(beats) },
                Event::AnswerReceived {
                    id: id(beats.wrapping_sub(1)),
                },
                Event::Sent,
                Event::HeartbeatSent,
                Event::Disconnected,
                retry,
                Event::Rejected,
                Event::Resumed,
                Event::Shutdown,
                Event::Drain,
            ];
            for event in events {
                let call = Call::Handle(event);
                if call != told.call {
                    add(
                        alloc::format!("{} instead", name(&event)),
                        Told { call, ..*told },
                    );
                }
            }
            let is_open = told.phase == Phase::Open;
            let phase = if is_open { Phase::Closing } else { Phase::Open };
            add("another phase".into(), Told { phase, ..*told });
        }
        Call::Poll => {
            let attempt = told.status.attempt;
            let id = |by: u32| {
                HeartbeatId::from_bytes((told.status.heartbeats.wrapping_add(by)).to_be_bytes())
            };
            let span = match last {
                Some(Action::Reconnect { after, .. }) => after,
                _ => Duration::from_secs(1),
            };
            let mut actions = alloc::vec![
                None,
                Some(Action::Connect { attempt }),
                Some(Action::Connect {
                    attempt: attempt.wrapping_add(1)
                }),
                Some(Action::SendHeartbeat { id: id(0) }),
                Some(Action::SendHeartbeat { id: id(1) }),
                Some(Action::Abort),
                Some(Action::Reconnect {
                    after: span,
                    attempt
                }),
                Some(Action::Reconnect {
                    after: span,
                    attempt: attempt.wrapping_add(1)
                }),
                Some(Action::GiveUp(GiveUpReason::Rejected)),
                Some(Action::GiveUp(GiveUpReason::AttemptsExhausted)),
            ];
            for by in OFF {
                let after = longer(span, by);
                actions.push(Some(Action::Reconnect { after, attempt }));
            }
            let reasons = [
                CloseReason::PeerSilent,
                CloseReason::NoAnswer,
                CloseReason::NoHello,
                CloseReason::ConnectTimeout,
                CloseReason::WriteStalled,
                CloseReason::Flooded,
                CloseReason::TooOld,
                CloseReason::Draining,
                CloseReason::Rejected,
                CloseReason::Shutdown,
            ];
            actions.extend(reasons.map(|reason| Some(Action::Close(reason))));
            let was = told.action.map_or("nothing".into(), |action| name(&action));
            for action in actions {
                let said = action.map_or("nothing".into(), |action| name(&action));
                if action != told.action {
                    add(
                        alloc::format!("{said} instead of {was}"),
                        Told { action, ..*told },
                    );
                }
            }
        }
        Call::SetLimits(_) => {}
    }

    let status = told.status;
    let phases = [
        Phase::Connecting,
        Phase::Open,
        Phase::Closing,
        Phase::Waiting,
        Phase::Done,
    ];
    let next = phases
        .iter()
        .position(|phase| *phase == status.phase)
        .map_or(0, |at| at + 1);
    let phase = phases[next % phases.len()];
    let ends = [
        None,
        Some(EndReason::Disconnected),
        Some(EndReason::ConnectFailed),
    ];
    let off =
        |span: Option<Duration>, by| Some(span.map_or(Duration::ZERO, |span| longer(span, by)));
    let mut tell = |kind: &str, status: Status| {
        if status != told.status {
            add(alloc::format!("status: {kind}"), Told { status, ..*told });
        }
    };
    tell("phase", Status { phase, ..status });
    tell(
        "suspect",
        Status {
            suspect: !status.suspect,
            ..status
        },
    );
    for by in [1, -1] {
        tell(
            "silence",
            Status {
                silence: off(status.silence, by),
                ..status
            },
        );
        tell(
            "age",
            Status {
                age: off(status.age, by),
                ..status
            },
        );
        tell(
            "age left",
            Status {
                age_left: off(status.age_left, by),
                ..status
            },
        );
        tell(
            "round trip",
            Status {
                rtt: off(status.age, by),
                ..status
            },
        );
    }
    tell(
        "silence",
        Status {
            silence: None,
            ..status
        },
    );
    tell(
        "age",
        Status {
            age: None,
            ..status
        },
    );
    tell(
        "age left",
        Status {
            age_left: None,
            ..status
        },
    );
    tell(
        "unanswered",
        Status {
            unanswered: status.unanswered.wrapping_add(1),
            ..status
        },
    );
    tell(
        "attempt",
        Status {
            attempt: status.attempt.wrapping_add(1),
            ..status
        },
    );
    tell(
        "heartbeats",
        Status {
            heartbeats: status.heartbeats.wrapping_add(1),
            ..status
        },
    );
    for last_end in ends {
        tell("last end", Status { last_end, ..status });
    }
    wrongs.push(("not told".into(), Vec::new()));
    wrongs.push(("told twice".into(), alloc::vec![*told, *told]));
    wrongs
}

#[test]
fn a_session_told_wrongly_is_noticed() {
    let mut table = Table::default();
    let mut turn = 0_usize;
    for number in 0..500 {
        let bytes = bytes(number, 160);
        let (mut model, calls) = run(&Script::new(&bytes));
        let mut last = None;
        for (place, told) in calls.iter().enumerate() {
            for (kind, wrong) in wrongs(told, last.or(told.action)) {
                // One in so many of all.
                turn += 1;
                if turn % 11 != 0 {
                    continue;
                }
                let mut model = model.clone();
                let rest = calls[place + 1..].iter().take(REST);
                table.add(
                    &kind,
                    wrong.iter().chain(rest).map(|told| tell(&mut model, told)),
                );
            }
            let right = tell(&mut model, told);
            assert!(right.is_ok(), "{right:?}");
            last = told.action.or(last);
        }
    }
    // A delay is drawn, so one wrong by a little may be right.
    table.none_unnoticed(|kind| {
        kind.contains("instead of") && kind != "Reconnect instead of Reconnect"
    });
    table.compare("perturbed.txt", include_str!("perturbed.txt"));
}

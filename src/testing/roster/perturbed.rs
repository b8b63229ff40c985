//! What the accounts of a roster notice, as for a session: the plain list, and
//! the sessions beside it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::checked::Reaped;
use super::model::Model;
use super::script::RosterScript;
use super::sessions::Sessions;
use crate::config::Config;
use crate::reaper::{Key, Reaper};
use crate::session::CloseReason;
use crate::testing::model::{Verdict, broken};
use crate::testing::perturbed::{OFF, REST, Table, bytes, longer, moved, name};
use crate::testing::replay::{Given, RosterCall, Who};
use crate::time::Timestamp;

/// A call on a roster, and all that its accounts are told of it.
#[derive(Clone)]
struct Told {
    now: Timestamp,
    call: RosterCall<Key>,
    gave: Given,
    stalls: u64,
    deadline: Option<Timestamp>,
    silences: Vec<Option<Duration>>,
}

#[derive(Clone)]
struct Accounts {
    config: Config,
    resolution: Duration,
    model: Model,
    sessions: Sessions,
}

impl Accounts {
    fn tell(&mut self, told: &Told) -> Verdict {
        let model = &mut self.model;
        match told.call {
            RosterCall::Remove(key) => {
                let value = model.remove(key).map(|conn| conn.value);
                if !matches!(told.gave, Given::Removed(told) if told == value) {
                    return broken(5, format!("{value:?}"));
                }
                self.sessions.remove(key);
                return self.settle(told);
            }
            RosterCall::Resumed => {
                model.pass(told.now);
                model.stall(true);
                self.sessions.resumed(model.now);
                return self.settle(told);
            }
            _ => {}
        }
        let before = model.stalls;
        model.call(told.now, told.stalls);
        if model.stalls != told.stalls {
            return broken(4, format!("{} stalls", model.stalls));
        }
        if before < model.stalls {
            self.sessions.stalled(model);
        }
        let now = model.now;
        let mut event = |key, event| self.sessions.handle(key, event, now);
        let known = match told.call {
            RosterCall::Insert(value) => {
                if let Given::Key(key) = told.gave {
                    model.insert(key, value);
                    self.sessions.insert(key, now);
                }
                return self.settle(told);
            }
            RosterCall::Received(key) => {
                event(key, crate::Event::Received);
                model.received(key)
            }
            RosterCall::HeartbeatReceived(key) => {
                event(key, crate::Event::HeartbeatReceived);
                model.heartbeat_received(key)
            }
            RosterCall::Sent(key) => {
                event(key, crate::Event::Sent);
                model.sent(key)
            }
            RosterCall::HeartbeatSent(key) => {
                event(key, crate::Event::HeartbeatSent);
                model.heartbeat_sent(key)
            }
            RosterCall::Exempt(key) => {
                self.sessions.bear(key, None, now);
                model.bear(key, None, &self.config)
            }
            RosterCall::SetSilenceTimeout(key, timeout) => {
                let config = self.config.to_builder().with_silence_timeout(timeout);
                if let (Ok(config), Given::Bore(Ok(_))) = (config.build(), told.gave) {
                    self.sessions.bear(key, Some(timeout), now);
                    model.bear(key, Some(timeout), &config);
                }
                return self.settle(told);
            }
            RosterCall::Drain(window) => {
                model.drain(window);
                return self.settle(told);
            }
            _ => {
                let Given::Reaped(reaped) = told.gave else {
                    return Ok(());
                };
                self.sessions.poll(reaped, model, self.resolution)?;
                model.poll(reaped.as_ref())?;
                if let Some(Reaped::Close { key, .. }) = reaped {
                    self.sessions.remove(key);
                }
                return self.settle(told);
            }
        };
        if !matches!(told.gave, Given::Known(told) if told == known) {
            return broken(5, format!("{known}"));
        }
        self.settle(told)
    }

    fn settle(&mut self, told: &Told) -> Verdict {
        self.model.check_deadline(told.deadline)?;
        let mut silences = self.model.conns.iter().zip(&told.silences);
        silences.try_for_each(|(conn, silence)| self.model.check_silence(conn, *silence))
    }
}

fn run(script: &RosterScript<'_>) -> (Accounts, Vec<Told>) {
    let replay = script.replay();
    let (config, start) = (replay.config(), replay.start());
    let reaper = Reaper::<u64>::new(config, replay.seed(), start).unwrap();
    let mut reaper = reaper.with_resolution(replay.resolution()).unwrap();
    let accounts = Accounts {
        config,
        resolution: replay.resolution(),
        model: Model::new(config, replay.resolution(), start),
        sessions: Sessions::new(&config, replay.seed()),
    };
    let (mut keys, mut calls) = (Vec::new(), Vec::new());
    let mut last = start;
    for (now, call) in replay.calls().iter().copied() {
        let call = call.about(|who| match who {
            Who::Nth(number) => keys[number - 1],
            Who::Stranger(key) => key,
        });
        let gave = call.make_unwatched(&mut reaper, now);
        if let Given::Key(key) = gave {
            keys.push(key);
        }
        if matches!(gave, Given::Bore(Err(_))) {
            continue; // which the accounts are not told
        }
        if !matches!(call, RosterCall::Remove(_)) {
            last = last.max(now);
        }
        calls.push(Told {
            now,
            call,
            gave,
            stalls: reaper.counters().stalls,
            deadline: reaper.deadline(),
            silences: reaper
                .iter()
                .map(|(key, _)| reaper.silence(key, last))
                .collect(),
        });
    }
    (accounts, calls)
}

const REASONS: [CloseReason; 7] = [
    CloseReason::PeerSilent,
    CloseReason::NoHello,
    CloseReason::WriteStalled,
    CloseReason::Flooded,
    CloseReason::TooOld,
    CloseReason::Draining,
    CloseReason::Shutdown,
];

/// The ways to tell of a call wrongly, while those of `conns` are there, and
/// what is told instead.
fn wrongs(told: &Told, conns: &[(Key, u64)], resolution: Duration) -> Vec<(String, Vec<Told>)> {
    let mut wrongs = Vec::new();
    let mut add = |kind: String, change: &dyn Fn(&mut Told)| {
        let mut wrong = told.clone();
        change(&mut wrong);
        wrongs.push((kind, alloc::vec![wrong]));
    };
    let tick = i64::try_from(resolution.as_nanos()).unwrap_or(i64::MAX / 4);
    for by in OFF.into_iter().chain([tick, -tick, tick.saturating_mul(2)]) {
        let much = match by.unsigned_abs() {
            1 => "a nanosecond",
            1_000_000_000 => "a second",
            _ => "a tick",
        };
        let sign = if by < 0 { "earlier" } else { "later" };
        add(format!("called {much} {sign}"), &|told| {
            told.now = moved(told.now, by);
        });
        add(format!("due {much} {sign}"), &|told| {
            told.deadline = told.deadline.map(|due| moved(due, by));
        });
        add(format!("silent since {much} {sign}"), &|told| {
            for silence in &mut told.silences {
                *silence = silence.map(|span| longer(span, by.saturating_neg()));
            }
        });
    }
    add("never due".into(), &|told| told.deadline = None);
    add("one more stall".into(), &|told| told.stalls += 1);
    add("one stall less".into(), &|told| {
        told.stalls = told.stalls.saturating_sub(1);
    });

    if let RosterCall::Drain(window) = told.call {
        for by in OFF {
            add("another drain".into(), &|told| {
                told.call = RosterCall::Drain(longer(window, by));
            });
        }
    }
    if let RosterCall::SetSilenceTimeout(key, timeout) = told.call {
        for by in OFF {
            add("another timeout".into(), &|told| {
                told.call = RosterCall::SetSilenceTimeout(key, longer(timeout, by));
            });
        }
    }
    if let (RosterCall::Poll, Given::Reaped(reaped)) = (told.call, told.gave) {
        let was = reaped.map_or("nothing".into(), |reaped| name(&reaped));
        let mut says = alloc::vec![None, Some(Reaped::Yield)];
        for &(key, value) in conns.iter().take(3) {
            says.push(Some(Reaped::Heartbeat { key, value }));
            let close = |value, reason, retry_after| {
                Some(Reaped::Close {
                    key,
                    value,
                    reason,
                    retry_after,
                })
            };
            says.extend(REASONS.map(|reason| close(value, reason, None)));
            says.push(close(value + 1, CloseReason::PeerSilent, None));
            says.push(Some(Reaped::Heartbeat {
                key,
                value: value + 1,
            }));
            for secs in [0, 1, 60] {
                let after = Some(Duration::from_secs(secs));
                says.push(close(value, CloseReason::Draining, after));
                says.push(close(value, CloseReason::PeerSilent, after));
            }
        }
        if let Some(Reaped::Close {
            key,
            value,
            reason,
            retry_after: Some(after),
        }) = reaped
        {
            says.extend(OFF.map(|by| {
                Some(Reaped::Close {
                    key,
                    value,
                    reason,
                    retry_after: Some(longer(after, by)),
                })
            }));
        }
        for say in says.into_iter().filter(|say| *say != reaped) {
            let said = say.map_or("nothing".into(), |reaped| name(&reaped));
            add(format!("{said} instead of {was}"), &|told| {
                told.gave = Given::Reaped(say);
            });
        }
    }
    if let Given::Known(known) = told.gave {
        let about = told.call.who().copied();
        for key in conns.iter().map(|(key, _)| *key).take(2).chain(about) {
            let calls = [
                RosterCall::Received(key),
                RosterCall::HeartbeatReceived(key),
                RosterCall::Sent(key),
                RosterCall::HeartbeatSent(key),
                RosterCall::Exempt(key),
            ];
            for call in calls.into_iter().filter(|call| *call != told.call) {
                let whose = if Some(key) == about {
                    ""
                } else {
                    " of another"
                };
                add(format!("{}{whose} instead", call.name()), &|told| {
                    told.call = call;
                });
            }
        }
        add("known or not".into(), &|told| {
            told.gave = Given::Known(!known)
        });
    }
    if let Given::Removed(value) = told.gave {
        add("removed another".into(), &|told| {
            told.gave = Given::Removed(value.map_or(Some(1), |_| None));
        });
    }
    if !matches!(told.call, RosterCall::Insert(_)) {
        add("resumed instead".into(), &|told| {
            told.call = RosterCall::Resumed
        });
        wrongs.push(("not told".into(), Vec::new()));
        wrongs.push(("told twice".into(), alloc::vec![told.clone(), told.clone()]));
    }
    wrongs
}

#[test]
fn a_roster_told_wrongly_is_noticed() {
    let mut table = Table::default();
    let mut turn = 0_usize;
    for number in 1000..1300 {
        let bytes = bytes(number, 200);
        let (mut accounts, calls) = run(&RosterScript::new(&bytes));
        let resolution = accounts.resolution;
        for (place, told) in calls.iter().enumerate() {
            let conns = accounts.model.conns.iter();
            let conns: Vec<(Key, u64)> = conns.map(|conn| (conn.key, conn.value)).collect();
            for (kind, wrong) in wrongs(told, &conns, resolution) {
                // One in so many of all.
                turn += 1;
                if turn % 13 != 0 {
                    continue;
                }
                let mut accounts = accounts.clone();
                let rest = calls[place + 1..].iter().take(REST);
                table.add(
                    &kind,
                    wrong.iter().chain(rest).map(|told| accounts.tell(told)),
                );
            }
            let right = accounts.tell(told);
            assert!(right.is_ok(), "run {number}, call {place}: {right:?}");
        }
    }
    table.compare("roster/perturbed.txt", include_str!("perturbed.txt"));
}

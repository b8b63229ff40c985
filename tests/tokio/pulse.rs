//! A session beside a transport.

use core::future::poll_fn;
use core::task::Poll;

use nabiz::tokio::{Clock, Pulse};
use nabiz::{Action, CloseReason, ConfigBuilder, Event, GiveUpReason, Limits, Phase};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, duplex};
use tokio::time::{Instant, advance, sleep, sleep_until, timeout};

use super::helpers::{HOWS, awaited, passed, until};
use crate::common::{SEED, bare_client, bare_server, beat, connect, millis, reconnect, secs};

const SILENT: Option<Action> = Some(Action::Close(CloseReason::PeerSilent));

fn pulse(config: ConfigBuilder) -> Pulse {
    Pulse::with(config.build().unwrap(), SEED, Clock::tokio())
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_closed_at_its_limit_exactly() {
    let start = Instant::now();
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(10)));
    assert_eq!(pulse.next().await, SILENT);
    passed(start, secs(10));
    assert_eq!(pulse.session().phase(), Phase::Closing);
}

#[tokio::test(start_paused = true)]
async fn what_came_moves_the_limit() {
    let start = Instant::now();
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(10)));
    for _ in 0..3 {
        assert!(timeout(secs(7), pulse.next()).await.is_err());
        pulse.handle(Event::Received);
    }
    assert_eq!(pulse.status().silence, Some(secs(0)));
    assert_eq!(pulse.next().await, SILENT);
    passed(start, secs(31));
}

#[tokio::test(start_paused = true)]
async fn beats_come_at_their_interval_and_not_while_one_is_in_flight() {
    let start = Instant::now();
    let mut pulse = pulse(bare_server().with_interval(secs(3)));
    for number in 1..4 {
        assert_eq!(pulse.next().await, Some(beat(number)));
        passed(start, secs(3) * number);
        pulse.handle(Event::HeartbeatSent);
    }
    assert!(timeout(secs(2), pulse.next()).await.is_err());
    pulse.handle(Event::Sent);
    assert_eq!(pulse.next().await, Some(beat(4)));
    passed(start, secs(14));
    assert!(timeout(secs(1000), pulse.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_ever_where_nothing_is_ever_due() {
    let mut pulse = pulse(bare_server());
    let hours = secs(100 * 3600);
    assert!(timeout(hours, pulse.next()).await.is_err());
    pulse.handle(Event::Shutdown);
    let close = Action::Close(CloseReason::Shutdown);
    assert_eq!(pulse.next().await, Some(close));
    pulse.handle(Event::Disconnected);
    assert_eq!(pulse.next().await, None);
    assert_eq!(pulse.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn limits_far_beyond_a_nap_are_exact_too() {
    let start = Instant::now();
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(3601)));
    assert_eq!(pulse.next().await, SILENT);
    passed(start, secs(3601));
}

#[tokio::test(start_paused = true)]
async fn limits_may_change_while_nobody_waits() {
    let start = Instant::now();
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(100)));
    assert!(timeout(secs(5), pulse.next()).await.is_err());
    let limits = Limits {
        silence_timeout: Some(secs(30)),
        ..pulse.session().config().limits()
    };
    pulse.set_limits(limits).unwrap();
    assert_eq!(pulse.next().await, SILENT);
    passed(start, secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_client_dials_waits_and_gives_up() {
    let start = Instant::now();
    let policy = crate::common::plain_backoff().with_max_attempts(2);
    let mut pulse = pulse(bare_client().with_backoff(policy));
    for (attempt, at) in [(0, 0), (1, 1), (2, 3)] {
        assert_eq!(pulse.next().await, Some(connect(attempt)));
        passed(start, secs(at));
        pulse.handle(Event::ConnectFailed);
        if attempt < 2 {
            let after = secs(1 << attempt);
            assert_eq!(pulse.next().await, Some(reconnect(after, attempt + 1)));
        }
    }
    let exhausted = GiveUpReason::AttemptsExhausted;
    assert_eq!(pulse.next().await, Some(Action::GiveUp(exhausted)));
    assert_eq!(pulse.next().await, None);
}

/// What a session with a mute and then a talking peer does, and when.
async fn script(how: super::helpers::How) -> Vec<(u128, Action)> {
    let start = Instant::now();
    let config = bare_client()
        .with_interval(secs(3))
        .with_silence_timeout(secs(10))
        .with_connect_timeout(secs(4))
        .with_answer_timeout(secs(2))
        .with_write_timeout(secs(5));
    let mut pulse = pulse(config);
    let (mut near, mut far) = duplex(64);
    tokio::spawn(async move {
        for _ in 0..100 {
            sleep(millis(1700)).await;
            if far.write_all(b".").await.is_err() {
                break;
            }
        }
    });
    let mut log = Vec::new();
    let mut buffer = [0; 64];
    while start.elapsed() < secs(100) {
        let action = awaited(how, async || {
            tokio::select! {
                biased;
                read = near.read(&mut buffer) => Err(read.unwrap()),
                action = pulse.next() => Ok(action.unwrap()),
            }
        });
        match action.await {
            Err(_) => pulse.handle(Event::AnswerReceived { id: None }),
            Ok(action) => {
                log.push((start.elapsed().as_millis(), action));
                match action {
                    // Every other dial takes too long.
                    Action::Connect { attempt } if attempt % 2 == 1 => {
                        pulse.handle(Event::Connected);
                    }
                    Action::SendHeartbeat { id } if id.get() % 5 != 0 => {
                        pulse.handle(Event::HeartbeatSent);
                    }
                    Action::Close(_) => pulse.handle(Event::Disconnected),
                    _ => {}
                }
            }
        }
    }
    log
}

#[tokio::test(start_paused = true)]
async fn futures_dropped_at_each_poll_lose_nothing() {
    let whole = script(HOWS[0]).await;
    let has = |wanted| whole.iter().any(|(_, action)| *action == wanted);
    assert!(has(Action::Close(CloseReason::WriteStalled)), "{whole:?}");
    assert!(has(Action::Close(CloseReason::ConnectTimeout)), "{whole:?}");
    assert!(has(reconnect(secs(1), 1)) && has(beat(7)), "{whole:?}");
    for how in HOWS {
        assert_eq!(script(how).await, whole, "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn input_at_the_limit_is_read_before_the_verdict() {
    let start = Instant::now();
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(10)));
    let (mut near, mut far) = duplex(64);
    let says = async {
        sleep_until(start + secs(10)).await;
        far.write_all(b".").await.unwrap();
        core::future::pending::<()>().await;
    };
    let mut says = core::pin::pin!(says);
    let mut buffer = [0; 64];
    for limit in [secs(10), secs(20)] {
        tokio::select! {
            biased;
            () = &mut says => unreachable!(),
            read = near.read(&mut buffer) => {
                assert_eq!((read.unwrap(), limit), (1, secs(10)));
                passed(start, limit);
                pulse.handle(Event::Received);
            }
            action = pulse.next() => {
                assert_eq!((action, limit), (SILENT, secs(20)));
                passed(start, limit);
            }
        }
    }
}

/// Takes all that this task may do before others get their turn.
fn exhaust(cx: &mut core::task::Context<'_>) {
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..10_000 {
        tx.send(number).unwrap();
    }
    while rx.poll_recv(cx).is_ready() {}
    assert!(!rx.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_task_judges_nobody_whom_it_could_not_read() {
    for polled_before in [true, false] {
        let mut pulse = pulse(bare_server().with_silence_timeout(secs(10)));
        let (mut near, mut far) = duplex(64);
        far.write_all(b".").await.unwrap();
        if polled_before {
            assert!(timeout(secs(1), pulse.next()).await.is_err());
        }
        advance(secs(11)).await;
        let mut turns = 0;
        let mut bytes = [0; 8];
        poll_fn(|cx| {
            turns += 1;
            if turns == 1 {
                exhaust(cx);
            }
            let mut buffer = ReadBuf::new(&mut bytes);
            let near = core::pin::Pin::new(&mut near);
            let read = AsyncRead::poll_read(near, cx, &mut buffer);
            assert_eq!(read.is_ready(), turns > 1);
            if read.is_ready() {
                pulse.handle(Event::Received);
                return Poll::Ready(());
            }
            let action = pulse.poll_next(cx);
            assert!(action.is_pending(), "{action:?}");
            Poll::Pending
        })
        .await;
        assert!(timeout(millis(9999), pulse.next()).await.is_err());
        assert_eq!(pulse.next().await, SILENT);
    }
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_task_loses_no_action() {
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(10)));
    let start = Instant::now();
    let mut is_first = true;
    let action = poll_fn(|cx| {
        if core::mem::take(&mut is_first) {
            exhaust(cx);
        }
        pulse.poll_next(cx)
    });
    assert_eq!(action.await, SILENT);
    passed(start, secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_due_needs_no_timer() {
    let start = Instant::now();
    let mut pulse = pulse(bare_server().with_interval(secs(3)));
    until(start, 4).await;
    let action = poll_fn(|cx| {
        exhaust(cx);
        Poll::Ready(pulse.poll_next(cx))
    });
    assert_eq!(action.await, Poll::Ready(Some(beat(1))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_beat_on_several_threads() {
    let mut tasks = Vec::new();
    for _ in 0..50 {
        tasks.push(tokio::spawn(async {
            let config = bare_server()
                .with_interval(millis(50))
                .with_silence_timeout(millis(500))
                .with_stall_tolerance(secs(5));
            let start = std::time::Instant::now();
            let mut pulse = Pulse::new(config.build().unwrap());
            let mut beats = 0;
            loop {
                match pulse.next().await {
                    Some(Action::SendHeartbeat { .. }) => {
                        beats += 1;
                        pulse.handle(Event::HeartbeatSent);
                    }
                    other => {
                        assert_eq!(other, SILENT);
                        break (beats, start.elapsed());
                    }
                }
            }
        }));
    }
    for task in tasks {
        let (beats, took) = task.await.unwrap();
        assert!((2..=10).contains(&beats), "{beats}");
        assert!(took >= millis(500) && took < secs(5), "{took:?}");
    }
}

//! What a link tells its user, from the first dial to the end.

use std::io::ErrorKind;

use nabiz::tokio::{Clock, Link, SendError};
use nabiz::{CloseReason, Config, EndReason, Event, GiveUpReason, Limits, Phase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::helpers::{Seen, about, idle, next, next_but_beats, passed, ping, piped, up};
use crate::common::{SEED, bare_client, millis, plain_backoff, secs};

fn down(why: EndReason, silence: u64, retry_in: u64, attempt: u32) -> Seen {
    Seen::Down {
        why,
        error: None,
        silence: Some(secs(silence)),
        retry_in: Some(secs(retry_in)),
        attempt,
    }
}

const fn closed(reason: CloseReason) -> EndReason {
    EndReason::Closed(reason)
}

#[tokio::test(start_paused = true)]
async fn the_whole_life_of_a_link() {
    let start = Instant::now();
    let policy = plain_backoff().with_max_attempts(2);
    let config = bare_client()
        .with_interval(secs(3))
        .with_silence_timeout(secs(10))
        .with_backoff(policy);
    let (mut link, mut peers) = piped(config, 64);
    assert_eq!(link.status().phase, Phase::Connecting);
    assert_eq!(link.send(b"early"), Err(SendError::NotConnected));

    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    let mut peer = peers.recv().await.unwrap();
    link.send(b"hello").unwrap();
    for beat in 1..=3 {
        assert_eq!(next(&mut link).await, Some(Seen::Beat(beat)));
        passed(start, secs(3) * beat);
    }
    let silent = closed(CloseReason::PeerSilent);
    assert_eq!(next(&mut link).await, Some(down(silent, 10, 1, 1)));
    passed(start, secs(10));
    let mut said = Vec::new();
    peer.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"hello!!!");

    assert_eq!(next(&mut link).await, Some(Seen::Up(1)));
    passed(start, secs(11));
    let mut peer = peers.recv().await.unwrap();
    sleep(secs(1)).await;
    peer.write_all(b"half a wo").await.unwrap();
    let data = next(&mut link).await;
    assert_eq!(data, Some(Seen::Data(b"half a wo".to_vec())));
    sleep(secs(1)).await;
    peer.write_all(b"rd").await.unwrap();
    drop(peer);
    // What it said last comes first.
    assert_eq!(
        next_but_beats(&mut link).await,
        Some(Seen::Data(b"rd".to_vec()))
    );
    let gone = EndReason::Disconnected;
    assert_eq!(next_but_beats(&mut link).await, Some(down(gone, 0, 2, 2)));
    assert_eq!(link.status().phase, Phase::Waiting);
    passed(start, secs(13));

    link.reconnect_now();
    let Some(Seen::Retry(retry_in, 2)) = next(&mut link).await else {
        panic!("not moved");
    };
    assert!(retry_in <= secs(1), "{retry_in:?}"); // a first attempt's
    assert_eq!(next(&mut link).await, Some(Seen::Up(2)));
    about(start, secs(13) + retry_in);
    drop(peers.recv().await.unwrap());
    assert!(matches!(
        next(&mut link).await,
        Some(Seen::Down {
            retry_in: None,
            attempt: 2,
            ..
        })
    ));
    let exhausted = GiveUpReason::AttemptsExhausted;
    assert_eq!(next(&mut link).await, Some(Seen::GaveUp(exhausted)));
    assert_eq!(next(&mut link).await, None);
    assert_eq!(next(&mut link).await, None);
    assert_eq!(link.send(b"late"), Err(SendError::NotConnected));
    assert!(peers.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn one_retry_is_moved_once() {
    let config = bare_client().with_backoff(plain_backoff().with_initial(secs(60)));
    let (mut link, mut peers) = piped(config, 64);
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    drop(peers.recv().await.unwrap());
    assert!(matches!(next(&mut link).await, Some(Seen::Down { .. })));
    sleep(secs(50)).await;
    link.reconnect_now();
    link.reconnect_now();
    // Ten seconds are left, which is less than a first attempt's draw.
    let up = timeout(secs(11), next(&mut link)).await.unwrap();
    assert_eq!(up, Some(Seen::Up(1)));
    assert_eq!(link.status().last_end, Some(EndReason::Disconnected));
}

#[tokio::test(start_paused = true)]
async fn looking_again_while_up_asks_the_peer() {
    let config = bare_client()
        .with_interval(secs(30))
        .with_silence_timeout(secs(100));
    let (mut link, mut peer) = up(config, 64).await;
    sleep(secs(20)).await;
    link.reconnect_now();
    assert_eq!(next(&mut link).await, Some(Seen::Stalled));
    assert!(link.status().suspect);
    assert_eq!(next(&mut link).await, Some(Seen::Beat(1)));
    peer.write_all(b".").await.unwrap();
    assert_eq!(next(&mut link).await, Some(Seen::Data(b".".to_vec())));
    assert!(!link.status().suspect);
    idle(&mut link, secs(29)).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_driver_convicts_nobody_and_says_so() {
    let config = bare_client()
        .with_interval(secs(30))
        .with_silence_timeout(secs(100));
    let (mut link, mut peer) = up(config, 64).await;
    let start = Instant::now();
    sleep(secs(500)).await;
    assert_eq!(next(&mut link).await, Some(Seen::Stalled));
    assert_eq!(next(&mut link).await, Some(Seen::Beat(1)));
    // And once: now it is judged.
    let silent = down(closed(CloseReason::PeerSilent), 600, 1, 1);
    assert_eq!(next_but_beats(&mut link).await, Some(silent));
    passed(start, secs(600));
    let mut said = Vec::new();
    peer.read_to_end(&mut said).await.unwrap();
    assert!(said.len() >= 3);
}

#[tokio::test(start_paused = true)]
async fn what_came_while_nobody_drove_is_read_before_a_stall_is_seen() {
    let (mut link, mut peer) = up(bare_client().with_silence_timeout(secs(100)), 64).await;
    peer.write_all(b"there").await.unwrap();
    sleep(secs(102)).await; // late, but tolerated
    let data = next(&mut link).await;
    assert_eq!(data, Some(Seen::Data(b"there".to_vec())));
    assert_eq!(link.status().stalls, 0);
    idle(&mut link, secs(99)).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_rejects_us_is_left_politely_and_for_good() {
    let (mut link, mut peer) = up(bare_client(), 64).await;
    link.send(b"bye").unwrap();
    link.report(Event::Rejected);
    let waits = tokio::spawn(async move {
        let mut said = Vec::new();
        peer.read_to_end(&mut said).await.unwrap();
        said
    });
    let Some(Seen::Down { why, retry_in, .. }) = next(&mut link).await else {
        panic!("still up");
    };
    assert_eq!((why, retry_in), (closed(CloseReason::Rejected), None));
    let rejected = GiveUpReason::Rejected;
    assert_eq!(next(&mut link).await, Some(Seen::GaveUp(rejected)));
    assert_eq!(next(&mut link).await, None);
    assert_eq!(waits.await.unwrap(), b"bye");
}

#[tokio::test(start_paused = true)]
async fn a_hint_to_stay_away_is_kept() {
    let (mut link, mut peers) = piped(bare_client(), 64);
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    link.report(Event::RetryAfter(secs(40)));
    drop(peers.recv().await.unwrap());
    let start = Instant::now();
    let Some(Seen::Down {
        retry_in: Some(retry_in),
        ..
    }) = next(&mut link).await
    else {
        panic!("still up");
    };
    assert!(retry_in >= secs(40) && retry_in <= secs(50), "{retry_in:?}");
    assert_eq!(next(&mut link).await, Some(Seen::Up(1)));
    about(start, retry_in);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_one_link_and_not_the_last() {
    let (mut link, mut peers) = piped(bare_client(), 64);
    for attempt in 0..3 {
        assert_eq!(next(&mut link).await, Some(Seen::Up(attempt)));
        let mut peer = peers.recv().await.unwrap();
        // It leaves when it is told of the end, each time.
        let leaves = tokio::spawn(async move { peer.read(&mut [0; 8]).await.unwrap() });
        let start = Instant::now();
        link.report(Event::Drain);
        let drained = down(closed(CloseReason::Draining), 0, 1 << attempt, attempt + 1);
        assert_eq!(next(&mut link).await, Some(drained));
        passed(start, secs(0));
        assert_eq!(leaves.await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_transport_does_is_not_the_users_to_report() {
    let (mut link, _peer) = up(bare_client().with_silence_timeout(secs(10)), 64).await;
    let start = Instant::now();
    sleep(secs(5)).await;
    for event in [
        Event::Connected,
        Event::ConnectFailed,
        Event::Received,
        Event::Sent,
        Event::HeartbeatSent,
    ] {
        link.report(event);
        assert_eq!(link.status().phase, Phase::Open, "{event:?}");
    }
    assert!(matches!(next(&mut link).await, Some(Seen::Down { .. })));
    passed(start, secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_makes_no_sense_is_dropped_at_once_and_dialled_again() {
    let config = bare_client().with_interval(secs(3));
    let (mut link, mut peers) = piped(config, 64);
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    let mut peer = peers.recv().await.unwrap();
    peer.write_all(b"garbage, and more").await.unwrap();
    let mut buffer = [0; 7];
    let data = link.next(&mut buffer).await.map(super::helpers::seen);
    assert_eq!(data, Some(Seen::Data(b"garbage".to_vec())));
    link.send(b"unwritten").unwrap();
    let start = Instant::now();
    link.report(Event::Disconnected);
    link.report(Event::Disconnected);
    assert_eq!(link.send(b"late"), Err(SendError::NotConnected));
    let gone = down(EndReason::Disconnected, 0, 1, 1);
    assert_eq!(next(&mut link).await, Some(gone));
    let mut said = Vec::new();
    peer.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"");
    assert_eq!(next(&mut link).await, Some(Seen::Up(1)));
    passed(start, secs(1));
    assert_eq!(next(&mut link).await, Some(Seen::Beat(1)));
    let _second = peers.recv().await.unwrap();
    assert!(peers.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn answers_are_told_by_the_user() {
    let config = bare_client()
        .with_interval(secs(3))
        .with_silence_timeout(secs(60))
        .with_answer_timeout(secs(2));
    let (mut link, _peer) = up(config, 64).await;
    let start = Instant::now();
    for beat in 1..5 {
        assert_eq!(next(&mut link).await, Some(Seen::Beat(beat)));
        sleep(millis(1500)).await;
        link.report(Event::AnswerReceived { id: None });
        assert_eq!(link.status().rtt, Some(millis(1500)));
    }
    assert_eq!(next(&mut link).await, Some(Seen::Beat(5)));
    let beaten = start.elapsed();
    assert!(matches!(
        next(&mut link).await,
        Some(Seen::Down {
            why: EndReason::Closed(CloseReason::NoAnswer),
            ..
        })
    ));
    passed(start, beaten + secs(2));
}

#[tokio::test(start_paused = true)]
async fn limits_settled_after_connecting_hold_at_once() {
    let (mut link, _peer) = up(bare_client().with_silence_timeout(secs(100)), 64).await;
    let start = Instant::now();
    idle(&mut link, secs(5)).await;
    let limits = Limits {
        silence_timeout: Some(secs(20)),
        interval: Some(secs(8)),
        answer_timeout: None,
    };
    link.set_limits(limits).unwrap();
    assert_eq!(next(&mut link).await, Some(Seen::Beat(1)));
    passed(start, secs(8));
    assert!(matches!(
        next_but_beats(&mut link).await,
        Some(Seen::Down { .. })
    ));
    passed(start, secs(20));
    let zero = Limits {
        silence_timeout: Some(secs(0)),
        ..limits
    };
    assert!(link.set_limits(zero).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_empty_buffer_reads_nothing_and_beats_all_the_same() {
    let (mut link, mut peer) = up(bare_client().with_interval(secs(3)), 64).await;
    peer.write_all(b".").await.unwrap();
    for beat in 1..4 {
        let event = link.next(&mut []).await.map(super::helpers::seen);
        assert_eq!(event, Some(Seen::Beat(beat)));
    }
    assert_eq!(next(&mut link).await, Some(Seen::Data(b".".to_vec())));
}

#[tokio::test(start_paused = true)]
async fn bytes_come_as_they_are_however_they_are_cut() {
    let (mut link, mut peer) = up(bare_client(), 7).await;
    let sent: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let expected = sent.clone();
    tokio::spawn(async move {
        for piece in sent.chunks(13) {
            peer.write_all(piece).await.unwrap();
            if piece[0] % 3 == 0 {
                sleep(millis(10)).await;
            }
        }
    });
    let mut got = Vec::new();
    let mut size = 0;
    let error = loop {
        size = size % 11 + 1;
        let mut buffer = vec![0; size];
        match link.next(&mut buffer).await.map(super::helpers::seen) {
            Some(Seen::Data(bytes)) => {
                assert!(bytes.len() <= size);
                got.extend(bytes);
            }
            Some(Seen::Down { error, .. }) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((got, error), (expected, None::<ErrorKind>));
}

#[tokio::test(start_paused = true)]
async fn a_server_has_no_link() {
    let config = Config::server().build().unwrap();
    let connect = || async { Ok(tokio::io::duplex(1).0) };
    let refused = Link::with(config, SEED, Clock::tokio(), ping, connect);
    assert!(refused.unwrap_err().to_string().contains("client"));
}

//! Dials that fail, hang, come too late, or are not wanted any more.

use core::future::{Future, pending, ready};
use core::pin::Pin;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use nabiz::tokio::{Link, LinkHandle, SendError};
use nabiz::{CloseReason, EndReason, Event, Phase};
use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, advance, sleep};

use super::helpers::{Seen, dialling, idle, next, passed, until};
use crate::common::{bare_client, millis, secs};

type Dial = Pin<Box<dyn Future<Output = io::Result<DuplexStream>> + Send>>;

const TIMED_OUT: EndReason = EndReason::Closed(CloseReason::ConnectTimeout);

fn failed(why: EndReason, error: Option<ErrorKind>, retry_in: u64, attempt: u32) -> Seen {
    Seen::Down {
        why,
        error,
        silence: None,
        retry_in: Some(secs(retry_in)),
        attempt,
    }
}

/// Counts futures that are dropped.
struct Dropped(Arc<AtomicU32>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn dials_that_fail_are_made_again_at_growing_delays() {
    let start = Instant::now();
    let mut link = dialling(bare_client(), || {
        ready(Err::<DuplexStream, _>(ErrorKind::ConnectionRefused.into()))
    });
    let mut at = 0;
    for attempt in 1..=6 {
        let refused = Some(ErrorKind::ConnectionRefused);
        let wait = 1 << (attempt - 1);
        let expected = failed(EndReason::ConnectFailed, refused, wait, attempt);
        assert_eq!(next(&mut link).await, Some(expected));
        passed(start, secs(at));
        at += wait;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_hangs_is_dropped_at_its_limit() {
    let start = Instant::now();
    let dropped = Arc::new(AtomicU32::new(0));
    let count = dropped.clone();
    let mut link = dialling(bare_client().with_connect_timeout(secs(7)), move || {
        let guard = Dropped(count.clone());
        async move {
            let _guard = guard;
            pending::<io::Result<DuplexStream>>().await
        }
    });
    idle(&mut link, millis(6999)).await;
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    assert_eq!(next(&mut link).await, Some(failed(TIMED_OUT, None, 1, 1)));
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    passed(start, secs(7));
    assert_eq!(next(&mut link).await, Some(failed(TIMED_OUT, None, 2, 2)));
    passed(start, secs(15));
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_a_dial_takes_as_long_as_it_takes() {
    let start = Instant::now();
    let mut link = dialling(bare_client().without_connect_timeout(), || async {
        sleep(secs(5000)).await;
        Ok(duplex(8).0)
    });
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    passed(start, secs(5000));
    assert_eq!(link.status().stalls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_is_done_is_not_too_late() {
    for late in [secs(7), secs(8), secs(100)] {
        let start = Instant::now();
        let (far_ends, peers) = std::sync::mpsc::channel();
        let config = bare_client().with_connect_timeout(secs(7));
        let mut link = dialling(config, move || {
            let (near, far) = duplex(8);
            far_ends.send(far).unwrap();
            async move {
                until(start, 7).await;
                Ok(near)
            }
        });
        idle(&mut link, secs(1)).await;
        advance(late - secs(1)).await;
        // Both are due: the dial is looked at first.
        assert_eq!(next(&mut link).await, Some(Seen::Up(0)), "{late:?}");
        passed(start, late);
        idle(&mut link, secs(1)).await; // and that was no stall
        drop(peers);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_under_way_is_abandoned_when_it_is_not_wanted() {
    for event in [Event::Shutdown, Event::Rejected] {
        let start = Instant::now();
        let dropped = Arc::new(AtomicU32::new(0));
        let count = dropped.clone();
        let mut link = dialling(bare_client(), move || {
            let guard = Dropped(count.clone());
            async move {
                let _guard = guard;
                pending::<io::Result<DuplexStream>>().await
            }
        });
        idle(&mut link, secs(3)).await;
        link.report(event);
        let Some(Seen::Down { why, retry_in, .. }) = next(&mut link).await else {
            panic!("still dialling");
        };
        assert!(matches!(why, EndReason::Closed(_)), "{why}");
        assert_eq!(retry_in, None);
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        passed(start, secs(3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_succeeds_after_the_end_brings_no_link() {
    let (far_ends, peers) = std::sync::mpsc::channel();
    let mut link = dialling(bare_client(), move || {
        let (near, far) = duplex(8);
        far_ends.send(far).unwrap();
        async move {
            sleep(secs(3)).await;
            Ok(near)
        }
    });
    idle(&mut link, secs(2)).await;
    let peer = peers.recv().unwrap();
    link.report(Event::Shutdown);
    advance(secs(2)).await;
    assert!(matches!(
        next(&mut link).await,
        Some(Seen::Down { retry_in: None, .. })
    ));
    assert_eq!(next(&mut link).await, None);
    assert_eq!(link.status().phase, Phase::Done);
    let mut peer = peer;
    let read = tokio::io::AsyncReadExt::read(&mut peer, &mut [0; 8]).await;
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_end_before_the_first_dial_needs_none() {
    let mut link = dialling(bare_client(), || -> Dial { panic!("dialled") });
    link.shutdown().await;
    assert_eq!(next(&mut link).await, None);
}

/// To be told to look again is told as a stall.
async fn next_but_stalls(link: &mut Link<DuplexStream>) -> Option<Seen> {
    loop {
        match next(link).await {
            Some(Seen::Stalled) => {}
            other => return other,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dials_may_use_the_handle() {
    let given: Arc<Mutex<Option<LinkHandle>>> = Arc::default();
    let place = given.clone();
    let handle = move || place.lock().unwrap().clone().unwrap();
    let mut link = dialling(bare_client(), move || {
        let handle = handle();
        assert_eq!(handle.status().phase, Phase::Connecting);
        assert_eq!(handle.send(b"x"), Err(SendError::NotConnected));
        handle.reconnect_now();
        async move {
            assert_eq!(handle.status().phase, Phase::Connecting);
            handle.reconnect_now();
            sleep(secs(1)).await;
            if handle.status().attempt == 0 {
                return Err(ErrorKind::AddrInUse.into());
            }
            Ok(duplex(8).0)
        }
    });
    *given.lock().unwrap() = Some(link.handle());
    let in_use = Some(ErrorKind::AddrInUse);
    let expected = failed(EndReason::ConnectFailed, in_use, 1, 1);
    assert_eq!(next_but_stalls(&mut link).await, Some(expected));
    assert_eq!(next_but_stalls(&mut link).await, Some(Seen::Up(1)));
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_ends_the_link_ends_it() {
    let given: Arc<Mutex<Option<LinkHandle>>> = Arc::default();
    let place = given.clone();
    let start = Instant::now();
    let mut link = dialling(bare_client(), move || {
        let handle = place.lock().unwrap().clone().unwrap();
        async move {
            until(start, 1).await;
            handle.shutdown().await;
            Err::<DuplexStream, _>(ErrorKind::Other.into())
        }
    });
    *given.lock().unwrap() = Some(link.handle());
    assert!(matches!(
        next(&mut link).await,
        Some(Seen::Down { retry_in: None, .. })
    ));
    assert_eq!(next(&mut link).await, None);
    passed(start, secs(1));
    drop(given.lock().unwrap().take());
}

#[tokio::test(start_paused = true)]
async fn the_next_dial_comes_after_the_last_one_is_dropped() {
    let under_way = Arc::new(AtomicU32::new(0));
    let count = under_way.clone();
    struct Leaves(Arc<AtomicU32>);
    impl Drop for Leaves {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let mut link = dialling(bare_client().with_connect_timeout(secs(2)), move || {
        assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0);
        let leaves = Leaves(count.clone());
        async move {
            let _leaves = leaves;
            pending::<io::Result<DuplexStream>>().await
        }
    });
    for _ in 0..5 {
        assert!(matches!(next(&mut link).await, Some(Seen::Down { .. })));
        assert_eq!(under_way.load(Ordering::SeqCst), 0);
    }
}

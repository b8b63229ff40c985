//! The ways into a link for other tasks.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll};

use nabiz::Phase;
use nabiz::tokio::{LinkHandle, SendError};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::time::{Instant, sleep, timeout};

use super::helpers::{Seen, dialling, idle, next, passed, piped, up};
use crate::common::{SEED, bare_client, millis, plain_backoff, secs};

#[tokio::test(start_paused = true)]
async fn what_another_task_sends_is_written_at_once() {
    let (mut link, mut peer) = up(bare_client(), 64).await;
    let handle = link.handle();
    assert_eq!(handle.send(b"too early"), Err(SendError::NotConnected));
    let driver = tokio::spawn(async move { next(&mut link).await });
    sleep(secs(1)).await;
    let start = Instant::now();
    handle.send(b"from afar").unwrap();
    let mut said = [0; 9];
    peer.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"from afar");
    passed(start, secs(0));
    drop(peer);
    assert!(matches!(driver.await.unwrap(), Some(Seen::Down { .. })));
    assert_eq!(handle.send(b"late"), Err(SendError::NotConnected));
}

#[tokio::test(start_paused = true)]
async fn too_much_is_refused_by_handles_too() {
    let (mut link, _peer) = up(bare_client(), 16).await;
    link.set_send_limit(100);
    let handle = link.handle();
    idle(&mut link, millis(1)).await;
    handle.send(&[b'x'; 90]).unwrap();
    handle.send(&[b'x'; 10]).unwrap();
    assert_eq!(handle.send(b"x"), Err(SendError::Full));
    idle(&mut link, millis(1)).await; // 16 fit in the pipe
    handle.send(&[b'x'; 16]).unwrap();
    assert_eq!(handle.send(b"x"), Err(SendError::Full));
}

#[tokio::test(start_paused = true)]
async fn another_task_may_hurry_a_link_that_waits() {
    let policy = plain_backoff()
        .with_multiplier(nabiz::Ratio::percent(10_000))
        .with_max(secs(100));
    let mut link = dialling(bare_client().with_backoff(policy), || {
        core::future::ready(Err::<DuplexStream, _>(ErrorKind::NotFound.into()))
    });
    let handle = link.handle();
    for wait in [1, 100] {
        let retry_in = Some(secs(wait));
        let event = next(&mut link).await;
        assert!(matches!(event, Some(Seen::Down { retry_in: r, .. }) if r == retry_in));
    }
    let start = Instant::now();
    let driver = tokio::spawn(async move { (next(&mut link).await, next(&mut link).await) });
    sleep(secs(3)).await;
    handle.reconnect_now();
    let (moved, dialled) = driver.await.unwrap();
    assert_eq!(moved, Some(Seen::Retry(secs(1), 2)));
    assert!(matches!(dialled, Some(Seen::Down { .. })), "{dialled:?}");
    passed(start, secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_each_phase_and_then_the_end() {
    let config = bare_client()
        .with_silence_timeout(secs(10))
        .with_close_grace(secs(2));
    let (mut link, mut peers) = piped(config, 64);
    let mut watch = link.handle();
    let start = Instant::now();
    let watcher = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(status) = watch.changed().await {
            seen.push((start.elapsed().as_secs(), status.phase));
        }
        // And it says so again.
        assert!(watch.changed().await.is_none());
        let mut late = watch.clone();
        assert!(late.changed().await.is_none());
        seen
    });
    let ends = link.handle();
    let driver = tokio::spawn(async move {
        let mut events = 0;
        while next(&mut link).await.is_some() {
            tokio::task::yield_now().await;
            events += 1;
        }
        (events, start.elapsed())
    });
    let _first = peers.recv().await.unwrap();
    let mut second = peers.recv().await.unwrap();
    sleep(secs(1)).await;
    let asked = tokio::spawn(async move {
        ends.shutdown().await;
        start.elapsed()
    });
    // Reads the end, and stays.
    assert_eq!(second.read(&mut [0; 8]).await.unwrap(), 0);
    let (events, ended) = driver.await.unwrap();
    assert_eq!((events, ended), (4, secs(14)));
    assert_eq!(asked.await.unwrap(), secs(14));
    let expected = [
        (0, Phase::Open),
        (10, Phase::Waiting),
        (11, Phase::Open),
        (12, Phase::Closing),
        (14, Phase::Done),
    ];
    assert_eq!(watcher.await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn handles_of_a_link_that_is_dropped_have_one_that_is_done() {
    let (mut link, mut peer) = up(bare_client(), 64).await;
    let mut watch = link.handle();
    let waits = link.handle();
    idle(&mut link, secs(1)).await;
    let watcher = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(status) = watch.changed().await {
            seen.push(status.phase);
        }
        assert_eq!(watch.send(b"x"), Err(SendError::NotConnected));
        assert_eq!(watch.status().phase, Phase::Done);
        watch.reconnect_now();
        assert_eq!(watch.status().phase, Phase::Done);
        seen
    });
    let waiter = tokio::spawn(async move { waits.shutdown().await });
    sleep(secs(1)).await;
    drop(link);
    let seen = timeout(secs(1), watcher).await.unwrap().unwrap();
    assert_eq!(seen.last(), Some(&Phase::Done));
    timeout(secs(1), waiter).await.unwrap().unwrap();
    assert_eq!(peer.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_link_dropped_in_any_phase_is_done() {
    // Never driven.
    let (link, _) = piped(bare_client(), 8);
    let handle = link.handle();
    drop(link);
    assert_eq!(handle.status().phase, Phase::Done);
    handle.shutdown().await;
    // While it dials.
    let dials = || core::future::pending::<std::io::Result<DuplexStream>>();
    let mut link = dialling(bare_client(), dials);
    idle(&mut link, secs(1)).await;
    let handle = link.handle();
    drop(link);
    assert_eq!(handle.status().phase, Phase::Done);
    handle.shutdown().await;
    // While it waits.
    let (mut link, mut peers) = piped(bare_client(), 8);
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    drop(peers.recv().await);
    assert!(matches!(next(&mut link).await, Some(Seen::Down { .. })));
    let handle = link.handle();
    drop(link);
    assert_eq!(handle.status().phase, Phase::Done);
    handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_or_is_aborted_drops_its_link() {
    for aborts in [true, false] {
        let (mut link, mut peer) = up(bare_client(), 64).await;
        let handle = link.handle();
        let task = tokio::spawn(async move {
            assert!(next(&mut link).await.is_none(), "as is meant to be");
        });
        sleep(secs(1)).await;
        if aborts {
            task.abort();
        } else {
            tokio::io::AsyncWriteExt::write_all(&mut peer, b".")
                .await
                .unwrap();
        }
        timeout(secs(1), handle.shutdown()).await.unwrap();
        assert_eq!(handle.status().phase, Phase::Done);
        assert!(task.await.is_err());
    }
}

/// A waker that uses the link's handle, as one may that runs a task at once.
struct Nosy {
    handle: LinkHandle,
    wakes: AtomicU32,
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        let _ = self.handle.status();
        let _ = self.handle.send(b"!");
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        let _ = self.handle.status();
    }
}

#[tokio::test(start_paused = true)]
async fn no_waker_is_woken_or_dropped_where_a_handle_would_wait_for_ever() {
    let (mut link, _peer) = up(bare_client(), 64).await;
    let (done, is_done) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _entered = runtime.enter();
        let nosy = |link: &nabiz::tokio::Link<DuplexStream>| {
            Arc::new(Nosy {
                handle: link.handle(),
                wakes: AtomicU32::new(0),
            })
        };
        let (drives, watches) = (nosy(&link), nosy(&link));
        let handle = link.handle();
        let mut watch = link.handle();
        {
            let waker = Waker::from(watches.clone());
            let mut cx = Context::from_waker(&waker);
            assert!(pin!(watch.changed()).poll(&mut cx).is_pending());
        }
        let mut drive = |nosy: &Arc<Nosy>| {
            let waker = Waker::from(nosy.clone());
            pin!(next(&mut link)).poll(&mut Context::from_waker(&waker))
        };
        assert_eq!(drive(&drives), Poll::Pending);
        handle.send(b"a").unwrap();
        assert_eq!(drives.wakes.load(Ordering::Relaxed), 1);
        // Each replaces the one before, which is dropped.
        for _ in 0..3 {
            let other = Nosy {
                handle: handle.clone(),
                wakes: AtomicU32::new(0),
            };
            assert_eq!(drive(&Arc::new(other)), Poll::Pending);
            assert_eq!(drive(&drives), Poll::Pending);
        }
        handle.reconnect_now();
        assert_eq!(drives.wakes.load(Ordering::Relaxed), 2);
        drop(drives);
        drop(link);
        assert_eq!(watches.wakes.load(Ordering::Relaxed), 1);
        done.send(()).unwrap();
    });
    let waits = tokio::task::spawn_blocking(move || is_done.recv_timeout(secs(10)));
    waits.await.unwrap().expect("it waits for itself");
}

/// One waker for each handle that waits, and none for one that is gone.
#[tokio::test(start_paused = true)]
async fn waits_that_were_given_up_leave_nothing_behind() {
    struct Counted;
    impl std::task::Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }
    let (link, _peer) = up(bare_client(), 64).await;
    let counted = Arc::new(Counted);
    let mut handle = link.handle();
    for _ in 0..100 {
        let mut other = handle.clone();
        for handle in [&mut handle, &mut other] {
            // A waker that no other `will_wake`.
            let waker = Waker::from(Arc::new(Counted));
            let mut cx = Context::from_waker(&waker);
            assert!(pin!(handle.changed()).poll(&mut cx).is_pending());
            let waker = Waker::from(counted.clone());
            let mut cx = Context::from_waker(&waker);
            assert!(pin!(handle.changed()).poll(&mut cx).is_pending());
        }
    }
    assert_eq!(Arc::strong_count(&counted), 2); // ours, and the first handle's
    drop(handle);
    assert_eq!(Arc::strong_count(&counted), 1);
}

/// As one that counts what came, or tells of it.
#[tokio::test(start_paused = true)]
async fn a_stream_may_use_a_handle_where_it_reads() {
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    struct Curious(
        DuplexStream,
        Arc<std::sync::OnceLock<nabiz::tokio::LinkHandle>>,
    );
    impl AsyncRead for Curious {
        fn poll_read(
            mut self: core::pin::Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            if let Some(handle) = self.1.get() {
                let _ = handle.status();
                let _ = handle.send(b"!");
            }
            core::pin::Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }
    impl AsyncWrite for Curious {
        fn poll_write(
            mut self: core::pin::Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            core::pin::Pin::new(&mut self.0).poll_write(cx, bytes)
        }
        fn poll_flush(
            self: core::pin::Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(
            self: core::pin::Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let handle = Arc::new(std::sync::OnceLock::new());
    let (near, mut far) = tokio::io::duplex(64);
    let mut stream = Some(Curious(near, handle.clone()));
    let connect = move || core::future::ready(stream.take().ok_or(ErrorKind::NotFound.into()));
    let config = bare_client().build().unwrap();
    let clock = nabiz::tokio::Clock::tokio();
    let mut link = nabiz::tokio::Link::with(config, SEED, clock, |_, _| {}, connect).unwrap();
    handle.set(link.handle()).unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut far, b"hello")
        .await
        .unwrap();
    let mut buffer = [0; 64];
    use nabiz::tokio::LinkEvent;
    assert!(matches!(
        link.next(&mut buffer).await,
        Some(LinkEvent::Up { .. })
    ));
    assert!(matches!(
        link.next(&mut buffer).await,
        Some(LinkEvent::Data(b"hello"))
    ));
}

//! The timer of a pulse: set as seldom as can be, and trusted for nothing.

use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use nabiz::runtime::{Clock, Link, LinkEvent, LinkHandle, Pulse, Stream};
use nabiz::{Action, CloseReason, ConfigBuilder, Event, Limits};
use tokio::time::advance;

use super::bench::{Bench, Done, done, reset, ring};
use crate::common::{SEED, bare_client, bare_server, beat, millis, secs};

const SILENT: Poll<Option<Action>> = Poll::Ready(Some(Action::Close(CloseReason::PeerSilent)));

fn pulse(config: ConfigBuilder) -> Pulse<Bench> {
    reset();
    Pulse::with(config.build().unwrap(), SEED, Clock::tokio())
}

fn poll(pulse: &mut Pulse<Bench>) -> Poll<Option<Action>> {
    pulse.poll_next(&mut Context::from_waker(Waker::noop()))
}

/// A verdict is due: it is put off once, for the others of a `select!`.
#[track_caller]
fn judges(pulse: &mut Pulse<Bench>) {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    assert!(
        pulse
            .poll_next(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert!(woken.0.load(Ordering::Relaxed));
    assert_eq!(poll(pulse), SILENT);
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn set(made: u32, resets: u32, wait: Duration) {
    let done = done();
    assert_eq!((done.made, done.resets, done.wait), (made, resets, wait));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_moves_later_sets_no_timer() {
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(8)));
    assert_eq!(done(), Done::default()); // made anywhere, awaited in a runtime
    assert!(poll(&mut pulse).is_pending());
    set(1, 0, secs(8));
    for _ in 0..1000 {
        advance(millis(7)).await;
        pulse.handle(Event::Received);
        assert!(poll(&mut pulse).is_pending());
    }
    let Done { made, resets, .. } = done();
    assert_eq!((made, resets), (0, 0));
    // 8 s after the start it rings, early by 7 s: no action, and set anew.
    advance(secs(1)).await;
    ring();
    assert!(poll(&mut pulse).is_pending());
    set(0, 1, secs(7));
    advance(secs(7)).await;
    ring();
    judges(&mut pulse);
    let Done { made, resets, .. } = done();
    assert_eq!((made, resets), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_moves_earlier_sets_it_anew_and_once() {
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(9)));
    assert!(poll(&mut pulse).is_pending());
    set(1, 0, secs(9));
    let limits = Limits {
        silence_timeout: Some(secs(5)),
        ..pulse.session().config().limits()
    };
    pulse.set_limits(limits).unwrap();
    advance(secs(1)).await;
    for _ in 0..10 {
        assert!(poll(&mut pulse).is_pending());
    }
    set(0, 1, secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_rings_early_is_not_believed() {
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(9)));
    for second in 0..9 {
        ring();
        assert!(poll(&mut pulse).is_pending());
        let Done {
            made, resets, wait, ..
        } = done();
        // Set, rung, and set again; then only that.
        let sets = if second == 0 { 2 } else { 1 };
        assert_eq!((made + resets, wait), (sets, secs(9 - second)));
        advance(secs(1)).await;
    }
    ring();
    judges(&mut pulse);
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_rings_late_is_acted_on_by_the_clock() {
    let mut pulse = pulse(
        bare_server()
            .with_silence_timeout(secs(8))
            .with_interval(secs(3)),
    );
    assert!(poll(&mut pulse).is_pending());
    advance(secs(5)).await; // within the tolerance of 2 s
    ring();
    assert_eq!(poll(&mut pulse), Poll::Ready(Some(beat(1))));
    pulse.handle(Event::HeartbeatSent);
    assert!(poll(&mut pulse).is_pending());
    advance(secs(10)).await; // and beyond it
    ring();
    assert_eq!(poll(&mut pulse), Poll::Ready(Some(beat(2))));
    assert_eq!(pulse.status().stalls, 1);
    assert!(pulse.session().is_suspect());
}

#[tokio::test(start_paused = true)]
async fn a_beat_does_not_wait_for_the_timer() {
    let mut pulse = pulse(bare_server().with_interval(secs(3)));
    assert!(poll(&mut pulse).is_pending());
    advance(secs(3)).await;
    assert_eq!(poll(&mut pulse), Poll::Ready(Some(beat(1))));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_waits_for_the_timer_so_that_input_can_be_read() {
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(8)));
    assert!(poll(&mut pulse).is_pending());
    advance(secs(9)).await;
    for _ in 0..10 {
        assert!(poll(&mut pulse).is_pending());
    }
    set(1, 0, secs(8));
    pulse.handle(Event::Received);
    ring();
    assert!(poll(&mut pulse).is_pending());
    set(0, 1, secs(8));
    advance(secs(8)).await;
    assert!(poll(&mut pulse).is_pending());
    ring();
    judges(&mut pulse);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_while_a_verdict_is_put_off_withdraws_it() {
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(8)));
    for _ in 0..3 {
        assert!(poll(&mut pulse).is_pending());
        advance(secs(8)).await;
        ring();
        assert!(poll(&mut pulse).is_pending());
        pulse.handle(Event::Received);
    }
    assert!(poll(&mut pulse).is_pending());
    advance(secs(8)).await;
    ring();
    judges(&mut pulse);
}

#[tokio::test(start_paused = true)]
async fn a_timer_set_for_an_earlier_deadline_is_no_leave_to_judge() {
    let mut pulse = pulse(bare_server().with_silence_timeout(secs(8)));
    assert!(poll(&mut pulse).is_pending());
    advance(secs(7)).await;
    pulse.handle(Event::Received);
    assert!(poll(&mut pulse).is_pending());
    advance(secs(8)).await;
    done();
    // It rings at last, for the instant 8 s; the limit is at 15 s, as it is.
    ring();
    assert!(poll(&mut pulse).is_pending());
    set(0, 1, millis(1));
    ring();
    judges(&mut pulse);
}

#[tokio::test(start_paused = true)]
async fn no_wait_is_shorter_than_a_millisecond_or_longer_than_a_nap() {
    let mut long = pulse(bare_server().with_silence_timeout(secs(3600)));
    for _ in 0..5 {
        assert!(poll(&mut long).is_pending());
        assert_eq!(done().wait, secs(10));
        advance(secs(10)).await;
        ring();
    }
    let mut late = pulse(bare_server().with_silence_timeout(secs(8)));
    advance(secs(9)).await;
    assert!(poll(&mut late).is_pending());
    set(1, 0, millis(1));
}

/// A stream on which nothing happens.
struct Mute;

impl Stream<Bench> for Mute {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_finish(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_judges_nobody_before_its_timer_rang_for_it() {
    reset();
    let config = bare_client()
        .with_silence_timeout(secs(15))
        .with_stall_tolerance(secs(60));
    let config = config.build().unwrap();
    let connect = || core::future::ready(Ok(Mute));
    let mut link: Link<Bench, Mute> =
        Link::with(config, SEED, Clock::tokio(), |_, _| {}, connect).unwrap();
    let mut poll = || {
        let mut buffer = [0; 8];
        let mut cx = Context::from_waker(Waker::noop());
        let event = pin!(link.next(&mut buffer)).poll(&mut cx);
        event.map(|event| matches!(event, Some(LinkEvent::Down { .. })))
    };
    assert_eq!(poll(), Poll::Ready(false)); // it is up
    assert_eq!(poll(), Poll::Pending);
    set(1, 0, secs(10));
    for second in 1..5 {
        advance(secs(1)).await;
        ring(); // early
        assert_eq!(poll(), Poll::Pending);
        set(0, 1, secs(10).min(secs(15 - second)));
    }
    advance(secs(12)).await;
    assert_eq!(poll(), Poll::Pending);
    set(0, 0, secs(0));
    // It rings for the nap, which is over since 14 s; then for this.
    ring();
    assert_eq!(poll(), Poll::Pending);
    set(0, 1, millis(1));
    ring();
    assert_eq!(poll(), Poll::Ready(true));
}

/// A waker that uses the link's handle when it is dropped, as a task may.
struct Looks(LinkHandle);

impl Wake for Looks {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Looks {
    fn drop(&mut self) {
        let _ = self.0.status();
    }
}

/// On a stream that keeps no waker itself.
#[tokio::test(start_paused = true)]
async fn a_waker_that_is_replaced_is_dropped_where_it_may_use_a_handle() {
    let config = bare_client().build().unwrap();
    let connect = || core::future::ready(Ok(Mute));
    let mut link: Link<Bench, Mute> =
        Link::with(config, SEED, Clock::monotonic(), |_, _| {}, connect).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..5 {
            let waker = Waker::from(Arc::new(Looks(link.handle())));
            let mut buffer = [0; 8];
            let event = pin!(link.next(&mut buffer)).poll(&mut Context::from_waker(&waker));
            let _ = event.is_ready();
        }
        done.send(()).unwrap();
    });
    let waits = tokio::task::spawn_blocking(move || is_done.recv_timeout(secs(10)));
    waits.await.unwrap().expect("it waits for itself");
}

#[test]
fn what_is_made_of_a_runtime_is_as_it_was_promised() {
    const fn is_send<T: Send>() {}
    is_send::<Pulse<Bench>>();
    is_send::<nabiz::tokio::Pulse>();
    is_send::<Link<nabiz::tokio::Tokio, tokio::net::TcpStream>>();
    is_send::<nabiz::tokio::Driver>();
    const fn is_shared<T: Send + Sync + Clone>() {}
    is_shared::<nabiz::tokio::LinkHandle>();
    is_shared::<nabiz::tokio::Registry>();
    const fn is_sync<T: Send + Sync>() {}
    is_sync::<nabiz::tokio::Lease>();
}

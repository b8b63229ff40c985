//! Who uses the link, and holds it to its word.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use nabiz::tokio::{Clock, Link, LinkEvent, LinkHandle};
use nabiz::{Config, EndReason, Event, Jitter, Limits, Phase};
use tokio::time::{Instant, advance, sleep};

use super::tape::Tape;
use super::wire::{Hub, Stream};

/// How often a link is polled in a run: one with limits of nanoseconds has
/// something to do each millisecond, for ever.
const POLLS: u32 = 1_000;
/// Polls in a row that may come to nothing in no time.
const IDLE: u32 = 16;
/// How late a timer may be: it tells milliseconds, and sleeps no longer than
/// ten seconds.
const LATE: Duration = Duration::from_secs(11);

pub fn run(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else {
        return;
    };
    let (config, rest) = rest.split_at(rest.len().min(usize::from(*length) % 48));
    let mut config = config.to_vec();
    if let Some(flags) = config.first_mut() {
        *flags &= !1; // a client
    }
    let config = nabiz::testing::config(&config);
    let mut tape = Tape::new(rest);
    let beat_length = usize::from(tape.byte() % 6);
    let seed = u64::from(tape.byte());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let hub = Hub::new(tape, beat_length);
        let (beats, dials) = (hub.clone(), hub.clone());
        let link = Link::with(
            config,
            seed,
            Clock::tokio(),
            move |id, out| beats.beat(id, out),
            move || dials.dial(),
        )
        .expect("a client's configuration");
        let handle = link.handle();
        let judge = Judge {
            hub: hub.clone(),
            config,
            state: State::Down { may_retry: true },
            is_greeting: false,
            is_meddled: false,
            meddled_after: 0,
            retry_at: None,
            ends: 0,
        };
        let mut caller = Caller {
            link,
            handle,
            hub,
            config,
            judge,
            sent: 0,
            polls: 0,
            idle: 0,
            last: None,
        };
        caller.run().await;
    });
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Not up, or not any more.
    Down {
        may_retry: bool,
    },
    Up,
    GaveUp,
    Done,
}

struct Caller {
    link: Link<Stream>,
    handle: LinkHandle,
    hub: Hub,
    config: Config,
    judge: Judge,
    /// Messages so far.
    sent: u32,
    polls: u32,
    /// Polls that came to nothing since time went on, and what was there then.
    idle: u32,
    last: Option<(Instant, usize)>,
}

/// What is kept of an event.
enum Told {
    Event,
    Done,
    Nothing,
}

impl Caller {
    async fn run(&mut self) {
        while !self.hub.lock().tape.is_used_up() && self.polls < POLLS {
            self.act().await;
            self.check();
        }
        self.finish().await;
    }

    async fn act(&mut self) {
        let what = self.hub.lock().tape.byte();
        match what {
            0..=79 => {
                let within = self.hub.lock().tape.span();
                let room = 1 + usize::from(what % 40);
                self.next(room, within).await;
            }
            // All that is there, without waiting.
            80..=119 => while let Told::Event = self.next(64, Duration::ZERO).await {},
            120..=127 => {
                let within = self.hub.lock().tape.span();
                self.next(0, within).await;
            }
            // Somebody polls it once, who then loses interest.
            128..=143 => self.glance(usize::from(what - 128)),
            144..=191 => {
                let length = usize::from(self.hub.lock().tape.byte());
                self.send(length, what.is_multiple_of(2));
            }
            192..=203 => {
                let wait = self.hub.lock().tape.span();
                advance(wait).await;
            }
            204..=207 => sleep(Duration::from_millis(1)).await,
            208..=215 => self.tell(Event::HeartbeatReceived),
            216..=219 => self.tell(Event::AnswerReceived { id: None }),
            220..=223 => self.tell(Event::Disconnected),
            224..=227 => {
                let wait = self.hub.lock().tape.span();
                self.judge.meddled();
                self.tell(Event::RetryAfter(wait));
            }
            228..=231 => {
                self.judge.meddled();
                self.tell(Event::Resumed);
            }
            232..=235 => {
                self.judge.meddled();
                self.handle.reconnect_now();
            }
            236..=237 => self.tell(Event::Drain),
            238..=239 => self.shutdown(Event::Rejected),
            240..=241 => self.shutdown(Event::Shutdown),
            242..=243 => {
                // Asks, and does not wait for it.
                self.hub.lock().is_final = true;
                let mut cx = Context::from_waker(Waker::noop());
                let _ = pin!(self.handle.shutdown()).poll(&mut cx);
            }
            244..=247 => {
                // Ignored, for they are the transport's.
                for event in [Event::Connected, Event::ConnectFailed, Event::Received] {
                    self.tell(event);
                }
            }
            248..=251 => {
                let interval = self.hub.lock().tape.span();
                let limits = Limits {
                    interval: Some(interval),
                    ..self.config.limits()
                };
                let _ = self.link.set_limits(limits);
            }
            _ => {
                let limit = usize::from(self.hub.lock().tape.byte());
                self.link.set_send_limit(limit);
            }
        }
    }

    fn tell(&mut self, event: Event) {
        self.link.report(event);
    }

    fn shutdown(&mut self, event: Event) {
        self.hub.lock().is_final = true;
        self.tell(event);
    }

    /// Sends bytes that no heartbeat has, and that tell which message it is.
    fn send(&mut self, length: usize, by_handle: bool) {
        // Some are larger than what shares a buffer.
        let length = if length > 250 { 20_000 } else { length };
        let number = self.sent as usize;
        let message: Vec<u8> = (0..length)
            .map(|place| (place * 3 + number * 11) as u8 & 0x7f)
            .collect();
        let sent = match by_handle {
            true => self.handle.send(&message),
            false => self.link.send(&message),
        };
        if sent.is_ok() {
            assert!(
                !(by_handle && self.judge.is_greeting),
                "ahead of the greeting"
            );
            self.sent += 1;
            let mut account = self.hub.lock();
            let conn = account.conn().expect("sent over nothing");
            assert!(!conn.is_dropped, "sent over what is gone");
            conn.sent(&message, self.judge.is_greeting);
        }
    }

    /// What was said between two polls.
    fn check(&mut self) {
        let phase = self.link.status().phase;
        assert_eq!(self.handle.status().phase, phase);
        if self.judge.state == State::Done {
            assert_eq!(phase, Phase::Done);
        }
    }

    /// The next event, if it comes within some time.
    async fn next(&mut self, room: usize, within: Duration) -> Told {
        let mut buffer = vec![0; room];
        let told = {
            let mut timer = pin!(sleep(within));
            let mut next = pin!(self.link.next(&mut buffer));
            let (hub, polls) = (&self.hub, &mut self.polls);
            let (idle, last) = (&mut self.idle, &mut self.last);
            poll_fn(|cx| {
                *polls += 1;
                let here = (Instant::now(), hub.lock().tape.read());
                *idle = if *last == Some(here) { *idle + 1 } else { 0 };
                *last = Some(here);
                hub.lock().calls = 0;
                if let Poll::Ready(event) = next.as_mut().poll(cx) {
                    *idle = 0;
                    return Poll::Ready(Some(event));
                }
                let calls = hub.lock().calls;
                // Long messages are written in turns.
                assert!(
                    *idle < IDLE || calls > 0,
                    "polled again and again in no time"
                );
                if *polls >= POLLS * 2 || timer.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                Poll::Pending
            })
            .await
        };
        self.judge.is_greeting = false;
        let Some(event) = told else {
            return Told::Nothing;
        };
        self.judge.told(event)
    }

    fn glance(&mut self, room: usize) {
        let mut buffer = vec![0; room];
        let mut cx = Context::from_waker(Waker::noop());
        self.polls += 1;
        self.hub.lock().calls = 0;
        let polled = pin!(self.link.next(&mut buffer)).poll(&mut cx);
        self.judge.is_greeting = false;
        if let Poll::Ready(event) = polled {
            self.judge.told(event);
        }
    }

    /// Nothing is left but to end, which takes no longer than the grace.
    async fn finish(&mut self) {
        self.shutdown(Event::Shutdown);
        let grace = self.config.close_grace() + LATE;
        let start = Instant::now();
        self.polls = 0;
        while self.polls < POLLS && grace < Duration::from_secs(3_600) {
            match self.next(32, grace).await {
                Told::Event => assert!(start.elapsed() <= grace, "it does not end"),
                Told::Nothing => assert!(self.polls >= POLLS, "it does not end"),
                Told::Done => {
                    let account = self.hub.lock();
                    assert!(account.conns.iter().all(|conn| conn.is_dropped));
                    assert_eq!(account.dialling, 0);
                    return;
                }
            }
        }
    }
}

/// What the link has told so far, against which its events are held.
struct Judge {
    hub: Hub,
    config: Config,
    state: State,
    /// `Up` was told, and `next` not called since.
    is_greeting: bool,
    /// A floor was set, or the user asked to retry at once: delays are not only
    /// the policy's.
    is_meddled: bool,
    /// How many streams there had been then.
    meddled_after: usize,
    /// Before which no dial begins, unless it is meddled with.
    retry_at: Option<Instant>,
    /// How many ends were told.
    ends: u32,
}

impl Judge {
    fn meddled(&mut self) {
        self.is_meddled = true;
        self.meddled_after = self.hub.lock().conns.len();
    }

    /// Holds an event against what may come now.
    fn told(&mut self, event: Option<LinkEvent<'_>>) -> Told {
        let mut account = self.hub.lock();
        let Some(event) = event else {
            assert!(
                account.is_final
                    || matches!(
                        self.state,
                        State::GaveUp | State::Done | State::Down { may_retry: false }
                    ),
                "done, of its own accord, in {:?}",
                self.state
            );
            assert!(self.state != State::Up, "done without an end");
            assert!(account.conns.last().is_none_or(|conn| conn.is_dropped));
            self.state = State::Done;
            return Told::Done;
        };
        let state = self.state;
        assert!(
            !matches!(state, State::GaveUp | State::Done),
            "{event:?} in {state:?}"
        );
        match event {
            LinkEvent::Up { .. } => {
                assert_eq!(state, State::Down { may_retry: true }, "up");
                assert!(account.conns.len() as u32 <= account.dials);
                if let Some(retry_at) = self.retry_at.take() {
                    assert!(
                        self.is_meddled || account.dialled >= Some(retry_at),
                        "too soon"
                    );
                }
                // On this link it starts again.
                self.is_meddled &= account.conns.len() <= self.meddled_after;
                self.state = State::Up;
                self.is_greeting = true;
            }
            LinkEvent::Data(bytes) => {
                assert_eq!(state, State::Up, "data");
                assert!(!bytes.is_empty());
                let given: Vec<u8> = account.given.drain(..).collect();
                assert_eq!(bytes, given, "not what was read");
            }
            LinkEvent::HeartbeatSent { id, .. } => {
                assert_eq!(state, State::Up, "a heartbeat");
                let flushed = account.flushed.iter().position(|flushed| *flushed == id);
                account
                    .flushed
                    .remove(flushed.expect("a heartbeat that was not flushed"));
            }
            LinkEvent::Stalled => {}
            LinkEvent::Down {
                why,
                error,
                silence,
                retry_in,
                ..
            } => {
                assert!(
                    state == State::Up || state == State::Down { may_retry: true },
                    "down in {state:?}"
                );
                if state != State::Up {
                    assert_ne!(why, EndReason::Disconnected, "of what was not up");
                } else {
                    assert_ne!(why, EndReason::ConnectFailed, "of what was up");
                }
                self.ends += 1;
                assert!(self.ends <= account.dials, "the end of no dial");
                // Without a wait the next dial has begun.
                let waits = retry_in != Some(Duration::ZERO);
                if waits {
                    assert!(account.conns.last().is_none_or(|conn| conn.is_dropped));
                    assert_eq!(account.dialling, 0, "an end while it dials");
                }
                assert!(silence.is_none_or(|silence| silence <= Duration::from_secs(1 << 40)));
                if let Some(error) = error {
                    let kind = error.kind();
                    assert!(account.errors.contains(&kind), "{kind:?} of nobody's");
                }
                if waits {
                    account.errors.clear();
                }
                if let Some(retry_in) = retry_in {
                    if !self.is_meddled {
                        in_bounds(&self.config, retry_in);
                    }
                    let ended = account.ended.expect("something ended");
                    self.retry_at = ended.checked_add(retry_in).filter(|_| waits);
                }
                self.state = State::Down {
                    may_retry: retry_in.is_some(),
                };
            }
            LinkEvent::Retry { .. } => {
                assert_eq!(state, State::Down { may_retry: true }, "a retry");
                assert!(self.is_meddled, "moved by nobody");
            }
            LinkEvent::GaveUp(_) => {
                // The user may have said so while it waits.
                let is_rejected = account.is_final && state != State::Up;
                assert!(
                    is_rejected || state == State::Down { may_retry: false },
                    "gave up in {state:?}"
                );
                self.state = State::GaveUp;
            }
            other => panic!("{other:?} is not known"),
        }
        Told::Event
    }
}

/// What the policy can draw at all.
fn in_bounds(config: &Config, delay: Duration) {
    let policy = config.backoff().expect("a policy");
    let (initial, max) = (policy.initial().as_nanos(), policy.max().as_nanos());
    let delay = delay.as_nanos();
    let (least, most) = match policy.jitter() {
        Jitter::Proportional(part) => {
            let reach = |base: u128| base * u128::from(part.as_permille()) / 1000;
            (initial - reach(initial), max + reach(max))
        }
        Jitter::Equal => (initial - initial / 2, max),
        Jitter::Full => (0, max),
        _ => (initial, max),
    };
    assert!(least <= delay && delay <= most, "{delay} ns by {policy:?}");
}

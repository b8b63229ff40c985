//! No path of the core allocates.

use core::time::Duration;
use std::hint::black_box;

use nabiz::{
    Action, Backoff, CloseReason, Config, ConfigBuilder, EndReason, Event, Evidence, GiveUpReason,
    Jitter, Limits, Offer, Phase, Ratio, Rule, Session, Timestamp,
};
use nabiz_alloc::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_epoch(Duration::from_millis(millis)).unwrap()
}

fn client() -> ConfigBuilder {
    Config::client()
        .with_interval(secs(10))
        .with_silence_timeout(secs(40))
        .with_answer_timeout(secs(5))
        .with_max_unanswered(3)
        .with_hello_timeout(secs(20))
        .with_flood(secs(1), 5)
        .with_max_age(secs(3000))
        .with_max_age_jitter(Ratio::percent(10))
        .with_probes(3)
        .with_evidence(Evidence::Heartbeats)
}

const EVENTS: [Event; 13] = [
    Event::Connected,
    Event::Received,
    Event::HeartbeatReceived,
    Event::AnswerReceived { id: None },
    Event::Sent,
    Event::HeartbeatSent,
    Event::Resumed,
    Event::RetryAfter(Duration::from_secs(7)),
    Event::Drain,
    Event::Disconnected,
    Event::ConnectFailed,
    Event::Rejected,
    Event::Shutdown,
];

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
    assert_eq!(allocations(|| drop(black_box(vec![0; 9]))), 1);
}

#[test]
fn configurations_do_not_allocate() {
    let count = allocations(|| {
        let good = black_box(client()).build().unwrap();
        let bad = black_box(client().with_probes(0)).build().unwrap_err();
        assert_eq!((bad.field(), bad.rule()), ("probes", Rule::Zero));
        let server = Config::server().with_silence_timeout(secs(11));
        let refusal = good.compatible_with(&server.build().unwrap());
        black_box(refusal).unwrap_err();
        let offers = Offer::from_millis(10, 20).agree(Offer::from_millis(30, 40));
        black_box(offers.limits(good.limits(), Ratio::percent(200)));
    });
    assert_eq!(count, 0);
}

#[test]
fn delays_do_not_allocate() {
    let jitters = [
        Jitter::None,
        Jitter::Equal,
        Jitter::Full,
        Jitter::Decorrelated,
        Jitter::Proportional(Ratio::percent(20)),
    ];
    let count = allocations(|| {
        for jitter in jitters {
            let mut delays = Backoff::new().with_jitter(jitter).delays(7).unwrap();
            assert_eq!(black_box(delays.by_ref().take(100).count()), 100);
            delays.reset();
            black_box(delays.next());
        }
    });
    assert_eq!(count, 0);
}

/// A life of several links, with every kind of end.
#[test]
fn a_life_of_several_links_does_not_allocate() {
    let mut seen = Seen::default();
    let count = allocations(|| {
        for seed in 0..50 {
            let mut session = Session::new(client().build().unwrap(), seed, at(0));
            let mut state = seed;
            let mut now = at(0);
            for _ in 0..2000 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let roll = state >> 33;
                // Now and then too late.
                let late = Duration::from_millis(if roll % 50 == 0 { 60_000 } else { 0 });
                now = match session.deadline() {
                    Some(due) => now.max(due).checked_add(late).unwrap(),
                    None => break,
                };
                while let Some(action) = session.poll(now) {
                    seen.note(action);
                    react(&mut session, action, roll, now);
                }
                // The last two end it all.
                let kinds = if roll % 500 == 0 { 13 } else { 11 };
                let event = EVENTS[usize::try_from(roll / 7 % kinds).unwrap()];
                if roll % 3 == 0 {
                    session.handle(event, now);
                }
                if roll % 40 == 0 {
                    let limits = Limits {
                        interval: Some(secs(roll % 20)), // of zero too: refused
                        ..session.config().limits()
                    };
                    let _ = black_box(session.set_limits(limits, now));
                }
                black_box((session.status(now), session.is_suspect(), session.phase()));
                black_box(session.clone());
            }
        }
    });
    assert_eq!(count, 0);
    assert!(seen.all(), "{seen:?}");
}

fn react(session: &mut Session, action: Action, roll: u64, now: Timestamp) {
    match action {
        Action::Connect { .. } if roll % 5 == 0 => {}
        Action::Connect { .. } if roll % 5 == 1 => session.handle(Event::ConnectFailed, now),
        Action::Connect { .. } => session.handle(Event::Connected, now),
        Action::SendHeartbeat { .. } if roll % 16 == 0 => {}
        Action::SendHeartbeat { id } => {
            session.handle(Event::HeartbeatSent, now);
            if roll % 4 != 0 {
                session.handle(Event::AnswerReceived { id: Some(id) }, now);
            }
        }
        Action::Close(_) if roll % 2 == 0 => session.handle(Event::Disconnected, now),
        Action::Close(_) | Action::Abort | Action::Reconnect { .. } | Action::GiveUp(_) => {}
    }
}

/// Which actions came at all: a path that was not taken shows nothing.
#[derive(Debug, Default)]
struct Seen {
    connect: bool,
    beat: bool,
    close: bool,
    abort: bool,
    reconnect: bool,
    give_up: bool,
}

impl Seen {
    fn note(&mut self, action: Action) {
        *match action {
            Action::Connect { .. } => &mut self.connect,
            Action::SendHeartbeat { .. } => &mut self.beat,
            Action::Close(_) => &mut self.close,
            Action::Abort => &mut self.abort,
            Action::Reconnect { .. } => &mut self.reconnect,
            Action::GiveUp(_) => &mut self.give_up,
        } = true;
    }

    fn all(&self) -> bool {
        self.connect && self.beat && self.close && self.abort && self.reconnect && self.give_up
    }
}

#[test]
fn every_event_in_every_phase_does_not_allocate() {
    let phases = [
        Phase::Connecting,
        Phase::Open,
        Phase::Closing,
        Phase::Waiting,
        Phase::Done,
    ];
    let count = allocations(|| {
        for phase in phases {
            for event in EVENTS {
                let mut session = in_phase(phase);
                session.handle(black_box(event), at(1));
                for second in [1, 2, 30, 300, 3000] {
                    while let Some(action) = session.poll(at(second * 1000)) {
                        let _ = black_box(action);
                    }
                    black_box(session.deadline());
                }
            }
        }
        let mut server = Session::new(Config::server().build().unwrap(), 1, at(0));
        for event in EVENTS {
            server.handle(event, at(1));
            black_box(server.poll(at(1)));
        }
    });
    assert_eq!(count, 0);
}

fn in_phase(phase: Phase) -> Session {
    let mut session = Session::new(client().build().unwrap(), 1, at(0));
    assert_eq!(session.poll(at(0)), Some(Action::Connect { attempt: 0 }));
    match phase {
        Phase::Connecting => {}
        Phase::Open => session.handle(Event::Connected, at(0)),
        Phase::Closing => {
            session.handle(Event::Connected, at(0));
            session.handle(Event::Drain, at(0));
        }
        Phase::Waiting => session.handle(Event::ConnectFailed, at(0)),
        _ => {
            session.handle(Event::ConnectFailed, at(0));
            session.handle(Event::Shutdown, at(0));
        }
    }
    assert_eq!(session.phase(), phase);
    session
}

#[test]
fn names_are_written_without_allocating() {
    use core::fmt::{self, Write};

    struct Nowhere;
    impl Write for Nowhere {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            black_box(text);
            Ok(())
        }
    }

    let error = client().with_probes(0).build().unwrap_err();
    let count = allocations(|| {
        write!(Nowhere, "{error}").unwrap();
        write!(Nowhere, "{}", CloseReason::PeerSilent).unwrap();
        write!(Nowhere, "{}", EndReason::Closed(CloseReason::TooOld)).unwrap();
        write!(Nowhere, "{}", GiveUpReason::Rejected).unwrap();
        write!(Nowhere, "{:?}", in_phase(Phase::Open)).unwrap();
    });
    assert_eq!(count, 0);
}

//! A day in the life of either end.

use core::hint::black_box;
use core::time::Duration;

use nabiz::{
    Action, CloseReason, Config, EndReason, Event, Offer, Phase, Ratio, Session, Timestamp,
};

use crate::Failure;

const DAY: Duration = Duration::from_secs(24 * 3600);
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// Is heard from every half minute, beats when it must, notices that the peer
/// has died, comes back, and is shut down.
pub(crate) fn client() -> Result<(), Failure> {
    let config = Config::client()
        .build()
        .map_err(|_| Failure::Configuration)?;
    let mut now = black_box(Timestamp::EPOCH);
    let mut session = Session::new(config, black_box(7), now);
    expect(&mut session, now, Action::Connect { attempt: 0 })?;
    session.handle(Event::Connected, now);

    // As in STOMP: each can send every 10 s, they want 50 s and 40 s.
    let (ours, theirs) = (
        Offer::from_millis(10_000, 40_000),
        Offer::from_millis(10_000, 50_000),
    );
    let limits = black_box(ours)
        .agree(black_box(theirs))
        .limits(session.config().limits(), Ratio::percent(200));
    session
        .set_limits(limits, now)
        .map_err(|_| Failure::Configuration)?;

    let evening = later(now, DAY)?;
    let mut heard = now;
    let mut beats = 0_u32;
    while now < evening {
        let arrives = later(heard, HALF_A_MINUTE)?;
        let due = session.deadline().ok_or(Failure::Client)?;
        now = due.min(arrives);
        if now == arrives {
            session.handle(black_box(Event::Received), now);
            heard = now;
        }
        while let Some(action) = session.poll(now) {
            match action {
                Action::SendHeartbeat { .. } => session.handle(Event::HeartbeatSent, now),
                _ => return Err(Failure::Client),
            }
            beats = beats.saturating_add(1);
        }
    }
    let status = session.status(now);
    // One each 45 to 50 s.
    if !(1_728..=1_921).contains(&beats) || status.heartbeats != beats || status.stalls != 0 {
        return Err(Failure::Client);
    }

    // From now on the peer is silent; our beats still go out.
    let silent = later(heard, Duration::from_secs(80))?;
    loop {
        now = session.deadline().ok_or(Failure::Client)?;
        match session.poll(now) {
            Some(Action::SendHeartbeat { .. }) => session.handle(Event::HeartbeatSent, now),
            Some(Action::Close(CloseReason::PeerSilent)) if now == silent => break,
            _ => return Err(Failure::Client),
        }
    }
    session.handle(Event::Disconnected, now);
    match session.poll(now) {
        Some(Action::Reconnect { after, attempt: 1 }) if after <= Duration::from_secs(1) => {}
        _ => return Err(Failure::Client),
    }
    now = session.deadline().ok_or(Failure::Client)?;
    expect(&mut session, now, Action::Connect { attempt: 1 })?;
    session.handle(Event::Shutdown, now);
    expect(&mut session, now, Action::Close(CloseReason::Shutdown))?;
    session.handle(Event::Disconnected, now);
    match (session.poll(now), session.deadline(), session.phase()) {
        (None, None, Phase::Done) => Ok(()),
        _ => Err(Failure::Client),
    }
}

/// Bears a peer that beats, and closes one that floods.
pub(crate) fn server() -> Result<(), Failure> {
    let config = Config::server()
        .with_flood(Duration::from_secs(10), 3)
        .with_max_age(DAY)
        // Polled on a fixed period here, not at deadlines.
        .with_stall_tolerance(HALF_A_MINUTE)
        .build()
        .map_err(|_| Failure::Configuration)?;
    let mut now = black_box(Timestamp::EPOCH);
    let mut session = Session::new(config, black_box(8), now);
    for _ in 0..black_box(100) {
        now = later(now, HALF_A_MINUTE)?;
        session.handle(black_box(Event::HeartbeatReceived), now);
        while let Some(action) = session.poll(now) {
            match action {
                Action::SendHeartbeat { .. } => session.handle(Event::HeartbeatSent, now),
                _ => return Err(Failure::Server),
            }
        }
    }
    for _ in 0..black_box(4) {
        session.handle(black_box(Event::HeartbeatReceived), now);
    }
    if session.poll(now) != Some(Action::Close(CloseReason::Flooded)) {
        return Err(Failure::Server);
    }
    session.handle(Event::Disconnected, now);
    match (session.poll(now), session.status(now).last_end) {
        (None, Some(EndReason::Closed(CloseReason::Flooded))) => Ok(()),
        _ => Err(Failure::Server),
    }
}

fn later(now: Timestamp, after: Duration) -> Result<Timestamp, Failure> {
    now.checked_add(after).ok_or(Failure::Endless)
}

fn expect(client: &mut Session, now: Timestamp, action: Action) -> Result<(), Failure> {
    if client.poll(now) == Some(action) {
        Ok(())
    } else {
        Err(Failure::Client)
    }
}

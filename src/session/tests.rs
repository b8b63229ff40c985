use super::*;

#[test]
fn fits_in_320_bytes() {
    assert!(size_of::<Session>() <= 320, "{}", size_of::<Session>());
}

#[test]
fn what_is_read_before_the_next_poll_is_the_same_stall() {
    let at = link::tests::at;
    let mut session = Session::new(link::tests::config(), 1, at(0));
    for _ in 0..5 {
        session.handle(Event::HeartbeatReceived, at(1000));
    }
    assert_eq!(session.status(at(1000)).stalls, 1);
}

#[test]
fn a_late_resume_counts_once() {
    let mut session = Session::new(Config::server().build().unwrap(), 1, Timestamp::EPOCH);
    session.handle(Event::Resumed, Timestamp::MAX);
    assert_eq!(session.status(Timestamp::MAX).stalls, 1);
}

#[cfg(feature = "std")]
#[test]
fn only_the_peers_death_waits_for_what_is_to_be_read() {
    let at = link::tests::at;
    // Beats every 10 s, bears 30 s of silence.
    let config = link::tests::config();
    let quiet = config.to_builder().without_interval().build().unwrap();
    let mut session = Session::new(quiet, 1, at(0));
    assert!(!session.would_convict(at(29)));
    assert!(session.would_convict(at(30)));
    // Asking changes nothing.
    session.handle(Event::Received, at(30));
    assert!(!session.would_convict(at(30)));

    let steady = config.to_builder().with_spread_first_beat(false);
    let beating = Session::new(steady.build().unwrap(), 1, at(0));
    assert!(!beating.would_convict(at(10)), "a heartbeat is no verdict");

    let aged = quiet.to_builder();
    let aged = aged.with_max_age(core::time::Duration::from_secs(20));
    let old = Session::new(aged.build().unwrap(), 1, at(0));
    assert!(!old.would_convict(at(20)), "an age is no silence");

    let mut closing = Session::new(quiet, 1, at(0));
    closing.handle(Event::Drain, at(1));
    assert!(!closing.would_convict(at(1)));
}

#[test]
fn ends_are_told_by_their_names() {
    extern crate alloc;
    use alloc::string::ToString;

    assert_eq!(HeartbeatId(7).to_string(), "7");
    assert_eq!(EndReason::ConnectFailed.to_string(), "ConnectFailed");
    let closed = EndReason::Closed(CloseReason::TooOld);
    assert_eq!(closed.to_string(), "TooOld");
    assert_eq!(GiveUpReason::Rejected.to_string(), "Rejected");
}

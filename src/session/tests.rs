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

use super::*;

#[test]
fn fits_in_320_bytes() {
    assert!(size_of::<Session>() <= 320, "{}", size_of::<Session>());
}

#[test]
fn a_late_resume_counts_once() {
    let mut session = Session::new(Config::server().build().unwrap(), 1, Timestamp::EPOCH);
    session.handle(Event::Resumed, Timestamp::MAX);
    assert_eq!(session.status(Timestamp::MAX).stalls, 1);
}

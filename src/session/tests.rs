use super::*;
#[test]
fn fits_in_320_bytes() {
    std::eprintln!(
        "{} config {} state {} link {} backoff {} rtt {} floor {} progress {}",
        size_of::<Session>(),
        size_of::<Config>(),
        size_of::<State>(),
        size_of::<Link>(),
        size_of::<crate::Backoff>(),
        size_of::<Option<Rtt>>(),
        size_of::<Option<Floor>>(),
        size_of::<Progress>()
    );
    assert!(size_of::<Session>() <= 320);
}

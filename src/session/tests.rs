use super::*;

#[test]
fn fits_in_320_bytes() {
    assert!(size_of::<Session>() <= 320, "{}", size_of::<Session>());
}

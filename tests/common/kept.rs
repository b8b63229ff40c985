//! What was told the last time, line by line, in a file beside the tests. With
//! `NABIZ_BLESS` set what is told now is kept.

#[track_caller]
pub(crate) fn compare(file: &str, kept: &str, told: &str) {
    if std::env::var_os("NABIZ_BLESS").is_some() {
        let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        return std::fs::write(tests.join(file), told).unwrap();
    }
    for (told, kept) in told.lines().zip(kept.lines()) {
        assert_eq!(told, kept, "the second is what {file} has");
    }
    assert_eq!(told.lines().count(), kept.lines().count(), "{file}");
}

//! The wrappers stay small.

use std::fs;
use std::path::Path;

use crate::Case;

const MOST: usize = 120;

pub const CASES: &[Case] = &[("wrappers", "lines of each", || {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wrappers");
    let mut sizes = Vec::new();
    for entry in fs::read_dir(directory).expect("our own directory") {
        let path = entry.expect("our own file").path();
        let lines = fs::read_to_string(&path)
            .expect("our own file")
            .lines()
            .count();
        assert!(lines <= MOST, "{} has {lines} lines", path.display());
        sizes.push(format!(
            "{} {lines}",
            path.file_stem().unwrap_or_default().display()
        ));
    }
    sizes.sort();
    sizes.join(", ")
})];

//! Embeds the corpora, and links without the C runtime.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

include!("../freestanding/link.rs");

fn main() {
    let here = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let corpora = Path::new(&here).join("../../fuzz/corpus");
    let mut source = String::new();
    for corpus in ["session", "reaper"] {
        let directory = corpora.join(corpus);
        println!("cargo:rerun-if-changed={}", directory.display());
        let entries = fs::read_dir(&directory).expect("a corpus can be read");
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("a corpus can be read").path())
            .collect();
        files.sort();
        let name = corpus.to_uppercase();
        writeln!(source, "pub(crate) const {name}: &[(&str, &[u8])] = &[").expect("memory");
        for file in files {
            let name = file.file_name().expect("a file has a name");
            let bytes = fs::read(&file).expect("a corpus can be read");
            writeln!(source, "({:?}, &{bytes:?}),", name.to_string_lossy()).expect("memory");
        }
        source.push_str("];\n");
    }
    let out = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("inputs.rs"), source).expect("cargo's directory can be written");

    link();
}

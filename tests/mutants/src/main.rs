//! Tries many small changes to a crate with one build: all are woven into it,
//! each behind a switch that is thrown when the tests run.

mod build;
mod trial;
mod weave;

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A change, as cargo-mutants lists it.
pub struct Change {
    pub name: String,
    pub file: String,
    pub genre: String,
    pub replacement: String,
    /// Line and column, from one.
    pub start: (usize, usize),
    pub end: (usize, usize),
}

impl Change {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| Some(value[name].as_str()?.to_owned());
        let place = |name: &str| {
            let place = &value["span"][name];
            let number = |name: &str| usize::try_from(place[name].as_u64()?).ok();
            Some((number("line")?, number("column")?))
        };
        Some(Self {
            name: text("name")?,
            file: text("file")?,
            genre: text("genre")?,
            replacement: text("replacement")?,
            start: place("start")?,
            end: place("end")?,
        })
    }
}

const USAGE: &str = "\
Usage: nabiz-mutants COPY LIST OUT ARGUMENT…

  COPY       a copy of the crate, which is changed
  LIST       what `cargo mutants --list --json` says of it
  OUT        where the lists of names go: caught.txt, missed.txt, timeout.txt,
             unviable.txt, and left.txt of what cannot be switched
  ARGUMENT…  of cargo test: which tests, and features

JOBS says how many changes to try at once (2), LIMIT how long each (60 s); with
BASELINE=skip it is taken as known that the tests pass without any.";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [copy, list, out, options @ ..] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let number = |name: &str, usual: u64| {
        let text = std::env::var(name).ok();
        text.map_or(usual, |text| {
            text.parse().expect("JOBS and LIMIT are numbers")
        })
    };
    let list = fs::read(list).expect("the list can be read");
    let list: Value = serde_json::from_slice(&list).expect("the list is JSON");
    let list = list.as_array().expect("the list is one");
    let changes: Vec<Change> = list
        .iter()
        .map(|value| Change::read(value).expect("a change of cargo-mutants 27"))
        .collect();

    let copy = Path::new(copy);
    let built = build::build(copy, &changes, options);
    let (caught, timeout, missed) = trial::trials(
        copy,
        &built,
        number("JOBS", 2),
        number("LIMIT", 60),
        &changes,
    );
    fs::create_dir_all(out).expect("a place for the lists");
    let kinds = [
        ("caught", &caught),
        ("timeout", &timeout),
        ("missed", &missed),
        ("unviable", &built.unviable),
        ("left", &built.left),
    ];
    for (kind, numbers) in kinds {
        let names: String = numbers
            .iter()
            .map(|number| format!("{}\n", changes[*number].name))
            .collect();
        fs::write(Path::new(out).join(format!("{kind}.txt")), names).expect("the lists are kept");
        print!("{} {kind}, ", numbers.len());
    }
    println!("of {}", changes.len());
}

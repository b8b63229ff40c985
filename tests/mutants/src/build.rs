//! Builds the tests of a crate with all changes in it that can be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Change;
use crate::weave::{Woven, weave};

/// What tells the crate which change to be.
pub const SWITCH: &str = "NABIZ_CHANGE";

pub struct Built {
    /// In the order of the options.
    pub programs: Vec<PathBuf>,
    /// Those that are in.
    pub woven: Vec<usize>,
    pub unviable: Vec<usize>,
    pub left: Vec<usize>,
}

/// What the compiler minds.
#[derive(Default)]
struct Errors {
    unviable: BTreeSet<usize>,
    constant: BTreeSet<String>,
}

pub fn build(copy: &Path, changes: &[Change], options: &[String]) -> Built {
    let mut sources = BTreeMap::new();
    for source in files(&copy.join("src")) {
        let text = fs::read_to_string(&source).expect("a source can be read");
        let name = source.strip_prefix(copy).expect("within the copy");
        sources.insert(name.to_str().expect("a plain name").to_owned(), text);
    }
    let (mut unviable, mut constant) = (BTreeSet::new(), BTreeSet::<String>::new());
    loop {
        let mut files: BTreeMap<&str, Woven> = BTreeMap::new();
        for (name, text) in &sources {
            let of_file: Vec<(usize, &Change)> = changes
                .iter()
                .enumerate()
                .filter(|(number, change)| change.file == *name && !unviable.contains(number))
                .collect();
            let mut woven = weave(text, &of_file, |name| constant.contains(name));
            if name == "src/lib.rs" {
                woven.text.push_str(&switch());
            }
            fs::write(copy.join(name), &woven.text).expect("the copy can be written");
            files.insert(name, woven);
        }
        // To check is faster; but it does not tell everything.
        let (mut is_built, mut messages) = cargo(copy, &["check"], options);
        if is_built {
            (is_built, messages) = cargo(copy, &["test", "--no-run"], options);
        }
        if is_built {
            let left: Vec<usize> = files
                .values()
                .flat_map(|woven| woven.left.clone())
                .collect();
            let woven = (0..changes.len())
                .filter(|number| !unviable.contains(number) && !left.contains(number))
                .collect();
            return Built {
                programs: programs(&messages, options),
                woven,
                unviable: unviable.into_iter().collect(),
                left,
            };
        }
        let errors = errors(&messages, &files, changes);
        let before = unviable.len() + constant.len();
        unviable.extend(errors.unviable);
        constant.extend(errors.constant);
        if before == unviable.len() + constant.len() {
            for message in &messages {
                if let Some(error) = message["message"]["rendered"].as_str() {
                    eprint!("{error}");
                }
            }
            panic!("the crate does not build, and it is not one change's doing");
        }
        eprintln!(
            "{} do not build, {} functions stay constant",
            unviable.len(),
            constant.len()
        );
    }
}

fn cargo(copy: &Path, command: &[&str], options: &[String]) -> (bool, Vec<Value>) {
    let output = Command::new("cargo")
        .args(command)
        .arg("--message-format=json")
        .args(options)
        .current_dir(copy)
        .stderr(Stdio::null())
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().map(serde_json::from_str);
    (
        output.status.success(),
        messages.filter_map(Result::ok).collect(),
    )
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found
}

/// Which change the crate is to be.
fn switch() -> String {
    format!(
        "
extern crate std as woven_std;
#[inline]
pub(crate) fn woven(number: u32) -> bool {{
    static CHANGE: woven_std::sync::OnceLock<u32> = woven_std::sync::OnceLock::new();
    let read = || woven_std::env::var({SWITCH:?}).map_or(u32::MAX, |text| text.parse().unwrap());
    *CHANGE.get_or_init(read) == number
}}
"
    )
}

fn errors(messages: &[Value], files: &BTreeMap<&str, Woven>, changes: &[Change]) -> Errors {
    let mut errors = Errors::default();
    for message in messages {
        let message = &message["message"];
        if message["level"] != "error" {
            continue;
        }
        let told = message["message"].as_str().unwrap_or_default();
        if message["code"]["code"] == "E0015" {
            let name = told.split('`').nth(1).unwrap_or_default();
            let name = name.rsplit("::").find(|part| !part.starts_with('<'));
            errors.constant.extend(name.map(str::to_owned));
            continue;
        }
        let none = Vec::new();
        let spans = message["spans"].as_array().unwrap_or(&none);
        // The change that the error is about, or else one that it mentions.
        let found = [true, false].iter().find_map(|primary| {
            let spans = spans.iter().filter(|span| span["is_primary"] == *primary);
            spans.filter_map(|span| change_at(span, files)).next()
        });
        // Without an arm the match does not cover everything: try the next.
        let is_arm = |number: &usize| changes[*number].genre == "MatchArm";
        let found = found.or_else(|| {
            let (woven, start, _) = located(spans.first()?, files)?;
            let after = woven
                .regions
                .iter()
                .filter(|(range, _)| range.start > start);
            after.map(|(_, number)| *number).find(is_arm)
        });
        errors.unviable.extend(found);
    }
    errors
}

fn change_at(span: &Value, files: &BTreeMap<&str, Woven>) -> Option<usize> {
    let (woven, start, end) = located(span, files)?;
    let mut regions = woven.regions.iter();
    let (_, number) = regions.find(|(range, _)| range.start <= start && end <= range.end)?;
    Some(*number)
}

/// The file, and from where to where in it.
fn located<'a>(
    span: &Value,
    files: &'a BTreeMap<&str, Woven>,
) -> Option<(&'a Woven, usize, usize)> {
    let woven = files.get(span["file_name"].as_str()?)?;
    let at = |name: &str| usize::try_from(span[name].as_u64()?).ok();
    Some((woven, at("byte_start")?, at("byte_end")?))
}

/// The test programs, the library's own first.
fn programs(messages: &[Value], options: &[String]) -> Vec<PathBuf> {
    let mut found: Vec<(usize, PathBuf)> = Vec::new();
    for message in messages {
        if let Some(program) = message["executable"].as_str() {
            let name = format!(
                "--test={}",
                message["target"]["name"].as_str().unwrap_or("?")
            );
            let order = options.iter().position(|option| *option == name);
            found.push((order.map_or(0, |order| order + 1), program.into()));
        }
    }
    found.sort();
    found.into_iter().map(|(_, program)| program).collect()
}

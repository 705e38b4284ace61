//! Tests that guides name: whether they are there and are run.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn guide(name: &str) -> String {
    fs::read_to_string(project().join("docs").join(name)).unwrap()
}

/// Cells of the rows whose first cell is this letter and a number.
pub(crate) fn rows(text: &str, letter: char) -> Vec<(u32, Vec<&str>)> {
    text.lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").map(str::trim).collect();
            let number = cells.first()?.strip_prefix(letter)?.parse().ok()?;
            Some((number, cells))
        })
        .collect()
}

/// What is wrong with what a cell names. `tests/` and `src/` are those of the folder `own`.
pub(crate) fn faults(own: &str, cell: &str) -> Vec<String> {
    let tests = named(cell);
    if tests.is_empty() {
        return vec!["names no test".to_owned()];
    }
    tests.into_iter().filter_map(|(file, test)| fault(own, file, test)).collect()
}

/// What stands between backticks and has the form `file.rs::test`.
fn named(cell: &str) -> Vec<(&str, &str)> {
    cell.split('`').skip(1).step_by(2).filter_map(|text| text.split_once(".rs::")).collect()
}

/// Why this is no test that is run.
fn fault(own: &str, file: &str, test: &str) -> Option<String> {
    let is_own = file.starts_with("tests/") || file.starts_with("src/");
    let path = project().join(if is_own { own } else { "" }).join(format!("{file}.rs"));
    let Ok(text) = fs::read_to_string(&path) else { return Some(format!("{file}.rs is no file")) };
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_it = |line: &&str| {
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").and_then(|rest| rest.strip_prefix(test));
        rest.is_some_and(|rest| rest.starts_with('('))
    };
    let Some(at) = lines.iter().position(is_it) else { return Some(format!("{file}.rs has no {test}")) };
    let attributes: Vec<_> =
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//")).collect();
    let runs = attributes.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    let ignored = attributes.iter().any(|line| line.starts_with("#[ignore"));
    (!runs || ignored).then(|| format!("{file}.rs: {test} is no test that is run"))
}

//! What would become of a `pop.yaml`, without any effect.

use std::path::Path;

use tapir_wire::status::{RejectedLine, SourceStatus};

use super::files::{Folder, Lists};
use super::read;
use crate::feeds::Rejected;
use crate::setup::Setup;

/// A file that would be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What would be in force.
    pub setup: Setup,
    /// What would be left out or cannot be served, one line each.
    pub warnings: Vec<String>,
}

/// Reads a file with the lists and keys beside it, as the running POP does.
pub fn check(file: &Path) -> Result<Checked, String> {
    let text = read(file).map_err(|error| format!("cannot be read: {error}"))?.ok_or("is missing")?;
    let folder = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let nothing = Lists::new();
    let (setup, mut warnings) = Setup::parse(&text, &mut Folder::alone(folder, &nothing)).map_err(|error| error.to_string())?;
    warnings.extend(setup.unserved.iter().cloned());
    warnings.extend(setup.idle_sources.iter().map(|(source, reason)| format!("source {source} holds nothing: {reason}")));
    for list in &setup.rules.lists {
        let mut rejected = Rejected::default();
        list.text.each(&setup.zone, |line, entry| {
            if let Err(reason) = entry {
                rejected.push(line, &reason);
            }
        });
        let told = rejected.first.iter().take(SourceStatus::MOST_REJECTED_LINES);
        let refused = |line: &RejectedLine| format!("source {}, line {}: {}", list.source, line.line, line.reason);
        warnings.extend(told.map(refused));
        let untold = rejected.count.saturating_sub(SourceStatus::MOST_REJECTED_LINES as u64);
        if untold > 0 {
            warnings.push(format!("source {}: {untold} more entries are refused", list.source));
        }
    }
    Ok(Checked { setup, warnings })
}

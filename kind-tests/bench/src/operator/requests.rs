//! The operator's requests, out of the API server's audit log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Reads what was added since the last look.
#[derive(Debug)]
pub(crate) struct Requests {
    log: PathBuf,
    user: String,
    offset: u64,
}

/// Requests by `verb resource`.
pub(crate) type Count = BTreeMap<String, u64>;

impl Requests {
    pub(crate) fn new(log: &Path, user: &str) -> Self {
        Self { log: log.to_owned(), user: user.to_owned(), offset: 0 }
    }

    /// Requests since the last call. A watch is written down when it ends, so watches do not count.
    pub(crate) fn since(&mut self) -> Result<Count> {
        let mut file = File::open(&self.log).with_context(|| format!("opening {}", self.log.display()))?;
        file.seek(SeekFrom::Start(self.offset)).context("reading the audit log")?;
        let mut reader = BufReader::new(file);
        let (mut count, mut line) = (Count::new(), String::new());
        loop {
            line.clear();
            let length = reader.read_line(&mut line).context("reading the audit log")?;
            if length == 0 || !line.ends_with('\n') {
                return Ok(count);
            }
            self.offset += u64::try_from(length).unwrap_or_default();
            if line.contains(&self.user)
                && let Ok(event) = serde_json::from_str::<Value>(&line)
                && let Some(what) = what(&event, &self.user)
            {
                *count.entry(what).or_default() += 1;
            }
        }
    }
}

fn what(event: &Value, user: &str) -> Option<String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/user/username") != user || text("/verb") == "watch" {
        return None;
    }
    let sub = text("/objectRef/subresource");
    let separator = if sub.is_empty() { "" } else { "/" };
    Some(format!("{} {}{separator}{sub}", text("/verb"), text("/objectRef/resource")))
}

/// All of them.
pub(crate) fn total(count: &Count) -> u64 {
    count.values().sum()
}

/// Those that write anything but the Lease, which is renewed every few seconds.
pub(crate) fn writes(count: &Count) -> u64 {
    let reads = |what: &str| ["get ", "list "].iter().any(|verb| what.starts_with(verb));
    count.iter().filter(|(what, _)| !reads(what) && !what.ends_with(" leases")).map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_a_user_did_since_the_last_look() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        let line = |verb: &str, resource: &str, user: &str| {
            format!(
                "{{\"verb\":\"{verb}\",\"user\":{{\"username\":\"{user}\"}},\"objectRef\":{{\"resource\":\"{resource}\"}}}}\n"
            )
        };
        let mut requests = Requests::new(log.path(), "operator");
        for text in [line("get", "pods", "operator"), line("update", "leases", "operator"), line("create", "pods", "somebody")] {
            log.write_all(text.as_bytes()).unwrap();
        }
        let first = requests.since().unwrap();
        assert_eq!((total(&first), writes(&first)), (2, 0));
        log.write_all(line("patch", "pods", "operator").as_bytes()).unwrap();
        log.write_all(b"{\"verb\":\"pat").unwrap();
        let second = requests.since().unwrap();
        assert_eq!((total(&second), writes(&second)), (1, 1));
    }
}

//! Rules that types cannot express, and strict forms of what the file says loosely.

mod output;
mod policy;
mod service;
mod source;

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::super::Problem;
use super::{InlineSource, PopConfig};
use crate::name::{Name, NameError};

/// Problems of one part.
type Problems = Vec<Problem>;

impl PopConfig {
    /// The zone's name; always there in a configuration that [`Self::problems`] finds nothing wrong with.
    pub fn zone_name(&self) -> Result<Name, NameError> {
        Name::parse(&self.zone)
    }

    /// Rules that types cannot express. Names in lists are not among them: one bad line must not disarm a policy, so POP leaves
    /// it out and counts it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut found = |problem: Problem| problems.push(problem);
        if self.format == 0 {
            found(Problem::new("format", "is 0", "the first format is 1"));
        }
        if self.format == 1 {
            for path in self.of_format_2() {
                found(Problem::new(path, "belongs to format 2", "write format: 2"));
            }
        }
        match self.zone_name() {
            Ok(zone) if zone.is_root() => found(Problem::new("zone", "is the root", "use a name such as dnstapir.")),
            Ok(_) => {}
            Err(error) => found(Problem::new("zone", format!("is no zone name ({error})"), "use a name such as dnstapir.")),
        }
        if !self.data_dir.is_absolute() {
            found(Problem::new("dataDir", "is not an absolute path", "write it from the root, as /var/lib/tapir/pop"));
        }
        problems.extend(self.output_problems());
        problems.extend(self.source_problems());
        problems.extend(self.policy_problems());
        problems.extend(self.service_problems());
        problems
    }
}

/// Files lie beside `pop.yaml`, where a change of them is seen and comes into force together with it.
fn check_file(field: String, name: &str) -> Option<Problem> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let plain = (1..=253).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(good);
    let remedy = "put the file beside pop.yaml and write its name alone: letters, digits, hyphens, underscores and dots";
    (!plain).then(|| Problem::new(field, "is no plain name of a file", remedy))
}

fn can_be_sent_to(address: &SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified()
}

/// Names a topic, and no pattern of topics (MQTT 5 section 4.7).
fn check_topic(field: String, topic: &str) -> Option<Problem> {
    let good = (1..=1024).contains(&topic.len()) && !topic.contains(['+', '#', '\0']);
    (!good).then(|| Problem::new(field, "is no topic", "write the topic's whole name, without + and #"))
}

fn within<T: Copy + PartialOrd + Display>(field: impl Into<String>, value: T, range: RangeInclusive<T>) -> Option<Problem> {
    let (first, last) = range.into_inner();
    let remedy = format!("use {first} to {last}");
    (value < first || value > last).then(|| Problem::new(field, format!("is {value}"), remedy))
}

impl InlineSource {
    /// The names in canonical form, and for each that is none its position (from 0) and why. The root is refused: it would be
    /// everything.
    #[must_use]
    pub fn canonical(&self) -> (Vec<Name>, Vec<(usize, NameError)>) {
        let (mut good, mut bad) = (Vec::with_capacity(self.names.len()), Vec::new());
        for (position, text) in self.names.iter().enumerate() {
            match Name::parse(text.trim()) {
                Ok(name) if name.is_root() => bad.push((position, NameError::Empty)),
                Ok(name) => good.push(name),
                Err(error) => bad.push((position, error)),
            }
        }
        (good, bad)
    }
}

/// Names of sources and rules become labels of metrics and members of `/status`.
fn check_name<'a>(field: String, name: &str, mut others: impl Iterator<Item = &'a str>, what: &str) -> Option<Problem> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !(1..=63).contains(&name.len()) || !name.bytes().all(good) {
        return Some(Problem::new(field, "is no good name", "use 1 to 63 letters, digits, hyphens, underscores and dots"));
    }
    if others.any(|other| other == name) {
        return Some(Problem::new(field, format!("{name:?} stands twice"), format!("give each {what} a name of its own")));
    }
    None
}

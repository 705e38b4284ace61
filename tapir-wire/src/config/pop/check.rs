//! Rules that types cannot express, and strict forms of what the file says loosely.

use super::super::Problem;
use super::{Action, DoubtRule, InlineSource, PopConfig, Source};
use crate::name::{Name, NameError};
use crate::tags::{Tag, TagError, mask};

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
        match self.zone_name() {
            Ok(zone) if zone.is_root() => found(Problem::new("zone", "is the root", "use a name such as dnstapir.")),
            Ok(_) => {}
            Err(error) => found(Problem::new("zone", format!("is no zone name ({error})"), "use a name such as dnstapir.")),
        }
        if !self.data_dir.is_absolute() {
            found(Problem::new("dataDir", "is not an absolute path", "write it from the root, as /var/lib/tapir/pop"));
        }
        for (position, address) in self.notify.iter().enumerate() {
            if address.port() == 0 || address.ip().is_unspecified() {
                let field = format!("notify[{position}]");
                found(Problem::new(field, "cannot be sent to", "give address and port of a resolver, as 127.0.0.1:53"));
            }
        }
        for (position, source) in self.sources.iter().enumerate() {
            let field = |name: &str| format!("sources[{position}].{name}");
            let others = self.sources.iter().take(position).map(|source| source.name.as_str());
            check_name(field("name"), &source.name, others, "source").into_iter().for_each(&mut found);
            if source.kinds() != 1 {
                let remedy = "give exactly one of core and inline";
                found(Problem::new(format!("sources[{position}]"), format!("has {} kinds", source.kinds()), remedy));
            }
        }
        if self.deny.action == Action::Passthru {
            let remedy = "use another action; to log without blocking set mode: Observe, to never block use a list: Allow";
            found(Problem::new("deny.action", "is PASSTHRU, which denies nothing", remedy));
        }
        for (position, rule) in self.doubt.iter().enumerate() {
            let others = self.doubt.iter().take(position).map(|rule| rule.name.as_str());
            rule.problems(position, others).into_iter().for_each(&mut found);
        }
        problems
    }
}

impl Source {
    pub(super) fn kinds(&self) -> usize {
        usize::from(self.core.is_some()) + usize::from(self.inline.is_some())
    }
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

impl DoubtRule {
    /// `any_tags` as a mask; 0 without any.
    pub fn any_mask(&self) -> Result<u32, TagError> {
        mask(self.any_tags.iter().map(String::as_str))
    }

    /// `all_tags` as a mask; 0 without any.
    pub fn all_mask(&self) -> Result<u32, TagError> {
        mask(self.all_tags.iter().map(String::as_str))
    }

    fn problems<'a>(&self, position: usize, others: impl Iterator<Item = &'a str>) -> Vec<Problem> {
        let field = |name: &str| format!("doubt[{position}].{name}");
        let mut problems: Vec<_> = check_name(field("name"), &self.name, others, "rule").into_iter().collect();
        for (list, tags) in [("anyTags", &self.any_tags), ("allTags", &self.all_tags)] {
            for (index, tag) in tags.iter().enumerate() {
                if Tag::parse(tag).is_err() {
                    let remedy = "use globally_new, newly_registered, registry_investigation, looptest or bit0 to bit31";
                    problems.push(Problem::new(field(&format!("{list}[{index}]")), format!("is {tag:?}, no tag"), remedy));
                }
            }
        }
        match self.min_tags {
            None if self.any_tags.is_empty() && self.all_tags.is_empty() => {
                let remedy = "give at least one of anyTags, allTags and minTags";
                problems.push(Problem::new(format!("doubt[{position}]"), "has no condition", remedy));
            }
            // 31 of the 32 bits count: looptest does not.
            Some(number) if !(1..=31).contains(&number) => {
                problems.push(Problem::new(field("minTags"), format!("is {number}"), "use 1 to 31"));
            }
            _ => {}
        }
        problems
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

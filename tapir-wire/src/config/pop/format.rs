//! Which version of the file is needed to say something.

use super::{Action, CoreSource, DenyAction, DoubtRule, PopConfig, Source};

impl PopConfig {
    /// The oldest format that can say all this. That one is written, so that sidecars of the last release serve what they can.
    #[must_use]
    pub fn needed_format(&self) -> u32 {
        if self.of_format_2().is_empty() { 1 } else { 2 }
    }

    /// What the first format does not have, as paths.
    pub(super) fn of_format_2(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for (position, source) in self.sources.iter().enumerate() {
            paths.extend(source.of_format_2().map(|key| format!("sources[{position}].{key}")));
        }
        if matches!(self.deny.action, DenyAction::Redirect | DenyAction::Source) {
            paths.push("deny.action".to_owned());
        }
        if self.deny.redirect.is_some() {
            paths.push("deny.redirect".to_owned());
        }
        for (position, rule) in self.doubt.iter().enumerate() {
            paths.extend(rule.of_format_2().map(|key| format!("doubt[{position}].{key}")));
        }
        if self.record_ttl_seconds != Self::RECORD_TTL_SECONDS {
            paths.push("recordTtlSeconds".to_owned());
        }
        paths
    }
}

impl Source {
    fn of_format_2(&self) -> impl Iterator<Item = &'static str> {
        let shorter = self.core.as_ref().is_some_and(|core| core.max_ttl_seconds != CoreSource::LONGEST_TTL_SECONDS);
        let used = [
            (self.file.is_some(), "file"),
            (self.rpz.is_some(), "rpz"),
            (self.https.is_some(), "https"),
            (shorter, "core.maxTtlSeconds"),
        ];
        used.into_iter().filter(|(used, _)| *used).map(|(_, key)| key)
    }
}

impl DoubtRule {
    fn of_format_2(&self) -> impl Iterator<Item = &'static str> {
        let used = [
            (self.min_sources.is_some(), "minSources"),
            (self.action == Action::Redirect, "action"),
            (self.redirect.is_some(), "redirect"),
        ];
        used.into_iter().filter(|(used, _)| *used).map(|(_, key)| key)
    }
}

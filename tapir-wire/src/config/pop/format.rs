//! Which version of the file is needed to say something.

use super::forms::is_default;
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
        paths.extend(
            self.notify
                .iter()
                .enumerate()
                .filter(|(_, target)| target.tsig_key_file.is_some())
                .map(|(position, _)| format!("notify[{position}].tsigKeyFile")),
        );
        let used = [
            (self.listen.len() > 1, "listen"),
            (self.deny.otherwise.is_some(), "deny.otherwise"),
            (self.record_ttl_seconds != Self::RECORD_TTL_SECONDS, "recordTtlSeconds"),
            (!is_default(&self.soa), "soa"),
            (!is_default(&self.access), "access"),
            (self.zone_file.is_some(), "zoneFile"),
            (self.publish_interval_milliseconds != Self::PUBLISH_INTERVAL_MILLISECONDS, "publishIntervalMilliseconds"),
            (!is_default(&self.journal), "journal"),
            (!is_default(&self.limits), "limits"),
            (self.peers.is_some(), "peers"),
            (!is_default(&self.global_config), "globalConfig"),
            (!is_default(&self.telemetry), "telemetry"),
            (!is_default(&self.admin), "admin"),
            (self.api.is_some(), "api"),
        ];
        paths.extend(used.into_iter().filter(|(used, _)| *used).map(|(_, key)| key.to_owned()));
        paths
    }
}

impl Source {
    fn of_format_2(&self) -> impl Iterator<Item = &'static str> {
        let core = |differs: &dyn Fn(&CoreSource) -> bool| self.core.as_ref().is_some_and(differs);
        let used = [
            (self.file.is_some(), "file"),
            (self.rpz.is_some(), "rpz"),
            (self.https.is_some(), "https"),
            (self.keep_action, "keepAction"),
            (core(&|core| core.max_ttl_seconds != CoreSource::LONGEST_TTL_SECONDS), "core.maxTtlSeconds"),
            (core(&|core| !core.topics.is_empty()), "core.topics"),
            (core(&|core| core.list_name != CoreSource::LIST_NAME), "core.listName"),
            (core(&|core| core.max_age_seconds.is_some()), "core.maxAgeSeconds"),
            (core(&|core| core.bootstrap.is_some()), "core.bootstrap"),
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

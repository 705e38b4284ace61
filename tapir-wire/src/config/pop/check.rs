//! Rules that types cannot express, and strict forms of what the file says loosely.

use std::net::SocketAddr;

use super::super::Problem;
use super::{Action, CoreSource, DenyAction, DoubtRule, HttpsSource, InlineSource, PopConfig, Redirect, RpzSource, Source};
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
        for (position, address) in self.notify.iter().enumerate() {
            if !can_be_sent_to(address) {
                let field = format!("notify[{position}]");
                found(Problem::new(field, "cannot be sent to", "give address and port of a resolver, as 127.0.0.1:53"));
            }
        }
        for (position, source) in self.sources.iter().enumerate() {
            let field = |name: &str| format!("sources[{position}].{name}");
            let others = self.sources.iter().take(position).map(|source| source.name.as_str());
            check_name(field("name"), &source.name, others, "source").into_iter().for_each(&mut found);
            source.problems(position).into_iter().for_each(&mut found);
        }
        if self.deny.action == DenyAction::Passthru {
            let remedy = "use another action; to log without blocking set mode: Observe, to never block use a list: Allow";
            found(Problem::new("deny.action", "is PASSTHRU, which denies nothing", remedy));
        }
        let redirects = self.deny.action == DenyAction::Redirect;
        check_redirect("deny", redirects, self.deny.redirect.as_ref()).into_iter().for_each(&mut found);
        for (position, rule) in self.doubt.iter().enumerate() {
            let others = self.doubt.iter().take(position).map(|rule| rule.name.as_str());
            rule.problems(position, others).into_iter().for_each(&mut found);
        }
        if !(1..=86_400).contains(&self.record_ttl_seconds) {
            found(Problem::new("recordTtlSeconds", format!("is {}", self.record_ttl_seconds), "use 1 to 86400"));
        }
        problems
    }
}

impl Source {
    pub(super) fn kinds(&self) -> usize {
        let Self { name: _, list: _, r#match: _, core, inline, file, rpz, https } = self;
        let kinds = [core.is_some(), inline.is_some(), file.is_some(), rpz.is_some(), https.is_some()];
        kinds.into_iter().filter(|given| *given).count()
    }

    fn problems(&self, position: usize) -> Vec<Problem> {
        let field = |name: &str| format!("sources[{position}].{name}");
        let mut problems = Vec::new();
        if self.kinds() != 1 {
            let remedy = "give exactly one of core, inline, file, rpz and https";
            problems.push(Problem::new(format!("sources[{position}]"), format!("has {} kinds", self.kinds()), remedy));
        }
        if let Some(core) = &self.core
            && !(60..=CoreSource::LONGEST_TTL_SECONDS).contains(&core.max_ttl_seconds)
        {
            let remedy = format!("use 60 to {}", CoreSource::LONGEST_TTL_SECONDS);
            problems.push(Problem::new(field("core.maxTtlSeconds"), format!("is {}", core.max_ttl_seconds), remedy));
        }
        if let Some(file) = &self.file {
            problems.extend(check_file(field("file.path"), &file.path));
        }
        problems.extend(self.rpz.iter().flat_map(|rpz| rpz.problems(&field)));
        problems.extend(self.https.iter().flat_map(|https| https.problems(&field)));
        problems
    }
}

impl RpzSource {
    fn problems(&self, field: &impl Fn(&str) -> String) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=8).contains(&self.primaries.len()) {
            let remedy = "give 1 to 8 servers with address and port, as 192.0.2.1:53";
            problems.push(Problem::new(field("rpz.primaries"), format!("holds {}", self.primaries.len()), remedy));
        }
        for (index, _) in self.primaries.iter().enumerate().filter(|(_, primary)| !can_be_sent_to(primary)) {
            let remedy = "give address and port of a server, as 192.0.2.1:53";
            problems.push(Problem::new(field(&format!("rpz.primaries[{index}]")), "cannot be sent to", remedy));
        }
        if !Name::parse(&self.zone).is_ok_and(|zone| !zone.is_root()) {
            problems.push(Problem::new(field("rpz.zone"), "is no zone name", "write the name that the primary serves"));
        }
        problems.extend(self.tsig_key_file.iter().filter_map(|file| check_file(field("rpz.tsigKeyFile"), file)));
        if let (Some(refresh), Some(keep)) = (self.refresh_seconds, self.keep_seconds) {
            problems.extend(check_times(field("rpz.keepSeconds"), refresh, keep));
        }
        problems
    }
}

impl HttpsSource {
    fn problems(&self, field: &impl Fn(&str) -> String) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.url.strip_prefix("https://").is_none_or(str::is_empty) {
            problems.push(Problem::new(field("https.url"), "is no https URL", "lists are fetched with https:// only"));
        }
        let digits = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.sha256.as_ref().is_some_and(|sha256| !digits(sha256)) {
            problems.push(Problem::new(field("https.sha256"), "is no SHA-256", "give its 64 hexadecimal digits"));
        }
        if self.refresh_seconds == 0 {
            problems.push(Problem::new(field("https.refreshSeconds"), "is 0", "give the seconds between two looks"));
        }
        problems.extend(check_times(field("https.keepSeconds"), self.refresh_seconds, self.keep_seconds));
        problems
    }
}

fn check_times(field: String, refresh: u32, keep: u32) -> Option<Problem> {
    let remedy = "use at least as many, or data would be dropped before it could be fetched again";
    (keep < refresh).then(|| Problem::new(field, "is less than refreshSeconds", remedy))
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

/// Addresses of a redirect: what an answer holds without being cut over UDP.
const MOST_ADDRESSES: usize = 8;

fn check_redirect(place: &str, wanted: bool, redirect: Option<&Redirect>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let field = |name: &str| format!("{place}.redirect{name}");
    let Some(redirect) = redirect else {
        if wanted {
            let remedy = "add redirect with name or addresses";
            problems.push(Problem::new(format!("{place}.action"), "is Redirect without a target", remedy));
        }
        return problems;
    };
    if !wanted {
        problems.push(Problem::new(field(""), "has no effect with this action", "write action: Redirect, or remove it"));
    }
    if redirect.name.is_some() != redirect.addresses.is_empty() {
        problems.push(Problem::new(field(""), "needs one target", "give exactly one of name and addresses"));
    }
    if redirect.name.as_deref().is_some_and(|name| redirect_target(name).is_none()) {
        let remedy = "give the name of a host; labels of one asterisk and names below rpz-* mean something else in a policy zone";
        problems.push(Problem::new(field(".name"), "can be no target", remedy));
    }
    if redirect.addresses.len() > MOST_ADDRESSES {
        let remedy = format!("give {MOST_ADDRESSES} at most");
        problems.push(Problem::new(field(".addresses"), format!("holds {}", redirect.addresses.len()), remedy));
    }
    problems
}

/// A CNAME in a policy zone means something else where it points to the root, to an asterisk or to a name such as `rpz-drop.`
/// (draft-vixie-dnsop-dns-rpz section 3).
fn redirect_target(name: &str) -> Option<Name> {
    let name = Name::parse(name).ok().filter(|name| !name.is_root())?;
    let means_itself = name.labels().all(|label| label != "*") && !name.labels().last()?.starts_with("rpz-");
    means_itself.then_some(name)
}

impl Redirect {
    /// The name in canonical form; always there in a configuration without problems that names one.
    #[must_use]
    pub fn target(&self) -> Option<Name> {
        self.name.as_deref().and_then(redirect_target)
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
            None if self.any_tags.is_empty() && self.all_tags.is_empty() && self.min_sources.is_none() => {
                let remedy = "give at least one of anyTags, allTags, minTags and minSources";
                problems.push(Problem::new(format!("doubt[{position}]"), "has no condition", remedy));
            }
            // 31 of the 32 bits count: looptest does not.
            Some(number) if !(1..=31).contains(&number) => {
                problems.push(Problem::new(field("minTags"), format!("is {number}"), "use 1 to 31"));
            }
            _ => {}
        }
        if let Some(number) = self.min_sources.filter(|number| !(1..=32).contains(number)) {
            problems.push(Problem::new(field("minSources"), format!("is {number}"), "use 1 to 32"));
        }
        let redirects = self.action == Action::Redirect;
        problems.extend(check_redirect(&format!("doubt[{position}]"), redirects, self.redirect.as_ref()));
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

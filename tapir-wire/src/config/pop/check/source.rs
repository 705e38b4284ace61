//! Sources.

use std::net::SocketAddr;
use std::path::{Component, Path};

use super::super::{Bootstrap, CoreSource, FileSource, Format, HttpsSource, List, PopConfig, RpzSource, Signature, Source};
use super::{Problem, Problems, can_be_sent_to, check_file, check_name, check_topic, within};
use crate::name::Name;

impl PopConfig {
    pub(super) fn source_problems(&self) -> Problems {
        let mut problems = Vec::new();
        if self.sources.len() > Self::MOST_SOURCES {
            let remedy = format!("give {} at most", Self::MOST_SOURCES);
            problems.push(Problem::new("sources", format!("holds {}", self.sources.len()), remedy));
        }
        for (position, source) in self.sources.iter().enumerate() {
            let field = |name: &str| format!("sources[{position}].{name}");
            let others = self.sources.iter().take(position);
            problems.extend(check_name(field("name"), &source.name, others.clone().map(|source| source.name.as_str()), "source"));
            problems.extend(source.problems(position));
            // What comes on a topic goes to one source: whoever signs for it writes that one and no other.
            let taken: Vec<&String> = others.filter_map(|other| other.core.as_ref()).flat_map(|core| &core.topics).collect();
            for (index, _) in source.topics().iter().enumerate().filter(|(_, topic)| taken.contains(topic)) {
                let remedy = "a topic belongs to one source: remove it from all others";
                problems.push(Problem::new(field(&format!("core.topics[{index}]")), "belongs to another source already", remedy));
            }
        }
        problems
    }
}

impl Source {
    fn topics(&self) -> &[String] {
        self.core.as_ref().map_or(&[], |core| core.topics.as_slice())
    }

    pub(in super::super) fn kinds(&self) -> usize {
        let Self { name: _, list: _, r#match: _, core, inline, file, rpz, https, keep_action: _ } = self;
        let kinds = [core.is_some(), inline.is_some(), file.is_some(), rpz.is_some(), https.is_some()];
        kinds.into_iter().filter(|given| *given).count()
    }

    fn problems(&self, position: usize) -> Problems {
        let field = |name: &str| format!("sources[{position}].{name}");
        let mut problems = Vec::new();
        if self.kinds() != 1 {
            let remedy = "give exactly one of core, inline, file, rpz and https";
            problems.push(Problem::new(format!("sources[{position}]"), format!("has {} kinds", self.kinds()), remedy));
        }
        if self.keep_action && !self.has_records() {
            let remedy = "use it with rpz or format: Rpz, or remove it";
            problems.push(Problem::new(field("keepAction"), "has no effect: the entries carry no actions", remedy));
        }
        if self.keep_action && self.list != List::Deny {
            let remedy = "use it with list: Deny, or remove it";
            problems.push(Problem::new(field("keepAction"), "has no effect: only deny lists have an action", remedy));
        }
        problems.extend(self.core.iter().flat_map(|core| core.problems(&field)));
        if let Some(FileSource { path, format, column, header, zone }) = &self.file {
            problems.extend(check_path(field("file.path"), path));
            problems.extend(check_format(&|name| field(&format!("file.{name}")), *format, *column, *header, zone.as_deref()));
        }
        problems.extend(self.rpz.iter().flat_map(|rpz| rpz.problems(&field)));
        problems.extend(self.https.iter().flat_map(|https| https.problems(&field)));
        problems
    }
}

impl CoreSource {
    fn problems(&self, field: &impl Fn(&str) -> String) -> Problems {
        let mut problems: Problems =
            within(field("core.maxTtlSeconds"), self.max_ttl_seconds, 60..=Self::LONGEST_TTL_SECONDS).into_iter().collect();
        if self.topics.len() > 16 {
            problems.push(Problem::new(field("core.topics"), format!("holds {}", self.topics.len()), "give 16 at most"));
        }
        for (index, topic) in self.topics.iter().enumerate() {
            problems.extend(check_topic(field(&format!("core.topics[{index}]")), topic));
            if self.topics.iter().take(index).any(|other| other == topic) {
                problems.push(Problem::new(field(&format!("core.topics[{index}]")), "stands twice", "give each topic once"));
            }
        }
        if !(1..=255).contains(&self.list_name.len()) {
            problems.push(Problem::new(
                field("core.listName"),
                "is no good name",
                "write what Core calls the list, as dns-tapir",
            ));
        }
        problems.extend(self.max_age_seconds.and_then(|age| within(field("core.maxAgeSeconds"), age, 60..=2_592_000)));
        problems.extend(self.bootstrap.iter().flat_map(|bootstrap| bootstrap.problems(field)));
        problems
    }
}

impl Bootstrap {
    fn problems(&self, field: &impl Fn(&str) -> String) -> Problems {
        let mut problems = check_servers(field, "core.bootstrap.servers", &self.servers);
        let template = |url: &String| url.starts_with("https://") && url.matches("%s").count() == 1;
        if self.url.as_ref().is_some_and(|url| !template(url)) {
            let remedy = "write it as https://%s/api/v1";
            problems.push(Problem::new(field("core.bootstrap.url"), "is no https URL with one %s for the server", remedy));
        }
        problems.extend(self.key_file.iter().filter_map(|file| check_file(field("core.bootstrap.keyFile"), file)));
        problems
    }
}

impl RpzSource {
    fn problems(&self, field: &impl Fn(&str) -> String) -> Problems {
        let mut problems = check_servers(field, "rpz.primaries", &self.primaries);
        if !Name::parse(&self.zone).is_ok_and(|zone| !zone.is_root()) {
            problems.push(Problem::new(field("rpz.zone"), "is no zone name", "write the name that the primary serves"));
        }
        problems.extend(self.tsig_key_file.iter().filter_map(|file| check_file(field("rpz.tsigKeyFile"), file)));
        if let (Some(refresh), Some(keep)) = (self.refresh_seconds, self.keep_seconds) {
            problems.extend(check_times(field("rpz.keepSeconds"), refresh, keep));
        }
        let limits = [("rpz.minRefreshSeconds", self.min_refresh_seconds), ("rpz.maxRefreshSeconds", self.max_refresh_seconds)];
        for (name, limit) in limits.into_iter().filter_map(|(name, limit)| Some((name, limit?))) {
            problems.extend(within(field(name), limit, 1..=2_592_000));
            if self.refresh_seconds.is_some() {
                let remedy = "remove one of the two: refreshSeconds says it exactly";
                problems.push(Problem::new(field(name), "has no effect beside refreshSeconds", remedy));
            }
        }
        if let (Some(least), Some(most)) = (self.min_refresh_seconds, self.max_refresh_seconds)
            && most < least
        {
            problems.push(Problem::new(field("rpz.maxRefreshSeconds"), "is less than minRefreshSeconds", "exchange the two"));
        }
        problems
    }
}

impl HttpsSource {
    fn problems(&self, field: &impl Fn(&str) -> String) -> Problems {
        let mut problems = Vec::new();
        if self.url.strip_prefix("https://").is_none_or(str::is_empty) {
            problems.push(Problem::new(field("https.url"), "is no https URL", "lists are fetched with https:// only"));
        }
        let digits = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.sha256.as_ref().is_some_and(|sha256| !digits(sha256)) {
            problems.push(Problem::new(field("https.sha256"), "is no SHA-256", "give its 64 hexadecimal digits"));
        }
        if let Some(Signature { public_key_file, url }) = &self.signature {
            if self.sha256.is_some() {
                let remedy = "keep one of the two: a list whose hash is known needs no signature";
                problems.push(Problem::new(field("https.signature"), "stands beside sha256", remedy));
            }
            problems.extend(check_file(field("https.signature.publicKeyFile"), public_key_file));
            if url.as_ref().is_some_and(|url| url.strip_prefix("https://").is_none_or(str::is_empty)) {
                let remedy = "signatures are fetched with https:// only";
                problems.push(Problem::new(field("https.signature.url"), "is no https URL", remedy));
            }
        }
        problems.extend(self.ca_file.iter().filter_map(|file| check_file(field("https.caFile"), file)));
        let at = |name: &str| field(&format!("https.{name}"));
        problems.extend(check_format(&at, self.format, self.column, self.header, self.zone.as_deref()));
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

fn check_servers(field: &impl Fn(&str) -> String, name: &str, servers: &[SocketAddr]) -> Problems {
    let mut problems = Vec::new();
    if !(1..=8).contains(&servers.len()) {
        let remedy = "give 1 to 8 servers with address and port, as 192.0.2.1:53";
        problems.push(Problem::new(field(name), format!("holds {}", servers.len()), remedy));
    }
    for (index, _) in servers.iter().enumerate().filter(|(_, server)| !can_be_sent_to(server)) {
        let remedy = "give address and port of a server, as 192.0.2.1:53";
        problems.push(Problem::new(field(&format!("{name}[{index}]")), "cannot be sent to", remedy));
    }
    problems
}

/// Beside `pop.yaml`, or a whole path: then whoever wrote it means just that place.
fn check_path(field: String, path: &str) -> Option<Problem> {
    let whole = Path::new(path);
    let straight = whole.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if whole.is_absolute() && straight && whole.file_name().is_some() && path.len() <= 4096 {
        return None;
    }
    let remedy = "put the file beside pop.yaml and write its name alone: letters, digits, hyphens, underscores and dots; \
                  or write its path from the root, without ..";
    check_file(field, path).map(|problem| Problem { remedy: remedy.to_owned(), ..problem })
}

/// Options of one format are a mistake beside another one.
fn check_format(
    field: &impl Fn(&str) -> String,
    format: Format,
    column: Option<u32>,
    header: Option<bool>,
    zone: Option<&str>,
) -> Problems {
    let mut problems = Vec::new();
    let given = [
        ("column", column.is_some(), Format::Csv),
        ("header", header.is_some(), Format::Csv),
        ("zone", zone.is_some(), Format::Rpz),
    ];
    for (name, _, of) in given.into_iter().filter(|(_, given, of)| *given && *of != format) {
        problems.push(Problem::new(field(name), "has no effect with this format", format!("write format: {of:?}, or remove it")));
    }
    problems.extend(column.and_then(|column| within(field("column"), column, 1..=1000)));
    if zone.is_some_and(|zone| !Name::parse(zone).is_ok_and(|zone| !zone.is_root())) {
        problems.push(Problem::new(field("zone"), "is no zone name", "write the name that the file's SOA has"));
    }
    problems
}

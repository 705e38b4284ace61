//! `pop-sources.yaml`.

use tapir_wire::config::pop::{Bootstrap, CoreSource, FileSource, Format, List, PopConfig, RpzSource, Source};
use tapir_wire::name::Name;

use super::{KeyFile, Report, Tree};

const KEYS: [&str; 16] = [
    "active",
    "name",
    "description",
    "type",
    "source",
    "format",
    "immutable",
    "topic",
    "validatorkey",
    "bootstrap",
    "bootstrapurl",
    "bootstrapkey",
    "filename",
    "upstream",
    "zone",
    "backupfile",
];

pub(super) fn convert(file: &Tree, config: &mut PopConfig, report: &mut Report) {
    if file.is_empty() {
        report.note(file.whole(), "is missing or empty: nothing is listed");
        return;
    }
    file.note_unknown(&["sources"], report);
    for (id, entry) in file.map("sources", report).maps(report) {
        entry.note_unknown(&KEYS, report);
        if entry.flag("active", report) != Some(true) {
            report.note(entry.whole(), "is not active and left out");
            continue;
        }
        if let Some(source) = source(&id, &entry, &config.sources, report) {
            config.sources.push(source);
        }
    }
}

/// Upstream has one limit for all feeds, in the other file.
pub(super) fn limit_refresh(main: &Tree, config: &mut PopConfig, report: &mut Report) {
    let service = main.map("service", report);
    let Some(most) = service.number("maxrefresh", report).filter(|most| *most != 0) else { return };
    match u32::try_from(most) {
        Ok(most) => {
            let feeds = config.sources.iter_mut().filter_map(|source| source.rpz.as_mut());
            feeds.for_each(|rpz| rpz.max_refresh_seconds = Some(most));
        }
        Err(_) => report.refuse(service.place("maxrefresh"), "is no number of seconds"),
    }
}

fn source(id: &str, entry: &Tree, others: &[Source], report: &mut Report) -> Option<Source> {
    let Some(said) = entry.text("name", report) else {
        report.refuse(entry.place("name"), "is missing");
        return None;
    };
    let kind = entry.text("source", report).map(|kind| kind.to_ascii_lowercase());
    let list = match (entry.text("type", report).map(|list| list.to_ascii_lowercase()).as_deref(), kind.as_deref()) {
        (Some("doubtlist"), _) => List::Doubt,
        (said, Some("mqtt")) => {
            if said.is_some() {
                report.note(entry.place("type"), "observations are a doubt list, whatever is said");
            }
            List::Doubt
        }
        (Some("allowlist"), _) => List::Allow,
        (Some("denylist"), _) => List::Deny,
        _ => {
            report.refuse(entry.place("type"), "is none of allowlist, denylist and doubtlist");
            return None;
        }
    };
    let source = Source::new(name(&said, id, entry, others, report), list);
    match kind.as_deref() {
        Some("mqtt") => core(source, &said, entry, report),
        Some("file") => file(source, entry, report),
        Some("xfr") => feed(source, entry, report),
        _ => {
            report.refuse(entry.place("source"), "is none of mqtt, file and xfr");
            None
        }
    }
}

/// A name of its own: upstream lets the last of several overwrite the others.
fn name(said: &str, id: &str, entry: &Tree, others: &[Source], report: &mut Report) -> String {
    let good = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let plain = |text: &str| text.chars().map(|letter| if good(letter) { letter } else { '-' }).take(63).collect::<String>();
    let free = |name: &str| others.iter().all(|other| other.name != name);
    let numbered = (2..).map(|number| plain(&format!("{number}-{said}")));
    let candidates = [plain(said), plain(id), plain(&format!("{id}-{said}"))].into_iter().chain(numbered);
    let name = candidates.take(PopConfig::MOST_SOURCES + 4).find(|name| free(name)).unwrap_or_else(|| plain(said));
    if name != said {
        report.note(
            entry.place("name"),
            format!("the source is called {name} here: names are unique, of letters, digits, hyphens, underscores and dots"),
        );
    }
    name
}

fn core(source: Source, said: &str, entry: &Tree, report: &mut Report) -> Option<Source> {
    let Some(topic) = entry.text("topic", report) else {
        report.refuse(entry.place("topic"), "is missing");
        return None;
    };
    if said != CoreSource::LIST_NAME {
        report.note(entry.place("name"), "tags of this source count, which upstream does for dns-tapir alone");
    }
    let bootstrap = bootstrap(&source.name, entry, report);
    let core = CoreSource { topics: vec![topic], list_name: said.to_owned(), bootstrap, ..CoreSource::default() };
    Some(Source { core: Some(core), ..source })
}

fn bootstrap(name: &str, entry: &Tree, report: &mut Report) -> Option<Bootstrap> {
    let servers = entry.texts("bootstrap", report).filter(|servers| !servers.is_empty())?;
    let mut bootstrap = Bootstrap { url: entry.text("bootstrapurl", report), ..Bootstrap::default() };
    for (index, server) in servers.iter().enumerate() {
        match server.parse() {
            Ok(server) => bootstrap.servers.push(server),
            Err(_) => report.refuse(entry.place(&format!("bootstrap[{index}]")), "is no IP address with port"),
        }
    }
    if let Some(key) = entry.secret("bootstrapkey") {
        let file = format!("bootstrap-{name}");
        report.note(entry.place("bootstrapkey"), format!("the key is read from {file} beside pop.yaml"));
        report.keys.push(KeyFile { name: file.clone(), key });
        bootstrap.key_file = Some(file);
    }
    Some(bootstrap)
}

fn file(source: Source, entry: &Tree, report: &mut Report) -> Option<Source> {
    let format = match entry.text("format", report).map(|format| format.to_ascii_lowercase()).as_deref() {
        Some("domains") => Format::Domains,
        Some("csv") => Format::Csv,
        Some("dawg") => Format::Dawg,
        _ => {
            report.refuse(entry.place("format"), "is none of domains, csv and dawg");
            return None;
        }
    };
    if format == Format::Dawg && source.list != List::Allow {
        report.refuse(entry.place("format"), "is dawg, which can be an allow list only");
        return None;
    }
    let Some(path) = entry.text("filename", report) else {
        report.refuse(entry.place("filename"), "is missing");
        return None;
    };
    if format == Format::Domains {
        report.note(
            entry.place("filename"),
            "comments, blank lines and upper case are understood; lines that are no name are left out",
        );
    }
    Some(Source { file: Some(FileSource { path, format, ..FileSource::default() }), ..source })
}

fn feed(source: Source, entry: &Tree, report: &mut Report) -> Option<Source> {
    let primary = entry.text("upstream", report).and_then(|text| text.parse().ok());
    let zone = entry.text("zone", report).and_then(|zone| Name::parse(&zone).ok()).filter(|zone| !zone.is_root());
    if primary.is_none() {
        report.refuse(entry.place("upstream"), "is no IP address with port");
    }
    if zone.is_none() {
        report.refuse(entry.place("zone"), "is no name of a zone");
    }
    report.note(entry.whole(), "names that leave the feed leave the zone; wildcards cover what is below them");
    let rpz = RpzSource { primaries: vec![primary?], zone: zone?.to_string(), ..RpzSource::default() };
    Some(Source { rpz: Some(rpz), ..source })
}

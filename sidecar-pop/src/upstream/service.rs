//! `dnstapir-pop.yaml`: everything around sources, outputs and policy.

use std::net::SocketAddr;

use tapir_wire::config::pop::PopConfig;
use tapir_wire::name::Name;

use super::{Report, Tree};

/// Sections of the file.
const SECTIONS: [&str; 11] =
    ["log", "services", "service", "apiserver", "dnsengine", "bootstrapserver", "keystore", "tapir", "certs", "policy", "cli"];

pub(super) fn convert(file: &Tree, config: &mut PopConfig, report: &mut Report) {
    if file.is_empty() {
        report.note(file.whole(), "is missing or empty: name of the zone and addresses are the usual ones");
        return;
    }
    file.note_unknown(&SECTIONS, report);
    zone(&file.map("services", report), config, report);
    listen(&file.map("dnsengine", report), config, report);
    core(&file.map("tapir", report), config, report);
    for (key, text) in [
        ("log", "logs go to standard output, as JSON; how much is said by RUST_LOG"),
        ("apiserver", "is off: to serve upstream's tool, put a key into a file and name it in api; tapir-pop ctl needs none"),
        ("bootstrapserver", "is not served: POPs of one edge tell each other what they know, see peers"),
        ("keystore", "keys of Core are read from the folder of pop.yaml, where the enrolment puts them"),
        ("cli", "is upstream's tool's own, and has no effect"),
        ("certs", "certificates are read from the folder of pop.yaml, where the enrolment puts them"),
    ] {
        if !file.map(key, report).is_empty() {
            report.note(file.place(key), text);
        }
    }
}

fn zone(services: &Tree, config: &mut PopConfig, report: &mut Report) {
    services.note_unknown(&["rpz", "reaper", "refreshengine"], report);
    let rpz = services.map("rpz", report);
    if let Some(zone) = rpz.text("zonename", report) {
        match Name::parse(&zone) {
            Ok(name) if !name.is_root() => config.zone = name.to_string(),
            _ => report.refuse(rpz.place("zonename"), "is no name of a zone: write one such as dnstapir."),
        }
    }
    if rpz.text("serialcache", report).is_some() {
        report.note(rpz.place("serialcache"), format!("serials are kept in {}", config.data_dir.display()));
    }
    if !services.map("reaper", report).is_empty() {
        report.note(services.place("reaper"), "observations end on time, and not at an interval");
    }
    let engine = services.map("refreshengine", report);
    if !engine.is_empty() && engine.flag("active", report) != Some(true) {
        report.note(engine.place("active"), "is not true, which stops upstream and has no meaning here");
    }
}

fn listen(engine: &Tree, config: &mut PopConfig, report: &mut Report) {
    engine.note_unknown(&["active", "name", "addresses", "logfile"], report);
    let mut listen: Vec<SocketAddr> = Vec::new();
    for (index, text) in engine.texts("addresses", report).unwrap_or_default().iter().enumerate() {
        match text.parse() {
            Ok(address) if listen.contains(&address) => {}
            Ok(address) => listen.push(address),
            Err(_) => report.refuse(engine.place(&format!("addresses[{index}]")), "is no IP address with port"),
        }
    }
    if listen.is_empty() {
        let usual = config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        report.note(engine.place("addresses"), format!("holds none: the zone is served at {usual}"));
    } else {
        config.listen = listen;
    }
}

fn core(tapir: &Tree, config: &mut PopConfig, report: &mut Report) {
    tapir.note_unknown(&["mqtt", "config", "status"], report);
    if !tapir.map("mqtt", report).is_empty() {
        report.note(
            tapir.place("mqtt"),
            "broker and certificates come with the node's identity beside pop.yaml (node.json, tls.crt, tls.key, ca.crt)",
        );
    }
    let (settings, status) = (tapir.map("config", report), tapir.map("status", report));
    if settings.flag("active", report) == Some(true) {
        config.global_config.enabled = true;
        topic(&settings, &mut config.global_config.topic, report);
    }
    if status.flag("active", report) == Some(true) {
        config.telemetry.enabled = true;
        topic(&status, &mut config.telemetry.topic, report);
    }
    if status.text("signingkey", report).is_some() {
        report.note(status.place("signingkey"), "the key is read from the folder of pop.yaml, where the enrolment puts it");
    }
}

fn topic(section: &Tree, topic: &mut String, report: &mut Report) {
    match section.text("topic", report) {
        Some(said) => *topic = said,
        None => report.refuse(section.place("topic"), "is missing while active is true"),
    }
}

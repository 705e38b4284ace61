//! Upstream's file: its defaults where something here depends on them, what is different here, and what has another name here.

use std::path::PathBuf;

use serde::Deserialize;

use super::table::{EdmKey, Origin, TABLE};

/// Defaults of upstream that its form keeps, because files, scrapers and keys lie there already.
pub(super) const DEFAULTS: [(&str, &str); 11] = [
    ("data-dir", "/var/lib/dnstapir/edm"),
    ("http-listen", "127.0.0.1:2112"),
    ("well-known-domains-file", "well-known-domains.dawg"),
    ("mqtt-server", "127.0.0.1:8883"),
    ("mqtt-signing-key-file", "edm-mqtt-signer-key.pem"),
    ("mqtt-client-key-file", "edm-mqtt-client-key.pem"),
    ("mqtt-client-cert-file", "edm-mqtt-client.pem"),
    ("http-url", "https://127.0.0.1:8443"),
    ("http-signing-key-file", "edm-http-signer-key.pem"),
    ("http-client-key-file", "edm-http-client-key.pem"),
    ("http-client-cert-file", "edm-http-client.pem"),
];

/// What is different here where upstream's file says nothing, by the key that would say it.
const DEPARTURES: [(&str, &str); 18] = [
    ("disable-session-files", "no session files are written (upstream writes them): disable-session-files = false writes them"),
    (
        "counted-types",
        "CLIENT_RESPONSE counts only (upstream: every response): counted-types = [\"ALL_RESPONSES\"] counts them all",
    ),
    ("input-unix-mode", "the dnstap socket has mode 0666 (upstream: what the umask leaves)"),
    ("input-max-connections", "64 dnstap connections at once are served (upstream: any number)"),
    ("mqtt-qos", "events are sent with QoS 1 (upstream: QoS 0)"),
    ("mqtt-bare-client-id", "the MQTT client id has a suffix of this instance (upstream: none)"),
    ("qname-seen-entries", "fewer names are remembered as seen (upstream: 10000000 in memory, and all on disk)"),
    ("cryptopan-address-entries", "fewer pseudonyms are remembered (upstream: 10000000)"),
    ("newqname-per-second", "1000 new names a second are reported at most (upstream: any number)"),
    ("newqname-per-domain", "5 new names a second of one registrable domain are reported at most (upstream: any number)"),
    ("newqname-sent-per-second", "2000 events a second are sent at most (upstream: any number)"),
    ("newqname-reverse-zones", "names in reverse zones make no events (upstream: they do)"),
    ("newqname-home-arpa", "names below home.arpa make no events (upstream: they do)"),
    ("newqname-localhost", "names below localhost make no events (upstream: they do)"),
    ("newqname-local", "names below local make no events (upstream: they do)"),
    ("newqname-special-use", "names in other zones of special use, and of a single label, make no events (upstream: they do)"),
    ("newqname-client-addresses", "names that have the asking client's address in them make no events (upstream: they do)"),
    (
        "storage-mib",
        "what is kept on disk is bounded to 2048 MiB (upstream: nothing is bounded, and uploaded files are kept for a day)",
    ),
];

/// What is different here whatever the file says.
const ALWAYS: [&str; 2] = [
    "where no names were seen before, a twentieth of newqname-per-second is reported at first, and more and more within an hour (upstream: all)",
    "a name that nobody asked for in 30 days counts as new again (upstream: never)",
];

/// Types of the keys whose thing does not exist here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Replaced {
    config_file: Option<PathBuf>,
    disable_mqtt_filequeue: Option<bool>,
    pebble_sync: Option<bool>,
    minimiser_workers: Option<i64>,
    mqtt_sign_workers: Option<i64>,
    debug_enable_blockprofiling: Option<bool>,
    debug_enable_mutexprofiling: Option<bool>,
}

/// A line for each default that differs from upstream's and is in force.
pub(super) fn departures(said: &toml::Table) -> Vec<String> {
    let unsaid = DEPARTURES.iter().filter(|(key, _)| !said.contains_key(*key));
    unsaid.map(|(key, text)| format!("{key} is not set: {text}")).chain(ALWAYS.map(str::to_owned)).collect()
}

/// Whether there is a line where the key is not set.
#[cfg(test)]
pub(super) fn departs(key: &str) -> bool {
    DEPARTURES.iter().any(|(departing, _)| *departing == key)
}

/// A line for each key that does nothing here.
pub(super) fn replaced(said: &toml::Table) -> Vec<String> {
    let warn = |key: &&EdmKey| key.origin == Origin::Replaced && key.name != "config-file" && said.contains_key(key.name);
    TABLE.iter().filter(warn).map(|key| format!("{} is {}", key.name, key.help)).collect()
}

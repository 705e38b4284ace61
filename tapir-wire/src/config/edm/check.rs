//! Rules for values that types cannot express.

use std::path::Path;

use super::server_url::ServerUrl;
use super::{EdmConfig, Form};
use crate::config::Problem;

/// Types of dnstap messages that may count. A query says nothing that its response does not say.
pub(super) const RESPONSES: [&str; 7] = [
    "AUTH_RESPONSE",
    "RESOLVER_RESPONSE",
    "CLIENT_RESPONSE",
    "FORWARDER_RESPONSE",
    "STUB_RESPONSE",
    "TOOL_RESPONSE",
    "UPDATE_RESPONSE",
];

/// Every problem of a configuration, in the order of its keys.
pub(super) fn problems(config: &EdmConfig) -> Vec<Problem> {
    let mut found = Found(Vec::new());
    match config.form {
        Form::Own => own(config, &mut found),
        Form::Upstream => upstream(config, &mut found),
    }
    input(config, &mut found);
    numbers(config, &mut found);
    addresses(config, &mut found);
    fetched(config, &mut found);
    found.0
}

struct Found(Vec<Problem>);

impl Found {
    fn check(&mut self, holds: bool, field: &str, problem: &str, remedy: &str) {
        if !holds {
            self.0.push(Problem::new(field, problem, remedy));
        }
    }

    fn range(&mut self, holds: bool, field: &str, remedy: &str) {
        self.check(holds, field, "is out of range", remedy);
    }
}

fn own(config: &EdmConfig, found: &mut Found) {
    found.check(config.format > 0, "format", "is 0", "the first format is 1");
    let absolute = "is not an absolute path";
    let socket = &config.input_unix;
    found.check(
        socket.as_os_str().is_empty() || socket.is_absolute(),
        "input-unix",
        absolute,
        "write it from the root, as /run/tapir/dnstap.sock",
    );
    found.check(config.data_dir.is_absolute(), "data-dir", absolute, "write it from the root, as /var/lib/tapir/edm");
    let files = [
        ("input-tls-cert-file", &config.input_tls_cert_file),
        ("input-tls-key-file", &config.input_tls_key_file),
        ("input-tls-client-ca-file", &config.input_tls_client_ca_file),
        ("well-known-domains-file", &config.well_known_domains_file),
        ("well-known-domains-ca-file", &config.well_known_domains_ca_file),
        ("ignored-client-ips-file", &config.ignored_client_ips_file),
        ("ignored-question-names-file", &config.ignored_question_names_file),
        ("http-ca-file", &config.http_ca_file),
    ];
    for (field, file) in files {
        let named = file.as_ref().is_none_or(|file| file != Path::new(""));
        found.check(named, field, "is empty", "name a file or leave the key out");
    }
    // Without keep-alive a connection that died silently is never noticed.
    found.range((5..=3600).contains(&config.mqtt_keepalive), "mqtt-keepalive", "use 5 to 3600 seconds");
    found.range(config.newqname_buffer > 0, "newqname-buffer", "use 1 to 1000000 events");
}

/// Upstream's own rules and words, which scripts match on.
fn upstream(config: &EdmConfig, found: &mut Found) {
    let named = |file: &Option<std::path::PathBuf>| file.as_ref().is_some_and(|file| file != Path::new(""));
    let told = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let always = "must be set";
    let key = config.cryptopan_key.as_ref();
    found.check(key.is_some_and(|key| !key.reveal().is_empty()), "cryptopan-key", always, "");
    found.check(!config.cryptopan_key_salt.is_empty(), "cryptopan-key-salt", always, "");
    let has_list = named(&config.well_known_domains_file) || told(&config.well_known_domains_url);
    found.check(has_list, "well-known-domains-file", always, "");
    found.check(!config.data_dir.as_os_str().is_empty(), "data-dir", always, "");
    let unless = "must be set unless disable-mqtt is true";
    let events = [
        ("mqtt-signing-key-file", named(&config.mqtt_signing_key_file)),
        ("mqtt-client-key-file", named(&config.mqtt_client_key_file)),
        ("mqtt-client-cert-file", named(&config.mqtt_client_cert_file)),
        ("mqtt-server", told(&config.mqtt_server)),
        ("mqtt-keepalive", config.mqtt_keepalive > 0),
    ];
    for (field, set) in events {
        found.check(set || config.disable_mqtt, field, unless, "");
    }
    let unless = "must be set unless disable-histogram-sender is true";
    let aggregates = [
        ("http-signing-key-file", named(&config.http_signing_key_file)),
        ("http-client-key-file", named(&config.http_client_key_file)),
        ("http-client-cert-file", named(&config.http_client_cert_file)),
        ("http-url", told(&config.http_url)),
    ];
    for (field, set) in aggregates {
        found.check(set || config.disable_histogram_sender, field, unless, "");
    }
}

fn input(config: &EdmConfig, found: &mut Found) {
    let socket = &config.input_unix;
    let given = [!socket.as_os_str().is_empty(), !config.input_tcp.is_empty(), !config.input_tls.is_empty()];
    match given.into_iter().filter(|given| *given).count() {
        0 => found.0.push(Problem::new("", "no dnstap input configured", "")),
        1 => {}
        _ => found.0.push(Problem::new("", "only one dnstap input may be configured", "")),
    }
    // sun_path of Linux has 108 octets with the final zero.
    found.check(socket.as_os_str().len() < 108, "input-unix", "is too long for a socket", "use at most 107 octets");
    let mode = config.socket_mode().is_some();
    found.check(mode, "input-unix-mode", "is no octal number up to 0777", "write permissions as \"0660\"");
    for (field, place) in [("input-tcp", &config.input_tcp), ("input-tls", &config.input_tls)] {
        let port = place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        found.check(place.is_empty() || port, field, "is no host:port", "write it as 127.0.0.1:6000 or [::1]:6000");
    }
    if !config.input_tls.is_empty() {
        let unset = |file: &Option<std::path::PathBuf>| file.as_ref().is_none_or(|file| file == Path::new(""));
        let when = "must be set when input-tls is used";
        found.check(!unset(&config.input_tls_cert_file), "input-tls-cert-file", when, "");
        found.check(!unset(&config.input_tls_key_file), "input-tls-key-file", when, "");
    }
    let known = |each: &String| RESPONSES.contains(&each.as_str());
    let types = match config.counted_types.as_slice() {
        [] => false,
        [all] if all == EdmConfig::ALL_RESPONSES => true,
        some => some.iter().all(known),
    };
    let remedy = format!("use [\"{}\"] or some of {}", EdmConfig::ALL_RESPONSES, RESPONSES.join(", "));
    found.check(types, "counted-types", "is no list of response types", &remedy);
}

fn numbers(config: &EdmConfig, found: &mut Found) {
    let threshold = config.histogram_hll_explicit_threshold;
    found.check(threshold > 0, "histogram-hll-explicit-threshold", "must be greater than 0", "");
    found.check(threshold <= 131_072, "histogram-hll-explicit-threshold", "must not be greater than 131072", "");
    let entries = config.cryptopan_address_entries;
    found.check(entries >= 0, "cryptopan-address-entries", "must not be negative", "");
    found.range(entries <= 10_000_000, "cryptopan-address-entries", "use 0 to 10000000 addresses");
    found.range(config.newqname_buffer <= 1_000_000, "newqname-buffer", "use 1 to 1000000 events");
    found.range((1..=10_000_000).contains(&config.qname_seen_entries), "qname-seen-entries", "use 1 to 10000000 names");
    found.range((1..=1024).contains(&config.input_max_connections), "input-max-connections", "use 1 to 1024 connections");
    found.range(config.input_idle_seconds <= 86_400, "input-idle-seconds", "use 0 (never) to 86400 seconds");
    found.range(config.mqtt_qos <= 1, "mqtt-qos", "use 0 or 1");
    let rates = [
        ("newqname-per-second", config.newqname_per_second),
        ("newqname-per-domain", config.newqname_per_domain),
        ("newqname-sent-per-second", config.newqname_sent_per_second),
    ];
    for (field, rate) in rates {
        found.range(rate.is_none_or(|rate| (1..=1_000_000).contains(&rate)), field, "use 1 to 1000000 events a second");
    }
    found.range((64..=1_048_576).contains(&config.storage_mib), "storage-mib", "use 64 to 1048576 MiB");
    // Up to 15 octets of disk each, in an eighth of it.
    let most = (u64::from(config.storage_mib) << 20) / 8 / 15;
    let fits = config.storage_mib < 64 || config.qname_seen_entries as u64 <= most;
    let remedy = format!("use at most {most} names, or a larger storage-mib: they have an eighth of it");
    found.check(fits, "qname-seen-entries", "is more than storage-mib has room for", &remedy);
}

fn addresses(config: &EdmConfig, found: &mut Found) {
    let wanted = config.mqtt_server.as_ref().filter(|server| !server.is_empty() && !config.disable_mqtt);
    match wanted.map(|server| ServerUrl::parse(server)) {
        Some(Err(error)) => found.check(false, "mqtt-server", &error.to_string(), "write it as tls://host:port"),
        Some(Ok(url)) if url.is_web_socket() => {
            found.check(false, "mqtt-server", "is a WebSocket, which is not spoken here", "write it as tls://host:port");
        }
        // The identity has a certificate: a slip in an address must send nothing in the clear.
        Some(Ok(url)) if url.is_plain() && config.form == Form::Own => {
            found.check(false, "mqtt-server", "is not encrypted", "write it as tls://host:port");
        }
        _ => {}
    }
    let wanted = config.http_url.as_ref().filter(|url| !url.is_empty() && !config.disable_histogram_sender);
    let host = |url: &String| {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://").filter(|_| config.form == Form::Upstream));
        rest.is_some_and(|rest| !rest.starts_with(['/', ':']) && !rest.is_empty() && !rest.contains(['?', '#']))
    };
    found.check(wanted.is_none_or(host), "http-url", "is no base URL", "write it as https://host[:port][/path]");
}

/// A list that a server has: what is not pinned could be changed by whoever has the server.
fn fetched(config: &EdmConfig, found: &mut Found) {
    let (url, sha256) = (&config.well_known_domains_url, &config.well_known_domains_sha256);
    let host = |url: &String| url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']));
    let write = "write it as https://host[:port]/path";
    found.check(url.as_ref().is_none_or(host), "well-known-domains-url", "is no https URL", write);
    found.check(
        url.is_none() || config.well_known_domains_file.is_none(),
        "well-known-domains-url",
        "and well-known-domains-file are both there",
        "leave one of them out",
    );
    let digits = |text: &String| text.len() == 64 && text.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
    let write = "write what sha256sum says of the file";
    found.check(
        sha256.as_ref().is_none_or(digits),
        "well-known-domains-sha256",
        "is not 64 lower-case hexadecimal digits",
        write,
    );
    found.check(
        url.is_none() || sha256.is_some(),
        "well-known-domains-sha256",
        "is missing beside well-known-domains-url",
        write,
    );
    let alone = "is there without well-known-domains-url";
    found.check(url.is_some() || sha256.is_none(), "well-known-domains-sha256", alone, "add the URL or leave it out");
    let has_ca = config.well_known_domains_ca_file.is_some();
    found.check(url.is_some() || !has_ca, "well-known-domains-ca-file", alone, "add the URL or leave it out");
}

//! Every key of `edm.toml`: what it is called, what kind of value it has, and what it is for.
//!
//! The one list that reading, writing, flags, environment and help go by.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdmKey {
    /// As in the file, and as a flag.
    pub name: &'static str,
    /// What values look like.
    pub kind: Kind,
    /// In which files it may stand.
    pub origin: Origin,
    /// For `run --help`.
    pub help: &'static str,
}

/// What values look like on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As Go's `strconv.ParseBool` takes them.
    Bool,
    /// An integer literal of Go.
    Integer,
    /// Decimal, 0 to 65535.
    Decimal,
    /// Any text.
    Text,
    /// Several, separated by commas.
    Texts,
}

/// In which files a key may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Upstream's, and here it is the same thing.
    Shared,
    /// Upstream's; in the own form something else stands for it.
    Upstream,
    /// Upstream's, and there is no such thing here: taken, with a warning that tells what replaces it.
    Replaced,
    /// None that upstream has.
    Own,
    /// The operator's mark on a file that it rendered.
    Rendered,
}

impl EdmKey {
    /// The key of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|key| key.name == name)
    }

    /// Whether there is a flag and a variable for it.
    #[must_use]
    pub fn on_command_line(&self) -> bool {
        // As upstream has it.
        self.origin != Origin::Rendered && !["config-file", "mqtt-sign-workers"].contains(&self.name)
    }

    /// The variable for it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("DNSTAPIR_EDM_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

const fn key(name: &'static str, kind: Kind, origin: Origin, help: &'static str) -> EdmKey {
    EdmKey { name, kind, origin, help }
}

use Kind::{Bool, Decimal, Integer, Text, Texts};
use Origin::{Own, Rendered, Replaced, Shared, Upstream};

/// Every key, in the order of writing.
pub const TABLE: &[EdmKey] = &[
    key("format", Integer, Rendered, "version of the own form of this file; upstream's form has none"),
    key("revision", Text, Rendered, "opaque mark of who rendered what"),
    key("disabled", Bool, Rendered, "send nothing to Core"),
    key("config-file", Text, Replaced, "ignored in a file"),
    key("input-unix", Text, Shared, "unix socket for dnstap"),
    key("input-unix-mode", Text, Own, "permissions of the socket, octal"),
    key("input-tcp", Text, Shared, "host:port for dnstap over TCP"),
    key("input-tls", Text, Shared, "host:port for dnstap over TLS"),
    key("input-tls-cert-file", Text, Shared, "certificate chain of the TLS input (PEM)"),
    key("input-tls-key-file", Text, Shared, "key of the TLS input (PEM)"),
    key("input-tls-client-ca-file", Text, Shared, "CA of those who may connect over TLS (PEM); without it anybody may"),
    key("input-max-connections", Integer, Own, "dnstap connections at once"),
    key("input-idle-seconds", Integer, Own, "silence after which a dnstap connection is closed; 0: never"),
    key("counted-types", Texts, Own, "dnstap message types that count, or ALL_RESPONSES"),
    key("deduplicate-responses", Bool, Own, "count one response only for the same client, port, id and name within a second"),
    key("well-known-domains-file", Text, Shared, "well-known domains: DAWG file"),
    key("well-known-domains-url", Text, Own, "in place of that file: where an HTTPS server has it"),
    key("well-known-domains-sha256", Text, Own, "SHA-256 of what that server has"),
    key("well-known-domains-ca-file", Text, Own, "CA of that server (PEM); without it those of the system"),
    key("ignored-client-ips-file", Text, Shared, "clients that are left out: one prefix a line"),
    key("ignored-question-names-file", Text, Shared, "names that are left out: DAWG file, or text file if its name ends in .txt"),
    key("disable-histogram-sender", Bool, Shared, "keep aggregates on disk and send none"),
    key("histogram-hll-explicit-threshold", Integer, Shared, "clients of a row up to which its sketch is left out"),
    key("histogram-counts-only", Bool, Own, "leave every sketch out"),
    key("enable-manual-parquet-rotation", Bool, Shared, "serve POST /debug/rotate-parquet"),
    key("http-url", Text, Shared, "base URL of Core's aggregate receiver"),
    key("http-ca-file", Text, Shared, "CA of the aggregate receiver (PEM); without it those of the system"),
    key("http-signing-key-file", Text, Upstream, "key that signs aggregates (JWK)"),
    key("http-client-key-file", Text, Upstream, "key of the client certificate for HTTPS (PEM)"),
    key("http-client-cert-file", Text, Upstream, "client certificate for HTTPS (PEM)"),
    key("disable-mqtt", Bool, Shared, "make no events"),
    key("disable-mqtt-filequeue", Bool, Replaced, "ignored: events that wait are always kept on disk"),
    key("mqtt-server", Text, Shared, "broker, as tls://host:port"),
    key("mqtt-ca-file", Text, Upstream, "CA of the broker (PEM); without it those of the system"),
    key("mqtt-signing-key-file", Text, Upstream, "key that signs events (JWK)"),
    key("mqtt-client-key-file", Text, Upstream, "key of the client certificate for MQTT (PEM)"),
    key("mqtt-client-cert-file", Text, Upstream, "client certificate for MQTT (PEM)"),
    key("mqtt-keepalive", Decimal, Shared, "keep-alive of the MQTT connection in seconds"),
    key("mqtt-qos", Integer, Own, "1: events are repeated until the broker has them; 0: sent once, as upstream does"),
    key("mqtt-bare-client-id", Bool, Own, "client id without the suffix of this instance, as upstream's"),
    key("mqtt-sign-workers", Integer, Replaced, "ignored: one thread signs"),
    key("newqname-buffer", Integer, Shared, "events in memory that wait to be written"),
    key("newqname-per-second", Integer, Own, "events a second at most"),
    key("newqname-per-domain", Integer, Own, "events a second at most of one registrable domain"),
    key("newqname-sent-per-second", Integer, Own, "events a second sent at most when many wait"),
    key("newqname-reverse-zones", Bool, Own, "events for names in reverse zones too"),
    key("newqname-home-arpa", Bool, Own, "events for names below home.arpa too"),
    key("newqname-localhost", Bool, Own, "events for names below localhost too"),
    key("newqname-local", Bool, Own, "events for names below local too"),
    key("newqname-special-use", Bool, Own, "events for names in other zones of special use, and of a single label, too"),
    key("newqname-client-addresses", Bool, Own, "events for names too that have the asking client's address in them"),
    key("newqname-lower-case", Bool, Own, "names of events in lower case"),
    key("qname-seen-entries", Integer, Shared, "names remembered as seen"),
    key("pebble-sync", Bool, Replaced, "ignored: names seen are synced once a second"),
    key("disable-session-files", Bool, Shared, "write no session files"),
    key("session-keep-ecs", Bool, Own, "leave EDNS client subnets in session files"),
    key("session-keep-cookies", Bool, Own, "leave EDNS cookies in session files"),
    key("cryptopan-key", Text, Upstream, "secret of the pseudonyms in session files"),
    key("cryptopan-key-salt", Text, Shared, "salt of that secret"),
    key("cryptopan-address-entries", Integer, Shared, "pseudonyms remembered; 0: none"),
    key("data-dir", Text, Shared, "folder of everything that is kept"),
    key("storage-mib", Integer, Own, "bound of everything in that folder in MiB"),
    key("http-listen", Text, Own, "address:port of /livez, /readyz, /metrics and /status"),
    key("telemetry", Bool, Own, "tell Core states and counters"),
    key("minimiser-workers", Integer, Replaced, "ignored: each dnstap connection has a thread"),
    key("debug", Bool, Shared, "log more"),
    key("debug-dnstap-filename", Text, Shared, "file for every dnstap frame, a JSON line each, without addresses"),
    key("debug-dnstap-real-addresses", Bool, Own, "write clients' real addresses to debug-dnstap-filename too"),
    key("debug-enable-blockprofiling", Bool, Replaced, "ignored: belongs to Go"),
    key("debug-enable-mutexprofiling", Bool, Replaced, "ignored: belongs to Go"),
];

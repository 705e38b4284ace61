//! Reading and checking whole files.

mod formats;
mod problems;

use super::super::keys::Keys;
use super::super::{ConfigError, Parsed};
use super::*;
use crate::name::{Name, NameError};

const FULL: &str = r"format: 2
revision: r1
disabled: false
mode: Observe
zone: rpz.example.
listen: 127.0.0.1:5359
httpListen: '[::]:9842'
dataDir: /var/lib/tapir/pop
notify: ['127.0.0.1:53']
sources:
- {name: dns-tapir, list: Doubt, core: {}}
- name: own-deny
  list: Deny
  match: Subtree
  inline:
    names: [a.example, B.example., 'c..d', .]
deny: {action: DROP}
doubt:
- {name: both, anyTags: [globally_new], allTags: [looptest, bit31], minTags: 2, action: NXDOMAIN}
";

/// With everything of format 2.
const NEWER: &str = r"format: 2
sources:
- {name: dns-tapir, list: Doubt, core: {maxTtlSeconds: 86400}}
- {name: own, list: Deny, file: {path: list-own, format: Hosts}}
- name: feed
  list: Doubt
  rpz: {primaries: ['192.0.2.1:53', '[2001:db8::1]:53'], zone: feed.example., tsigKeyFile: tsig-feed, refreshSeconds: 60, keepSeconds: 3600}
- name: popular
  list: Allow
  https: {url: 'https://lists.example/top', format: Csv, sha256: 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff,
          refreshSeconds: 3600, keepSeconds: 86400}
deny: {action: Redirect, redirect: {name: garden.example}}
doubt:
- {name: agreed, minSources: 2, action: Redirect, redirect: {addresses: [192.0.2.1, '2001:db8::1']}}
recordTtlSeconds: 300
";

/// With everything else of format 2.
const WIDEST: &str = r"format: 2
zone: rpz.example.
soa: {mname: ns.example., rname: hostmaster.example., refreshSeconds: 30, retrySeconds: 20, expireSeconds: 3600, minimumSeconds: 10}
listen: ['127.0.0.1:5359', '[::1]:5359']
access: {from: [loopback, 192.0.2.0/24], tsigKeyFiles: [tsig-out], signedOnly: true}
notify: ['127.0.0.1:53', {address: '192.0.2.9:53', tsigKeyFile: tsig-out}]
zoneFile: {path: /var/lib/tapir/pop/rpz/zone}
publishIntervalMilliseconds: 50
journal: {octets: 1048576, serials: 1000}
limits: {observationOctets: 16777216, sourceOctets: 67108864, connections: 64}
sources:
- name: dns-tapir
  list: Doubt
  core: {topics: [observations/down/tapir-pop, observations/other], listName: other, maxAgeSeconds: 3600,
         bootstrap: {servers: ['192.0.2.3:5455'], url: 'https://%s/api/v1', keyFile: bootstrap-key}}
- name: feed
  list: Deny
  keepAction: true
  rpz: {primaries: ['192.0.2.1:53'], zone: feed.example., minRefreshSeconds: 60, maxRefreshSeconds: 600, localData: Drop}
- {name: table, list: Doubt, file: {path: /srv/lists/table.csv, format: Csv, column: 3, header: false}}
- {name: zone, list: Deny, file: {path: zone, format: Rpz, zone: feed.example.}}
- name: signed
  list: Deny
  https: {url: 'https://lists.example/csv', format: Csv, column: 1, header: true, refreshSeconds: 60, keepSeconds: 60, caFile: ca.pem,
          signature: {publicKeyFile: maker.pem, url: 'https://lists.example/csv.sig'}}
- {name: fetched, list: Deny, https: {url: 'https://lists.example/rpz', format: Rpz, zone: other.example., refreshSeconds: 60, keepSeconds: 60}}
deny: {action: Source, otherwise: NODATA}
peers: {service: edge-peers.dns.svc, port: 9844}
globalConfig: {enabled: true, topic: config/down/tapir-pop/edge, topicPrefix: observations/down/edge/}
telemetry: {enabled: true, topic: status/up/edge/tapir-pop}
admin: {socket: /run/tapir/admin.sock}
api: {listen: '127.0.0.1:9099', keyFile: api-key}
";

fn widest() -> PopConfig {
    PopConfig::parse(WIDEST).unwrap().config
}

fn newer() -> PopConfig {
    PopConfig::parse(NEWER).unwrap().config
}

fn full() -> PopConfig {
    PopConfig::parse(FULL).unwrap().config
}

fn check_error(text: &str, expected: &str) {
    assert_eq!(PopConfig::parse(text).unwrap_err().to_string(), expected);
}

/// The full file with one text replaced.
fn check_changed(from: &str, to: &str, expected: &str) {
    assert!(FULL.contains(from), "{from}");
    check_error(&FULL.replace(from, to), expected);
}

/// The same with [`NEWER`].
fn check_newer(from: &str, to: &str, expected: &str) {
    assert!(NEWER.contains(from), "{from}");
    check_error(&NEWER.replace(from, to), expected);
}

#[test]
fn defaults_are_the_fixed_places_of_a_pod() {
    let config = PopConfig::parse("format: 1").unwrap().config;
    assert_eq!(config.listen, [paths::RPZ_LISTEN.parse().unwrap()]);
    assert_eq!(config.http_listen.to_string(), "[::]:9842");
    assert_eq!((config.zone.as_str(), config.mode, config.deny.action), ("dnstapir.", Mode::Enforce, DenyAction::Nxdomain));
}

/// The example in the guide is one, and nothing is missing from it.
#[test]
fn every_key_is_documented() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pop.md")).unwrap();
    let text = guide.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let config = PopConfig::parse(text).unwrap().config;
    let keys = Keys::of_yaml(text, &PopConfig::KEYS);
    for key in PopConfig::KEYS {
        // A redirect has one target and looks the same in both places.
        let key = if key.starts_with("deny.redirect.") { key.replace("deny", "doubt[]") } else { key.to_owned() };
        let others: Vec<_> = PopConfig::KEYS.into_iter().filter(|other| *other != key).collect();
        assert!(!keys.unknown(&others).is_empty(), "{key} is not in the guide");
    }
    // The upper half says what is meant anyway.
    let upper = text.split("# From here on").next().unwrap();
    let bare = PopConfig { format: 2, ..PopConfig::parse("format: 1").unwrap().config };
    assert_eq!(PopConfig::parse(upper).unwrap().config, bare);
    assert_eq!(config.sources.len(), 8);
}

#[test]
fn no_more_rules_than_have_room() {
    let rule = full().doubt[0].clone();
    let rules = (0..=PopConfig::MOST_RULES).map(|number| DoubtRule { name: format!("r{number}"), ..rule.clone() }).collect();
    let problems = PopConfig { doubt: rules, ..full() }.problems();
    assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), ["doubt holds 65: give 64 at most"]);
}

#[test]
fn inline_names_are_made_canonical_and_bad_ones_told_apart() {
    let (good, bad) = full().sources[1].inline.as_ref().unwrap().canonical();
    assert_eq!(good.iter().map(Name::as_str).collect::<Vec<_>>(), ["a.example.", "b.example."]);
    assert_eq!(bad, [(2, NameError::EmptyLabel), (3, NameError::Empty)]);
}

#[test]
fn masks_of_rules() {
    let rule = &full().doubt[0];
    assert_eq!((rule.any_mask(), rule.all_mask()), (Ok(1), Ok(0x8000_0400)));
}

#[test]
fn unreadable_files_name_key_and_line() {
    check_error("mode: Enforce", "line 1: missing field `format`");
    check_changed(
        "list: Deny",
        "list: Denied",
        "line 13, key sources[1].list: unknown variant `Denied`, expected one of Allow, Deny, Doubt",
    );
    check_changed("    names: [", "    nams: [", "unknown key sources[1].inline.nams (line 16); check the spelling or remove it");
    assert!(PopConfig::parse("format: [").unwrap_err().to_string().starts_with("line 1"));
    assert!(PopConfig::parse("").is_err());
}

#[test]
fn large_lists_are_read() {
    let names = (0..50_000).map(|number| format!("host-{number}.example")).collect();
    let source = Source { inline: Some(InlineSource { names }), ..Source::new("large", List::Deny) };
    let config = PopConfig { format: 1, sources: vec![source], ..full() };
    assert_eq!(PopConfig::parse(&config.to_yaml().unwrap()).unwrap().config, config);
}

#[test]
fn errors_do_not_repeat_lists() {
    for text in [
        "format: 1\nsources:\n- name: a\n  list: Deny\n  inline: {names: [{secret.example: 1}]}",
        "format: 3\nsources:\n- name: a\n  list: Deny\n  inline: {names: [{secret.example: 1}]}",
        "format: 1\nsources:\n- name: a\n  list: Deny\n  inline: {names: secret.example}",
        "format: 1\nsources:\n- name: a\n  list: Deny\n  inline: {names: [secret.example",
    ] {
        let error = PopConfig::parse(text).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(error.contains("line"), "{error}");
    }
}

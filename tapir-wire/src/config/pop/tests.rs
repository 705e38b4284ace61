//! Reading and checking whole files.

use super::super::keys::Keys;
use super::super::{ConfigError, Parsed};
use super::*;
use crate::name::{Name, NameError};

const FULL: &str = r"format: 1
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

#[test]
fn defaults_are_the_fixed_places_of_a_pod() {
    let config = PopConfig::parse("format: 1").unwrap().config;
    assert_eq!(config.listen.to_string(), paths::RPZ_LISTEN);
    assert_eq!(config.http_listen.to_string(), "[::]:9842");
    assert_eq!((config.zone.as_str(), config.mode, config.deny.action), ("dnstapir.", Mode::Enforce, Action::Nxdomain));
}

#[test]
fn known_keys_are_those_that_are_written() {
    let text = full().to_yaml().unwrap();
    assert_eq!(PopConfig::parse(&text).unwrap(), Parsed { config: full(), warnings: vec![] });
    assert_eq!(Keys::of_yaml(&text, &PopConfig::KEYS).unknown(&PopConfig::KEYS), []);
    // Every key was there, and none would be known that is not written.
    for key in PopConfig::KEYS {
        let others: Vec<_> = PopConfig::KEYS.into_iter().filter(|other| *other != key).collect();
        assert!(!Keys::of_yaml(&text, &PopConfig::KEYS).unknown(&others).is_empty(), "{key}");
    }
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
fn values_that_contradict_the_rules_name_field_and_remedy() {
    check_changed("format: 1", "format: 0", "line 1, format is 0: the first format is 1");
    check_changed(
        "zone: rpz.example.",
        "zone: rpz..example.",
        "line 5, zone is no zone name (domain name has an empty label): use a name such as dnstapir.",
    );
    check_changed(
        "127.0.0.1:53'",
        "127.0.0.1:0'",
        "line 9, notify[0] cannot be sent to: give address and port of a resolver, as 127.0.0.1:53",
    );
    check_changed(
        "name: own-deny",
        "name: dns-tapir",
        "line 12, sources[1].name \"dns-tapir\" stands twice: give each source a name of its own",
    );
    check_changed(
        "core: {}}",
        "core: {}, inline: {names: []}}",
        "line 11, sources[0] has 2 kinds: give exactly one of core and inline",
    );
    check_changed(", core: {}}", "}", "line 11, sources[0] has 0 kinds: give exactly one of core and inline");
    check_changed(
        "{action: DROP}",
        "{action: PASSTHRU}",
        "line 17, deny.action is PASSTHRU, which denies nothing: use another action; \
         to log without blocking set mode: Observe, to never block use a list: Allow",
    );
    check_changed(
        "bit31",
        "bit32",
        "line 19, doubt[0].allTags[1] is \"bit32\", no tag: \
         use globally_new, newly_registered, registry_investigation, looptest or bit0 to bit31",
    );
    check_changed("minTags: 2", "minTags: 0", "line 19, doubt[0].minTags is 0: use 1 to 31");
    check_changed(
        "anyTags: [globally_new], allTags: [looptest, bit31], minTags: 2, ",
        "",
        "line 19, doubt[0] has no condition: give at least one of anyTags, allTags and minTags",
    );
    check_changed(
        "name: both",
        "name: ''",
        "line 19, doubt[0].name is no good name: use 1 to 63 letters, digits, hyphens, underscores and dots",
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let text = FULL.replace("format: 1", "format: 0").replace("minTags: 2", "minTags: 32");
    let ConfigError::Invalid(problems) = PopConfig::parse(&text).unwrap_err() else { panic!() };
    assert_eq!(problems.len(), 2);
}

#[test]
fn a_newer_format_leaves_out_what_is_strange() {
    let text = r"format: 2
colour: blue
sources:
- {name: feed, list: Doubt, rpz: {zone: feed.example.}}
- {name: dns-tapir, list: Doubt, core: {depth: 1}}
doubt:
- {name: agreed, minSources: 2, anyTags: [globally_new], action: DROP}
- {name: plain, anyTags: [globally_new], action: NODATA}
";
    let Parsed { config, warnings } = PopConfig::parse(text).unwrap();
    assert_eq!(config.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(), ["dns-tapir"]);
    assert_eq!(config.doubt.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["plain"]);
    assert_eq!(
        warnings,
        [
            "key colour (line 2) belongs to format 2 and is ignored: this build knows format 1",
            "key sources[0].rpz (line 4) belongs to format 2 and is ignored: this build knows format 1",
            "key sources[1].core.depth (line 5) belongs to format 2 and is ignored: this build knows format 1",
            "key doubt[0].minSources (line 7) belongs to format 2 and is ignored: this build knows format 1",
            "source \"feed\" is left out: this build does not know all that it says",
            "doubt rule \"agreed\" is left out: this build does not know all that it says",
        ]
    );
}

#[test]
fn large_lists_are_read() {
    let names = (0..50_000).map(|number| format!("host-{number}.example")).collect();
    let source = Source {
        name: "large".to_owned(),
        list: List::Deny,
        r#match: Match::Exact,
        core: None,
        inline: Some(InlineSource { names }),
    };
    let config = PopConfig { sources: vec![source], ..full() };
    assert_eq!(PopConfig::parse(&config.to_yaml().unwrap()).unwrap().config, config);
}

#[test]
fn errors_do_not_repeat_lists() {
    for text in [
        "format: 1\nsources:\n- name: a\n  list: Deny\n  inline: {names: [{secret.example: 1}]}",
        "format: 2\nsources:\n- name: a\n  list: Deny\n  inline: {names: [{secret.example: 1}]}",
        "format: 1\nsources:\n- name: a\n  list: Deny\n  inline: {names: secret.example}",
        "format: 1\nsources:\n- name: a\n  list: Deny\n  inline: {names: [secret.example",
    ] {
        let error = PopConfig::parse(text).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(error.contains("line"), "{error}");
    }
}

//! Reading and checking whole files.

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
    assert_eq!(config.listen.to_string(), paths::RPZ_LISTEN);
    assert_eq!(config.http_listen.to_string(), "[::]:9842");
    assert_eq!((config.zone.as_str(), config.mode, config.deny.action), ("dnstapir.", Mode::Enforce, DenyAction::Nxdomain));
}

#[test]
fn known_keys_are_those_that_are_written() {
    let oldest = PopConfig { format: 1, ..full() };
    let mut exchanged = newer();
    std::mem::swap(&mut exchanged.deny.redirect, &mut exchanged.doubt[0].redirect);
    let texts = [oldest, newer(), exchanged].map(|config| {
        let text = config.to_yaml().unwrap();
        assert_eq!(PopConfig::parse(&text).unwrap(), Parsed { config, warnings: vec![] });
        assert_eq!(Keys::of_yaml(&text, &PopConfig::KEYS).unknown(&PopConfig::KEYS), []);
        text
    });
    // Every key was there, and none would be known that is not written.
    for key in PopConfig::KEYS {
        let others: Vec<_> = PopConfig::KEYS.into_iter().filter(|other| *other != key).collect();
        let told = |text| !Keys::of_yaml(text, &PopConfig::KEYS).unknown(&others).is_empty();
        assert!(texts.iter().any(|text| told(text)), "{key}");
    }
}

#[test]
fn the_oldest_format_that_can_say_it_is_written() {
    assert!(full().to_yaml().unwrap().starts_with("format: 1\n"));
    assert!(newer().to_yaml().unwrap().starts_with("format: 2\n"));
    let needs_2 = |change: &dyn Fn(&mut PopConfig)| {
        let mut config = full();
        change(&mut config);
        assert_eq!(config.needed_format(), 2, "{config:?}");
        let text = config.to_yaml().unwrap().replace("format: 2", "format: 1");
        let error = PopConfig::parse(&text).unwrap_err().to_string();
        assert!(error.contains("belongs to format 2: write format: 2"), "{error}");
    };
    let redirect = Redirect { name: Some("garden.example.".to_owned()), addresses: vec![] };
    needs_2(&|config| config.record_ttl_seconds = 300);
    needs_2(&|config| config.deny.action = DenyAction::Source);
    needs_2(&|config| config.deny = Deny { action: DenyAction::Redirect, redirect: Some(redirect.clone()) });
    needs_2(&|config| config.doubt[0].min_sources = Some(2));
    needs_2(&|config| {
        config.doubt[0].action = Action::Redirect;
        config.doubt[0].redirect = Some(redirect.clone());
    });
    needs_2(&|config| config.sources[0].core = Some(CoreSource { max_ttl_seconds: 60 }));
    for source in &newer().sources[1..] {
        needs_2(&|config| config.sources[0] = Source { name: "new".to_owned(), ..source.clone() });
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
    check_changed("format: 2", "format: 0", "line 1, format is 0: the first format is 1");
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
        "line 11, sources[0] has 2 kinds: give exactly one of core, inline, file, rpz and https",
    );
    check_changed(", core: {}}", "}", "line 11, sources[0] has 0 kinds: give exactly one of core, inline, file, rpz and https");
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
        "line 19, doubt[0] has no condition: give at least one of anyTags, allTags, minTags and minSources",
    );
    check_changed(
        "name: both",
        "name: ''",
        "line 19, doubt[0].name is no good name: use 1 to 63 letters, digits, hyphens, underscores and dots",
    );
}

#[test]
fn values_of_format_2_name_field_and_remedy() {
    check_newer("maxTtlSeconds: 86400", "maxTtlSeconds: 59", "line 3, sources[0].core.maxTtlSeconds is 59: use 60 to 2592000");
    for path in ["''", "..", ".hidden", "a/b", "/etc/passwd"] {
        check_newer(
            "path: list-own",
            &format!("path: {path}"),
            "line 4, sources[1].file.path is no plain name of a file: \
             put the file beside pop.yaml and write its name alone: letters, digits, hyphens, underscores and dots",
        );
    }
    check_newer(
        "'192.0.2.1:53', '[2001:db8::1]:53'",
        "",
        "line 7, sources[2].rpz.primaries holds 0: give 1 to 8 servers with address and port, as 192.0.2.1:53",
    );
    check_newer(
        "db8::1]:53",
        "db8::1]:0",
        "line 7, sources[2].rpz.primaries[1] cannot be sent to: give address and port of a server, as 192.0.2.1:53",
    );
    check_newer(
        "zone: feed.example.",
        "zone: .",
        "line 7, sources[2].rpz.zone is no zone name: write the name that the primary serves",
    );
    check_newer(
        "tsigKeyFile: tsig-feed",
        "tsigKeyFile: ../tls.key",
        "line 7, sources[2].rpz.tsigKeyFile is no plain name of a file: \
         put the file beside pop.yaml and write its name alone: letters, digits, hyphens, underscores and dots",
    );
    check_newer(
        "keepSeconds: 3600",
        "keepSeconds: 59",
        "line 7, sources[2].rpz.keepSeconds is less than refreshSeconds: \
         use at least as many, or data would be dropped before it could be fetched again",
    );
    check_newer("'https://", "'http://", "line 10, sources[3].https.url is no https URL: lists are fetched with https:// only");
    check_newer("sha256: 00", "sha256: 0", "line 10, sources[3].https.sha256 is no SHA-256: give its 64 hexadecimal digits");
    check_newer("minSources: 2", "minSources: 33", "line 14, doubt[0].minSources is 33: use 1 to 32");
    check_newer("recordTtlSeconds: 300", "recordTtlSeconds: 0", "line 15, recordTtlSeconds is 0: use 1 to 86400");
}

#[test]
fn a_redirect_has_one_target_that_means_itself() {
    check_newer(
        ", redirect: {name: garden.example}",
        "",
        "line 12, deny.action is Redirect without a target: add redirect with name or addresses",
    );
    check_newer(
        "deny: {action: Redirect",
        "deny: {action: Source",
        "line 12, deny.redirect has no effect with this action: write action: Redirect, or remove it",
    );
    check_newer(
        "{name: garden.example}",
        "{name: garden.example, addresses: [192.0.2.1]}",
        "line 12, deny.redirect needs one target: give exactly one of name and addresses",
    );
    check_newer(
        "{addresses: [192.0.2.1, '2001:db8::1']}",
        "{}",
        "line 14, doubt[0].redirect needs one target: give exactly one of name and addresses",
    );
    for name in [".", "'*.'", "'*.garden.example'", "rpz-passthru.", "a..b"] {
        check_newer(
            "garden.example",
            name,
            "line 12, deny.redirect.name can be no target: give the name of a host; \
             labels of one asterisk and names below rpz-* mean something else in a policy zone",
        );
    }
    let nine = ["192.0.2.1"; 9].join(", ");
    check_newer("192.0.2.1, '2001:db8::1'", &nine, "line 14, doubt[0].redirect.addresses holds 9: give 8 at most");
    let error = PopConfig::parse(&NEWER.replace("192.0.2.1, '2001", "one, '2001")).unwrap_err().to_string();
    assert!(error.starts_with("line 14, key doubt[0].redirect.addresses"), "{error}");
}

#[test]
fn all_problems_are_told_at_once() {
    let text = FULL.replace("format: 2", "format: 0").replace("minTags: 2", "minTags: 32");
    let ConfigError::Invalid(problems) = PopConfig::parse(&text).unwrap_err() else { panic!() };
    assert_eq!(problems.len(), 2);
}

#[test]
fn a_newer_format_leaves_out_what_is_strange() {
    let text = r"format: 3
colour: blue
sources:
- {name: feed, list: Doubt, gopher: {zone: feed.example.}}
- {name: dns-tapir, list: Doubt, core: {depth: 1}}
doubt:
- {name: agreed, minAge: 2, anyTags: [globally_new], action: DROP}
- {name: plain, anyTags: [globally_new], action: NODATA}
";
    let Parsed { config, warnings } = PopConfig::parse(text).unwrap();
    assert_eq!(config.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(), ["dns-tapir"]);
    assert_eq!(config.doubt.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["plain"]);
    assert_eq!(
        warnings,
        [
            "key colour (line 2) belongs to format 3 and is ignored: this build knows format 2",
            "key sources[0].gopher (line 4) belongs to format 3 and is ignored: this build knows format 2",
            "key sources[1].core.depth (line 5) belongs to format 3 and is ignored: this build knows format 2",
            "key doubt[0].minAge (line 7) belongs to format 3 and is ignored: this build knows format 2",
            "source \"feed\" is left out: this build does not know all that it says",
            "doubt rule \"agreed\" is left out: this build does not know all that it says",
        ]
    );
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

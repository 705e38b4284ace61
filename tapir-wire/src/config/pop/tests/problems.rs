//! Values that are refused: field and remedy are told.

use super::*;

/// [`WIDEST`] with one text replaced.
fn check_widest(from: &str, to: &str, expected: &str) {
    assert!(WIDEST.contains(from), "{from}");
    check_error(&WIDEST.replacen(from, to, 1), expected);
}

#[test]
fn outputs_name_field_and_remedy() {
    check_widest("'[::1]:5359'", "'127.0.0.1:5359'", "line 4, listen[1] stands twice: give each address once");
    check_widest(
        "['127.0.0.1:5359', '[::1]:5359']",
        "127.0.0.1",
        "line 4, key listen: expected an address with port, as 127.0.0.1:5359 or [::1]:5359",
    );
    check_widest("['127.0.0.1:5359', '[::1]:5359']", "[]", "line 4, listen holds 0: give 1 to 16 addresses with port");
    check_widest("192.0.2.9:53", "127.0.0.1:53", "line 6, notify[1] stands twice: give each resolver once");
    check_widest(
        "address: '192.0.2.9:53', tsig",
        "adress: '192.0.2.9:53', tsig",
        "unknown key notify[1].adress (line 6); check the spelling or remove it",
    );
    check_widest(
        "192.0.2.0/24",
        "192.0.2.1/24",
        "line 5, access.from[1] is no place: use loopback, pod, an address, or a network as 192.0.2.0/24 without bits behind the prefix",
    );
    check_widest(
        "tsigKeyFiles: [tsig-out]",
        "tsigKeyFiles: []",
        "line 5, access.signedOnly is true without a key: name the files of keys in access.tsigKeyFiles, or nobody could ask",
    );
    check_widest(
        "expireSeconds: 3600",
        "expireSeconds: 0",
        "line 3, soa.expireSeconds is 0: use 60 to 2419200; \
         line 3, soa.expireSeconds is less than refreshSeconds and retrySeconds together: \
         use more, or resolvers would drop the zone before they ask for it again",
    );
    check_widest("Milliseconds: 50", "Milliseconds: 0", "line 8, publishIntervalMilliseconds is 0: use 1 to 60000");
    check_widest("serials: 1000", "serials: 0", "line 9, journal.serials is 0: use 1 to 65536");
    check_widest("connections: 64", "connections: 0", "line 10, limits.connections is 0: use 1 to 10000");
    check_widest(
        "path: /var/lib/tapir/pop/rpz/zone",
        "path: zone",
        "line 7, zoneFile.path is not the absolute path of a file: write it from the root, as /var/lib/tapir/pop/rpz/dnstapir.zone",
    );
}

#[test]
fn options_of_sources_name_field_and_remedy() {
    check_widest(
        "[observations/down/tapir-pop, observations/other]",
        "[observations/#]",
        "line 14, sources[0].core.topics[0] is no topic: write the topic's whole name, without + and #",
    );
    check_widest(
        "https://%s/api/v1",
        "https://192.0.2.1/api/v1",
        "line 15, sources[0].core.bootstrap.url is no https URL with one %s for the server: write it as https://%s/api/v1",
    );
    check_widest(
        "maxRefreshSeconds: 600",
        "maxRefreshSeconds: 6",
        "line 19, sources[1].rpz.maxRefreshSeconds is less than minRefreshSeconds: exchange the two",
    );
    check_widest(
        "format: Csv, column: 3, header: false",
        "format: Hosts, column: 3",
        "line 20, sources[2].file.column has no effect with this format: write format: Csv, or remove it",
    );
    check_widest(
        "list: Doubt, file: {path",
        "list: Deny, keepAction: true, file: {path",
        "line 20, sources[2].keepAction has no effect: the entries carry no actions: use it with rpz or format: Rpz, or remove it",
    );
    check_widest(
        "caFile: ca.pem",
        "sha256: 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        "line 25, sources[4].https.signature stands beside sha256: keep one of the two: a list whose hash is known needs no signature",
    );
    check_widest(
        "action: Source,",
        "action: DROP,",
        "line 27, deny.otherwise has no effect with this action: write action: Source, or remove it",
    );
    let other = "- {name: second, list: Doubt, core: {topics: [observations/other]}}\ndeny:";
    check_widest(
        "deny:",
        other,
        "line 27, sources[6].core.topics[0] belongs to another source already: a topic belongs to one source: remove it from all others",
    );
}

#[test]
fn an_action_is_kept_on_deny_lists_alone() {
    check_widest(
        "list: Deny\n  keepAction",
        "list: Doubt\n  keepAction",
        "line 18, sources[1].keepAction has no effect: only deny lists have an action: use it with list: Deny, or remove it",
    );
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
    for path in ["''", "..", ".hidden", "a/b", "/etc/../passwd", "/"] {
        check_newer(
            "path: list-own",
            &format!("path: {path}"),
            "line 4, sources[1].file.path is no plain name of a file: \
             put the file beside pop.yaml and write its name alone: letters, digits, hyphens, underscores and dots; \
             or write its path from the root, without ..",
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

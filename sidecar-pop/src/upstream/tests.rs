use serde_json::Value;
use tapir_wire::config::pop::{Action, DenyAction, Format, List};
use tapir_wire::tags;

use super::*;

fn vector(file: &str) -> String {
    std::fs::read_to_string(format!("{}/../tapir-wire/vectors/pop/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn json(file: &str) -> Value {
    serde_json::from_str(&vector(file)).unwrap()
}

fn texts(given: [Option<&str>; 4]) -> Texts {
    given.map(|text| text.map(|text| Zeroizing::new(text.to_owned())))
}

/// One of the files alone: the position is that in [`FILES`].
fn one(position: usize, text: &str) -> Result<Converted, ConvertError> {
    let mut given = [None; 4];
    given[position] = Some(text);
    convert(&texts(given))
}

fn refusal(position: usize, text: &str) -> String {
    one(position, text).unwrap_err().to_string()
}

fn full() -> Converted {
    convert(&FILES.map(|file| Some(Zeroizing::new(vector(&format!("config/{file}")))))).unwrap()
}

#[test]
fn what_the_enrolment_writes_is_converted() {
    let Converted { config, notes, keys } = full();
    assert_eq!(config.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:5359", "[::1]:5359"]);
    let targets: Vec<Value> = config.notify.iter().map(|target| target.address.to_string().into()).collect();
    assert_eq!(Value::from(targets), json("config/pop-outputs.expected.json")["notify_targets"]);
    assert_eq!(config.zone, "dnstapir.");
    assert!(config.global_config.enabled && !config.telemetry.enabled);

    let names: Vec<_> = config.sources.iter().map(|source| (source.name.as_str(), source.list)).collect();
    let expected = [("dns-tapir", List::Doubt), ("feed1", List::Deny), ("local-allow", List::Allow), ("csv-doubt", List::Doubt)];
    assert_eq!(names, expected);
    let core = config.sources[0].core.as_ref().unwrap();
    assert_eq!((core.topics.as_slice(), &core.bootstrap), (["observations/down/tapir-pop".to_owned()].as_slice(), &None));
    let rpz = config.sources[1].rpz.as_ref().unwrap();
    assert_eq!((rpz.primaries[0].to_string().as_str(), rpz.zone.as_str()), ("192.0.2.1:53", "rpz.example."));
    let file = |source: usize| config.sources[source].file.as_ref().map(|file| (file.path.as_str(), file.format)).unwrap();
    assert_eq!((file(2), file(3)), (("/etc/dnstapir/allow.txt", Format::Domains), ("/etc/dnstapir/doubt.csv", Format::Csv)));

    assert_eq!(config.deny.action, DenyAction::Nodata);
    let rules: Vec<_> =
        config.doubt.iter().map(|rule| (rule.name.as_str(), rule.min_sources, rule.min_tags, rule.action)).collect();
    assert_eq!(rules, [("numsources", Some(2), None, Action::Nxdomain), ("numtapirtags", None, Some(3), Action::Nxdomain)]);
    // The rule without tags would redirect to nowhere as soon as it had one.
    assert!(notes.iter().any(|note| note.starts_with("pop-policy.yaml: policy.doubtlist.denytapir: has no tags")), "{notes:#?}");
    assert!(notes.iter().any(|note| note.starts_with("pop-outputs.yaml: outputs.ignored-no-format: ")), "{notes:#?}");
    assert!(keys.is_empty());
    let redirects = vector("config/pop-policy.yaml").replace("tags: []", "tags: [foo]");
    assert!(refusal(3, &redirects).starts_with("pop-policy.yaml: policy.doubtlist.denytapir.action: is REDIRECT"));
    // Nothing that was said is unknown, and the outcome is a file that is taken.
    assert!(!notes.iter().any(|note| note.contains("no key of upstream's")), "{notes:#?}");
    assert_eq!(PopConfig::parse(&config.to_yaml().unwrap()).unwrap().config, config);
}

#[test]
fn every_case_of_a_policy_is_taken_or_refused() {
    let cases = json("policy/policy-config-cases.json");
    for case in cases["cases"].as_array().unwrap() {
        let text = serde_json::json!({"policy": case["policy"]}).to_string();
        // Where upstream accepts what does harm, this does not.
        let harmful = case["note"].as_str().unwrap().contains("should reject");
        let expected = case["upstream_accepts"].as_bool().unwrap() && !harmful;
        // One row is about the spelling of a tag, and redirects what has it to nowhere.
        let text = if case["id"] == "tags-mixed-case" { text.replace("REDIRECT", "DROP") } else { text };
        let converted = one(3, &text);
        assert_eq!(converted.is_ok(), expected, "{}: {converted:?}", case["id"]);
        if case["id"] == "numtapirtags-limit-33" {
            assert!(converted.unwrap().notes.iter().any(|note| note.contains("limit: is 33 and can never be reached")));
        }
    }
}

#[test]
fn words_of_upstream() {
    let actions = json("policy/actions.json");
    for row in actions["actions"].as_array().unwrap() {
        for spelling in row["config_spellings"].as_array().unwrap() {
            let spelling = spelling.as_str().unwrap();
            let action = words::action(spelling).unwrap();
            assert_eq!(words::action(&spelling.to_uppercase()), Some(action));
            let own = serde_json::to_value(action).unwrap();
            let expected = row["action"].as_str().unwrap().replace("ALLOWLIST", "PASSTHRU").replace("REDIRECT", "Redirect");
            assert_eq!(own, expected.as_str());
        }
    }
    for spelling in actions["rejected_spellings"].as_array().unwrap() {
        assert_eq!(words::action(spelling.as_str().unwrap()), None);
    }
    let table = json("policy/tags.json");
    for row in table["strings_to_mask"].as_array().unwrap() {
        let names = row["in"].as_array().unwrap().iter().map(|name| words::tag(name.as_str().unwrap()));
        let mask = names.map(|tag| tag.map(tags::Tag::mask)).try_fold(0, |mask, bit| Some(mask | bit?));
        assert_eq!(mask.map(u64::from), row["mask"].as_u64(), "{row}");
    }
    for name in table["rejected_names"].as_array().unwrap() {
        assert_eq!(words::tag(name.as_str().unwrap()), None);
    }
}

#[test]
fn tags_keep_their_bits_and_get_their_names_of_today() {
    let policy = vector("config/pop-policy.yaml").replace("tags: []", "tags: [NewName, frotz, bar]").replace("REDIRECT", "drop");
    let Converted { config, notes, .. } = one(3, &policy).unwrap();
    let rule = config.doubt.iter().find(|rule| rule.name == "denytapir").unwrap();
    assert_eq!((rule.any_tags.join(" ").as_str(), rule.action), ("globally_new looptest bit7", Action::Drop));
    let told = "pop-policy.yaml: policy.doubtlist.denytapir.tags[0]: is bit 0 of the mask, which Core calls globally_new";
    assert!(notes.iter().any(|note| note == told), "{notes:#?}");
}

#[test]
fn everything_wrong_is_told_at_once_with_its_place() {
    let text = "SOURCES:\n  a: {active: true, name: a, type: grey, source: file}\n  b: {active: true, name: b, type: denylist, source: file, format: dawg, filename: b}\n  \
                c: {active: true, name: c, type: denylist, source: xfr, upstream: ns.example:53, zone: c}\n  d: {active: 1, name: d}\n  \
                e: {active: true, type: denylist, source: xfr}\n  f: {active: true, name: f, source: mqtt}\n";
    let problems = refusal(1, text);
    let expected = [
        "pop-sources.yaml: sources.a.type: is none of allowlist, denylist and doubtlist",
        "pop-sources.yaml: sources.b.format: is dawg, which can be an allow list only",
        "pop-sources.yaml: sources.c.upstream: is no IP address with port",
        "pop-sources.yaml: sources.d.active: is neither true nor false",
        "pop-sources.yaml: sources.e.name: is missing",
        "pop-sources.yaml: sources.f.topic: is missing",
    ];
    assert_eq!(problems.split("; ").collect::<Vec<_>>(), expected);
    assert!(refusal(2, "outputs: [").starts_with("pop-outputs.yaml: line 1"));
    assert!(refusal(2, "a: 1\nA: 2\n").contains("pop-outputs.yaml: key a stands twice, in different spellings"));
    assert!(refusal(0, "tapir: {config: {active: true}}").contains("tapir.config.topic: is missing while active is true"));
    assert!(matches!(convert(&Texts::default()), Err(ConvertError::Nothing)));
}

#[test]
fn keys_get_files_of_their_own_and_are_never_shown() {
    let text = "sources:\n  s: {active: true, name: dns-tapir, type: doubtlist, source: mqtt, topic: t, bootstrap: ['192.0.2.1:5455'],\n      \
                bootstrapurl: 'https://%s/api/v1', bootstrapkey: hunter2}\n";
    let converted = one(1, text).unwrap();
    assert_eq!((converted.keys[0].name.as_str(), converted.keys[0].key.as_str()), ("bootstrap-dns-tapir", "hunter2"));
    assert!(!format!("{converted:?}{}", converted.config.to_yaml().unwrap()).contains("hunter2"));
    let broken = refusal(1, &text.replace("bootstrapkey: hunter2}", "bootstrapkey: hunter2"));
    assert!(broken.starts_with("pop-sources.yaml: line ") && !broken.contains("hunter2"), "{broken}");

    let folder = tempfile::tempdir().unwrap();
    write_folder(&converted, folder.path()).unwrap();
    let mode = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(folder.path().join(name)).unwrap().permissions()) & 0o777
    };
    assert_eq!((mode("bootstrap-dns-tapir"), mode("pop.yaml")), (0o600, 0o644));
    let error = write_folder(&converted, folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("bootstrap-dns-tapir cannot be written: "), "{error}");
}

#[test]
fn sources_of_one_name_are_all_kept() {
    let entry = "{active: true, name: rpz feed, type: denylist, source: xfr, upstream: '192.0.2.1:53', zone: rpz}";
    let Converted { config, notes, .. } = one(1, &format!("sources:\n  a: {entry}\n  b.c: {entry}\n  d: {entry}\n")).unwrap();
    assert_eq!(config.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(), ["rpz-feed", "b.c", "d"]);
    assert_eq!(notes.iter().filter(|note| note.contains("names are unique")).count(), 3);
}

#[test]
fn the_limit_for_all_feeds_is_that_of_each() {
    let sources = vector("config/pop-sources.yaml");
    let main = |seconds: &str| format!("service: {{maxrefresh: {seconds}}}\n");
    let config = convert(&texts([Some(&main("300")), Some(&sources), None, None])).unwrap().config;
    assert_eq!(config.sources[1].rpz.as_ref().unwrap().max_refresh_seconds, Some(300));
    let error = convert(&texts([Some(&main("-1")), Some(&sources), None, None])).unwrap_err().to_string();
    assert!(error.contains("service.maxrefresh: is no number of seconds"), "{error}");
}

#[test]
fn keys_that_mean_nothing_to_upstream_are_noted() {
    let notes =
        one(2, "outputs: {r: {active: true, format: RPZ, downstream: '127.0.0.1:53', colour: red}}\nother: 1\n").unwrap().notes;
    let unknown: Vec<_> = notes.iter().filter(|note| note.ends_with("is no key of upstream's and has no effect")).collect();
    let expected = ["pop-outputs.yaml: other: ", "pop-outputs.yaml: outputs.r.colour: "];
    assert!(unknown.len() == 2 && unknown.iter().zip(expected).all(|(note, start)| note.starts_with(start)), "{notes:#?}");
}

//! What each version of the file can say.

use super::*;

type Part<'a> = (&'a str, &'a dyn Fn(&mut PopConfig));

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
    needs_2(&|config| config.deny = Deny { action: DenyAction::Redirect, redirect: Some(redirect.clone()), otherwise: None });
    needs_2(&|config| config.doubt[0].min_sources = Some(2));
    needs_2(&|config| {
        config.doubt[0].action = Action::Redirect;
        config.doubt[0].redirect = Some(redirect.clone());
    });
    needs_2(&|config| config.sources[0].core = Some(CoreSource { max_ttl_seconds: 60, ..CoreSource::default() }));
    for source in &newer().sources[1..] {
        needs_2(&|config| config.sources[0] = Source { name: "new".to_owned(), ..source.clone() });
    }
}

/// Key and what sets it.
#[test]
fn every_part_of_format_2_makes_it_format_2() {
    let widest = widest();
    let parts: [Part<'_>; 13] = [
        ("soa", &|config| config.soa = widest.soa.clone()),
        ("listen", &|config| config.listen.clone_from(&widest.listen)),
        ("access", &|config| config.access = widest.access.clone()),
        ("notify[1].tsigKeyFile", &|config| config.notify.clone_from(&widest.notify)),
        ("zoneFile", &|config| config.zone_file.clone_from(&widest.zone_file)),
        ("publishIntervalMilliseconds", &|config| config.publish_interval_milliseconds = 50),
        ("journal", &|config| config.journal = widest.journal),
        ("limits", &|config| config.limits = widest.limits),
        ("peers", &|config| config.peers.clone_from(&widest.peers)),
        ("globalConfig", &|config| config.global_config = widest.global_config.clone()),
        ("telemetry", &|config| config.telemetry = widest.telemetry.clone()),
        ("admin", &|config| config.admin = widest.admin.clone()),
        ("api", &|config| config.api.clone_from(&widest.api)),
    ];
    for (key, change) in parts {
        let mut config = PopConfig { format: 1, ..full() };
        change(&mut config);
        assert_eq!((config.needed_format(), config.of_format_2()), (2, vec![key.to_owned()]));
    }
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
fn known_keys_are_those_that_are_written() {
    let oldest = PopConfig { format: 1, ..full() };
    let mut exchanged = newer();
    std::mem::swap(&mut exchanged.deny.redirect, &mut exchanged.doubt[0].redirect);
    let texts = [oldest, newer(), exchanged, widest()].map(|config| {
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

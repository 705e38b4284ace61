use super::*;

fn config(text: &str) -> EdmConfig {
    EdmConfig::parse(text).unwrap().config
}

fn check_error(text: &str, expected: &str) {
    assert_eq!(EdmConfig::parse(text).unwrap_err().to_string(), expected);
}

fn over(settings: &[(&str, &str)]) -> Overlay {
    let mut overlay = Overlay::default();
    for (key, value) in settings {
        overlay.set(key, value).unwrap();
    }
    overlay
}

/// The least that upstream takes.
const UPSTREAM: &str = "cryptopan-key = 'k'\ninput-unix = '/run/dnstap.sock'\n";

fn vectors(name: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/edm").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn defaults_are_the_fixed_places_of_a_pod() {
    let config = config("format = 1");
    assert_eq!(config.input_unix.to_str(), Some(paths::DNSTAP_SOCKET));
    assert_eq!(config.http_listen.to_string(), "[::]:9841");
    assert_eq!((config.well_known_domains_file.as_ref(), config.socket_mode()), (None, Some(0o666)));
    assert_eq!(config.problems(), []);
}

#[test]
fn what_is_written_is_read_again_and_is_as_old_as_it_can_be() {
    let mut first = config("format = 1");
    first.well_known_domains_file = Some("list.dawg".into());
    let text = first.to_toml().unwrap();
    assert_eq!(text, "format = 1\nrevision = \"\"\ndisabled = false\nwell-known-domains-file = \"list.dawg\"\n");
    assert_eq!(EdmConfig::parse(&text).unwrap(), Parsed { config: first, warnings: vec![] });

    let second = config("format = 2\nhistogram-counts-only = true\ncounted-types = ['AUTH_RESPONSE']\nnewqname-per-second = 5");
    let text = second.to_toml().unwrap();
    assert!(text.starts_with("format = 2\n") && text.contains("counted-types = [\"AUTH_RESPONSE\"]\n"), "{text}");
    assert_eq!(config(&text), second);
    assert_eq!(config("format = 2\nmqtt-keepalive = 31").needed_format(), 1);
}

#[test]
fn the_list_of_keys_is_whole() {
    let mut every = EdmConfig { cryptopan_key: None, ..config("format = 1") };
    let file = || Some(PathBuf::from("x"));
    for place in [
        &mut every.input_tls_cert_file,
        &mut every.input_tls_key_file,
        &mut every.input_tls_client_ca_file,
        &mut every.well_known_domains_file,
        &mut every.well_known_domains_ca_file,
        &mut every.ignored_client_ips_file,
        &mut every.ignored_question_names_file,
        &mut every.http_ca_file,
        &mut every.http_signing_key_file,
        &mut every.http_client_key_file,
        &mut every.http_client_cert_file,
        &mut every.mqtt_ca_file,
        &mut every.mqtt_signing_key_file,
        &mut every.mqtt_client_key_file,
        &mut every.mqtt_client_cert_file,
        &mut every.debug_dnstap_filename,
    ] {
        *place = file();
    }
    every.http_url = Some("x".into());
    every.well_known_domains_url = Some("x".into());
    every.well_known_domains_sha256 = Some("x".into());
    every.mqtt_server = Some("x".into());
    every.newqname_per_second = Some(1);
    every.newqname_per_domain = Some(1);
    every.newqname_sent_per_second = Some(1);
    let mut fields: Vec<String> = toml::Table::try_from(&every).unwrap().into_iter().map(|(key, _)| key).collect();
    fields.push("cryptopan-key".to_owned());
    fields.sort();
    let mut listed: Vec<_> = TABLE.iter().filter(|key| key.origin != Origin::Replaced).map(|key| key.name.to_owned()).collect();
    listed.sort();
    assert_eq!(fields, listed);
}

#[test]
fn errors_name_key_and_line() {
    check_error("format = 1\nmqtt-keepalive = -1\n", "line 2, key mqtt-keepalive: invalid value: integer `-1`, expected u16");
    check_error("format = 1\n\nhttp-listen = 'x'", "line 3, key http-listen: invalid socket address syntax");
    check_error("format = 1\nmqtt-keepalive = 4", "line 2, mqtt-keepalive is out of range: use 5 to 3600 seconds");
    check_error("format = 0", "line 1, format is 0: the first format is 1");
    check_error(
        "format = 1\nmqtt-keepalive = 30\nwell-known-domains-file = ''\nstorage-mib = 1",
        concat!(
            "line 3, well-known-domains-file is empty: name a file or leave the key out; ",
            "line 4, storage-mib is out of range: use 64 to 1048576 MiB"
        ),
    );
    assert!(EdmConfig::parse("format = 1\nx = [").unwrap_err().to_string().starts_with("line 2"));
}

#[test]
fn unknown_keys_are_errors_in_the_own_format_only() {
    check_error(
        "format = 1\nmqtt-keepalife = 30\n[debugging]\nx = 1",
        "unknown key mqtt-keepalife (line 2); debugging (line 3); check the spelling or remove it",
    );
    check_error("format = 2\npebble-sync = true", "unknown key pebble-sync (line 2); check the spelling or remove it");
    check_error("format = 2\ncryptopan-key = 'k'", "unknown key cryptopan-key (line 2); check the spelling or remove it");
    check_error(&format!("{UPSTREAM}revision = 'x'"), "unknown key revision (line 3); check the spelling or remove it");
    let newer = EdmConfig::parse("format = 3\ncryptopan-key = 'k'").unwrap();
    assert_eq!((newer.config.cryptopan_key, newer.warnings.len()), (None, 1));
    let newer = EdmConfig::parse("format = 3\ncolours = true\nmqtt-keepalive = 31").unwrap();
    assert_eq!(newer.config.mqtt_keepalive, 31);
    assert_eq!(newer.warnings, ["key colours (line 2) belongs to format 3 and is ignored: this build knows format 2"]);
}

#[test]
fn upstreams_keys_are_all_taken_with_their_defaults() {
    let vector = vectors("config_keys.json");
    let keys = vector["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 39);
    let here = toml::Table::try_from(config(UPSTREAM)).unwrap();
    for key in keys {
        let name = key["key"].as_str().unwrap();
        let known = EdmKey::named(name).unwrap_or_else(|| panic!("{name} is not known"));
        assert_eq!(known.on_command_line(), key["flag"].as_bool().unwrap(), "{name}");
        if let Some(variable) = key["env"].as_str() {
            assert_eq!(known.variable(), variable);
        }
        let kind = match key["type"].as_str().unwrap() {
            "bool" => Kind::Bool,
            "int" => Kind::Integer,
            "uint16" => Kind::Decimal,
            _ => Kind::Text,
        };
        assert_eq!(known.kind, kind, "{name}");
        // What is different is told.
        let default = serde_json::to_value(here.get(name)).unwrap();
        let same = default == key["default"]
            || (default.is_null() && ["", "false", "0", "1"].contains(&key["default"].to_string().trim_matches('"')));
        let told =
            EdmConfig::parse(UPSTREAM).unwrap().warnings.iter().any(|line| line.starts_with(&format!("{name} is not set")));
        assert_ne!(same || name.starts_with("input-unix"), told, "{name}: {default} here, {} upstream", key["default"]);
    }
}

#[test]
fn upstreams_rules_in_upstreams_words() {
    let vector = vectors("config_keys.json");
    let mut checked = 0;
    for case in vector["validation"].as_array().unwrap() {
        let mut table: toml::Table = toml::from_str(UPSTREAM).unwrap();
        match case["inputs"].as_u64() {
            Some(0) => drop(table.remove("input-unix")),
            Some(_) => drop(table.insert("input-tcp".into(), "127.0.0.1:1".into())),
            None => {}
        }
        for (key, value) in case["with"].as_object().into_iter().flatten() {
            if key == "input-tls" {
                table.remove("input-unix");
            }
            table.insert(key.clone(), toml::Value::try_from(value).unwrap());
        }
        let said = EdmConfig::parse(&toml::to_string(&table).unwrap()).unwrap_err().to_string();
        let mut lines = said.lines();
        assert_eq!(lines.next(), Some("invalid configuration:"));
        let message = case["message"].as_str().unwrap();
        assert!(lines.any(|line| line == message || line.ends_with(&format!(", {message}"))), "{message}: {said}");
        checked += 1;
    }
    assert_eq!(checked, 13);
    // Together, not one by one.
    let said = EdmConfig::parse("data-dir = ''\nhttp-url = ''\nmqtt-server = ''").unwrap_err().to_string();
    assert_eq!(said.lines().count(), 6, "{said}");
    assert!(EdmConfig::parse(&format!("{UPSTREAM}http-url = ''\ndisable-histogram-sender = true")).is_ok());
    assert!(EdmConfig::parse(&format!("{UPSTREAM}mqtt-server = ''\nmqtt-keepalive = 0\ndisable-mqtt = true")).is_ok());
}

#[test]
fn upstreams_file_is_told_what_is_different_here() {
    let warnings = |more: &str| EdmConfig::parse(&format!("{UPSTREAM}{more}")).unwrap().warnings;
    let has = |warnings: &[String], text: &str| warnings.iter().any(|line| line.contains(text));
    assert!(has(&warnings(""), "no session files are written"));
    assert!(!has(&warnings("disable-session-files = false"), "no session files are written"));
    let salt = "disable-session-files = false\ncryptopan-key-salt = 'short'";
    assert!(has(&warnings(salt), "cryptopan-key-salt is shorter than 8 octets"));
    assert!(!has(&warnings("disable-session-files = false"), "cryptopan-key-salt"));
    // No key stands for another one.
    for key in TABLE.iter().filter(|key| key.name.starts_with("newqname-") && upstream::departs(key.name)) {
        let value = if key.kind == Kind::Bool { "true" } else { "7" };
        let gone = format!("{} is not set: ", key.name);
        let (before, after) = (warnings(""), warnings(&format!("{} = {value}", key.name)));
        assert_eq!(before.iter().filter(|line| !after.contains(line)).collect::<Vec<_>>().len(), 1, "{}", key.name);
        assert!(has(&before, &gone) && !has(&after, &gone), "{}", key.name);
    }
    assert!(has(&warnings("newqname-per-second = 7"), "a twentieth of newqname-per-second"));
    assert!(has(&warnings("pebble-sync = true"), "pebble-sync is ignored: names seen are synced once a second"));
    assert!(!has(&warnings("config-file = 'x'"), "config-file"));
    assert!(has(&warnings("mqtt-server = 'tcp://b:1883'"), "mqtt-server is not encrypted"));
    assert_eq!(config(&format!("{UPSTREAM}newqname-buffer = 0")).newqname_buffer, 1);
}

/// What upstream has no key for is either told, or adds what upstream does not do as long as it is not asked for.
#[test]
fn every_key_of_ours_is_told_or_does_nothing_unasked() {
    const QUIET: [&str; 12] = [
        "input-idle-seconds",
        "deduplicate-responses",
        "histogram-counts-only",
        "newqname-lower-case",
        "session-keep-ecs",
        "session-keep-cookies",
        "http-listen",
        "telemetry",
        "debug-dnstap-real-addresses",
        "well-known-domains-url",
        "well-known-domains-sha256",
        "well-known-domains-ca-file",
    ];
    for key in TABLE.iter().filter(|key| key.origin == Origin::Own) {
        assert_ne!(upstream::departs(key.name), QUIET.contains(&key.name), "{}", key.name);
    }
}

#[test]
fn a_dump_is_warned_of_and_says_whether_addresses_are_in_it() {
    let text = format!("{UPSTREAM}debug-dnstap-filename = 'dump'");
    let warned = |text: &str| EdmConfig::parse(text).unwrap().warnings.join("\n");
    assert!(warned(&text).contains("debug-dnstap-filename: every dnstap frame is written there, with the names"));
    assert!(!config(&text).debug_dnstap_real_addresses);
    assert!(warned(&format!("{text}\ndebug-dnstap-real-addresses = true")).contains("WITH THE ADDRESSES OF CLIENTS"));
    assert!(!warned(&format!("{UPSTREAM}debug-dnstap-filename = ''")).contains("debug-dnstap-filename:"));
}

#[test]
fn a_list_on_a_server_has_a_hash_and_stands_alone() {
    let (url, hash) =
        ("well-known-domains-url = 'https://a/b'\n", format!("well-known-domains-sha256 = '{}'\n", "0a".repeat(32)));
    assert_eq!(config(&format!("format = 2\n{url}{hash}well-known-domains-ca-file = 'ca'")).needed_format(), 2);
    let theirs = config(&format!("{UPSTREAM}{url}{hash}"));
    assert_eq!((theirs.well_known_domains_file, theirs.well_known_domains_url.as_deref()), (None, Some("https://a/b")));
    let said = |text: &str| EdmConfig::parse(&format!("format = 2\n{text}")).unwrap_err().to_string();
    for (text, reason) in [
        (url.to_owned(), "well-known-domains-sha256 is missing beside well-known-domains-url"),
        (hash.clone(), "well-known-domains-sha256 is there without well-known-domains-url"),
        ("well-known-domains-ca-file = 'ca'".to_owned(), "well-known-domains-ca-file is there without"),
        (format!("{url}{hash}well-known-domains-file = 'f'"), "are both there"),
        (
            format!("{url}{}", hash.to_uppercase().replacen("WELL-KNOWN-DOMAINS-SHA256", "well-known-domains-sha256", 1)),
            "lower-case",
        ),
        (format!("well-known-domains-url = 'http://a/b'\n{hash}"), "is no https URL"),
        (format!("well-known-domains-url = 'https:///b'\n{hash}"), "is no https URL"),
    ] {
        assert!(said(&text).contains(reason), "{text}: {}", said(&text));
    }
}

#[test]
fn command_line_and_environment_are_laid_over_the_file() {
    let overlay = over(&[("debug", "1"), ("data-dir", "/elsewhere"), ("input-unix", ""), ("input-tcp", "[::1]:6000")]);
    let config = EdmConfig::parse_over("format = 1\ndata-dir = '/here'\ninput-unix = '/s'", &overlay).unwrap().config;
    assert!(config.debug && config.data_dir == Path::new("/elsewhere") && config.input_unix == Path::new(""));
    let said = |settings, text| EdmConfig::parse_over(text, &over(settings)).unwrap_err().to_string();
    assert!(said(&[("storage-mib", "1")], "format = 1").starts_with("storage-mib is out of range"));
    assert!(said(&[("http-listen", "x")], "format = 1").contains("invalid socket address"));
    assert!(said(&[("mqtt-ca-file", "x")], "format = 1").contains("mqtt-ca-file belongs to upstream's form"));
    assert!(EdmConfig::parse_over("format = 1", &over(&[("cryptopan-key", "k"), ("minimiser-workers", "0")])).is_ok());
    // Everything by command line: the file may be empty.
    let all = over(&[("cryptopan-key", "k"), ("input-tcp", "127.0.0.1:6000")]);
    assert_eq!(EdmConfig::parse_over("", &all).unwrap().config.form, Form::Upstream);
}

#[test]
fn secrets_are_not_repeated() {
    let shown = format!("{:?}", config(UPSTREAM));
    assert!(shown.contains("Some(Secret)"), "{shown}");
    check_error("cryptopan-key = 12345", "line 1, key cryptopan-key: must be a text in quotes");
}

#[test]
fn values_that_cannot_be() {
    let said = |text: &str| EdmConfig::parse(&format!("format = 2\n{text}")).unwrap_err().to_string();
    for (text, reason) in [
        ("input-unix-mode = '0999'", "is no octal number"),
        ("input-unix-mode = '+66'", "is no octal number"),
        ("input-tcp = 'localhost'", "is no host:port"),
        ("counted-types = ['CLIENT_QUERY']", "is no list of response types"),
        ("counted-types = []", "is no list of response types"),
        ("counted-types = ['ALL_RESPONSES', 'CLIENT_RESPONSE']", "is no list of response types"),
        ("mqtt-qos = 2", "use 0 or 1"),
        ("mqtt-server = 'tcp://b'", "is not encrypted"),
        ("mqtt-server = 'wss://b'", "is a WebSocket"),
        ("mqtt-server = 'ftp://b'", "has an unsupported scheme"),
        ("http-url = 'http://b'", "is no base URL"),
        ("http-url = 'https://b/?q'", "is no base URL"),
        ("newqname-per-domain = 0", "is out of range"),
        ("storage-mib = 64\nqname-seen-entries = 559241", "use at most 559240 names, or a larger storage-mib"),
        ("histogram-hll-explicit-threshold = 131073", "must not be greater than 131072"),
        ("input-tcp = 'a:1'\ninput-tls = 'a:2'", "only one dnstap input may be configured"),
    ] {
        assert!(said(text).contains(reason), "{text}: {}", said(text));
    }
}

#[test]
fn addresses_of_brokers_as_upstream_reads_them() {
    let vector = vectors("mqtt_server_url.json");
    let cases = vector["vectors"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let read = ServerUrl::parse(case["in"].as_str().unwrap());
        match case["error"].as_str() {
            Some(error) => assert!(read.unwrap_err().to_string().contains(error), "{case}"),
            None => assert_eq!(
                read.map(|url| (url.scheme, url.host)),
                Ok((case["scheme"].as_str().unwrap().into(), case["host"].as_str().unwrap().into()))
            ),
        }
    }
    for scheme in vector["accepted_schemes"].as_array().unwrap() {
        let scheme = scheme.as_str().unwrap();
        assert_eq!(ServerUrl::parse(&format!("{}://h", scheme.to_ascii_uppercase())).unwrap().scheme, scheme);
    }
}

#[test]
fn every_key_is_documented() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/edm.md")).unwrap();
    for key in TABLE.iter().filter(|key| key.name != "config-file") {
        assert!(
            guide.contains(&format!("\n{} = ", key.name)) || guide.contains(&format!("`{}`", key.name)),
            "{} is not in the guide",
            key.name
        );
    }
    let whole = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let upper = whole.split("# From here on").next().unwrap();
    assert_eq!(EdmConfig { format: 1, ..config(upper) }, config("format = 1"), "the upper half says what is meant anyway");
    assert!(EdmConfig::parse(whole).unwrap().warnings.is_empty());
    for input in guide.split("```toml\n").skip(2) {
        config(&format!("format = 2\n{}", input.split("```").next().unwrap()));
    }
    assert_eq!(guide.split("```toml\n").count(), 5);
}

//! Whatever the operator may write into `edm.toml` is read as what it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use tapir_wire::config::edm::{EdmConfig, Kind, Origin, TABLE};
use toml::Value;

/// Some of these have to stand together, or alone.
const INPUTS: [&str; 3] = ["input-unix", "input-tcp", "input-tls"];
const DUMP: [&str; 2] = ["debug-dnstap-filename", "debug-dnstap-real-addresses"];
/// A list of a server: a hash belongs to it, and no file beside it.
const FETCHED: [&str; 3] = ["well-known-domains-url", "well-known-domains-sha256", "well-known-domains-ca-file"];

const TYPES: [&str; 3] = ["CLIENT_RESPONSE", "AUTH_RESPONSE", "RESOLVER_RESPONSE"];

/// Any text: quotes, line ends and what no keyboard has.
fn text() -> BoxedStrategy<Value> {
    prop_oneof!["\\PC{1,20}", Just("a\"b\\c\n\t\u{7f}é".to_owned())].prop_map(Value::String).boxed()
}

fn number(range: std::ops::RangeInclusive<i64>) -> BoxedStrategy<Value> {
    range.prop_map(Value::Integer).boxed()
}

fn one_of(texts: &'static [&'static str]) -> BoxedStrategy<Value> {
    prop::sample::select(texts).prop_map(|text| Value::String(text.to_owned())).boxed()
}

/// What may be said for a key.
fn value(name: &str, kind: Kind) -> BoxedStrategy<Value> {
    match (name, kind) {
        (_, Kind::Bool) => any::<bool>().prop_map(Value::Boolean).boxed(),
        ("data-dir" | "input-unix", _) => "/\\PC{1,20}".prop_map(Value::String).boxed(),
        ("input-tcp" | "input-tls", _) => one_of(&["127.0.0.1:6000", "[::1]:6000", "localhost:0"]),
        ("input-unix-mode", _) => one_of(&["0600", "666", "0777"]),
        ("counted-types", _) => prop::sample::subsequence(TYPES.as_slice(), 1..=TYPES.len())
            .prop_map(|some| some.into_iter().map(|text| Value::String(text.to_owned())).collect::<Vec<_>>().into())
            .boxed(),
        ("http-url", _) => one_of(&["https://core.example", "https://[::1]:8443/base"]),
        ("mqtt-server", _) => one_of(&["tls://broker.example:8883", "mqtts://localhost:1"]),
        ("http-listen", _) => one_of(&["127.0.0.1:1", "[::]:9841", "[::1]:65535"]),
        ("input-max-connections", _) => number(1..=1024),
        ("input-idle-seconds", _) => number(0..=86_400),
        ("histogram-hll-explicit-threshold", _) => number(1..=131_072),
        ("mqtt-keepalive", _) => number(5..=3600),
        ("mqtt-qos", _) => number(0..=1),
        ("storage-mib", _) => number(64..=1_048_576),
        ("cryptopan-address-entries", _) => number(0..=10_000_000),
        ("qname-seen-entries" | "newqname-buffer" | "newqname-per-second" | "newqname-per-domain", _)
        | ("newqname-sent-per-second", _) => number(1..=1_000_000),
        (_, Kind::Text) => text(),
        (name, _) => panic!("say here what may stand for {name}"),
    }
}

/// Keys and values of a file of the own form, each there or not.
fn said() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let written = |origin| matches!(origin, Origin::Shared | Origin::Own | Origin::Rendered);
    let keys = TABLE.iter().filter(|key| written(key.origin) && key.name != "format");
    let each: Vec<_> = keys.map(|key| (Just(key.name), prop::option::of(value(key.name, key.kind)))).collect();
    let one_input = |(said, input): (Vec<(&'static str, Option<Value>)>, &str)| {
        let mut said: Vec<_> = said.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        said.retain(|(name, _)| *name == input || ![&INPUTS[..], &DUMP, &FETCHED].concat().contains(name));
        if input == "input-unix" {
            said.retain(|(name, _)| *name != "well-known-domains-file");
        }
        let mut also = |key, value: Value| {
            if said.iter().all(|(name, _)| *name != key) {
                said.push((key, value));
            }
        };
        if input == "input-tls" {
            also("input-tls", "[::1]:0".into());
            also("input-tls-cert-file", "server.crt".into());
            also("input-tls-key-file", "server.key".into());
        }
        if input == "input-unix" {
            let list = ["https://lists.example/all.dawg".into(), "0a".repeat(32).into(), "ca.crt".into()];
            FETCHED.into_iter().zip(list).for_each(|(key, value)| also(key, value));
        }
        if input == "input-tcp" {
            DUMP.into_iter().zip(["dump".into(), true.into()]).for_each(|(key, value)| also(key, value));
        }
        said
    };
    (each, prop::sample::select(INPUTS.as_slice())).prop_map(one_input)
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(said in said()) {
        let table: toml::Table = said.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let text = format!("format = 2\n{table}");
        let first = EdmConfig::parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?.config;
        let written = first.to_toml().unwrap();
        let again = EdmConfig::parse(&written).map_err(|error| TestCaseError::fail(format!("{error}\n{written}")))?.config;
        prop_assert_eq!(again.format, first.needed_format());
        prop_assert_eq!(EdmConfig { format: first.format, ..again.clone() }, first);
        prop_assert_eq!(&again.to_toml().unwrap(), &written);
        // Nothing that was said is lost, and nothing comes that was not.
        let written: toml::Table = toml::from_str(&written).unwrap();
        for (name, value) in &said {
            prop_assert!(written.get(*name).is_none_or(|found| found == value), "{} is {:?}", name, written.get(*name));
        }
        for (key, value) in &written {
            // The marks, and that the usual input is not there where another one is.
            let always = ["format", "revision", "disabled"].contains(&key.as_str()) || (key == "input-unix" && *value == "".into());
            prop_assert!(always || table.contains_key(key), "{}", key);
        }
    }
}

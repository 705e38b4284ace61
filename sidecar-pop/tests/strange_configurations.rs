//! Configuration that nobody would write: it is refused or taken, never the end of the process, and what is taken is good.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use tapir_pop::setup::{NoFiles, Setup};
use tapir_pop::upstream::{FILES, convert};
use tapir_wire::config::pop::PopConfig;
use zeroize::Zeroizing;

const SECRET: &str = "be-nice-to-a-tapir";

/// Values that are right somewhere, and some that are right nowhere.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(-1i64), Just(0), Just(1), Just(3), Just(33), Just(i64::MAX)].prop_map(Value::from),
        prop_oneof![
            Just("allowlist"),
            Just("denylist"),
            Just("doubtlist"),
            Just("mqtt"),
            Just("file"),
            Just("xfr"),
            Just("csv"),
            Just("dawg"),
            Just("domains"),
            Just("rpz"),
            Just("NXDOMAIN"),
            Just("redirect"),
            Just("passthru"),
            Just("192.0.2.1:53"),
            Just("[::1]:0"),
            Just("a.example."),
            Just("."),
            Just("a..b"),
            Just("likelymalware"),
            Just("/etc/../x"),
            Just("/srv/list"),
            Just("https://%s/x"),
            Just("ü#+\u{0}"),
            Just(""),
            Just("Deny"),
            Just("Source"),
            Just("2")
        ]
        .prop_map(Value::from),
        "\\PC{0,80}".prop_map(Value::from),
    ]
}

/// What becomes of one place.
#[derive(Clone, Debug)]
enum Change {
    Put(Value),
    PutList(Vec<Value>),
    Remove,
}

fn changes() -> impl Strategy<Value = Vec<(Index, Change)>> {
    let change = prop_oneof![
        3 => scalar().prop_map(Change::Put),
        1 => vec(scalar(), 0..3).prop_map(Change::PutList),
        1 => Just(Change::Remove),
    ];
    vec((any::<Index>(), change), 0..4)
}

/// A good file with a few places changed.
fn changed(mut value: Value, changes: Vec<(Index, Change)>) -> Value {
    for (index, change) in changes {
        let mut places = Vec::new();
        collect(&value, "", &mut places);
        if places.is_empty() {
            break;
        }
        let place = index.get(&places);
        let (parent, key) = place.rsplit_once('/').unwrap();
        match (value.pointer_mut(parent).unwrap(), change) {
            (Value::Object(map), Change::Remove) => drop(map.remove(key)),
            (Value::Array(list), Change::Remove) => drop(list.remove(key.parse().unwrap())),
            (_, Change::Put(new)) => *value.pointer_mut(place).unwrap() = new,
            (_, Change::PutList(new)) => *value.pointer_mut(place).unwrap() = new.into(),
            (_, Change::Remove) => {}
        }
    }
    value
}

/// Every place below the top.
fn collect(value: &Value, at: &str, places: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in below {
        let place = format!("{at}/{key}");
        collect(value, &place, places);
        places.push(place);
    }
}

fn read(file: &str) -> Value {
    let text = std::fs::read_to_string(format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let text = text.split_once("```yaml\n").map_or(text.as_str(), |(_, rest)| rest.split_once("```").unwrap().0);
    serde_saphyr::from_str(text).unwrap()
}

fn upstreams_files() -> [Value; 4] {
    let mut files = FILES.map(|file| read(&format!("tapir-wire/vectors/pop/config/{file}")));
    files[1]["sources"]["tapir1"]["bootstrap"] = json!(["192.0.2.1:5455"]);
    files[1]["sources"]["tapir1"]["bootstrapkey"] = SECRET.into();
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn upstreams(changes in [changes(), changes(), changes(), changes()], there in 1u8..16) {
        let mut files = upstreams_files().into_iter().zip(changes).zip(0..);
        let texts = std::array::from_fn(|_| {
            let ((file, changes), number) = files.next().unwrap();
            (there >> number & 1 == 1).then(|| Zeroizing::new(changed(file, changes).to_string()))
        });
        match convert(&texts) {
            Ok(converted) => {
                let text = converted.config.to_yaml().unwrap();
                prop_assert_eq!(&PopConfig::parse(&text).unwrap().config, &converted.config);
                Setup::parse(&text, &mut NoFiles).unwrap();
                let told = format!("{text}{converted:?}");
                prop_assert!(!told.contains(SECRET));
            }
            Err(error) => {
                let told = error.to_string();
                prop_assert!(!told.is_empty() && !told.contains(SECRET), "{}", told);
            }
        }
    }

    #[test]
    fn own_file(changes in changes()) {
        let value = changed(read("docs/pop.md"), changes);
        if let Ok(parsed) = PopConfig::parse(&value.to_string()) {
            let config = parsed.config;
            let text = config.to_yaml().unwrap();
            let again = PopConfig::parse(&text).unwrap().config;
            prop_assert_eq!(PopConfig { format: config.format, ..again }, config);
        }
    }

    #[test]
    fn any_text(text in "(format: [0-3]\n)?[ -~\n]{0,200}") {
        let _ = PopConfig::parse(&text);
        let text = Some(Zeroizing::new(text));
        let _ = convert(&[text.clone(), text.clone(), text.clone(), text]);
    }
}

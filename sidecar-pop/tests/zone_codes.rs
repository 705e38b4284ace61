//! The zone as it is emitted: every resolver does with it what was decided, and nothing in it could be left out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod universe;

use proptest::prelude::*;
use tapir_pop::zone::emit::Emit;
use tapir_pop::zone::known::code;
use tapir_table::{Code, Codes, Cursor, KeyBuf};
use tapir_wire::config::pop::{List, Match, Mode};
use universe::resolvers::{MODELS, Resolvers};
use universe::{Universe, Zone, universes};

/// More with `TAPIR_ZONE_CASES`.
fn config(usual: u32) -> ProptestConfig {
    let cases = std::env::var("TAPIR_ZONE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual);
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

/// `rpz-passthru.` and silence are the same to who asks the resolver.
fn effective(code: Code) -> Code {
    if code == Code::PASSTHRU { Code::SILENT } else { code }
}

fn answers_as_decided(universe: &Universe, zone: &Zone) -> Result<(), TestCaseError> {
    let resolvers = Resolvers::new(zone);
    for question in universe.questions() {
        let decided = universe.decide(&question).map_or(Code::SILENT, code);
        for model in MODELS {
            let answer = resolvers.ask(model, &question);
            prop_assert_eq!(effective(answer), effective(decided), "{} of {:?} in {:?}", question, model, zone);
            // What is only logged has to meet a record for that.
            prop_assert!(decided != Code::PASSTHRU || answer == decided, "{} of {:?} in {:?}", question, model, zone);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn every_resolver_does_what_was_decided(universe in universes(6)) {
        let zone = universe.zone();
        answers_as_decided(&universe, &zone)?;
        // The only passthru besides Observe is where a wildcard would cover.
        for (key, codes) in zone.iter().filter(|_| universe.weigh.mode == Mode::Enforce) {
            let covered = key.borders().any(|border| border < key.len() && zone.get(&key.truncated(border)).is_some_and(|codes| !codes.below.is_silent()));
            prop_assert!(covered || (codes.own != Code::PASSTHRU && codes.below != Code::PASSTHRU), "{} in {:?}", key, zone);
        }
        for (key, codes) in &zone {
            prop_assert!(key.len() <= universe.room);
            prop_assert!(codes.below.is_silent() || key.len() + 2 <= universe.room, "{} in {:?}", key, zone);
        }
    }

    #[test]
    fn is_walked_through_from_anywhere(universe in universes(8), asked in proptest::collection::vec(universe::names(), 1..6)) {
        let zone = universe.zone();
        let mut names = universe.merged();
        let mut emit = Emit::new(&universe.weigh, &mut names, universe.room);
        for from in asked {
            let rest: Vec<_> = zone.range(from..).map(|(key, codes)| (*key, *codes)).collect();
            prop_assert_eq!(emit.seek(from.as_bytes()).unwrap(), !rest.is_empty());
            for (index, expected) in rest.iter().enumerate() {
                prop_assert!(index == 0 || emit.advance().unwrap());
                prop_assert_eq!((*emit.key(), emit.value()), *expected);
            }
            prop_assert!(rest.is_empty() || !emit.advance().unwrap());
        }
    }

    #[test]
    fn nothing_is_said_in_vain(universe in universes(5)) {
        let zone = universe.zone();
        let questions = universe.questions();
        let said = |code: Code| if universe.weigh.mode == Mode::Observe { code } else { effective(code) };
        let answers = |zone: &Zone| {
            let resolvers = Resolvers::new(zone);
            let asked = questions.iter().flat_map(|question| MODELS.map(|model| said(resolvers.ask(model, question))));
            asked.collect::<Vec<_>>()
        };
        let all = answers(&zone);
        for (key, codes) in &zone {
            let silent = Code::SILENT;
            for less in [Codes { own: silent, ..*codes }, Codes { below: silent, ..*codes }].into_iter().filter(|less| less != codes) {
                let mut without = zone.clone();
                if less == Codes::SILENT { without.remove(key) } else { without.insert(*key, less) };
                prop_assert_ne!(&answers(&without), &all, "{} with {:?} in {:?}", key, less, zone);
            }
        }
    }

    #[test]
    fn allowed_names_are_never_touched(universe in universes(6)) {
        let zone = universe.zone();
        let resolvers = Resolvers::new(&zone);
        for (origin, names) in universe.weigh.origins.iter().zip(&universe.sources).filter(|(origin, _)| origin.list == List::Allow && !origin.records) {
            for name in names.keys().filter(|name| name.len() <= universe.room) {
                let below = KeyBuf::from_key(&[name.as_bytes(), b"\x01x\x01y"].concat()).unwrap();
                let fits = origin.r#match == Match::Subtree && below.len() <= universe.room;
                for question in [Some(*name), fits.then_some(below)].into_iter().flatten() {
                    for model in MODELS {
                        prop_assert_eq!(effective(resolvers.ask(model, &question)), Code::SILENT, "{} of {:?} in {:?}", question, model, zone);
                    }
                }
            }
        }
    }
}

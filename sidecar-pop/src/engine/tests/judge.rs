//! What is published, held against everything that is known and that was published before.

use std::collections::BTreeMap;
use std::sync::Arc;

use tapir_table::{Code, Codes, Cursor as _, KeyBuf, Merge, Palette, Value};

use super::acts::{feed_palette, key};
use super::model::Model;
use crate::dns::render::Steps as _;
use crate::dns::zone::{Since, Zone as _};
use crate::engine::world::World;
use crate::state::failpoint;
use crate::zone::Snapshot;
use crate::zone::emit::Emit;
use crate::zone::judge::Source as _;
use crate::zone::known::Known;
use crate::zone::source::{AnySource, Kept as KeptSource};

pub(super) type Names = BTreeMap<KeyBuf, Codes>;
/// Names with what their codes mean.
pub(super) type Content = BTreeMap<KeyBuf, [String; 2]>;

pub(super) fn meaning(codes: Codes, palette: &Palette) -> [String; 2] {
    [codes.own, codes.below].map(|code| match code.set_index() {
        Some(_) => format!("{:?}", palette.get(code).expect("a code that means nothing")),
        None => code.number().to_string(),
    })
}

pub(super) fn content(zone: &Snapshot) -> Content {
    let (mut all, mut cursor) = (Content::new(), zone.cursor());
    while cursor.advance().unwrap() {
        all.insert(*cursor.key(), meaning(cursor.value(), &zone.palette));
    }
    all
}

impl Model {
    /// What follows from everything that is known, by itself.
    pub(super) fn expected(&self) -> Content {
        let setup = self.config.setup(self.folder.path());
        let mut palette = Palette::default();
        let own = feed_palette(3);
        let remapped: Vec<_> = own.sets().iter().map(|set| palette.intern(set.clone()).unwrap()).collect();
        let world = World::new(&setup, &mut palette, |name| {
            let mut kept = KeptSource::nothing(Arc::new(Known::Listed));
            let names = match name {
                "core" => return (AnySource::observed(self.observations.live()), 0),
                "feed" => {
                    let of = |code: Code| code.set_index().map_or(code, |index| remapped[usize::from(index)]);
                    self.feed.iter().map(|(key, codes)| (*key, Codes::new(of(codes.own), of(codes.below)))).collect()
                }
                "deny" => self.config.deny.iter().map(|name| (key(name), Codes::LISTED)).collect::<Vec<_>>(),
                _ => self.config.allow.iter().map(|name| (key(name), Codes::LISTED)).collect(),
            };
            names.iter().for_each(|(key, codes)| _ = kept.changes.insert(key, *codes));
            (AnySource::List(kept), 0)
        });
        let mut names = Merge::new(world.sources.iter().map(|source| source.cursor()).collect());
        let (mut all, mut emit) = (Content::new(), Emit::new(&world.judge, &mut names, 245));
        while emit.advance().unwrap() {
            all.insert(*emit.key(), meaning(emit.value(), &palette));
        }
        all
    }

    /// Holds what is published now against everything that was.
    pub(super) fn look(&mut self) {
        if failpoint::is_frozen(self.folder.path()) {
            return;
        }
        let Some(zone) = self.published.borrow().clone() else { return };
        let now = content(&zone);
        failpoint::note(self.folder.path(), &format!("saw {} {:?}", zone.serial, now.keys().collect::<Vec<_>>()));
        let mut cursor = zone.cursor();
        let (mut names, mut records) = (0, 0);
        while cursor.advance().unwrap() {
            names += 1;
            records += Value::records(&cursor.value());
        }
        assert_eq!((zone.size.names, zone.size.records), (names, records));
        let apex = Arc::clone(&zone.apex);
        if let Some((_, known, of)) = self.seen.iter().find(|(serial, ..)| *serial == zone.serial) {
            assert_eq!(*known, now, "one number, two zones: {}", zone.serial);
            assert_eq!(*of, apex);
        } else {
            for (serial, ..) in &self.seen {
                assert!(zone.serial.is_after(*serial), "{} after {serial}", zone.serial);
            }
            if let Some((_, before, of)) = self.seen.last() {
                assert!(self.renumbered || *before != now || *of != apex, "another number, the same zone: {}", zone.serial);
            }
            self.renumbered = false;
            self.seen.push((zone.serial, now.clone(), apex));
        }
        for (serial, old, _) in &self.seen {
            match zone.since(*serial) {
                Since::Current => assert_eq!(*serial, zone.serial),
                Since::Unknown => {}
                Since::Steps { mut steps, .. } => {
                    let (mut copy, mut at) = (old.clone(), serial.0);
                    while let Some(step) = steps.advance().unwrap() {
                        assert_eq!(step.from, at);
                        at = step.to;
                        let mut changes = steps.changes().unwrap();
                        while changes.advance().unwrap() {
                            let (key, change) = (*changes.key(), changes.value());
                            let silent = meaning(Codes::SILENT, &zone.palette);
                            let (has, old) = (copy.get(&key).unwrap_or(&silent), meaning(change.old, &zone.palette));
                            assert_eq!(*has, old, "{key} at {at}");
                            if change.new == Codes::SILENT {
                                copy.remove(&key)
                            } else {
                                copy.insert(key, meaning(change.new, &zone.palette))
                            };
                        }
                    }
                    assert_eq!((at, copy), (zone.serial.0, now.clone()), "from {serial}");
                }
            }
        }
    }
}

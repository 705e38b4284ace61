//! What is published, held against everything that is known and that was published before.

use std::collections::BTreeMap;
use std::sync::Arc;

use tapir_table::{Codes, Cursor as _, KeyBuf, MAX_SETS, Merge, Palette, Value};

use super::acts::{SETS, feed_palette, key};
use super::model::Model;
use crate::dns::render::{Condensed, Steps};
use crate::dns::zone::{Since, Zone as _};
use crate::engine::list::List;
use crate::engine::world::{Says, World};
use crate::feeds::{Meta, SourceNews};
use crate::state::failpoint;
use crate::zone::emit::Emit;
use crate::zone::judge::Source as _;
use crate::zone::known::Known;
use crate::zone::source::{AnySource, Kept as KeptSource};
use crate::zone::{Serial, Snapshot};

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
        let mut feed = List::default();
        let list = self.feed.iter().map(|(key, codes)| (*key, *codes)).collect();
        feed.take(SourceNews::Changes { list, palette: Arc::new(feed_palette(SETS)), meta: Meta::default() });
        let world = World::new(&setup, MAX_SETS, |name| {
            let mut kept = KeptSource::nothing(Arc::new(Known::Listed));
            let names = match name {
                "core" => return Says::Plain(AnySource::observed(self.observations.live())),
                "feed" => return Says::List(&feed),
                "deny" => &self.config.deny,
                _ => &self.config.allow,
            };
            names.iter().for_each(|name| _ = kept.changes.insert(&key(name), Codes::LISTED));
            Says::Plain(AnySource::List(kept))
        });
        let mut names = Merge::new(world.sources.iter().map(|source| source.cursor()).collect());
        let (mut all, mut emit) = (Content::new(), Emit::new(&world.judge, &mut names, 245));
        while emit.advance().unwrap() {
            all.insert(*emit.key(), meaning(emit.value(), &world.sets.now()));
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
                Since::Steps { steps, .. } => {
                    let led = follow(steps, *serial, old.clone(), &zone.palette);
                    assert_eq!(led, (zone.serial, now.clone()), "from {serial}");
                    // All of them at once.
                    let Since::Steps { steps, .. } = zone.since(*serial) else { unreachable!() };
                    if let Some(condensed) = Condensed::of(steps, usize::MAX).unwrap() {
                        let led = follow(condensed, *serial, old.clone(), &zone.palette);
                        assert_eq!(led, (zone.serial, now.clone()), "from {serial} at once");
                    }
                }
            }
        }
    }
}

/// Where the steps lead who has this copy.
fn follow(mut steps: impl Steps, serial: Serial, mut copy: Content, zone: &Arc<Palette>) -> (Serial, Content) {
    let mut at = serial.0;
    while let Some(step) = steps.advance().unwrap() {
        assert_eq!(step.from, at);
        at = step.to;
        let palette = steps.palette().unwrap_or_else(|| Arc::clone(zone));
        let mut changes = steps.changes().unwrap();
        while changes.advance().unwrap() {
            let (key, change) = (*changes.key(), changes.value());
            let silent = meaning(Codes::SILENT, &palette);
            let (has, old) = (copy.get(&key).unwrap_or(&silent), meaning(change.old, &palette));
            assert_eq!(*has, old, "{key} at {at}");
            if change.new == Codes::SILENT {
                copy.remove(&key)
            } else {
                copy.insert(key, meaning(change.new, &palette))
            };
        }
    }
    (Serial(at), copy)
}

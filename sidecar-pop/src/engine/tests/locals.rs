//! Local data comes and goes for longer than any zone has room for.

use std::sync::Arc;

use tapir_table::{Code, Codes, KeyBuf, MAX_SETS, Palette, RecordSet, TableFile, TableWriter};

use super::acts::{Act, Config, key};
use super::judge::{Content, content};
use super::model::Model;
use super::one_config;
use crate::feeds::{Meta, SourceNews};
use crate::state::failpoint;

/// Local data with this number.
fn set(number: usize) -> RecordSet {
    let [.., high, low] = number.to_be_bytes();
    RecordSet::new(vec![(1, vec![10, high, low, 1])]).unwrap()
}

/// A feed that has a palette of its own, as feeds have.
#[derive(Default)]
struct Feed {
    own: Palette,
    names: Vec<(KeyBuf, Codes)>,
}

impl Feed {
    fn code(&mut self, number: usize) -> Code {
        self.own.intern(set(number)).unwrap()
    }

    /// Names with two sets each, from this number on.
    fn say(&mut self, names: usize, first: usize) {
        self.names = (0..names)
            .map(|index| {
                let [own, below] = [0, 1].map(|part| self.code(first + index * 2 + part));
                (key(&format!("n{index:02}")), Codes::new(own, below))
            })
            .collect();
    }

    fn changes(&self) -> SourceNews {
        let meta = Meta { entries: self.names.len() as u64, ..Meta::default() };
        SourceNews::Changes { list: self.names.clone(), palette: Arc::new(self.own.clone()), meta }
    }

    fn whole(&self) -> SourceNews {
        let mut writer = TableWriter::new(Vec::new()).unwrap();
        self.names.iter().for_each(|(key, codes)| writer.push(key, *codes).unwrap());
        let table = Arc::new(TableFile::from_memory(writer.finish(0, &self.own).unwrap().0).unwrap());
        let meta = Meta { entries: self.names.len() as u64, ..Meta::default() };
        SourceNews::Whole { table, palette: Arc::new(self.own.clone()), meta }
    }
}

fn published(model: &Model) -> Content {
    content(&model.published.borrow().clone().unwrap())
}

/// What is to be published of the names that [`Feed::say`] says.
fn expected(names: usize, first: usize) -> Content {
    let of = |index: usize| {
        let number = first + index * 2;
        (key(&format!("n{index:02}")), [number, number + 1].map(|number| format!("{:?}", set(number))))
    };
    (0..names).map(of).collect()
}

fn quiet() -> Config {
    Config { deny: vec!["allowed".to_owned()], allow: vec!["allowed".to_owned()], subtree: false, redirect: 0, ..one_config() }
}

fn troubles(model: &Model) -> String {
    model.engine.telemetry.document().pop.unwrap().errors.join("; ")
}

#[test]
fn more_local_data_than_there_is_room_for_comes_and_goes_and_every_redirect_is_right() {
    const NAMES: usize = 30;
    let mut model = Model::new(quiet());
    (model.room, model.engine.room) = (MAX_SETS, MAX_SETS);
    let mut feed = Feed::default();
    let (mut most, mut anew) = (0, 0);
    for round in 0..130 {
        let first = round * NAMES * 2;
        // Feeds give places back when they send the whole.
        let is_whole = round % 66 == 0;
        if is_whole {
            feed.own = Palette::default();
        }
        feed.say(NAMES, first);
        model.told(if is_whole { feed.whole() } else { feed.changes() });
        model.rest();
        assert_eq!(published(&model), expected(NAMES, first), "round {round}");
        // Copies of long ago are looked at elsewhere.
        model.seen.drain(..model.seen.len().saturating_sub(3));
        let sets = model.engine.sets.len();
        anew += usize::from(sets < most);
        most = most.max(sets);
        if round % 60 == 59 {
            model.act(if round == 59 { &Act::Kill } else { &Act::End });
            assert_eq!(published(&model), expected(NAMES, first), "restart in round {round}");
            // The feed says what it held.
            feed.own = Palette::default();
            feed.say(NAMES, first);
            model.told(feed.whole());
        }
    }
    assert!(anew > 1 && most < usize::from(MAX_SETS), "{anew} times, {most} sets");
    assert_eq!(troubles(&model), "");
}

#[test]
fn places_are_given_back_before_none_is_left_where_nothing_else_makes_the_zone_anew() {
    let mut model = Model::new(quiet());
    let mut feed = Feed::default();
    feed.say(1, 0);
    model.told(feed.whole());
    model.rest();
    for round in 1..40 {
        feed.say(1, round * 2);
        model.told(feed.changes());
        model.rest();
        assert_eq!(published(&model), expected(1, round * 2), "round {round}");
    }
    assert_eq!(troubles(&model), "");
}

#[test]
fn what_has_no_room_at_all_is_blocked_and_said_until_it_has() {
    let mut model = Model::new(quiet());
    let mut feed = Feed::default();
    // Room for three of them.
    feed.say(5, 0);
    model.told(feed.whole());
    model.rest();
    let (now, right) = (published(&model), expected(5, 0));
    let blocked = Code::NXDOMAIN.number().to_string();
    let lost = right.iter().filter(|(name, codes)| now[*name] != **codes).count();
    assert!(lost >= 2, "{now:?}");
    for (name, codes) in &now {
        for (is, wanted) in codes.iter().zip(&right[name]) {
            assert!(is == wanted || *is == blocked, "{name} {is}");
        }
    }
    let text = troubles(&model);
    assert!(text.contains("room for 6 different sets") && text.contains(&format!("{lost} names of feed")), "{text}");
    let metrics = tapir_runtime::http::Probe::metrics(&*model.engine.telemetry);
    assert!(metrics.contains(&format!("tapir_pop_unplaced_names{{source=\"feed\"}} {lost}")), "{metrics}");
    // The same over a restart.
    model.act(&Act::Kill);
    assert_eq!(published(&model), now);
    model.told(feed.whole());
    model.rest();
    feed.own = Palette::default();
    feed.say(3, 4);
    model.told(feed.whole());
    model.rest();
    assert_eq!((published(&model), troubles(&model)), (expected(3, 4), String::new()));
}

/// The same where the disk takes nothing: what is kept is served all the same, and stays what the next start begins with.
#[test]
fn what_cannot_be_put_together_anew_on_a_full_disk_is_served_from_memory() {
    let (mut model, now) = crowded();
    let folder = model.folder.path().to_owned();
    let zone = |model: &Model| (published(model), troubles(model).contains("cannot be read"));
    failpoint::fail(&folder, 0, usize::MAX);
    model.act(&Act::Kill);
    assert_eq!(zone(&model), (now.clone(), false));
    model.act(&Act::PowerLoss(0));
    assert_eq!(zone(&model), (now.clone(), false));
    failpoint::thaw(&folder);
    // No number that was used without a disk is known to the next process.
    model.renumbered = true;
    model.act(&Act::Kill);
    assert_eq!(zone(&model), (now, false));
}

/// What the base has of local data and what came since has no room together.
fn crowded() -> (Model, Content) {
    let mut model = Model::new(quiet());
    let mut feed = Feed::default();
    feed.say(2, 0);
    model.told(feed.whole());
    model.rest();
    // Made anew the zone is as it was, and so the base stays, with two sets that are not in use any more.
    feed.names[0].1 = Codes::new(Code::DROP, Code::SILENT);
    model.told(feed.changes());
    model.rest();
    model.act(&Act::Rebuild);
    model.rest();
    assert_eq!(model.engine.sets.len(), 2);
    feed.names[0].1 = Codes::new(feed.code(4), feed.code(5));
    let codes = Codes::new(feed.code(6), feed.code(7));
    feed.names.push((key("n02"), codes));
    model.told(feed.changes());
    model.publish();
    let now = published(&model);
    assert_eq!((model.engine.sets.len(), now.len()), (6, 3));
    (model, now)
}

/// The number of all that may have been used for something else, too.
#[test]
fn what_was_put_together_anew_at_a_start_is_what_the_next_one_begins_with() {
    let (mut model, now) = crowded();
    let base = |model: &Model| model.engine.store.as_ref().unwrap().manifest.as_ref().unwrap().base.clone();
    let before = base(&model);
    model.act(&Act::Kill);
    assert_eq!((published(&model), base(&model)), (now.clone(), before.clone()));
    model.act(&Act::PowerLoss(0));
    assert_eq!(published(&model), now);
    model.act(&Act::Kill);
    assert_eq!(published(&model), now);
    assert!(base(&model) != before, "history begins with another base");
}

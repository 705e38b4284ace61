//! Lists from their files, each replaced only by a good one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::part::Part;
use crate::fetched::{self, WantedList};
use crate::list::{Clients, List, Lists};
use crate::memory::Budget;
use crate::{bounded, config};

/// Octets of a list of clients at most: more than a million prefixes.
const MAX_CLIENTS: u64 = 64 << 20;

/// A list of clients takes so many octets of memory at most for each of its file, while it is read.
const OF_EACH_OCTET: u64 = 5;

/// Where the lists are; none where no list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) well_known: Option<PathBuf>,
    /// In place of it, one that a server has.
    pub(super) fetched: Option<WantedList>,
    pub(super) ignored_names: Option<PathBuf>,
    pub(super) ignored_clients: Option<PathBuf>,
}

/// All lists that are wanted.
#[derive(Debug)]
pub(super) struct ListParts {
    budget: Arc<Budget>,
    well_known: Part<Arc<List>>,
    /// What the good one of them is, if a server had it.
    proven: Option<String>,
    /// None within where the file has no names.
    ignored_names: Part<Option<Arc<List>>>,
    ignored_clients: Part<Clients>,
    /// Of what is to be left out something is wanted, and was never good.
    lacks: bool,
}

impl ListParts {
    pub(super) const fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            well_known: Part::new("list of well-known domains"),
            proven: None,
            ignored_names: Part::new("list of names that are left out"),
            ignored_clients: Part::new("list of clients that are left out"),
            lacks: false,
        }
    }

    /// Reads those that are wanted. A file that is as it was costs no more than reading it.
    pub(super) fn read(&mut self, files: &Files) {
        let Self { budget, well_known, proven, ignored_names, ignored_clients, lacks } = self;
        if let Some(wanted) = &files.fetched {
            follow_fetched(well_known, proven, wanted, budget);
        } else {
            *proven = None;
            follow(well_known, files.well_known.as_deref(), |path, known| {
                List::read_again(path, known, budget).map_err(|error| error.to_string())
            });
        }
        follow(ignored_names, files.ignored_names.as_deref(), |path, known| {
            read_names(path, known.and_then(Option::as_ref), budget)
        });
        follow(ignored_clients, files.ignored_clients.as_deref(), |path, _| read_clients(path, budget.room()));
        *lacks = (files.ignored_names.is_some() && ignored_names.good().is_none())
            || (files.ignored_clients.is_some() && ignored_clients.good().is_none());
    }

    /// Whether the list that a server has is in force.
    pub(super) fn has_fetched(&self) -> bool {
        self.proven.is_some() && self.well_known.error().is_none()
    }

    /// Whether nobody knows what is to be left out, although something is: then nothing may be counted or reported.
    pub(super) const fn lacks_what_is_left_out(&self) -> bool {
        self.lacks
    }

    /// The good ones.
    pub(super) fn lists(&self) -> Lists {
        Lists {
            well_known: self.well_known.good().map(|list| list.as_ref().clone()),
            ignored_names: self.ignored_names.good().and_then(|list| list.as_ref().clone()),
            ignored_clients: self.ignored_clients.good().cloned().unwrap_or_default(),
        }
    }

    /// Whether one is missing or refused, but for the one of a server where that is only awaited.
    pub(super) fn is_refused(&self, awaits_fetched: bool) -> bool {
        let well_known = self.well_known.error().filter(|_| !awaits_fetched);
        [well_known, self.ignored_names.error(), self.ignored_clients.error()].iter().any(Option::is_some)
    }

    /// Why some are not the newest.
    pub(super) fn errors(&self) -> impl Iterator<Item = &str> {
        [self.well_known.error(), self.ignored_names.error(), self.ignored_clients.error()].into_iter().flatten()
    }
}

fn follow<T: PartialEq>(part: &mut Part<T>, path: Option<&Path>, read: impl FnOnce(&Path, Option<&T>) -> Result<T, String>) {
    let Some(path) = path else { return part.clear() };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let newest = read(path, part.good().map(|good| &**good));
    part.offer(newest.map_err(|error| format!("list {name}: {error}")));
}

/// The list with this hash; the last good one, whatever it was, until it is there: at a start the one that was in force before, if it is kept.
fn follow_fetched(part: &mut Part<Arc<List>>, proven: &mut Option<String>, wanted: &WantedList, budget: &Arc<Budget>) {
    // What is named by its content cannot have changed.
    let known = part.good().filter(|_| proven.as_ref() == Some(&wanted.sha256)).map(|good| Arc::clone(&**good));
    let newest = match known {
        Some(known) => Ok(known),
        None => fetched::read(&wanted.file, &wanted.sha256, wanted.most, budget).map(Arc::new),
    };
    if newest.is_ok() {
        *proven = Some(wanted.sha256.clone());
    } else if part.good().is_none()
        && let Some((sha256, list)) = fetched::before(wanted, budget)
    {
        *proven = Some(sha256);
        part.offer(Ok(Arc::new(list)));
    }
    part.offer(newest.map_err(|error| format!("list of well-known-domains-url: {error}")));
    fetched::tidy(wanted, proven.as_deref());
}

fn read_names(path: &Path, known: Option<&Arc<List>>, budget: &Arc<Budget>) -> Result<Option<Arc<List>>, String> {
    let names = config::names::ignored(path, budget.room()).map_err(|error| error.to_string())?;
    Ok(names.map(|names| match known {
        Some(known) if **known == names => Arc::clone(known),
        _ => Arc::new(names.charged(budget)),
    }))
}

fn read_clients(path: &Path, room: usize) -> Result<Clients, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length.min(MAX_CLIENTS).saturating_mul(OF_EACH_OCTET) > room as u64 {
        return Err(format!(
            "takes more than the {} MiB of memory that are left for it: the container's limit is too low",
            room >> 20
        ));
    }
    let text = bounded::read(path, MAX_CLIENTS).map_err(|error| error.to_string())?;
    Clients::parse(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Charge;

    #[test]
    fn a_list_that_the_container_has_no_room_for_is_refused_and_the_last_good_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let write = |count: usize| {
            let words: Vec<String> = (0..count).map(|number| format!("name-{number:06}.example.")).collect();
            std::fs::write(place("a.dawg"), tapir_wire::dawg::compile(words.iter().map(String::as_str)).unwrap()).unwrap();
            std::fs::write(place("clients"), "2001:db8::/64\n".repeat(count)).unwrap();
        };
        let (well_known, ignored_clients) = (Some(place("a.dawg")), Some(place("clients")));
        let files = Files { well_known, fetched: None, ignored_names: Some(place("a.dawg")), ignored_clients };
        let budget = Budget::of_limit(Some(64 << 20));
        let mut rest = Charge::new(&budget);
        rest.add(budget.room() - (2 << 20));
        let mut parts = ListParts::new(Arc::clone(&budget));
        write(1000);
        parts.read(&files);
        assert_eq!(parts.errors().next(), None);
        write(60_000);
        parts.read(&files);
        let errors: Vec<&str> = parts.errors().collect();
        assert_eq!(errors.len(), 3);
        assert!(errors.iter().all(|error| error.contains("MiB of memory that are left for it")), "{errors:?}");
        let lists = parts.lists();
        assert_eq!(lists.well_known.map(|list| list.len()), Some(1000));
        assert_eq!((lists.ignored_names.map(|list| list.len()), lists.ignored_clients.len()), (Some(1000), 1000));
        drop(rest);
        parts.read(&files);
        assert_eq!((parts.errors().next(), parts.lists().well_known.map(|list| list.len())), (None, Some(60_000)));
    }

    /// Files of lists that were fetched below a folder, and what wants one of them.
    fn fetched(data: &Path, content: &[u8]) -> (Files, PathBuf) {
        let sha256 = tapir_runtime::https::sha256(content);
        let file = fetched::place(data, &sha256);
        let wanted = WantedList { url: String::new(), sha256, anchors: None, file: file.clone(), most: 1 << 30 };
        (Files { fetched: Some(wanted), ..Files::default() }, file)
    }

    fn compiled(count: usize) -> Vec<u8> {
        let words: Vec<String> = (0..count).map(|number| format!("name-{number:06}.example.")).collect();
        tapir_wire::dawg::compile(words.iter().map(String::as_str)).unwrap()
    }

    fn put(file: &Path, content: &[u8]) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }

    #[test]
    fn a_list_of_a_server_is_refused_as_well_where_there_is_no_room_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let budget = Budget::of_limit(Some(64 << 20));
        let mut rest = Charge::new(&budget);
        rest.add(budget.room() - (2 << 20));
        let mut parts = ListParts::new(Arc::clone(&budget));
        // The second one is refused before it is read.
        for content in [compiled(60_000), vec![b'x'; 3 << 20]] {
            let (files, file) = fetched(folder.path(), &content);
            put(&file, &content);
            parts.read(&files);
            let error = parts.errors().next().unwrap_or_default();
            assert!(error.contains("MiB of memory that are left for it"), "{error}");
        }
        let before = budget.room();
        let content = compiled(1000);
        let (files, file) = fetched(folder.path(), &content);
        put(&file, &content);
        parts.read(&files);
        assert_eq!((parts.errors().next(), parts.has_fetched(), budget.room() < before), (None, true, true));
    }

    #[test]
    fn the_list_in_force_is_kept_until_another_one_is_and_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let budget = Budget::new(64 << 20);
        let [first, second, third] = [1, 2, 3].map(compiled);
        let ((wants_first, one), (wants_second, two)) = (fetched(folder.path(), &first), fetched(folder.path(), &second));
        let (wants_third, three) = fetched(folder.path(), &third);
        let has = |parts: &ListParts| parts.lists().well_known.map(|list| list.len());
        let mut parts = ListParts::new(Arc::clone(&budget));
        put(&one, &first);
        parts.read(&wants_first);
        parts.read(&wants_second);
        assert_eq!((has(&parts), parts.has_fetched(), one.exists()), (Some(1), false, true));
        // It comes when the first one is wanted again.
        put(&two, &second);
        parts.read(&wants_first);
        assert_eq!((has(&parts), parts.has_fetched(), one.exists(), two.exists()), (Some(1), true, true, false));
        put(&two, &second);
        parts.read(&wants_second);
        assert_eq!((has(&parts), parts.has_fetched(), one.exists(), two.exists()), (Some(2), true, false, true));

        // A start with another one, which is not there or is none.
        for _ in 0..2 {
            let mut parts = ListParts::new(Arc::clone(&budget));
            parts.read(&wants_third);
            assert_eq!((has(&parts), parts.has_fetched(), two.exists()), (Some(2), false, true));
            assert!(parts.errors().next().is_some());
            put(&three, b"no list");
        }
        // What is not what its name says is none of them.
        put(&two, &first);
        let mut parts = ListParts::new(Arc::clone(&budget));
        parts.read(&wants_third);
        assert_eq!((has(&parts), two.exists()), (None, false));
    }
}

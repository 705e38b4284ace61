//! How many records of each kind are in a zone: kept beside it as it changes, so that nobody has to walk through it to tell.

use tapir_table::{Code, Codes, Cursor as _, ReadError, TableFile};

/// What records do, as the configuration calls it; local data of feeds is a redirect, too.
const ACTIONS: [&str; 6] = ["PASSTHRU", "TCP-ONLY", "NODATA", "NXDOMAIN", "DROP", "Redirect"];
/// Whose records they are: of a name, or of the wildcard below it.
const OWNERS: [&str; 2] = ["name", "wildcard"];

/// Records by owner and action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([[u64; ACTIONS.len()]; OWNERS.len()]);

impl Tally {
    /// Of a table, by walking through it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(table: &TableFile) -> Result<Self, ReadError> {
        let (mut tally, mut scan) = (Self::default(), table.scan());
        while scan.advance()? {
            tally.add(scan.value());
        }
        Ok(tally)
    }

    /// What [`Tally::numbers`] gave; `None` where it is something else, or not so many records as there should be.
    #[must_use]
    pub fn from_numbers(numbers: &[u64], records: u64) -> Option<Self> {
        let (of_names, of_wildcards) = numbers.split_first_chunk()?;
        let tally = Self([*of_names, of_wildcards.try_into().ok()?]);
        let all = numbers.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        (all == Some(records)).then_some(tally)
    }

    /// To be written down.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        self.0.concat()
    }

    /// One more name.
    pub fn add(&mut self, codes: Codes) {
        self.change(Codes::SILENT, codes);
    }

    /// A name changed.
    pub fn change(&mut self, old: Codes, new: Codes) {
        for (owner, old, new) in [(0, old.own, new.own), (1, old.below, new.below)] {
            let Some(counts) = self.0.get_mut(owner) else { continue };
            if let Some(count) = place(old).and_then(|place| counts.get_mut(place)) {
                *count = count.saturating_sub(1);
            }
            if let Some(count) = place(new).and_then(|place| counts.get_mut(place)) {
                *count += 1;
            }
        }
    }

    /// Action, owner, and how many.
    pub fn rows(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        let of = |(owner, counts): (&'static str, [u64; ACTIONS.len()])| {
            ACTIONS.into_iter().zip(counts).map(move |(action, count)| ([action, owner], count))
        };
        OWNERS.into_iter().zip(self.0).flat_map(of)
    }
}

fn place(code: Code) -> Option<usize> {
    match code {
        Code::SILENT => None,
        code if code.set_index().is_some() => Some(ACTIONS.len() - 1),
        code => Some(usize::from(code.number()) - 1),
    }
}

#[cfg(test)]
mod tests {
    use tapir_table::{KeyBuf, Palette, TableWriter};

    use super::*;

    const CODES: [Code; 5] = [Code::PASSTHRU, Code::TCP_ONLY, Code::NODATA, Code::NXDOMAIN, Code::DROP];

    #[test]
    fn what_is_counted_as_it_changes_is_what_stands_there() {
        let all: Vec<Code> = CODES.into_iter().chain([Code::SILENT]).chain([0, 7].map(|set| Code::set(set).unwrap())).collect();
        let value = |number: usize| Codes::new(all[number % all.len()], all[number * 3 % 7 % all.len()]);
        let (mut counted, mut writer) = (Tally::default(), TableWriter::new(Vec::new()).unwrap());
        for number in 0..500 {
            let key = KeyBuf::from_text(&format!("n{number:03}"), 245).unwrap();
            // As it was, and as it is now.
            counted.add(value(number + 1));
            counted.change(value(number + 1), value(number));
            writer.push(&key, value(number)).unwrap();
        }
        let table = TableFile::from_memory(writer.finish(0, &Palette::default()).unwrap().0).unwrap();
        assert_eq!(Tally::of(&table).unwrap(), counted);
        assert_eq!(counted.rows().map(|(_, count)| count).sum::<u64>(), table.records());
        assert!(counted.rows().all(|(_, count)| count > 0), "{counted:?}");
        assert_eq!(Tally::from_numbers(&counted.numbers(), table.records()), Some(counted));
    }

    #[test]
    fn records_have_the_names_that_the_configuration_gives_them() {
        for (code, action) in CODES.into_iter().zip(ACTIONS).chain([(Code::set(3).unwrap(), "Redirect")]) {
            let mut tally = Tally::default();
            tally.add(Codes::new(code, Code::SILENT));
            tally.add(Codes::new(Code::SILENT, code));
            let rows: Vec<_> = tally.rows().filter(|(_, count)| *count > 0).collect();
            assert_eq!(rows, [([action, "name"], 1), ([action, "wildcard"], 1)]);
        }
    }

    #[test]
    fn numbers_of_something_else_are_not_believed() {
        let mut tally = Tally::default();
        tally.add(Codes::LISTED);
        let numbers = tally.numbers();
        assert_eq!(Tally::from_numbers(&numbers, 2), None);
        assert_eq!(Tally::from_numbers(&[numbers.as_slice(), &[0]].concat(), 1), None);
        assert_eq!(Tally::from_numbers(&[], 0), None);
        assert_eq!(Tally::from_numbers(&[u64::MAX; 12], 1), None);
    }
}

//! What session files tell of clients: their pseudonyms, and what their answers say by themselves.

use std::collections::BTreeSet;
use std::path::Path;

use tapir_edm::pseudonym::{CryptoPan, Key, Pseudonym, SentAddress};

use super::dnstap::{answer, octets, with_options};
use super::load::{Client, SALT, SECRET, names_beside};
use super::parquet::{Cell, File};
use super::search::Search;

/// Columns of the client's address: IPv4, and both halves of IPv6.
const CLIENT: std::ops::RangeInclusive<usize> = 20..=22;
/// Columns of what was answered; names that carry addresses are stored as they are.
const ANSWER: [usize; 11] = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17];

pub(super) fn have_pseudonyms_alone(folder: &Path, clients: &[Client]) {
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let rows: Vec<_> = files.iter().flat_map(|path| File::read(&std::fs::read(path).unwrap()).rows).collect();
    let search = Search::for_addresses(clients);
    // Without subnets and cookies.
    let answers: BTreeSet<Vec<u8>> = clients
        .iter()
        .flat_map(|client| names_beside(client).into_iter().map(|name| with_options(answer(&name), &[])))
        .chain([answer(super::LAST.as_bytes())])
        .collect();
    let mut found = BTreeSet::new();
    for row in &rows {
        let Cell::Octets(message) = &row[17] else { panic!("an answer was left out") };
        // A broken frame of the load asks for the root, or for what it takes for a name.
        let known = answers.contains(message);
        for (column, cell) in row.iter().enumerate().filter(|(column, _)| !known || !ANSWER.contains(column)) {
            let octets = match cell {
                Cell::Null => continue,
                Cell::Number(number) => [number.to_be_bytes(), number.to_le_bytes()].concat(),
                Cell::Octets(octets) => octets.clone(),
            };
            let what: Vec<_> = search.find(&octets).collect();
            assert!(what.is_empty(), "column {column}: {what:?}");
        }
        found.insert(row[CLIENT].iter().map(number).collect::<Vec<_>>());
    }
    let pan = CryptoPan::new(&Key::derive(SECRET, SALT).unwrap());
    let pseudonym = |client: &Client| match (client.0.is_ipv4(), pan.of(SentAddress::of(&octets(client.0))).unwrap()) {
        (true, Pseudonym::V4(octets)) => vec![Some(u32::from_be_bytes(octets).into()), None, None],
        (_, Pseudonym::V4(octets)) => vec![None, Some(0xffff_0000_0000 | u64::from(u32::from_be_bytes(octets))), Some(0)],
        (_, Pseudonym::V6(octets)) => {
            let number = u128::from_be_bytes(octets);
            vec![None, Some(number as u64), Some((number >> 64) as u64)]
        }
    };
    let mut expected: BTreeSet<_> = clients.iter().map(pseudonym).collect();
    // Of whom the resolver did not say which family.
    expected.insert(vec![None; 3]);
    assert_eq!(found, expected, "everybody, under a pseudonym");
    println!("{} rows in {} session files", rows.len(), files.len());
}

fn number(cell: &Cell) -> Option<u64> {
    if let Cell::Number(number) = cell { Some(*number) } else { None }
}

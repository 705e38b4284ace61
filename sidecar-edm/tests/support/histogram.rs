//! Rows of a histogram file, by the name of their entry.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use super::parquet::{Cell, File};

const LABELS: std::ops::RangeInclusive<usize> = 1..=10;
const NUMBERS: std::ops::RangeInclusive<usize> = 11..=23;

/// What a row says, in the order of its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// A, AAAA, MX, NS, other types, not IN.
    pub types: [u64; 6],
    /// NOERROR, NXDOMAIN, SERVFAIL, others.
    pub codes: [u64; 4],
    pub status_bits: u64,
    /// IPv4 and IPv6.
    pub clients: [u64; 2],
    pub sketches: [Option<Vec<u8>>; 2],
}

/// All rows of a file.
pub fn rows(octets: &[u8]) -> BTreeMap<String, Row> {
    File::read(octets).rows.iter().map(|cells| (entry(cells), row(cells))).collect()
}

/// The same as `name: answers`.
pub fn answers(octets: &[u8]) -> BTreeMap<String, u64> {
    rows(octets).into_iter().map(|(name, row)| (name, row.types.iter().sum())).collect()
}

fn entry(cells: &[Cell]) -> String {
    let labels: Vec<&str> = cells[LABELS]
        .iter()
        .filter_map(|cell| if let Cell::Octets(octets) = cell { Some(std::str::from_utf8(octets).unwrap()) } else { None })
        .collect();
    labels.iter().rev().map(|label| format!("{label}.")).collect()
}

fn row(cells: &[Cell]) -> Row {
    let numbers: Vec<u64> =
        cells[NUMBERS].iter().map(|cell| if let Cell::Number(number) = cell { *number } else { panic!("{cell:?}") }).collect();
    let sketch = |cell: &Cell| if let Cell::Octets(octets) = cell { Some(octets.clone()) } else { None };
    let row = Row {
        types: numbers[..6].try_into().unwrap(),
        codes: numbers[6..10].try_into().unwrap(),
        status_bits: numbers[10],
        clients: numbers[11..].try_into().unwrap(),
        sketches: [sketch(&cells[24]), sketch(&cells[25])],
    };
    assert_eq!(row.types.iter().sum::<u64>(), row.codes.iter().sum::<u64>());
    row
}

//! A reader of Parquet files that shares nothing with the writer: thrift's compact protocol as a tree, Snappy, PLAIN pages of version 1.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

/// A value of thrift.
#[derive(Clone, Debug, PartialEq)]
pub enum Thrift {
    Bool(bool),
    Number(i64),
    Binary(Vec<u8>),
    List(Vec<Thrift>),
    Struct(BTreeMap<i16, Thrift>),
}

impl Thrift {
    pub fn at(&self, field: i16) -> &Self {
        self.get(field).unwrap_or_else(|| panic!("no field {field} in {self:?}"))
    }

    pub fn get(&self, field: i16) -> Option<&Self> {
        let Self::Struct(fields) = self else { panic!("no structure: {self:?}") };
        fields.get(&field)
    }

    pub fn number(&self) -> i64 {
        let Self::Number(number) = self else { panic!("no number: {self:?}") };
        *number
    }

    pub fn octets(&self) -> &[u8] {
        let Self::Binary(octets) = self else { panic!("no octets: {self:?}") };
        octets
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(self.octets()).unwrap()
    }

    pub fn list(&self) -> &[Self] {
        let Self::List(list) = self else { panic!("no list: {self:?}") };
        list
    }
}

struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn octet(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn varint(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let octet = self.octet();
            value |= u64::from(octet & 0x7f) << shift;
            shift += 7;
            if octet < 0x80 {
                return value;
            }
        }
    }

    fn zigzag(&mut self) -> i64 {
        let value = self.varint();
        (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
    }

    fn value(&mut self, kind: u8) -> Thrift {
        match kind {
            1 => Thrift::Bool(true),
            2 => Thrift::Bool(false),
            3 => Thrift::Number(i64::from(self.octet().cast_signed())),
            4..=6 => Thrift::Number(self.zigzag()),
            8 => {
                let length = self.varint() as usize;
                Thrift::Binary(self.take(length).to_vec())
            }
            9 => {
                let header = self.octet();
                let count = if header >> 4 == 15 { self.varint() } else { u64::from(header >> 4) };
                Thrift::List((0..count).map(|_| self.value(header & 15)).collect())
            }
            12 => Thrift::Struct(self.fields()),
            _ => panic!("kind {kind}"),
        }
    }

    fn fields(&mut self) -> BTreeMap<i16, Thrift> {
        let (mut fields, mut last) = (BTreeMap::new(), 0);
        loop {
            let header = self.octet();
            if header == 0 {
                return fields;
            }
            last = if header >> 4 == 0 { self.zigzag() as i16 } else { last + i16::from(header >> 4) };
            let value = self.value(header & 15);
            assert!(fields.insert(last, value).is_none(), "field {last} twice");
        }
    }
}

/// Snappy's block format.
pub fn unsnappy(input: &[u8]) -> Vec<u8> {
    let mut input = Octets(input);
    let length = input.varint() as usize;
    let mut output = Vec::new();
    let little = |octets: &[u8]| octets.iter().rev().fold(0, |number, octet| number << 8 | usize::from(*octet));
    while !input.0.is_empty() {
        let tag = usize::from(input.octet());
        let (length, offset) = match tag & 3 {
            0 => {
                let length = if tag >> 2 < 60 { tag >> 2 } else { little(input.take((tag >> 2) - 59)) } + 1;
                output.extend_from_slice(input.take(length));
                continue;
            }
            1 => ((tag >> 2 & 7) + 4, tag >> 5 << 8 | usize::from(input.octet())),
            wide => ((tag >> 2) + 1, little(input.take(if wide == 2 { 2 } else { 4 }))),
        };
        for _ in 0..length {
            output.push(output[output.len() - offset]);
        }
    }
    assert_eq!(output.len(), length);
    output
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Null,
    Number(u64),
    Octets(Vec<u8>),
}

/// A file that was read whole.
pub struct File {
    pub footer: Thrift,
    pub rows: Vec<Vec<Cell>>,
}

impl File {
    pub fn read(octets: &[u8]) -> Self {
        let (body, magic) = octets.split_at(octets.len() - 4);
        assert_eq!((&octets[..4], magic), (&b"PAR1"[..], &b"PAR1"[..]));
        let (body, length) = body.split_at(body.len() - 4);
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let (_, footer) = body.split_at(body.len() - length);
        let mut footer_octets = Octets(footer);
        let footer = Thrift::Struct(footer_octets.fields());
        assert!(footer_octets.0.is_empty());
        let schema = &footer.at(2).list()[1..];
        let mut rows = Vec::new();
        // Everything between the two ends belongs to some column, one behind the other.
        let mut place = 4;
        for (ordinal, group) in footer.at(4).list().iter().enumerate() {
            assert_eq!(group.at(7).number(), ordinal as i64);
            let count = group.at(3).number() as usize;
            let start = rows.len();
            rows.resize_with(start + count, Vec::new);
            assert_eq!(group.at(1).list().len(), schema.len());
            for (chunk, column) in group.at(1).list().iter().zip(schema) {
                let chunk = chunk.at(3);
                assert_eq!(chunk.at(9).number(), place as i64);
                assert_eq!(chunk.at(3).list()[0].text(), column.at(4).text());
                let size = chunk.at(7).number() as usize;
                let cells = cells(&octets[place..place + size], chunk, column);
                assert_eq!(cells.len(), count);
                for (row, cell) in rows[start..].iter_mut().zip(cells) {
                    row.push(cell);
                }
                place += size;
            }
        }
        assert_eq!(place, octets.len() - 8 - length);
        assert_eq!(footer.at(3).number(), rows.len() as i64);
        Self { footer, rows }
    }

    pub fn metadata(&self) -> BTreeMap<String, String> {
        let pairs = self.footer.get(5).map(Thrift::list).unwrap_or_default();
        pairs.iter().map(|pair| (pair.at(1).text().to_owned(), pair.at(2).text().to_owned())).collect()
    }
}

fn cells(octets: &[u8], chunk: &Thrift, column: &Thrift) -> Vec<Cell> {
    let mut page = Octets(octets);
    let header = Thrift::Struct(page.fields());
    assert_eq!(header.at(1).number(), 0, "a data page of version 1");
    assert_eq!(header.at(3).number() as usize, page.0.len());
    let header_size = octets.len() - page.0.len();
    assert_eq!(chunk.at(4).number(), 1, "Snappy");
    let body = unsnappy(page.0);
    assert_eq!(header.at(2).number() as usize, body.len());
    assert_eq!(chunk.at(6).number() as usize, header_size + body.len());
    let count = header.at(5).at(1).number() as usize;
    assert_eq!(chunk.at(5).number() as usize, count);
    let mut body = Octets(&body);
    let present = if column.at(3).number() == 1 { levels(&mut body, count) } else { vec![true; count] };
    let cells: Vec<Cell> = present
        .iter()
        .map(|present| match (present, column.at(1).number()) {
            (false, _) => Cell::Null,
            (true, 1) => Cell::Number(u32::from_le_bytes(body.take(4).try_into().unwrap()).into()),
            (true, 2) => Cell::Number(u64::from_le_bytes(body.take(8).try_into().unwrap())),
            (true, 6) => {
                let length = u32::from_le_bytes(body.take(4).try_into().unwrap()) as usize;
                Cell::Octets(body.take(length).to_vec())
            }
            (true, other) => panic!("type {other}"),
        })
        .collect();
    assert!(body.0.is_empty());
    check_statistics(chunk.at(12), &cells, if column.at(1).number() == 1 { 4 } else { 8 });
    cells
}

fn levels(body: &mut Octets<'_>, count: usize) -> Vec<bool> {
    let length = u32::from_le_bytes(body.take(4).try_into().unwrap()) as usize;
    let mut runs = Octets(body.take(length));
    let mut levels = Vec::new();
    while !runs.0.is_empty() {
        let header = runs.varint() as usize;
        if header & 1 == 0 {
            let level = runs.octet() == 1;
            levels.resize(levels.len() + (header >> 1), level);
        } else {
            for octet in runs.take(header >> 1) {
                levels.extend((0..8).map(|bit| octet >> bit & 1 == 1));
            }
        }
    }
    assert!(levels.len() >= count && levels.len() < count + 8);
    levels.truncate(count);
    levels
}

fn check_statistics(statistics: &Thrift, cells: &[Cell], width: usize) {
    let nulls = cells.iter().filter(|cell| **cell == Cell::Null).count();
    assert_eq!(statistics.at(3).number() as usize, nulls);
    let numbers: Vec<u64> =
        cells.iter().filter_map(|cell| if let Cell::Number(number) = cell { Some(*number) } else { None }).collect();
    let said = |field| {
        let octets = statistics.get(field)?.octets();
        assert_eq!(octets.len(), width);
        Some(octets.iter().rev().fold(0, |number, octet| number << 8 | u64::from(*octet)))
    };
    assert_eq!((said(5), said(6)), (numbers.iter().max().copied(), numbers.iter().min().copied()));
}

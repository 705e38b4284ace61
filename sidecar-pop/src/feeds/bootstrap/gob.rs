//! What upstream's policy processor exports of a list: the part of Go's `encoding/gob` that it uses, read from octets that may be
//! anything. Names, times, lifetimes and tags are taken; settings of the other side are passed over.

use std::collections::HashMap;

use jiff::Timestamp;
use tapir_wire::name::Name;
use tapir_wire::observation::Entry;

/// Types within types. The list has four of them.
const DEPTH: u32 = 16;
/// Types, and fields of one, at most.
const TYPES: usize = 256;
/// Seconds between the year 1, when Go's time begins, and 1970.
const TO_1970: i64 = 62_135_596_800;
/// Numbers of types that need no definition.
const BOOL: i64 = 1;
const INT: i64 = 2;
const UINT: i64 = 3;
const FLOAT: i64 = 4;
const OCTETS: i64 = 5;
const STRING: i64 = 6;
const COMPLEX: i64 = 7;
const INTERFACE: i64 = 8;

/// Why an export is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GobError {
    /// It ends within something.
    #[error("the export is cut off")]
    Short,
    /// Something that cannot be there.
    #[error("the export is not as Go's gob writes it")]
    Malformed,
    /// A type that upstream's lists do not have.
    #[error("the export has a type that lists do not have")]
    Unknown,
    /// Another list than the one that was asked for.
    #[error("the export is of another list")]
    OtherList,
}

type Result<T> = std::result::Result<T, GobError>;

/// The observations of a list `name` at the start of a body. What is no name, or has no time, is counted and left out.
pub fn read(body: &[u8], name: &str) -> Result<(Vec<Entry>, u64)> {
    let mut types = Types::default();
    let mut rest = Octets(body);
    loop {
        let length = usize::try_from(rest.uint()?).map_err(|_| GobError::Malformed)?;
        let mut message = Octets(rest.take(length)?);
        match message.int()? {
            id if id < 0 => types.define(id.checked_neg().ok_or(GobError::Malformed)?, &mut message)?,
            id => return List::read(&types, id, &mut message, name),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(GobError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn uint(&mut self) -> Result<u64> {
        let first = *self.take(1)?.first().ok_or(GobError::Short)?;
        if first < 128 {
            return Ok(first.into());
        }
        let count = usize::from(first.wrapping_neg());
        if count > 8 {
            return Err(GobError::Malformed);
        }
        Ok(self.take(count)?.iter().fold(0, |value, octet| value << 8 | u64::from(*octet)))
    }

    /// The lowest bit says whether the others are inverted.
    fn int(&mut self) -> Result<i64> {
        let value = self.uint()?;
        let half = i64::try_from(value >> 1).map_err(|_| GobError::Malformed)?;
        Ok(if value & 1 == 1 { !half } else { half })
    }

    fn string(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.uint()?).map_err(|_| GobError::Malformed)?;
        self.take(length)
    }

    /// Number of elements that follow, each at least an octet.
    fn count(&mut self) -> Result<usize> {
        let count = usize::try_from(self.uint()?).map_err(|_| GobError::Malformed)?;
        if count > self.0.len() { Err(GobError::Short) } else { Ok(count) }
    }

    /// Goes over the fields of a struct that are there, by their numbers from 0.
    fn fields(&mut self, mut each: impl FnMut(&mut Self, usize) -> Result<()>) -> Result<()> {
        let mut field = usize::MAX;
        loop {
            let step = usize::try_from(self.uint()?).map_err(|_| GobError::Malformed)?;
            if step == 0 {
                return Ok(());
            }
            field = field.wrapping_add(step);
            if field >= TYPES {
                return Err(GobError::Malformed);
            }
            each(self, field)?;
        }
    }
}

#[derive(Debug)]
enum Kind {
    List(i64),
    Struct(Vec<(String, i64)>),
    Map(i64, i64),
    /// Encodes itself.
    Opaque,
}

#[derive(Debug, Default)]
struct Types(HashMap<i64, Kind>);

impl Types {
    fn define(&mut self, id: i64, octets: &mut Octets<'_>) -> Result<()> {
        if self.0.len() >= TYPES {
            return Err(GobError::Malformed);
        }
        let mut kind = None;
        // A definition has one field: array, slice, struct, map, or one of those that encode themselves.
        octets.fields(|octets, which| {
            let mut numbers = [0; 2];
            let mut members = Vec::new();
            octets.fields(|octets, field| match (which, field) {
                (_, 0) => {
                    octets.fields(|octets, field| if field == 0 { octets.string().map(drop) } else { octets.int().map(drop) })
                }
                (2, 1) => {
                    for _ in 0..octets.count()? {
                        members.push(member(octets)?);
                    }
                    if members.len() > TYPES { Err(GobError::Malformed) } else { Ok(()) }
                }
                (0 | 1 | 3, 1 | 2) => {
                    let number = octets.int()?;
                    numbers.get_mut(field - 1).map(|place| *place = number).ok_or(GobError::Malformed)
                }
                _ => Err(GobError::Unknown),
            })?;
            let [first, second] = numbers;
            kind = Some(match which {
                0 | 1 => Kind::List(first),
                2 => Kind::Struct(std::mem::take(&mut members)),
                3 => Kind::Map(first, second),
                4..=6 => Kind::Opaque,
                _ => return Err(GobError::Unknown),
            });
            Ok(())
        })?;
        self.0.insert(id, kind.ok_or(GobError::Malformed)?);
        Ok(())
    }

    fn get(&self, id: i64) -> Result<&Kind> {
        self.0.get(&id).ok_or(GobError::Unknown)
    }

    fn members(&self, id: i64) -> Result<&[(String, i64)]> {
        match self.get(id)? {
            Kind::Struct(members) => Ok(members),
            _ => Err(GobError::Unknown),
        }
    }

    /// Passes over a value.
    fn skip(&self, id: i64, octets: &mut Octets<'_>, depth: u32) -> Result<()> {
        if depth == 0 {
            return Err(GobError::Malformed);
        }
        match id {
            BOOL | INT | UINT | FLOAT => octets.uint().map(drop),
            OCTETS | STRING => octets.string().map(drop),
            COMPLEX => octets.uint().and_then(|_| octets.uint()).map(drop),
            // The name of the type in it; none: nothing is in it.
            INTERFACE if octets.string()?.is_empty() => Ok(()),
            INTERFACE => Err(GobError::Unknown),
            _ => match self.get(id)? {
                Kind::Opaque => octets.string().map(drop),
                Kind::List(element) => (0..octets.count()?).try_for_each(|_| self.skip(*element, octets, depth - 1)),
                Kind::Map(key, element) => (0..octets.count()?).try_for_each(|_| {
                    self.skip(*key, octets, depth - 1)?;
                    self.skip(*element, octets, depth - 1)
                }),
                Kind::Struct(members) => octets.fields(|octets, field| {
                    let (_, id) = members.get(field).ok_or(GobError::Malformed)?;
                    self.skip(*id, octets, depth - 1)
                }),
            },
        }
    }
}

/// Name and type of a field.
fn member(octets: &mut Octets<'_>) -> Result<(String, i64)> {
    let (mut name, mut id) = (String::new(), 0);
    octets.fields(|octets, field| {
        match field {
            0 => name = String::from_utf8_lossy(octets.string()?).into_owned(),
            1 => id = octets.int()?,
            _ => return Err(GobError::Unknown),
        }
        Ok(())
    })?;
    Ok((name, id))
}

#[derive(Debug, Default)]
struct List {
    entries: Vec<Entry>,
    left_out: u64,
}

impl List {
    fn read(types: &Types, id: i64, octets: &mut Octets<'_>, name: &str) -> Result<(Vec<Entry>, u64)> {
        let members = types.members(id)?;
        let mut list = Self::default();
        octets.fields(|octets, field| {
            let (member, id) = members.get(field).ok_or(GobError::Malformed)?;
            match member.as_str() {
                "Name" if *id == STRING => {
                    if octets.string()? == name.as_bytes() {
                        Ok(())
                    } else {
                        Err(GobError::OtherList)
                    }
                }
                "Names" => list.names(types, *id, octets),
                _ => types.skip(*id, octets, DEPTH),
            }
        })?;
        Ok((list.entries, list.left_out))
    }

    fn names(&mut self, types: &Types, id: i64, octets: &mut Octets<'_>) -> Result<()> {
        let Kind::Map(STRING, element) = types.get(id)? else { return Err(GobError::Unknown) };
        let members = types.members(*element)?;
        for _ in 0..octets.count()? {
            let key = octets.string()?;
            match entry(types, members, key, octets)? {
                Some(entry) => self.entries.push(entry),
                None => self.left_out += 1,
            }
        }
        Ok(())
    }
}

/// `None`: no name, or nothing that says when it was seen.
fn entry(types: &Types, members: &[(String, i64)], key: &[u8], octets: &mut Octets<'_>) -> Result<Option<Entry>> {
    let (mut added, mut ttl, mut tags) = (None, 0, 0);
    octets.fields(|octets, field| {
        let (member, id) = members.get(field).ok_or(GobError::Malformed)?;
        match (member.as_str(), *id) {
            ("TimeAdded", id) if matches!(types.get(id), Ok(Kind::Opaque)) => added = time(octets.string()?),
            ("TTL", INT) => ttl = octets.int()?,
            ("TagMask", UINT) => tags = octets.uint()?,
            (_, id) => types.skip(id, octets, DEPTH)?,
        }
        Ok(())
    })?;
    let name = std::str::from_utf8(key).ok().and_then(|name| Name::parse(name).ok()).filter(|name| !name.is_root());
    // Nanoseconds, as everything that lasts in Go.
    let ttl = u32::try_from((ttl / 1_000_000_000).max(0)).unwrap_or(u32::MAX);
    let entry = |(name, time_added)| Some(Entry { name, time_added, ttl, tag_mask: u32::try_from(tags).ok()? });
    Ok(name.zip(added).and_then(entry))
}

/// Version, seconds since the year 1, nanoseconds, offset of the zone: in minutes, and in version 2 an octet of seconds.
fn time(octets: &[u8]) -> Option<Timestamp> {
    let (version, rest) = octets.split_first()?;
    let (seconds, rest) = rest.split_first_chunk::<8>()?;
    let (nanoseconds, rest) = rest.split_first_chunk::<4>()?;
    if !matches!((version, rest.len()), (1, 2) | (2, 3)) {
        return None;
    }
    let seconds = i64::from_be_bytes(*seconds).checked_sub(TO_1970)?;
    Timestamp::new(seconds, i32::from_be_bytes(*nanoseconds)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vector(file: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../tapir-wire/vectors/pop/bootstrap/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn exports_of_upstream() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tapir-wire/vectors/pop/bootstrap");
        let mut seen = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            let Some(stem) = file.strip_suffix(".gob") else { continue };
            let expected: Value = serde_json::from_slice(&vector(&format!("{stem}.expected.json"))).unwrap();
            let (mut entries, left_out) = read(&vector(&file), "dns-tapir").unwrap();
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            let wanted: Vec<Entry> = expected["Names"]
                .as_object()
                .unwrap()
                .values()
                .map(|value| Entry {
                    name: Name::parse(value["Name"].as_str().unwrap()).unwrap(),
                    time_added: value["TimeAdded"].as_str().unwrap().parse().unwrap(),
                    ttl: u32::try_from(value["TTL"].as_i64().unwrap() / 1_000_000_000).unwrap(),
                    tag_mask: u32::try_from(value["TagMask"].as_u64().unwrap()).unwrap(),
                })
                .collect();
            assert_eq!((entries, left_out), (wanted, 0), "{file}");
            seen += 1;
        }
        assert_eq!(seen, 4);
        assert_eq!(read(&vector("bootstrap-export-one-name.gob"), "other"), Err(GobError::OtherList));
    }

    #[test]
    fn octets_that_are_no_export() {
        let good = vector("bootstrap-export-one-name.gob");
        for end in 0..good.len() {
            assert!(read(&good[..end], "dns-tapir").is_err(), "{end}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // What counts is that it ends, and is not large.
            if let Ok((entries, _)) = read(&bad, "dns-tapir") {
                assert!(entries.len() <= 1);
            }
        }
        let mut state = 7_u64;
        for size in 0..3000_usize {
            let random = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as u8
            });
            let octets: Vec<u8> = random.take(size % 300).collect();
            assert!(read(&octets, "dns-tapir").is_err());
        }
        // Numbers of elements that are not there, and types within themselves.
        assert!(read(&[0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "x").is_err());
        let mut types = Types::default();
        types.0.insert(70, Kind::List(70));
        assert_eq!(types.skip(70, &mut Octets(&[1; 100]), DEPTH), Err(GobError::Malformed));
    }
}

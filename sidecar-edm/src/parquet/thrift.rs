//! Thrift's compact protocol, as much of it as Parquet's headers need (apache/thrift: doc/specs/thrift-compact-protocol.md).

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const OCTET: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A structure that is being written. Fields come in ascending order, less than 16 apart.
pub(super) struct Struct<'a> {
    out: &'a mut Vec<u8>,
    last: i16,
}

/// A list of structures that is being written.
pub(super) struct Structs<'a> {
    out: &'a mut Vec<u8>,
}

/// Writes a whole structure.
pub(super) fn write(out: &mut Vec<u8>, fields: impl FnOnce(&mut Struct<'_>)) {
    let mut structure = Struct { out, last: 0 };
    fields(&mut structure);
    structure.out.push(0);
}

impl Struct<'_> {
    pub(super) fn boolean(&mut self, field: i16, value: bool) {
        self.header(field, if value { TRUE } else { FALSE });
    }

    pub(super) fn octet(&mut self, field: i16, value: u8) {
        self.header(field, OCTET);
        self.out.push(value);
    }

    pub(super) fn i16(&mut self, field: i16, value: i16) {
        self.header(field, I16);
        zigzag(self.out, value.into());
    }

    pub(super) fn i32(&mut self, field: i16, value: i32) {
        self.header(field, I32);
        zigzag(self.out, value.into());
    }

    pub(super) fn i64(&mut self, field: i16, value: i64) {
        self.header(field, I64);
        zigzag(self.out, value);
    }

    pub(super) fn text(&mut self, field: i16, value: &str) {
        self.binary(field, value.as_bytes());
    }

    pub(super) fn binary(&mut self, field: i16, value: &[u8]) {
        self.header(field, BINARY);
        binary(self.out, value);
    }

    pub(super) fn inner(&mut self, field: i16, fields: impl FnOnce(&mut Struct<'_>)) {
        self.header(field, STRUCT);
        write(self.out, fields);
    }

    pub(super) fn i32s(&mut self, field: i16, values: &[i32]) {
        self.list(field, values.len(), I32);
        for value in values {
            zigzag(self.out, (*value).into());
        }
    }

    pub(super) fn texts(&mut self, field: i16, values: &[&str]) {
        self.list(field, values.len(), BINARY);
        for value in values {
            binary(self.out, value.as_bytes());
        }
    }

    pub(super) fn structs(&mut self, field: i16, count: usize, elements: impl FnOnce(&mut Structs<'_>)) {
        self.list(field, count, STRUCT);
        elements(&mut Structs { out: self.out });
    }

    fn list(&mut self, field: i16, count: usize, kind: u8) {
        self.header(field, LIST);
        match u8::try_from(count) {
            Ok(count @ 0..15) => self.out.push(count << 4 | kind),
            _ => {
                self.out.push(0xf0 | kind);
                varint(self.out, count as u64);
            }
        }
    }

    fn header(&mut self, field: i16, kind: u8) {
        let step = u8::try_from(field - self.last).unwrap_or_default();
        debug_assert!((1..16).contains(&step), "field {field} after {}", self.last);
        self.out.push(step << 4 | kind);
        self.last = field;
    }
}

impl Structs<'_> {
    pub(super) fn element(&mut self, fields: impl FnOnce(&mut Struct<'_>)) {
        write(self.out, fields);
    }

    /// Elements that were written before.
    pub(super) fn written(&mut self, elements: &[u8]) {
        self.out.extend_from_slice(elements);
    }
}

fn binary(out: &mut Vec<u8>, value: &[u8]) {
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, (value << 1 ^ value >> 63).cast_unsigned());
}

/// Seven bits an octet, the lowest first.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 && low < 0x80 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_varints_in_zigzag() {
        let number = |value| {
            let mut out = Vec::new();
            zigzag(&mut out, value);
            out
        };
        assert_eq!(number(0), [0]);
        assert_eq!(number(-1), [1]);
        assert_eq!(number(1), [2]);
        assert_eq!(number(-64), [0x7f]);
        assert_eq!(number(64), [0x80, 1]);
        assert_eq!(number(i64::MAX), [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
        assert_eq!(number(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }

    #[test]
    fn structures_carry_distances_of_fields_and_long_lists_their_count() {
        let mut out = Vec::new();
        write(&mut out, |root| {
            root.i32(1, 2);
            root.boolean(4, true);
            root.inner(5, |inner| inner.text(1, "ab"));
            root.i32s(6, &[0; 15]);
        });
        let list = [&[0x19, 0xf5, 15][..], &[0; 15]].concat();
        assert_eq!(out, [&[0x15, 4, 0x31, 0x1c, 0x18, 2, b'a', b'b', 0][..], &list, &[0]].concat());
    }
}

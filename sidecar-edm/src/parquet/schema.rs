//! What columns a file has.

use super::thrift::Struct;

/// Physical types of the format that are used here (`Type`).
pub(super) const INT32: i32 = 1;
const INT64: i32 = 2;
const BYTE_ARRAY: i32 = 6;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Microseconds since the epoch, in UTC.
    Timestamp,
    /// An unsigned number of 64 bits.
    Count,
    /// An unsigned number of 32 bits.
    Word,
    /// An unsigned number of 16 bits; larger ones of 32 bits are kept as they are.
    Short,
    /// An unsigned number of 8 bits; larger ones of 32 bits are kept as they are.
    Octet,
    /// UTF-8.
    Text,
    /// Octets without a meaning that the format knows.
    Octets,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether a row may have no value there.
    pub optional: bool,
}

/// A flat schema.
#[derive(Debug)]
pub struct Schema {
    /// Name of the root.
    pub root: &'static str,
    /// The columns, in order.
    pub columns: &'static [Column],
}

impl Kind {
    pub(super) const fn physical(self) -> i32 {
        match self {
            Self::Timestamp | Self::Count => INT64,
            Self::Word | Self::Short | Self::Octet => INT32,
            Self::Text | Self::Octets => BYTE_ARRAY,
        }
    }

    /// Rather than octets.
    pub(super) const fn is_number(self) -> bool {
        !matches!(self, Self::Text | Self::Octets)
    }

    /// For readers older than logical types (`ConvertedType`).
    const fn converted(self) -> Option<i32> {
        match self {
            Self::Timestamp => Some(10),
            Self::Octet => Some(11),
            Self::Short => Some(12),
            Self::Word => Some(13),
            Self::Count => Some(14),
            Self::Text => Some(0),
            Self::Octets => None,
        }
    }

    /// The union `LogicalType`.
    fn logical(self, union: &mut Struct<'_>) {
        match self {
            Self::Timestamp => union.inner(8, |timestamp| {
                timestamp.boolean(1, true);
                timestamp.inner(2, |unit| unit.inner(2, |_| ()));
            }),
            Self::Count => unsigned(union, 64),
            Self::Word => unsigned(union, 32),
            Self::Short => unsigned(union, 16),
            Self::Octet => unsigned(union, 8),
            Self::Text => union.inner(1, |_| ()),
            Self::Octets => {}
        }
    }
}

fn unsigned(union: &mut Struct<'_>, bits: u8) {
    union.inner(10, |integer| {
        integer.octet(1, bits);
        integer.boolean(2, false);
    });
}

impl Schema {
    /// Writes the list of `SchemaElement`: the root, then the columns.
    pub(super) fn write(&self, field: i16, file: &mut Struct<'_>) {
        file.structs(field, self.columns.len() + 1, |list| {
            list.element(|root| {
                root.text(4, self.root);
                root.i32(5, i32::try_from(self.columns.len()).unwrap_or(i32::MAX));
            });
            for column in self.columns {
                list.element(|element| column.write(element));
            }
        });
    }
}

impl Column {
    fn write(&self, element: &mut Struct<'_>) {
        element.i32(1, self.kind.physical());
        element.i32(3, i32::from(self.optional));
        element.text(4, self.name);
        if let Some(converted) = self.kind.converted() {
            element.i32(6, converted);
            element.inner(10, |union| self.kind.logical(union));
        }
    }
}

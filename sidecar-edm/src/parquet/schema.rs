//! What columns a file has.

use super::thrift::Struct;

/// Physical types of the format that are used here (`Type`).
const INT64: i32 = 2;
const BYTE_ARRAY: i32 = 6;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Microseconds since the epoch, in UTC.
    Timestamp,
    /// An unsigned number of 64 bits.
    Count,
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
            Self::Text | Self::Octets => BYTE_ARRAY,
        }
    }

    /// For readers older than logical types (`ConvertedType`).
    const fn converted(self) -> Option<i32> {
        match self {
            Self::Timestamp => Some(10),
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
            Self::Count => union.inner(10, |integer| {
                integer.octet(1, 64);
                integer.boolean(2, false);
            }),
            Self::Text => union.inner(1, |_| ()),
            Self::Octets => {}
        }
    }
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

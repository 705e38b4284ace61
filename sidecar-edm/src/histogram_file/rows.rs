//! Rows of a minute, and the file of them.

use std::io::Write;

use super::Interval;
use super::labels::LABELS;
use super::schema::{COLUMNS, SCHEMA};
use crate::instance::Instance;
use crate::parquet::{Bounds, Value, WriteError, Writer};

/// Key of the footer's entry that tells Pods apart.
const INSTANCE: &str = "tapir.instance";

/// Who wrote a file, in the form that readers expect: `<program> version <version> (build <commit>)`.
pub(crate) fn created_by() -> String {
    format!("tapir-edm version {} (build {})", tapir_version::VERSION, tapir_version::COMMIT)
}

/// What was counted for one entry of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row<'a> {
    /// As [`super::labels`] splits them.
    pub labels: [Option<&'a str>; LABELS],
    /// Responses for A in class IN.
    pub a: u64,
    /// For AAAA.
    pub aaaa: u64,
    /// For MX.
    pub mx: u64,
    /// For NS.
    pub ns: u64,
    /// For any other type in class IN.
    pub other_type: u64,
    /// In any other class.
    pub non_in: u64,
    /// NOERROR.
    pub ok: u64,
    /// NXDOMAIN.
    pub nx: u64,
    /// SERVFAIL.
    pub fail: u64,
    /// Any other response code.
    pub other_rcode: u64,
    /// 1 for an exact entry, 2 for one that stands for what lies below it.
    pub status_bits: u64,
    /// Clients with IPv4 addresses.
    pub v4: Clients<'a>,
    /// Clients with IPv6 addresses.
    pub v6: Clients<'a>,
}

/// How many clients asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clients<'a> {
    /// About so many.
    pub count: u64,
    /// The serialised sketch, unless it would show single clients.
    pub sketch: Option<&'a [u8]>,
}

/// A finished minute. It may be written more than once: the disk may have been full the first time.
pub trait Minute: Send {
    /// From when until when.
    fn interval(&self) -> Interval;

    /// Whether nothing was counted; no file is made then.
    fn is_empty(&self) -> bool;

    /// Gives every row to `take`, in any order, the same ones each time.
    fn rows(&self, take: &mut dyn FnMut(&Row<'_>));
}

/// What became of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// In the file.
    pub rows: u64,
    /// Left out because they do not fit a file.
    pub skipped: u64,
}

/// Writes the file of a minute.
///
/// # Errors
/// When the file cannot be written. A row that does not fit is left out and counted.
pub fn write<Sink: Write>(sink: Sink, minute: &dyn Minute, instance: &Instance) -> Result<(Sink, Written), WriteError> {
    let start = minute.interval().start.as_microsecond().cast_unsigned();
    let mut writer = Writer::new(sink, &SCHEMA, Bounds::default())?;
    let mut written = Written::default();
    let mut trouble = None;
    minute.rows(&mut |row| {
        if trouble.is_some() {
            return;
        }
        match writer.row(&row.values(start)) {
            Ok(()) => written.rows += 1,
            Err(WriteError::Row | WriteError::RowTooLarge | WriteError::TooManyGroups) => written.skipped += 1,
            Err(error) => trouble = Some(error),
        }
    });
    match trouble {
        Some(error) => Err(error),
        None => Ok((writer.finish(&created_by(), &[(INSTANCE, instance.as_str())])?, written)),
    }
}

impl<'a> Row<'a> {
    fn values(&self, start: u64) -> [Value<'a>; COLUMNS] {
        let octets = |octets: Option<&'a [u8]>| octets.map_or(Value::Null, Value::Octets);
        let [l0, l1, l2, l3, l4, l5, l6, l7, l8, l9] = self.labels.map(|label| octets(label.map(str::as_bytes)));
        let numbers = [self.a, self.aaaa, self.mx, self.ns, self.other_type, self.non_in, self.ok, self.nx, self.fail];
        let [a, aaaa, mx, ns, other_type, non_in, ok, nx, fail] = numbers.map(Value::Number);
        let numbers = [self.other_rcode, self.status_bits, self.v4.count, self.v6.count];
        let [other_rcode, status_bits, v4, v6] = numbers.map(Value::Number);
        [
            Value::Number(start),
            l0,
            l1,
            l2,
            l3,
            l4,
            l5,
            l6,
            l7,
            l8,
            l9,
            a,
            aaaa,
            mx,
            ns,
            other_type,
            non_in,
            ok,
            nx,
            fail,
            other_rcode,
            status_bits,
            v4,
            v6,
            octets(self.v4.sketch),
            octets(self.v6.sketch),
        ]
    }
}

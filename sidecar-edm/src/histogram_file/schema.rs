//! The columns, by name, order, type and nullability as Core reads them.

use super::labels::LABELS;
use crate::parquet::{Column, Kind, Schema};

/// Columns of numbers behind the labels: thirteen counts and the status bits.
pub(super) const NUMBERS: usize = 13;

/// What a row has.
pub(super) const COLUMNS: usize = 1 + LABELS + NUMBERS + 2;

/// Schema of a histogram file.
pub static SCHEMA: Schema = Schema { root: "histogramData", columns: &COLUMN_LIST };

const COLUMN_LIST: [Column; COLUMNS] = [
    Column { name: "start_time", kind: Kind::Timestamp, optional: false },
    label("label0"),
    label("label1"),
    label("label2"),
    label("label3"),
    label("label4"),
    label("label5"),
    label("label6"),
    label("label7"),
    label("label8"),
    label("label9"),
    count("a_count"),
    count("aaaa_count"),
    count("mx_count"),
    count("ns_count"),
    count("other_type_count"),
    count("non_in_count"),
    count("ok_count"),
    count("nx_count"),
    count("fail_count"),
    count("other_rcode_count"),
    count("edm_status_bits"),
    count("v4client_count"),
    count("v6client_count"),
    sketch("v4client_count_hll"),
    sketch("v6client_count_hll"),
];

const fn label(name: &'static str) -> Column {
    Column { name, kind: Kind::Text, optional: true }
}

const fn count(name: &'static str) -> Column {
    Column { name, kind: Kind::Count, optional: false }
}

const fn sketch(name: &'static str) -> Column {
    Column { name, kind: Kind::Octets, optional: true }
}

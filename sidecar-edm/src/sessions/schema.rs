//! The columns, by name, order, type and nullability as upstream has them.

use crate::parquet::{Column, Kind, Schema};

/// What a row has.
pub(super) const COLUMNS: usize = 24;

/// Schema of a session file.
pub static SCHEMA: Schema = Schema { root: "sessionData", columns: &COLUMN_LIST };

const COLUMN_LIST: [Column; COLUMNS] = [
    column("dest_ipv4", Kind::Word),
    column("dest_ipv6_host", Kind::Count),
    column("dest_ipv6_network", Kind::Count),
    column("dest_port", Kind::Short),
    column("dns_protocol", Kind::Octet),
    column("label0", Kind::Text),
    column("label1", Kind::Text),
    column("label2", Kind::Text),
    column("label3", Kind::Text),
    column("label4", Kind::Text),
    column("label5", Kind::Text),
    column("label6", Kind::Text),
    column("label7", Kind::Text),
    column("label8", Kind::Text),
    column("label9", Kind::Text),
    column("query_message", Kind::Octets),
    column("query_time", Kind::Timestamp),
    column("response_message", Kind::Octets),
    column("response_time", Kind::Timestamp),
    column("server_id", Kind::Octets),
    column("source_ipv4", Kind::Word),
    column("source_ipv6_host", Kind::Count),
    column("source_ipv6_network", Kind::Count),
    column("source_port", Kind::Short),
];

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, optional: true }
}

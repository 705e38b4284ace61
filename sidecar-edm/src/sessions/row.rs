//! The values of a row.

use super::block::Stored;
use super::schema::COLUMNS;
use crate::decode::Time;
use crate::histogram_file::LABELS;
use crate::parquet::Value;
use crate::pseudonym::{Cache, Pseudonym, SentAddress};

const INET: i32 = 1;
const INET6: i32 = 2;
/// Of an IPv4 address in an IPv6 column.
const MAPPED: u64 = 0x0000_ffff_0000_0000;

/// An address in its three columns.
struct Columns<'a> {
    v4: Value<'a>,
    host: Value<'a>,
    network: Value<'a>,
}

/// In the order of the schema.
pub(super) fn values<'a>(
    row: &Stored<'a>,
    labels: [Option<&'a str>; LABELS],
    response: Option<&'a [u8]>,
    pseudonyms: &mut Cache,
) -> [Value<'a>; COLUMNS] {
    let fixed = row.fixed;
    let octets = |octets: Option<&'a [u8]>| octets.map_or(Value::Null, Value::Octets);
    let [l0, l1, l2, l3, l4, l5, l6, l7, l8, l9] = labels.map(|label| octets(label.map(str::as_bytes)));
    let server = columns(fixed.family, fixed.server, pseudonyms);
    let client = columns(fixed.family, fixed.client, pseudonyms);
    [
        server.v4,
        server.host,
        server.network,
        port(fixed.server_port),
        // Numbers of no schema are stored as they are.
        fixed.protocol.map_or(Value::Null, |protocol| Value::Number(protocol.cast_unsigned().into())),
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
        Value::Null,
        Value::Null,
        octets(response),
        time(fixed.time),
        octets(Some(row.identity).filter(|identity| !identity.is_empty())),
        client.v4,
        client.host,
        client.network,
        port(fixed.client_port),
    ]
}

/// The socket family says which columns are used, whatever the address is.
fn columns<'a>(family: Option<i32>, address: SentAddress, pseudonyms: &mut Cache) -> Columns<'a> {
    let mut columns = Columns { v4: Value::Null, host: Value::Null, network: Value::Null };
    match (family, family.filter(|family| matches!(*family, INET | INET6)).and_then(|_| pseudonyms.of(address))) {
        (Some(INET), Some(Pseudonym::V4(octets))) => columns.v4 = Value::Number(u32::from_be_bytes(octets).into()),
        (Some(INET6), Some(Pseudonym::V4(octets))) => {
            columns.network = Value::Number(0);
            columns.host = Value::Number(MAPPED | u64::from(u32::from_be_bytes(octets)));
        }
        (Some(INET6), Some(Pseudonym::V6(octets))) => {
            let octets = u128::from_be_bytes(octets);
            columns.network = Value::Number((octets >> 64) as u64);
            columns.host = Value::Number(octets as u64);
        }
        _ => {}
    }
    columns
}

/// Upstream stores what is no port up to 31 bits, and nothing larger.
fn port<'a>(port: Option<u32>) -> Value<'a> {
    port.map_or(Value::Null, |port| Value::Number(if i32::try_from(port).is_ok() { port.into() } else { 0 }))
}

/// Microseconds; the epoch where the resolver says nothing usable, nothing beyond what the column holds.
fn time<'a>(time: Option<Time>) -> Value<'a> {
    let Some(time) = time else { return Value::Number(0) };
    let microseconds = time.seconds.checked_mul(1_000_000).and_then(|sum| sum.checked_add((time.nanoseconds / 1000).into()));
    microseconds.map_or(Value::Null, |number| Value::Number(number.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pseudonym::{CryptoPan, Key};

    #[test]
    fn the_family_chooses_the_columns() {
        let pan = CryptoPan::new(&Key::of_octets([5; 32]));
        let mut cache = Cache::new(pan.clone(), 8);
        let v4 = SentAddress::V4([192, 0, 2, 1]);
        let mapped = SentAddress::of(&[&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 1]].concat());
        let v6 = SentAddress::V6([0x20; 16]);
        let mut found = |family, address| {
            let Columns { v4, host, network } = columns(family, address, &mut cache);
            [v4, host, network]
        };
        let (Some(Pseudonym::V4(short)), Some(Pseudonym::V6(long))) = (pan.of(v4), pan.of(v6)) else { panic!("of its kind") };
        let short = u64::from(u32::from_be_bytes(short));
        let long = u128::from_be_bytes(long);
        const NONE: [Value<'_>; 3] = [Value::Null; 3];
        let number = Value::Number;
        for address in [v4, mapped] {
            assert_eq!(found(Some(INET), address), [number(short), Value::Null, Value::Null]);
            assert_eq!(found(Some(INET6), address), [Value::Null, number(0xffff_0000_0000 | short), number(0)]);
        }
        assert_eq!(found(Some(INET), v6), NONE);
        assert_eq!(found(Some(INET6), v6), [Value::Null, number(long as u64), number((long >> 64) as u64)]);
        for family in [None, Some(3), Some(-1)] {
            assert_eq!(found(family, v4), NONE);
        }
        assert_eq!(found(Some(INET), SentAddress::None), NONE);
    }

    #[test]
    fn ports_and_times_beyond_what_they_may_be() {
        assert_eq!(
            [None, Some(53), Some(70_000), Some(1 << 31)].map(port),
            [Value::Null, Value::Number(53), Value::Number(70_000), Value::Number(0)]
        );
        assert_eq!(time(None), Value::Number(0));
        assert_eq!(time(Some(Time { seconds: 2, nanoseconds: 1_999_999_999 })), Value::Number(3_999_999));
        assert_eq!(time(Some(Time { seconds: i64::MAX, nanoseconds: 0 })), Value::Null);
    }
}

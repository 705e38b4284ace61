//! What the writer writes, an independent reader reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/minutes.rs"]
mod minutes;
#[path = "support/parquet_dump.rs"]
mod parquet_dump;
#[path = "support/parquet.rs"]
mod reader;

use minutes::Sample;
use parquet_dump::{dump, recorded_schema, rows, schema};
use proptest::prelude::*;
use reader::{Cell, File};
use serde_json::Value as Json;
use tapir_edm::histogram_file::{Clients, Interval, Minute, Row, SCHEMA, Written, write};
use tapir_edm::instance::Instance;
use tapir_edm::parquet::{Bounds, Kind, Value, WriteError, Writer};

fn recorded() -> Json {
    dump("dns_histogram-2026-05-28T12-00-00Z_2026-05-28T12-01-00Z.parquet")
}

/// The recorded rows, through the row type of the product.
struct Recorded {
    rows: Vec<Json>,
    sketches: Vec<[Option<Vec<u8>>; 2]>,
}

impl Recorded {
    fn load() -> Self {
        let rows = recorded()["row_data"].as_array().unwrap().clone();
        let sketch = |row: &Json, name: &str| row[name]["hex"].as_str().map(|text| hex::decode(text).unwrap());
        let sketches = rows.iter().map(|row| [sketch(row, "v4client_count_hll"), sketch(row, "v6client_count_hll")]).collect();
        Self { rows, sketches }
    }
}

impl Minute for Recorded {
    fn interval(&self) -> Interval {
        let start = jiff::Timestamp::from_microsecond(self.rows[0]["start_time"].as_i64().unwrap()).unwrap();
        Interval { start, stop: start }
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn rows(&self, take: &mut dyn FnMut(&Row<'_>)) {
        for (row, [v4, v6]) in self.rows.iter().zip(&self.sketches) {
            let count = |name: &str| row[name].as_u64().unwrap();
            let labels: Vec<_> = (0..10).map(|place| row[format!("label{place}")].as_str()).collect();
            take(&Row {
                labels: labels.try_into().unwrap(),
                a: count("a_count"),
                aaaa: count("aaaa_count"),
                mx: count("mx_count"),
                ns: count("ns_count"),
                other_type: count("other_type_count"),
                non_in: count("non_in_count"),
                ok: count("ok_count"),
                nx: count("nx_count"),
                fail: count("fail_count"),
                other_rcode: count("other_rcode_count"),
                status_bits: count("edm_status_bits"),
                v4: Clients { count: count("v4client_count"), sketch: v4.as_deref() },
                v6: Clients { count: count("v6client_count"), sketch: v6.as_deref() },
            });
        }
    }
}

fn file(minute: &dyn Minute, instance: &Instance) -> Vec<u8> {
    write(Vec::new(), minute, instance).unwrap().0
}

#[test]
fn the_recorded_rows_come_back_under_the_recorded_columns() {
    let (recorded, minute) = (recorded(), Recorded::load());
    let read = File::read(&file(&minute, &Instance::draw()));
    let ours = rows(&read, &recorded);
    assert_eq!(ours, minute.rows);
    assert_eq!(ours.len(), 3);
    assert_eq!(read.footer.at(2).list()[0].at(4).text(), recorded["root_name"].as_str().unwrap());
}

#[test]
fn the_schema_is_the_recorded_one() {
    let read = File::read(&file(&Sample::new(0, 1), &Instance::draw()));
    let ours = schema(&read);
    assert_eq!(ours, recorded_schema(&recorded()));
    assert_eq!(ours.len(), 26);
}

#[test]
fn equal_minutes_of_two_pods_differ_and_of_one_do_not() {
    let (one, other) = (Instance::draw(), Instance::draw());
    let minute = || Sample::new(0, 20);
    assert_eq!(file(&minute(), &one), file(&minute(), &one));
    assert_ne!(file(&minute(), &one), file(&minute(), &other));
    let read = File::read(&file(&minute(), &one));
    assert_eq!(read.metadata(), [("tapir.instance".to_owned(), one.as_str().to_owned())].into());
    assert_eq!(read.rows, File::read(&file(&minute(), &other)).rows);
}

#[test]
fn many_rows_make_several_groups_and_lose_none() {
    let minute = Sample::new(0, 9_000);
    let (octets, written) = write(Vec::new(), &minute, &Instance::draw()).unwrap();
    assert_eq!(written, Written { rows: 9_000, skipped: 0 });
    let read = File::read(&octets);
    assert!(read.footer.at(4).list().len() > 2, "{} groups", read.footer.at(4).list().len());
    let names: Vec<&Cell> = read.rows.iter().map(|row| &row[2]).collect();
    for (place, name) in names.iter().enumerate() {
        assert_eq!(**name, Cell::Octets(format!("n{place}").into_bytes()));
    }
}

#[test]
fn what_a_file_comes_to_is_known_before_its_end() {
    let mut writer = Writer::new(Vec::new(), &SCHEMA, Bounds { rows: 1, ..Bounds::default() }).unwrap();
    let row = row(&vec![Cell::Null; 26], 7);
    for _ in 0..1000 {
        writer.row(&values(&row)).unwrap();
    }
    let known = writer.written();
    let length = writer.finish("the test", &[]).unwrap().len() as u64;
    // One more group, and what every footer has.
    assert!((known..known + 8 * 1024).contains(&length), "{known} of {length}");
}

#[test]
fn a_row_that_does_not_fit_is_left_out_alone() {
    let mut writer = Writer::new(Vec::new(), &SCHEMA, Bounds { octets: 1000, rows: 10 }).unwrap();
    let good = row(&vec![Cell::Null; 26], 7);
    let mut large = good.clone();
    large[25] = Cell::Octets(vec![1; 1001]);
    let mut wrong = good.clone();
    wrong[0] = Cell::Null;
    let mut write = |row: &[Cell]| writer.row(&values(row));
    assert!(write(&good).is_ok());
    assert!(matches!(write(&large), Err(WriteError::RowTooLarge)));
    assert!(matches!(write(&wrong), Err(WriteError::Row)));
    assert!(matches!(write(&good[1..]), Err(WriteError::Row)));
    assert!(write(&good).is_ok());
    assert_eq!(File::read(&writer.finish("x", &[]).unwrap()).rows, [good.clone(), good]);
}

#[test]
fn a_sink_that_fails_fails_the_file() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(octets.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(octets.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let minute = Sample::new(0, 5_000);
    let whole = file(&minute, &Instance::draw()).len();
    for room in [0, 4, 100, whole / 2, whole - 1] {
        assert!(matches!(write(Full(room), &minute, &Instance::draw()), Err(WriteError::Io(_))), "{room}");
    }
    assert!(write(Full(whole), &minute, &Instance::draw()).is_ok());
}

/// Fills what must be there.
fn row(cells: &[Cell], number: u64) -> Vec<Cell> {
    let filled = SCHEMA.columns.iter().zip(cells).map(|(column, cell)| match cell {
        Cell::Null if !column.optional => Cell::Number(number),
        cell => cell.clone(),
    });
    filled.collect()
}

fn values(row: &[Cell]) -> Vec<Value<'_>> {
    let value = |cell| match cell {
        &Cell::Null => Value::Null,
        &Cell::Number(number) => Value::Number(number),
        Cell::Octets(octets) => Value::Octets(octets),
    };
    row.iter().map(value).collect()
}

fn any_rows() -> impl Strategy<Value = Vec<Vec<Cell>>> {
    let number = prop_oneof![Just(0), Just(1), any::<u64>(), Just(u64::MAX)];
    let text = prop_oneof![Just(None), Just(Some(Vec::new())), prop::collection::vec(b'a'..=b'c', 0..70).prop_map(Some)];
    let sketch = prop_oneof![Just(None), prop::collection::vec(any::<u8>(), 0..600).prop_map(Some)];
    let row = (prop::collection::vec(number, 14), prop::collection::vec(text, 10), prop::collection::vec(sketch, 2));
    let row = row.prop_map(|(numbers, texts, sketches)| {
        let (mut numbers, mut texts, mut sketches) = (numbers.into_iter(), texts.into_iter(), sketches.into_iter());
        let octets = |octets: Option<Vec<u8>>| octets.map_or(Cell::Null, Cell::Octets);
        let cells = SCHEMA.columns.iter().map(|column| match column.kind {
            Kind::Text => octets(texts.next().unwrap()),
            Kind::Octets => octets(sketches.next().unwrap()),
            _ => Cell::Number(numbers.next().unwrap()),
        });
        cells.collect()
    });
    prop::collection::vec(row, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(rows in any_rows(), octets in 2_500_usize..20_000, most in 1_u32..40) {
        let mut writer = Writer::new(Vec::new(), &SCHEMA, Bounds { octets, rows: most }).unwrap();
        for row in &rows {
            writer.row(&values(row)).unwrap();
        }
        let read = File::read(&writer.finish("program version 1", &[("a", "b"), ("c", "")]).unwrap());
        prop_assert_eq!(&read.rows, &rows);
        prop_assert!(read.footer.at(4).list().len() >= rows.len() / most as usize);
        prop_assert_eq!(read.metadata().len(), 2);
    }
}

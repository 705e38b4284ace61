//! pyarrow and DuckDB read what the writer writes, and agree with each other and with what was counted.
//!
//! They need a Python that has both, as `python-with-parquet` in `PATH`: `cargo xtask test` brings it along.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/dnstap.rs"]
mod dnstap;
#[path = "support/minutes.rs"]
mod minutes;
#[path = "support/parquet_dump.rs"]
mod parquet_dump;
#[path = "support/parquet_programs.rs"]
mod programs;
#[path = "support/parquet.rs"]
mod reader;
#[path = "support/session_sample.rs"]
mod sample;

use minutes::Sample;
use programs::{SESSIONS, agree, recorded};
use sample::{RECORDED, finish, key, minute, offer, recorded_responses};
use tapir_edm::histogram_file::write;
use tapir_edm::instance::Instance;
use tapir_edm::sessions::{Counters, Sessions, Settings};

/// Compares both readers, checks a row, and compares the schema with that of the recorded file.
const HISTOGRAM: &str = r#"
import sys, duckdb, pyarrow.parquet as pq
ours, recorded, rows, instance = sys.argv[1:5]
file = pq.ParquetFile(ours)
table = file.read()
assert table.num_rows == int(rows), table.num_rows
assert file.metadata.num_row_groups > 1, file.metadata.num_row_groups
theirs = pq.ParquetFile(recorded)
for a, b in zip(file.schema, theirs.schema, strict=True):
    for member in ("name", "physical_type", "logical_type", "converted_type", "max_definition_level"):
        assert str(getattr(a, member)) == str(getattr(b, member)), (a, b)
assert file.schema_arrow.remove_metadata() == theirs.schema_arrow.remove_metadata()
assert file.metadata.metadata[b"tapir.instance"] == instance.encode()
found = {tuple(row[f"label{i}"] for i in range(10)): row for row in table.to_pylist()}
assert len(found) == int(rows)
row = found[("example", "n7") + (None,) * 8]
assert row["a_count"] == 7 and row["start_time"].microsecond == 123 and row["v4client_count_hll"] is None, row
assert len(found[("example", "n9") + (None,) * 8]["v4client_count_hll"]) == 515
duck = duckdb.execute("SELECT label1, a_count, v4client_count, v4client_count_hll, epoch_us(start_time) AS start FROM read_parquet(?) ORDER BY a_count", [ours]).fetchall()
arrow = sorted(((row["label1"], row["a_count"], row["v4client_count"], row["v4client_count_hll"]) for row in table.to_pylist()), key=lambda row: row[1])
assert [row[:4] for row in duck] == arrow
assert {row[4] for row in duck} == {1779969600000123}
assert duckdb.execute("SELECT count(*) FROM read_parquet(?) WHERE a_count >= 4000", [ours]).fetchone()[0] == int(rows) - 4000
assert duckdb.execute("SELECT count(*) FROM read_parquet(?)", [recorded]).fetchone()[0] == 3
print("agree")
"#;

#[test]
fn pyarrow_and_duckdb_agree() {
    const ROWS: usize = 5_000;
    let (folder, instance) = (tempfile::tempdir().unwrap(), Instance::draw());
    let file = folder.path().join("ours.parquet");
    write(std::fs::File::create(&file).unwrap(), &Sample::new(0, ROWS), &instance).unwrap();
    let recorded = recorded("dns_histogram-2026-05-28T12-00-00Z_2026-05-28T12-01-00Z.parquet");
    agree(HISTOGRAM, &[file.as_os_str(), recorded.as_ref(), ROWS.to_string().as_ref(), instance.as_str().as_ref()]);
}

#[test]
fn pyarrow_and_duckdb_find_in_a_session_file_what_upstreams_has() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { spare: 0, ..Settings::new(folder.path()) };
    let ours = settings.folder.join(RECORDED);
    let sessions = Sessions::start(settings, Some(&key()), Counters::default()).unwrap();
    recorded_responses().iter().for_each(|response| offer(&sessions, response));
    finish(&sessions, minute(0));
    agree(SESSIONS, &[ours.as_os_str(), recorded(RECORDED).as_ref()]);
}

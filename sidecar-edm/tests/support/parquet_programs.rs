//! pyarrow and DuckDB.
//!
//! They need a Python that has both, as `python-with-parquet` in `PATH`: `cargo xtask test` brings it along.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// Compares a session file with the recorded one, in both readers.
pub const SESSIONS: &str = r#"
import sys, duckdb, pyarrow.parquet as pq
ours, recorded = (pq.ParquetFile(path) for path in sys.argv[1:3])
for a, b in zip(ours.schema, recorded.schema, strict=True):
    for member in ("name", "physical_type", "logical_type", "converted_type", "max_definition_level"):
        assert str(getattr(a, member)) == str(getattr(b, member)), (a, b)
assert ours.schema_arrow.remove_metadata() == recorded.schema_arrow.remove_metadata()
assert ours.read().to_pylist() == recorded.read().to_pylist()
ours, recorded = (duckdb.execute("SELECT * REPLACE (epoch_us(query_time) AS query_time, epoch_us(response_time) AS response_time) FROM read_parquet(?)", [path]).fetchall() for path in sys.argv[1:3])
assert ours == recorded and len(ours) == 2
assert duckdb.execute("SELECT count(*) FROM read_parquet(?) WHERE source_port > 60000 AND dest_ipv4 IS NULL", [sys.argv[1]]).fetchone()[0] == 1
print("agree")
"#;

/// A Python that has both.
fn python() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("python-with-parquet"))
        .find(|file| file.is_file())
        .expect("python-with-parquet is not in PATH; run `cargo xtask test --fast`, which brings it along")
}

pub fn recorded(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../tapir-wire/vectors/edm/parquet", name].iter().collect()
}

/// Runs a script that says so when both agree.
pub fn agree(script: &str, arguments: &[&OsStr]) {
    let output = Command::new(python()).args(["-c", script]).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.starts_with(b"agree"), "{}", String::from_utf8_lossy(&said));
}

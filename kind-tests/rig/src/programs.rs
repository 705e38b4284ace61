//! The programs under test, built by cargo when they are first asked for.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Result, anyhow};
use tapir_harness::paths;
use tapir_harness::progress::output;

/// Packages and their programs, as they stand in this checkout.
const PACKAGES: [&str; 2] = ["tapir-operator", "tapir-core-dev"];

/// A folder with programs that were built already: those of a release, for benches.
const BUILT: &str = "TAPIR_PROGRAMS";

static FOLDER: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    if let Some(folder) = std::env::var_os(BUILT) {
        return Ok(folder.into());
    }
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--locked", "--quiet", "--bins"]).current_dir(paths::repository());
    command.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    output(&mut command).map(|_| paths::target().join("debug")).map_err(|error| format!("{error:#}"))
});

/// `tapir-operator` of this checkout.
pub(crate) fn operator() -> Result<PathBuf> {
    program("tapir-operator")
}

/// `core-dev` of this checkout.
pub(crate) fn core_dev() -> Result<PathBuf> {
    program("core-dev")
}

fn program(name: &str) -> Result<PathBuf> {
    FOLDER.as_ref().map(|folder| folder.join(name)).map_err(|error| anyhow!("{error}"))
}

//! The operator's processes on an API server without a cluster around it: `kind-tests/rig`.

use anyhow::{Context as _, Result};
use tapir_harness::progress::say;
use tapir_harness::{paths, tools};

use crate::checks;
use crate::report::{Counts, Report};

/// Tests side by side: each waits for processes most of its time, and each starts some on what may be two cores.
const SIDE_BY_SIDE: usize = 3;

/// What the API server wrote down of the operator's requests, for the check of its rights; logs of tests that failed lie beside it.
pub(crate) fn step(all: bool, report: &mut Report) {
    report.step("operator on an API server (rig)", |counts| run(all, counts));
}

fn run(all: bool, counts: &mut Counts) -> Result<()> {
    let folder = paths::target().join("rig");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("clearing {}", folder.display()))?;
    }
    // Not in the midst of the tests, whose time limits it would eat.
    tools::for_the_rig()?;
    checks::succeed("build the operator and the dev Core", checks::cargo().args(["build", "--locked", "--bins"]).args(PROGRAMS))?;
    let mut command = checks::cargo();
    command.args(["test", "--package", "tapir-rig", "--test", "*", "--locked", "--no-fail-fast", "--"]);
    command.arg(format!("--test-threads={SIDE_BY_SIDE}"));
    if all {
        command.arg("--include-ignored");
    }
    let result = checks::tests("rig", &mut command, counts);
    if result.is_err() {
        say(&format!("logs of failed tests: {}", folder.display()));
    }
    result
}

const PROGRAMS: [&str; 4] = ["--package", "tapir-operator", "--package", "tapir-core-dev"];

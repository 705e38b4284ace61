//! Checks without a cluster: format, lints, licences, tests, generated files.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use tapir_harness::paths;
use tapir_harness::progress::Step;
use tapir_harness::test_programs;

use crate::report::{Counts, Report};

const CARGO_DENY: &str = "0.20.2";

/// Runs them all; each is said to have failed or not, none keeps the others from running. `long`: also those that take minutes.
pub(crate) fn run(long: bool, report: &mut Report) {
    report.step("format", |_| succeed("cargo fmt", cargo().args(["fmt", "--all", "--check"])));
    report.step("clippy", |_| {
        succeed("cargo clippy", cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]))
    });
    licences(report);
    report.step("unit tests, wire vectors, drift", |counts| {
        let mut command = cargo();
        command.env("PATH", test_programs::path()?);
        let packages = ["--workspace", "--exclude", "tapir-scenarios", "--exclude", "tapir-rig", "--locked"];
        succeed("build the tests", cargo().args(["test", "--no-run"]).args(packages))?;
        // Tests with time limits should not share the disk with the gigabytes of a first build.
        succeed("let the disk catch up", Command::new("sync").arg("--file-system").arg(paths::repository()))?;
        command.args(["test", "--no-fail-fast"]).args(packages);
        tests("cargo test", &mut command, counts)
    });
    if long {
        // Ten million names are too many for a build without optimisation, and what goes into images takes too long to build.
        report.step("long tests: fuzzing, a huge feed", |counts| {
            let mut command = cargo();
            command.args([
                "test",
                "--release",
                "--config",
                "profile.release.lto='off'",
                "--config",
                "profile.release.codegen-units=16",
            ]);
            command.args([
                "--package",
                "tapir-fuzz",
                "--package",
                "tapir-pop",
                "--locked",
                "--no-fail-fast",
                "--",
                "--ignored",
                "--nocapture",
            ]);
            tests("cargo test", &mut command, counts)
        });
    }
    // Their tests proper need a cluster, or at least an API server.
    report.step("unit tests of the end-to-end code", |counts| {
        let packages = ["--package", "tapir-scenarios", "--package", "tapir-rig"];
        tests("cargo test", cargo().arg("test").args(packages).args(["--lib", "--bins", "--locked"]), counts)
    });
}

/// A cargo that works in this repository. Nothing here depends on where it was called from.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::repository());
    command
}

fn licences(report: &mut Report) {
    let mut deny = None;
    report.step("cargo-deny: bans, licences, sources", |_| {
        let program = deny.insert(cargo_deny()?);
        let mut command = Command::new(&*program);
        command.args(["--workspace", "--locked", "check", "bans", "licenses", "sources"]).current_dir(paths::repository());
        succeed("cargo deny", &mut command)
    });
    let name = "cargo-deny: advisories";
    let Some(program) = deny else { return report.not_run(name, "cargo-deny is not there") };
    // The database lies outside of the registry; not every machine reaches it.
    let mut fetch = Command::new("timeout");
    fetch.arg("60").arg(&program).args(["--workspace", "--locked", "fetch", "db"]).current_dir(paths::repository());
    let mut step = Step::begin("fetch the advisories' database");
    let fetched = paths::cache().and_then(|cache| step.run(&mut fetch, &cache.join("advisories.log")));
    step.end();
    if fetched.is_err() {
        return report.not_run(name, "their database cannot be reached");
    }
    report.step(name, |_| {
        let mut command = Command::new(&program);
        command.args(["--workspace", "--locked", "check", "advisories"]).current_dir(paths::repository());
        succeed("cargo deny check advisories", &mut command)
    });
}

/// Built once into the cache; progress is cargo's own.
fn cargo_deny() -> Result<PathBuf> {
    let folder = paths::cache()?.join("tools").join(format!("cargo-deny-{CARGO_DENY}"));
    let program = folder.join("bin/cargo-deny");
    if !program.is_file() {
        let mut step = Step::begin(format!("build cargo-deny {CARGO_DENY}"));
        let mut command = cargo();
        command.args(["install", "--locked", &format!("cargo-deny@{CARGO_DENY}"), "--root"]).arg(&folder);
        step.run(&mut command, &paths::cache()?.join("tools/cargo-deny.log"))?;
        step.end();
    }
    Ok(program)
}

/// Runs a command with its output shown; any exit code but zero is an error.
pub(crate) fn succeed(name: &str, command: &mut Command) -> Result<()> {
    let mut step = Step::begin(name);
    let status = step.stream(command, |_| {})?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    step.end();
    Ok(())
}

/// Runs tests with their output shown, and counts them.
pub(crate) fn tests(name: &str, command: &mut Command, counts: &mut Counts) -> Result<()> {
    let mut step = Step::begin(name);
    let status = step.stream(command, |line| counts.add_line(line))?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    step.end();
    Ok(())
}

//! Finds the commit: from git in a clone, from the file that `git archive` filled in for a tarball.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Digits of a commit; the same in a clone and in a tarball.
const DIGITS: usize = 12;

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=COMMIT");
    let commit = from_git(&here).or_else(|| from_archive(&here)).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=TAPIR_COMMIT={commit}");
}

fn from_git(here: &Path) -> Option<String> {
    // An unpacked tarball may lie inside somebody else's repository, whose commit says nothing about it.
    if !here.parent()?.join(".git").exists() {
        return None;
    }
    // HEAD changes on checkout; its log and the ref behind it, loose or packed, on commit. `--git-path` finds both in linked work trees too.
    let reference = git(here, &["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(reference.as_deref()) {
        let path = git(here, &["rev-parse", "--git-path", name]).map(|path| here.join(path));
        // A path that does not exist would make cargo build this crate every time.
        if let Some(path) = path.filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(here, &["rev-parse", "HEAD"]).and_then(|hash| hash.get(..DIGITS).map(str::to_owned))
}

fn git(here: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(here).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn from_archive(here: &Path) -> Option<String> {
    let text = fs::read_to_string(here.join("COMMIT")).ok()?;
    let hash = text.get(..DIGITS)?;
    hash.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| hash.to_owned())
}

//! Programs of the distribution that unit tests run on this machine: a broker, a resolver, `dig`.
//!
//! They are unpacked beside the cache's other packages and started with their own libraries, so that nothing is installed on the
//! host, and no daemon of it starts to listen, because somebody ran the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::images::debian;
use crate::images::libraries::file_below;
use crate::paths;
use crate::progress::Step;

/// A program, where its package has it, and the package.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("mosquitto", "usr/sbin/mosquitto", "mosquitto"),
    ("unbound", "usr/sbin/unbound", "unbound"),
    ("dig", "usr/bin/dig", "bind9-dnsutils"),
];

/// A folder for `PATH` with all of them.
pub fn folder() -> Result<PathBuf> {
    let mut step = Step::begin("broker, resolver and dig for the unit tests");
    let packages: Vec<String> = PROGRAMS.iter().map(|(_, _, package)| (*package).to_owned()).collect();
    let roots = debian::with_fresh_lists(|| debian::unpack(&debian::resolve(&packages)?, &mut step))?;
    let key = roots.iter().fold(Sha256::new(), |hash, root| hash.chain_update(root.as_os_str().as_encoded_bytes())).finalize();
    let folder = paths::cache()?.join("programs").join(format!("tests-{}", hex::encode(&key[..6])));
    if !folder.is_dir() {
        let unfinished = paths::unfinished(&folder);
        fs::create_dir_all(&unfinished).with_context(|| format!("creating {}", unfinished.display()))?;
        for (name, path, _) in PROGRAMS {
            let script = unfinished.join(name);
            fs::write(&script, starter(path, &roots)?).with_context(|| format!("writing {}", script.display()))?;
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        }
        fs::rename(&unfinished, &folder).with_context(|| format!("keeping {}", folder.display()))?;
    }
    step.end();
    Ok(folder)
}

/// `exec`, so that the test's signals reach the program itself.
fn starter(path: &str, roots: &[PathBuf]) -> Result<String> {
    let below =
        |path: &str| roots.iter().find_map(|root| file_below(root, path)).with_context(|| format!("{path} is in no package"));
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let linker = below("lib64/ld-linux-x86-64.so.2").or_else(|_| below("lib/ld-linux-aarch64.so.1"))?;
    let folders = ["lib", "usr/lib"].map(|folder| format!("{folder}/{triplet}"));
    let libraries: Vec<String> = roots
        .iter()
        .flat_map(|root| folders.iter().map(move |folder| root.join(folder)))
        .filter(|folder| folder.is_dir())
        .map(|folder| quoted(&folder))
        .collect();
    let (linker, program) = (quoted(&linker), quoted(&below(path)?));
    Ok(format!("#!/bin/sh\nexec {linker} --library-path {} {program} \"$@\"\n", libraries.join(":")))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

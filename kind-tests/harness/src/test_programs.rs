//! Programs that unit tests run on this machine: of the distribution a broker, resolvers, `dig` and `kdig`, servers that feed POP; and a
//! Python that reads Parquet.
//!
//! They are unpacked beside the cache's other packages and started with their own libraries, so that nothing is installed on the
//! host, and no daemon of it starts to listen, because somebody ran the tests.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::images::debian;
use crate::images::libraries::file_below;
use crate::paths;
use crate::progress::{Step, output};

/// A program, where its package has it, and the package.
const PROGRAMS: [(&str, &str, &str); 8] = [
    ("mosquitto", "usr/sbin/mosquitto", "mosquitto"),
    ("unbound", "usr/sbin/unbound", "unbound"),
    ("dig", "usr/bin/dig", "bind9-dnsutils"),
    ("kdig", "usr/bin/kdig", "knot-dnsutils"),
    ("named", "usr/sbin/named", "bind9"),
    ("nsd", "usr/sbin/nsd", "nsd"),
    ("knotd", "usr/sbin/knotd", "knot"),
    ("pdns_recursor", "usr/sbin/pdns_recursor", "pdns-recursor"),
];

/// Its package has the paths of its Lua files compiled in, so it gets a root of its own.
const KNOT_RESOLVER: [&str; 3] = ["knot-resolver", "lua-cqueues", "dns-root-data"];

/// Two readers of Parquet that have nothing to do with each other, nor with our writer.
const PARQUET_READERS: [&str; 2] = ["pyarrow==26.0.1", "duckdb==2.0.0"];

/// A folder for `PATH` with all of them.
pub fn folder() -> Result<PathBuf> {
    let mut step = Step::begin("broker, resolvers, servers, dig, kdig and readers of Parquet for the unit tests");
    let packages: Vec<String> = PROGRAMS.iter().map(|(_, _, package)| (*package).to_owned()).collect();
    let roots = debian::with_fresh_lists(|| debian::unpack(&debian::resolve(&packages)?, &mut step))?;
    let resolver = debian::with_fresh_lists(|| debian::unpack(&debian::resolve(&KNOT_RESOLVER.map(str::to_owned))?, &mut step))?;
    let readers = parquet_readers(&mut step)?;
    let all = roots.iter().chain(&resolver).chain([&readers]).map(|root| root.as_os_str().as_encoded_bytes());
    let key = all.fold(Sha256::new_with_prefix(IN_A_ROOT), |hash, root| hash.chain_update(root)).finalize();
    let folder = paths::cache()?.join("programs").join(format!("tests-{}", hex::encode(&key[..6])));
    if !folder.is_dir() {
        let unfinished = paths::unfinished(&folder);
        fs::create_dir_all(&unfinished).with_context(|| format!("creating {}", unfinished.display()))?;
        for (name, path, _) in PROGRAMS {
            write_script(&unfinished.join(name), &starter(path, &roots)?)?;
        }
        merge(&resolver, &unfinished.join("knot-resolver"), &mut step)?;
        write_script(&unfinished.join("kresd"), IN_A_ROOT)?;
        let python = format!("#!/bin/sh\nPYTHONPATH={} exec python3 \"$@\"\n", quoted(&readers));
        write_script(&unfinished.join("python-with-parquet"), &python)?;
        fs::rename(&unfinished, &folder).with_context(|| format!("keeping {}", folder.display()))?;
    }
    step.end();
    Ok(folder)
}

/// The libraries' folder, beside which the machine's Python serves. A fresh Python of another version gets its own.
fn parquet_readers(step: &mut Step) -> Result<PathBuf> {
    let version = output(Command::new("python3").arg("--version")).context("the tests of Parquet files need python3 with pip")?;
    let key = PARQUET_READERS.iter().fold(Sha256::new_with_prefix(&version), |hash, reader| hash.chain_update(reader)).finalize();
    let folder = paths::cache()?.join("programs").join(format!("parquet-{}", hex::encode(&key[..6])));
    if !folder.is_dir() {
        let unfinished = paths::unfinished(&folder);
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--only-binary", ":all:", "--target"]).arg(&unfinished).args(PARQUET_READERS);
        step.run(&mut pip, &paths::cache()?.join("pip.log")).context("the tests of Parquet files need python3 with pip")?;
        fs::rename(&unfinished, &folder).with_context(|| format!("keeping {}", folder.display()))?;
    }
    Ok(folder)
}

/// Starts `kresd` in a mount namespace of its own; needs no rights where users may make namespaces. The folder that it is started in
/// is `/work` in there, and all else that it sees is its packages.
const IN_A_ROOT: &str = r#"#!/bin/sh
root="$(dirname "$0")/knot-resolver"
exec unshare --map-root-user --mount -- sh -e -c '
mount --rbind /dev "$0/dev"
mount --bind "$PWD" "$0/work"
cd "$0"
exec chroot . /usr/sbin/kresd "$@"
' "$root" "$@"
"#;

fn write_script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(|| format!("writing {}", path.display()))
}

/// One tree of several packages, by hard links.
fn merge(roots: &[PathBuf], tree: &Path, step: &mut Step) -> Result<()> {
    for folder in ["usr/lib", "usr/lib64", "usr/bin", "usr/sbin", "dev", "work", "tmp"] {
        fs::create_dir_all(tree.join(folder)).with_context(|| format!("creating {}", tree.join(folder).display()))?;
    }
    for folder in ["lib", "lib64", "bin", "sbin"] {
        symlink(format!("usr/{folder}"), tree.join(folder)).with_context(|| format!("linking {folder}"))?;
    }
    let log = paths::cache()?.join("packages/log");
    for root in roots {
        for entry in fs::read_dir(root).with_context(|| format!("reading {}", root.display()))? {
            let name = entry.with_context(|| format!("reading {}", root.display()))?.file_name();
            // Into the folder, also where that is a link.
            let (from, to) = (root.join(&name).join("."), tree.join(&name).join("."));
            fs::create_dir_all(tree.join(&name)).with_context(|| format!("creating {}", to.display()))?;
            step.run(Command::new("cp").arg("--archive").arg("--link").arg("--force").arg(from).arg(to), &log)?;
        }
    }
    Ok(())
}

/// `PATH` with them in front.
pub fn path() -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [folder()?].into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("a folder of PATH has a strange name")
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

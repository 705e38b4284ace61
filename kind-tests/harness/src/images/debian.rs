//! Files of distribution packages, without installing anything: resolved, downloaded and unpacked into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::progress::{Step, output, say};

/// One package file as apt names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackageFile {
    /// `unbound_1.17.1-2_amd64.deb`
    pub(crate) file: String,
    /// Size and checksum, as far as apt says them; part of the key of what is made from it.
    pub(crate) identity: String,
}

impl PackageFile {
    fn name(&self) -> &str {
        self.file.split('_').next().unwrap_or_default()
    }

    /// apt writes `%3a` for the colon of an epoch.
    fn version(&self) -> String {
        self.file.split('_').nth(1).unwrap_or_default().replace("%3a", ":")
    }
}

/// The packages and all libraries that they depend on, for a system on which nothing is installed.
pub(crate) fn resolve(packages: &[String]) -> Result<Vec<PackageFile>> {
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    let ask = || {
        let mut command = Command::new("apt-get");
        command.args(["--quiet=2", "--no-install-recommends", "--print-uris", "-o", "Dir::State::status=/dev/null"]);
        command.args(["-o", "Debug::NoLocking=1", "install"]).args(packages).env("LC_ALL", "C");
        output(&mut command)
    };
    let text = match ask() {
        Ok(text) => text,
        Err(_) => {
            update_lists()?;
            ask().context("distribution packages are taken with apt-get; elsewhere build the images from their Containerfiles")?
        }
    };
    let mut files: Vec<PackageFile> = text.lines().filter_map(parse_line).collect();
    // What maintains a package (debconf, adduser, …) is of no use in an image that only runs one program.
    files.retain(|file| file.name().contains("lib") || packages.iter().any(|package| package == file.name()));
    files.sort_by(|left, right| left.file.cmp(&right.file));
    if files.is_empty() {
        bail!("apt-get names no package file for {}", packages.join(", "));
    }
    Ok(files)
}

const AUTHORITIES: &str = "ca-certificates";

/// The package of the public certificate authorities, alone.
pub(crate) fn authorities_package() -> Result<Vec<PackageFile>> {
    let mut files = resolve(&[AUTHORITIES.to_owned()])?;
    files.retain(|file| file.name() == AUTHORITIES);
    Ok(files)
}

/// One bundle of all, as the package's own script would make it on installation.
pub(crate) fn authorities(folder: &Path) -> Result<Vec<u8>> {
    let source = folder.join("usr/share/ca-certificates/mozilla");
    let mut paths: Vec<PathBuf> = fs::read_dir(&source)
        .with_context(|| format!("reading {}", source.display()))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    let mut bundle = Vec::new();
    for path in paths {
        bundle.extend(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
    }
    Ok(bundle)
}

/// `'http://…/x.deb' x_1_amd64.deb 1234 MD5Sum:…`
fn parse_line(line: &str) -> Option<PackageFile> {
    let mut fields = line.strip_prefix('\'')?.split_whitespace();
    let (_uri, file, size) = (fields.next()?, fields.next()?, fields.next()?);
    // Archives that publish no MD5 sums have an empty field here; the file's name carries the version.
    Some(PackageFile { file: file.to_owned(), identity: format!("{size} {}", fields.next().unwrap_or_default()) })
}

fn update_lists() -> Result<()> {
    let mut step = Step::begin("update the package lists");
    step.run(Command::new("apt-get").arg("update"), &paths::cache()?.join("apt.log"))?;
    step.end();
    Ok(())
}

/// Says of an error that package files could not be had.
const DOWNLOAD: &str = "downloading package files";

/// Runs what resolves and unpacks packages; when files that the lists name cannot be had (an update has replaced them in the
/// archive since), once more with fresh lists, from the beginning: the versions are other ones then.
pub(crate) fn with_fresh_lists<T>(run: impl FnMut() -> Result<T>) -> Result<T> {
    retry(run, update_lists)
}

fn retry<T>(mut run: impl FnMut() -> Result<T>, update: impl FnOnce() -> Result<()>) -> Result<T> {
    match run() {
        Err(error) if error.chain().any(|cause| cause.to_string() == DOWNLOAD) => {
            say("    the package lists may be old: once more with fresh ones");
            update()?;
            run()
        }
        result => result,
    }
}

/// Folders with the unpacked content, one for each package file.
pub(crate) fn unpack(files: &[PackageFile], step: &mut Step) -> Result<Vec<PathBuf>> {
    let packages = paths::cache()?.join("packages");
    let log = packages.join("log");
    let downloads = packages.join("downloads");
    fs::create_dir_all(&downloads).with_context(|| format!("creating {}", downloads.display()))?;
    let folder_of = |file: &PackageFile| packages.join(file.file.trim_end_matches(".deb"));

    let missing: Vec<&PackageFile> = files.iter().filter(|file| !folder_of(file).is_dir()).collect();
    if !missing.is_empty() {
        paths::forget_unfinished(&packages);
        let mut download = Command::new("apt-get");
        // The downloading user of apt may not write into somebody's cache folder.
        download.args(["-o", "APT::Sandbox::User=root", "download"]).current_dir(&downloads).env("LC_ALL", "C");
        download.args(missing.iter().map(|file| format!("{}={}", file.name(), file.version())));
        step.run(&mut download, &log).context(DOWNLOAD)?;
    }
    for file in missing {
        unpack_one(&downloads.join(&file.file), &folder_of(file), step, &log)?;
    }
    Ok(files.iter().map(folder_of).collect())
}

fn unpack_one(archive: &Path, folder: &Path, step: &mut Step, log: &Path) -> Result<()> {
    let unfinished = paths::unfinished(folder);
    step.run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&unfinished), log)?;
    if fs::rename(&unfinished, folder).is_err() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))?;
    }
    // Unpacked is all that is needed of it.
    let _ = fs::remove_file(archive);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::{Context as _, anyhow};

    use super::{DOWNLOAD, parse_line, retry};

    #[test]
    fn old_package_lists_are_updated_once() {
        let (runs, updates) = (Cell::new(0), Cell::new(0));
        let update = || {
            updates.set(updates.get() + 1);
            Ok(())
        };
        let gone = || Err::<(), _>(anyhow!("404 Not Found")).context(DOWNLOAD).context("image nsd");
        let result = retry(
            || {
                runs.set(runs.get() + 1);
                if updates.get() == 0 { gone() } else { Ok(()) }
            },
            update,
        );
        assert!(result.is_ok());
        assert_eq!((runs.get(), updates.get()), (2, 1));
        // Still gone: an error, not a loop. Anything else is none of the lists' business.
        assert!(retry(gone, update).is_err());
        assert!(retry(|| Err::<(), _>(anyhow!("no space left")), update).is_err());
        assert_eq!(updates.get(), 2);
    }

    #[test]
    fn reads_what_apt_prints() {
        let line =
            "'http://host/pool/b/bind9-dnsutils_9.18.49-1_amd64.deb' bind9-dnsutils_1%3a9.18.49-1_amd64.deb 1234 MD5Sum:abcd";
        let file = parse_line(line).unwrap();
        assert_eq!(
            (file.name(), file.version().as_str(), file.identity.as_str()),
            ("bind9-dnsutils", "1:9.18.49-1", "1234 MD5Sum:abcd")
        );
        assert!(parse_line("'http://host/libssl3_3_amd64.deb' libssl3_3_amd64.deb 2039888 ").is_some());
        assert_eq!(parse_line("Reading package lists..."), None);
    }
}

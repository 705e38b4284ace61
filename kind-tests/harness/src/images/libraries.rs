//! Which shared libraries a program needs, all the way down, and where they lie.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::content::{Content, Node};
use crate::progress::output;

/// The dynamic linker's own search path on Debian and on others.
fn search_path() -> Vec<String> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    vec![
        format!("lib/{triplet}"),
        format!("usr/lib/{triplet}"),
        "lib64".into(),
        "usr/lib64".into(),
        "lib".into(),
        "usr/lib".into(),
    ]
}

/// What one ELF file says of its needs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    interpreter: Option<String>,
    libraries: Vec<String>,
    run_paths: Vec<String>,
}

/// Adds everything that `programs` (files on this machine) load, found below `roots`, the first one winning.
pub(crate) fn add(content: &mut Content, programs: &[PathBuf], roots: &[PathBuf]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<PathBuf> = programs.to_vec();
    while let Some(program) = open.pop() {
        let needs = needs(&program)?;
        if let Some(interpreter) = &needs.interpreter
            && seen.insert(interpreter.clone())
        {
            let path = interpreter.trim_start_matches('/');
            let file =
                roots.iter().find_map(|root| file_below(root, path)).with_context(|| format!("{interpreter} is nowhere"))?;
            add_file(content, path, &file)?;
        }
        for library in needs.libraries {
            if !seen.insert(library.clone()) {
                continue;
            }
            let folders = needs.run_paths.iter().map(|path| path.trim_start_matches('/').to_owned()).chain(search_path());
            let candidates: Vec<String> = folders.map(|folder| format!("{folder}/{library}")).collect();
            let found = roots
                .iter()
                .flat_map(|root| candidates.iter().map(move |path| (root, path)))
                .find_map(|(root, path)| file_below(root, path).map(|file| (path.clone(), file)));
            let Some((path, file)) = found else { bail!("{} needs {library}, which is nowhere", program.display()) };
            add_file(content, &path, &file)?;
            open.push(file);
        }
    }
    Ok(())
}

/// Follows links that stay inside `root`, as those of packages do.
pub(crate) fn file_below(root: &Path, path: &str) -> Option<PathBuf> {
    let mut current = root.join(path);
    for _ in 0..8 {
        let metadata = fs::symlink_metadata(&current).ok()?;
        if metadata.is_file() {
            return Some(current);
        }
        let target = fs::read_link(&current).ok()?;
        current = match target.strip_prefix("/") {
            Ok(inside) => root.join(inside),
            Err(_) => current.parent()?.join(target),
        };
    }
    None
}

pub(crate) fn add_file(content: &mut Content, path: &str, file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let reading = || format!("reading {}", file.display());
    let bytes = fs::read(file).with_context(reading)?;
    let executable = fs::metadata(file).with_context(reading)?.permissions().mode() & 0o111 != 0;
    content.add(path, Node::File { mode: if executable { 0o755 } else { 0o644 }, bytes })
}

pub(crate) fn is_elf(path: &Path) -> bool {
    use std::io::Read as _;
    let mut start = [0_u8; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"\x7fELF"
}

fn needs(program: &Path) -> Result<Needs> {
    let text =
        output(Command::new("readelf").args(["--wide", "--dynamic", "--program-headers"]).arg(program).env("LC_ALL", "C"))?;
    let origin = program.parent().unwrap_or(Path::new("/")).display().to_string();
    Ok(parse(&text, &origin))
}

fn parse(text: &str, origin: &str) -> Needs {
    let mut needs = Needs::default();
    for line in text.lines() {
        let bracket = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(inside, _)| inside);
        let Some(inside) = bracket else { continue };
        if let Some(interpreter) = inside.strip_prefix("Requesting program interpreter: ") {
            needs.interpreter = Some(interpreter.to_owned());
        } else if line.contains("(NEEDED)") {
            needs.libraries.push(inside.to_owned());
        } else if line.contains("(RUNPATH)") || line.contains("(RPATH)") {
            needs.run_paths.extend(inside.split(':').map(|path| path.replace("$ORIGIN", origin)));
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::{Needs, parse};

    #[test]
    fn reads_what_readelf_prints() {
        let text = "      [Requesting program interpreter: /lib64/ld-linux-x86-64.so.2]\n \
                    0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]\n \
                    0x000000000000001d (RUNPATH)            Library runpath: [$ORIGIN/../lib]\n";
        let expected = Needs {
            interpreter: Some("/lib64/ld-linux-x86-64.so.2".into()),
            libraries: vec!["libc.so.6".into()],
            run_paths: vec!["/opt/x/bin/../lib".into()],
        };
        assert_eq!(parse(text, "/opt/x/bin"), expected);
    }
}

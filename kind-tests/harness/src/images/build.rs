//! From list to archive: gathers the inputs, and builds only when one of them changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use super::archive::{self, Written};
use super::content::{Content, Node};
use super::list::{self, ImageList};
use super::{debian, libraries};
use crate::progress::{Step, output};
use crate::{paths, tools};

/// Raise when the builder makes other bytes from the same inputs.
const BUILDER: &str = "1";

/// Archives of one image that are kept, so that going back to an older state costs nothing.
const KEPT: usize = 4;

/// An image that lies ready.
#[derive(Debug, Clone)]
pub struct Image {
    pub name: String,
    pub archive: PathBuf,
    pub written: Written,
}

/// A file on this machine and where it goes.
#[derive(Debug)]
struct Input {
    path: String,
    file: PathBuf,
}

/// Builds the images of these lists.
pub(crate) fn build(lists: &[ImageList]) -> Result<Vec<Image>> {
    compile(lists)?;
    let mut step = Step::begin("images: build those whose content has changed");
    let images = lists.iter().map(|list| {
        step.tick(&list.name);
        debian::with_fresh_lists(|| build_one(list))
    });
    let images = images.collect::<Result<Vec<_>>>()?;
    step.end();
    Ok(images)
}

/// All commands of the workspace that any of the images needs, in one run of cargo.
fn compile(lists: &[ImageList]) -> Result<()> {
    let mut packages: Vec<&str> = lists.iter().flat_map(|list| &list.binary).map(|binary| binary.package.as_str()).collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let mut step = Step::begin("build release binaries");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--locked", "--bins"]).current_dir(paths::repository());
    for package in &packages {
        command.args(["--package", package]);
    }
    let log = paths::target().join("images/cargo.log");
    let _ = fs::remove_file(&log);
    step.run(&mut command, &log)?;
    step.end();
    Ok(())
}

fn build_one(list: &ImageList) -> Result<Image> {
    let packages = debian::resolve(&list.packages).with_context(|| format!("image {}", list.name))?;
    let authorities = if list.authorities { debian::authorities_package()? } else { Vec::new() };
    let inputs = inputs(list)?;
    let mut key = Sha256::new();
    for text in
        [BUILDER, std::env::consts::ARCH, &list.name, &fs::read_to_string(list::folder().join(format!("{}.toml", list.name)))?]
    {
        key.update(text);
        key.update([0]);
    }
    for file in packages.iter().chain(&authorities) {
        key.update(&file.file);
        key.update(&file.identity);
    }
    for input in &inputs {
        key.update(&input.path);
        key.update(fingerprint(&input.file)?);
    }
    let key = hex::encode(&key.finalize()[..8]);

    let folder = paths::cache()?.join("images");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let archive = folder.join(format!("{}-{key}.tar", list.name));
    let note = folder.join(format!("{}-{key}.json", list.name));
    if archive.is_file()
        && let Ok(text) = fs::read_to_string(&note)
        && let Ok(written) = serde_json::from_str(&text)
    {
        return Ok(Image { name: list.name.clone(), archive, written });
    }

    paths::forget_unfinished(&folder);
    let mut step = Step::begin(format!("image {}", list.name));
    let roots = debian::unpack(&packages, &mut step)?;
    let mut content = content(list, &inputs, roots)?;
    for folder in debian::unpack(&authorities, &mut step)? {
        let bytes = debian::authorities(&folder)?;
        content.add("/etc/ssl/certs/ca-certificates.crt", Node::File { mode: 0o644, bytes })?;
    }
    let limit = list.limit_megabytes * 1_000_000;
    if content.size() > limit {
        bail!(
            "image {}: {} bytes are more than its limit of {limit}; largest first:\n{}",
            list.name,
            content.size(),
            content.largest()
        );
    }
    let written = archive::write(list, &content, &archive)?;
    fs::write(&note, serde_json::to_vec(&written)?).with_context(|| format!("writing {}", note.display()))?;
    forget_old(&folder, &list.name)?;
    step.end();
    Ok(Image { name: list.name.clone(), archive, written })
}

/// By a program, because this crate is built without optimisation, in which hashing takes seconds.
fn fingerprint(file: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg("--").arg(file))?;
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}

fn inputs(list: &ImageList) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for binary in &list.binary {
        let file = paths::target().join("release").join(&binary.name);
        inputs.push(Input { path: ImageList::binary_path(binary), file });
    }
    for tool in &list.tool {
        let file = match tool.name.as_str() {
            "coredns" => tools::coredns()?.join("coredns"),
            other => bail!("image {}: no tool {other:?}", list.name),
        };
        inputs.push(Input { path: tool.path.clone(), file });
    }
    for program in &list.program {
        inputs.push(Input { path: program.path.clone(), file: compile_program(&program.source)? });
    }
    Ok(inputs)
}

/// Keyed by source and compiler, like everything else in the cache.
fn compile_program(source: &Path) -> Result<PathBuf> {
    let source = list::folder().join(source);
    let version = output(Command::new("rustc").arg("--version"))?;
    let text = fs::read(&source).with_context(|| format!("reading {}", source.display()))?;
    let key = hex::encode(&Sha256::new().chain_update(text).chain_update(&version).finalize()[..6]);
    let stem = source.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = paths::cache()?.join("programs");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let program = folder.join(format!("{stem}-{key}"));
    if !program.is_file() {
        let unfinished = paths::unfinished(&program);
        let mut command = Command::new("rustc");
        command.args([
            "--edition",
            "2024",
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
            "-o",
        ]);
        output(command.arg(&unfinished).arg(&source))?;
        fs::rename(&unfinished, &program).with_context(|| format!("keeping {}", program.display()))?;
    }
    Ok(program)
}

fn content(list: &ImageList, inputs: &[Input], mut roots: Vec<PathBuf>) -> Result<Content> {
    let mut content = Content::default();
    for folder in &list.folder {
        content.add(&folder.path, Node::Folder { mode: list::mode(&folder.mode)?, owner: folder.owner })?;
    }
    for file in &list.file {
        content.add(&file.path, Node::File { mode: list::mode(&file.mode)?, bytes: file.text.clone().into_bytes() })?;
    }
    let mut programs = Vec::new();
    for input in inputs {
        content.add(&input.path, Node::File { mode: 0o755, bytes: fs::read(&input.file)? })?;
        programs.push(input.file.clone());
    }
    for path in &list.take {
        take(&mut content, &mut programs, path, &roots).with_context(|| format!("image {}", list.name))?;
    }
    // Commands of this workspace were linked against this machine's libraries; those of packages bring theirs.
    if roots.is_empty() {
        roots.push(PathBuf::from("/"));
    }
    programs.retain(|program| libraries::is_elf(program));
    libraries::add(&mut content, &programs, &roots).with_context(|| format!("image {}", list.name))?;
    Ok(content)
}

fn take(content: &mut Content, programs: &mut Vec<PathBuf>, path: &str, roots: &[PathBuf]) -> Result<()> {
    let inside = path.trim_matches('/');
    for root in roots {
        let here = root.join(inside);
        if here.is_dir() {
            let mut names: Vec<_> =
                fs::read_dir(&here)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            for name in names {
                take(content, programs, &format!("{inside}/{name}"), std::slice::from_ref(root))?;
            }
            return Ok(());
        }
        if let Some(file) = libraries::file_below(root, inside) {
            libraries::add_file(content, inside, &file)?;
            programs.push(file);
            return Ok(());
        }
    }
    bail!("{path} is in none of the packages")
}

fn forget_old(folder: &Path, name: &str) -> Result<()> {
    let mut notes: Vec<_> = fs::read_dir(folder)
        .context("reading the cache of images")?
        .flatten()
        .filter(|entry| {
            // The key has no dash, so this matches no longer name.
            let file = entry.file_name().to_string_lossy().into_owned();
            file.strip_suffix(".json").and_then(|stem| stem.rsplit_once('-')).is_some_and(|(of, _)| of == name)
        })
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    notes.sort();
    for (_, note) in notes.iter().rev().skip(KEPT) {
        let _ = fs::remove_file(note.with_extension("tar"));
        let _ = fs::remove_file(note);
    }
    Ok(())
}

//! Containerfiles for people who build with docker, podman or buildah, written from the same lists.
//!
//! They take whole packages of a slim Debian instead of single files, hence the results are larger; what runs, as whom and with which
//! settings is the same. One test builds them all in memory and compares them with what is checked in.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::list::{self, ImageList};

const BUILDER: &str = "rust:1.95-bookworm";
const GO: &str = "golang:1.26-bookworm";
const BASE: &str = "debian:bookworm-slim";

fn folder() -> PathBuf {
    list::folder().join("containerfiles")
}

/// Writes all of them.
pub fn write_all() -> Result<()> {
    fs::create_dir_all(folder()).context("creating the folder of the Containerfiles")?;
    for list in list::all(&[])? {
        let path = path(&list);
        fs::write(&path, render(&list)).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Those that are not what the lists say.
pub fn drifted() -> Result<Vec<PathBuf>> {
    let lists = list::all(&[])?;
    Ok(lists.iter().filter(|list| fs::read_to_string(path(list)).ok() != Some(render(list))).map(path).collect())
}

fn path(list: &ImageList) -> PathBuf {
    folder().join(format!("{}.Containerfile", list.name))
}

fn render(list: &ImageList) -> String {
    let mut text = format!(
        "# Written by `cargo xtask images --containerfiles` from kind-tests/images/{}.toml; do not edit.\n# Build from the top of the repository.\n",
        list.name
    );
    let static_only = list.binary.is_empty() && list.packages.is_empty();
    if !list.binary.is_empty() || !list.program.is_empty() {
        let _ = writeln!(
            text,
            "FROM {BUILDER} AS build\nRUN apt-get update && apt-get install --yes --no-install-recommends cmake\nWORKDIR /source\nCOPY . ."
        );
        if !list.binary.is_empty() {
            let mut packages: Vec<&str> = list.binary.iter().map(|binary| binary.package.as_str()).collect();
            packages.dedup();
            let _ = writeln!(text, "RUN cargo build --release --locked --bins --package {}", packages.join(" --package "));
        }
        for program in &list.program {
            let _ = writeln!(
                text,
                "RUN rustc --edition 2024 -O -C target-feature=+crt-static -C panic=abort -C strip=symbols -o /program{} kind-tests/images/{}",
                program.path,
                program.source.display()
            );
        }
    }
    for tool in &list.tool {
        let _ = writeln!(
            text,
            "FROM {GO} AS go\nWORKDIR /source\nCOPY kind-tests/tools/{0} .\nRUN CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags '-s -w' -o /{0} github.com/{0}/{0}",
            tool.name
        );
    }
    let _ = writeln!(text, "FROM {}", if static_only { "scratch" } else { BASE });
    let _ = writeln!(
        text,
        "LABEL org.opencontainers.image.title={:?} org.opencontainers.image.description={:?}",
        list.name, list.description
    );
    let mut packages: Vec<&str> = list.packages.iter().map(String::as_str).collect();
    if list.authorities {
        packages.push("ca-certificates");
    }
    if !packages.is_empty() {
        let _ = writeln!(
            text,
            "RUN apt-get update && apt-get install --yes --no-install-recommends {} && rm -rf /var/lib/apt/lists/*",
            packages.join(" ")
        );
    }
    for folder in &list.folder {
        if !static_only {
            let _ = writeln!(
                text,
                "RUN install --directory --mode={} --owner={1} --group={1} {2}",
                folder.mode, folder.owner, folder.path
            );
        }
    }
    for file in &list.file {
        let _ = writeln!(
            text,
            "COPY --chmod={} <<'END' {}\n{}{}END",
            file.mode,
            file.path,
            file.text,
            if file.text.ends_with('\n') { "" } else { "\n" }
        );
    }
    for binary in &list.binary {
        let _ = writeln!(text, "COPY --from=build /source/target/release/{0} /usr/bin/{0}", binary.name);
    }
    for program in &list.program {
        let _ = writeln!(text, "COPY --from=build /program{0} {0}", program.path);
    }
    for tool in &list.tool {
        let _ = writeln!(text, "COPY --from=go /{} {}", tool.name, tool.path);
    }
    for (name, value) in &list.environment {
        let _ = writeln!(text, "ENV {name}={value:?}");
    }
    let _ = writeln!(text, "WORKDIR {}\nUSER {}\nENTRYPOINT {:?}", list.working_folder, list.user, list.entrypoint);
    if !list.arguments.is_empty() {
        let _ = writeln!(text, "CMD {:?}", list.arguments);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn containerfiles_are_what_the_lists_say() {
        let drifted = super::drifted().unwrap();
        assert!(drifted.is_empty(), "run `cargo xtask images --containerfiles`: {drifted:?}");
    }
}

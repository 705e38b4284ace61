//! The commit is known in a tarball too: `git archive` fills it in, the build script finds it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

fn run(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_archive_builds_with_its_commit() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let top = crate_folder.parent().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tarball");
    let _ = std::fs::remove_dir_all(&folder);
    let unpacked = folder.join("tapir-version");
    std::fs::create_dir_all(&unpacked).unwrap();
    let commit = if top.join(".git").exists() {
        let archive = folder.join("archive.tar");
        run(Command::new("git").current_dir(top).args(["archive", "--output"]).arg(&archive).args(["HEAD", "tapir-version"]));
        run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&folder));
        run(Command::new("git").current_dir(top).args(["rev-parse", "HEAD"]))[..12].to_owned()
    } else {
        writeln!(std::io::stderr(), "this is a tarball itself: its own file is tried").unwrap();
        for file in ["COMMIT", "build.rs"] {
            std::fs::copy(crate_folder.join(file), unpacked.join(file)).unwrap();
        }
        std::fs::read_to_string(crate_folder.join("COMMIT")).unwrap()[..12].to_owned()
    };
    let program = folder.join("build-script");
    run(Command::new("rustc").args(["--edition=2024", "-o"]).arg(&program).arg(unpacked.join("build.rs")));
    let told = run(Command::new(&program).env("CARGO_MANIFEST_DIR", &unpacked));
    assert!(told.contains(&format!("TAPIR_COMMIT={commit}\n")), "{told}");
}

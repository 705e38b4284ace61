//! `cargo xtask images`

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tapir_harness::images;
use tapir_harness::progress::say;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Names as in kind-tests/images; all when none is given
    names: Vec<String>,
    /// Write the Containerfiles from the lists instead
    #[arg(long)]
    containerfiles: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Arguments { names, containerfiles } = arguments;
    if *containerfiles {
        images::write_all()?;
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let built = images::build(&names)?;
    say(&format!("\n{:<16} {:>9}  {:<44} digest", "image", "size", "reference"));
    for image in &built {
        #[expect(clippy::cast_precision_loss, reason = "for people, with one decimal")]
        let megabytes = image.written.bytes as f64 / 1e6;
        say(&format!("{:<16} {megabytes:>6.1} MB  {:<44} {}", image.name, image.written.reference, image.written.digest));
        say(&format!("{:<16} {}", "", image.archive.display()));
    }
    if names.is_empty() {
        say(&format!("\nindex: {}", images::write_index(&built)?.display()));
    }
    Ok(ExitCode::SUCCESS)
}

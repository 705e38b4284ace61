//! Compiles a word list from standard input into the ConfigMap `well-known-domains` on standard output.

use std::io::{Read as _, Write as _};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

fn main() -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("reading words")?;
    let file = tapir_wire::dawg::compile(text.lines()).context("compiling words")?;
    let encoded = STANDARD.encode(file);
    let map = format!(
        "# Compiled from well-known-domains.txt; README.md says how.\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: well-known-domains\nbinaryData:\n  well-known-domains.dawg: {encoded}\n"
    );
    std::io::stdout().write_all(map.as_bytes()).context("writing the ConfigMap")
}

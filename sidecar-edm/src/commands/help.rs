//! What `help` says.

use std::fmt::Write as _;

use tapir_wire::config::edm::{EdmKey, Kind, TABLE};

const PROGRAM: &str = "\
usage: tapir-edm [--config-file FILE] COMMAND

DNS TAPIR Edge DNSTAP Minimiser: dnstap in, minimised data out.

Commands:
  run           receive dnstap and report to Core until SIGTERM; SIGHUP reads everything again
  check-config  read the configuration and what it names, tell what is wrong, and end
  domains       lists of domains: compile and inspect their files
  help          this text

`tapir-edm run --help` tells the flags of run and check-config, `tapir-edm domains --help` those of domains.

Flags:
  --config-file FILE  configuration; default: what TAPIR_EDM_CONFIG_FILE says, else $HOME/.dnstapir-edm.toml
  --version           version of this program
";

/// For the program.
pub(super) fn program() -> String {
    PROGRAM.to_owned()
}

/// For `run` and `check-config`.
pub(super) fn run(command: &str) -> String {
    let mut text = format!(
        "usage: tapir-edm [--config-file FILE] {command} [FLAGS]\n\n\
         Each key of the configuration file is a flag and a variable; a flag counts more than a variable, a variable more than the file.\n\
         Variables: DNSTAPIR_EDM_ and the key in capitals with underscores.\n\n\
         \x20 --config-file FILE\n        the file\n"
    );
    for key in TABLE.iter().filter(|key| key.on_command_line()) {
        _ = writeln!(text, "  --{}{}\n        {}", key.name, value(key), key.help);
    }
    text
}

const fn value(key: &EdmKey) -> &'static str {
    match key.kind {
        Kind::Bool => "",
        Kind::Integer | Kind::Decimal => " NUMBER",
        Kind::Text => " TEXT",
        Kind::Texts => " TEXT,TEXT",
    }
}

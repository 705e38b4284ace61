//! The command line (`edm.md` 2.1, chapter 13): what was asked for, before anything is done.
//!
//! ```text
//! tapir-edm [--config-file FILE] run | check-config [--config-file FILE] [--KEY[=VALUE] ...]
//! tapir-edm domains compile | inspect ...
//! ```
//! Flags are written as Go writes them ([`flags`]); `domains` is ours alone and has usual ones.

mod check;
mod flags;
mod help;

use std::path::PathBuf;

use tapir_wire::config::edm::{Overlay, TABLE};

use crate::config::ConfigFile;
pub use check::{check, lacking};
use flags::{Flag, Flags};

/// Names the file where the command line does not.
pub const CONFIG_FILE_VARIABLE: &str = "TAPIR_EDM_CONFIG_FILE";
/// The file where nobody names one, in the home folder.
const USUAL_FILE: &str = ".dnstapir-edm.toml";
/// Flags that earlier versions of upstream had; some installations still use them.
const REMOVED: [(&str, &str); 4] = [
    ("mqtt-signing-key-id", "the key file has the id"),
    ("mqtt-topic", "the topic follows from the id of the key"),
    ("mqtt-client-id", "the client id follows from the id of the key"),
    ("http-signing-key-id", "the key file has the id"),
];

/// What was asked for.
#[derive(Debug, PartialEq)]
pub enum Asked {
    /// To say this on standard output.
    Say(String),
    /// To run.
    Run(Start),
    /// To check the configuration.
    CheckConfig(Start),
    /// To work on lists: the arguments behind `domains`.
    Domains(Vec<String>),
}

/// What a run starts with.
#[derive(Debug, PartialEq)]
pub struct Start {
    /// The configuration.
    pub file: ConfigFile,
    /// What should be known to somebody.
    pub warnings: Vec<String>,
}

/// A command line that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; tapir-edm help tells what there is")]
pub struct Misunderstood(String);

/// Reads a command line, without the program's name, and the environment.
///
/// # Errors
/// When it cannot be followed.
pub fn parse(arguments: &[String], variable: impl Fn(&str) -> Option<String>) -> Result<Asked, Misunderstood> {
    let mut outer = None;
    let mut flags = Flags::new(arguments, |name| (name == "config-file").then_some(Flag::Value));
    while let Some((name, value)) = flags.next().transpose().map_err(Misunderstood)? {
        match name {
            "help" | "h" => return Ok(Asked::Say(help::program())),
            "version" => return Ok(Asked::Say(format!("tapir-edm {}\n", tapir_version::LONG))),
            _ => outer = Some(value),
        }
    }
    match flags.rest() {
        [] => Ok(Asked::Say(help::program())),
        [command, ..] if command == "help" => Ok(Asked::Say(help::program())),
        [command, rest @ ..] if command == "domains" => Ok(Asked::Domains(rest.to_vec())),
        [command, rest @ ..] if command == "run" || command == "check-config" => {
            let Some(start) = start(outer, rest, variable)? else { return Ok(Asked::Say(help::run(command))) };
            Ok(if command == "run" { Asked::Run(start) } else { Asked::CheckConfig(start) })
        }
        [command, ..] => Err(Misunderstood(format!("unknown command {command:?}"))),
    }
}

/// None where help was asked for.
fn start(
    outer: Option<String>,
    arguments: &[String],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Start>, Misunderstood> {
    let mut overlay = environment(&variable)?;
    let (mut inner, mut warnings) = (None, Vec::new());
    let mut flags = Flags::new(arguments, flag);
    while let Some((name, value)) = flags.next().transpose().map_err(Misunderstood)? {
        if matches!(name, "help" | "h") {
            return Ok(None);
        } else if name == "config-file" {
            inner = Some(value);
        } else if let Some((_, instead)) = REMOVED.iter().find(|(removed, _)| *removed == name) {
            warnings.push(format!("flag --{name} is ignored: {instead}"));
        } else {
            overlay.set(name, &value).map_err(|error| Misunderstood(format!("flag --{name} {error}")))?;
        }
    }
    if let [extra, ..] = flags.rest() {
        return Err(Misunderstood(format!("{extra:?} is one argument too many")));
    }
    let named = inner.or(outer).or_else(|| variable(CONFIG_FILE_VARIABLE).filter(|name| !name.is_empty())).map(PathBuf::from);
    let home = || variable("HOME").filter(|home| !home.is_empty()).map(|home| PathBuf::from(home).join(USUAL_FILE));
    let path = named.or_else(home).ok_or_else(|| Misunderstood("no --config-file, and no HOME to look for one".to_owned()))?;
    Ok(Some(Start { file: ConfigFile { path, overlay }, warnings }))
}

fn environment(variable: impl Fn(&str) -> Option<String>) -> Result<Overlay, Misunderstood> {
    let mut overlay = Overlay::default();
    for key in TABLE.iter().filter(|key| key.on_command_line()) {
        let name = key.variable();
        if let Some(value) = variable(&name) {
            overlay.set(key.name, &value).map_err(|error| Misunderstood(format!("environment variable {name} {error}")))?;
        }
    }
    Ok(overlay)
}

/// What a flag of `run` takes.
fn flag(name: &str) -> Option<Flag> {
    if name == "config-file" || REMOVED.iter().any(|(removed, _)| *removed == name) {
        return Some(Flag::Value);
    }
    let key = tapir_wire::config::edm::EdmKey::named(name).filter(|key| key.on_command_line())?;
    Some(if key.kind == tapir_wire::config::edm::Kind::Bool { Flag::Switch } else { Flag::Value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_with(line: &str, environment: &[(&str, &str)]) -> Result<Asked, Misunderstood> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&arguments, |name| environment.iter().find(|(have, _)| *have == name).map(|(_, value)| (*value).to_owned()))
    }

    fn asked(line: &str) -> Result<Asked, Misunderstood> {
        asked_with(line, &[("HOME", "/home/edm")])
    }

    fn run(line: &str) -> Start {
        match asked(line) {
            Ok(Asked::Run(start)) => start,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn overlay(settings: &[(&str, &str)]) -> Overlay {
        let mut overlay = Overlay::default();
        for (key, value) in settings {
            overlay.set(key, value).unwrap();
        }
        overlay
    }

    #[test]
    fn help_is_asked_for_in_many_ways() {
        for line in
            ["", "help", "-h", "--help", "-help", "run -h", "run --debug --help", "check-config --help", "--config-file x help"]
        {
            let Asked::Say(text) = asked(line).unwrap() else { panic!("{line}") };
            assert!(text.starts_with("usage: tapir-edm"), "{text}");
        }
        assert_eq!(asked("--version"), Ok(Asked::Say(format!("tapir-edm {}\n", tapir_version::LONG))));
    }

    #[test]
    fn the_file_that_is_named_last_counts() {
        let path = |line: &str, environment: &[(&str, &str)]| match asked_with(line, environment).unwrap() {
            Asked::Run(start) | Asked::CheckConfig(start) => start.file.path,
            other => panic!("{other:?}"),
        };
        let all = [("HOME", "/h"), (CONFIG_FILE_VARIABLE, "/v")];
        assert_eq!(path("--config-file a run --config-file b", &all), PathBuf::from("b"));
        assert_eq!(path("-config-file=a run", &all), PathBuf::from("a"));
        assert_eq!(path("check-config", &all), PathBuf::from("/v"));
        assert_eq!(path("run", &[("HOME", "/h"), (CONFIG_FILE_VARIABLE, "")]), PathBuf::from("/h/.dnstapir-edm.toml"));
        assert!(asked_with("run", &[]).unwrap_err().to_string().contains("no HOME"));
        // Upstream never takes it from the environment under its own name.
        assert_eq!(path("run", &[("HOME", "/h"), ("DNSTAPIR_EDM_CONFIG_FILE", "/x")]), PathBuf::from("/h/.dnstapir-edm.toml"));
    }

    #[test]
    fn flags_as_go_takes_them() {
        let start = run("run -debug --disable-mqtt=false -data-dir /d --input-tcp=[::1]:1=2 --mqtt-keepalive 9");
        let expected = [
            ("debug", "true"),
            ("disable-mqtt", "false"),
            ("data-dir", "/d"),
            ("input-tcp", "[::1]:1=2"),
            ("mqtt-keepalive", "9"),
        ];
        assert_eq!(start.file.overlay, overlay(&expected));
        assert_eq!(run("run --debug --").file.overlay, overlay(&[("debug", "1")]));
        for (line, reason) in [
            ("run --debug false", "\"false\" is one argument too many"),
            ("run --debug -- --data-dir x", "\"--data-dir\" is one argument too many"),
            ("run - --debug", "\"-\" is one argument too many"),
            ("run --colour", "flag --colour is not known"),
            ("run --mqtt-sign-workers=1", "flag --mqtt-sign-workers is not known"),
            ("run --format=1", "flag --format is not known"),
            ("run ---debug", "bad flag syntax: ---debug"),
            ("run --=x", "bad flag syntax: --=x"),
            ("run --data-dir", "flag --data-dir needs a value"),
            ("run --debug=maybe", "flag --debug must be true or false"),
            ("run --newqname-buffer=lots", "flag --newqname-buffer must be an integer"),
            ("run --mqtt-keepalive=0x9", "flag --mqtt-keepalive must be a decimal number"),
            ("--debug run", "flag --debug is not known"),
            ("walk", "unknown command \"walk\""),
        ] {
            assert!(asked(line).unwrap_err().to_string().starts_with(reason), "{line}: {:?}", asked(line));
        }
    }

    #[test]
    fn the_environment_counts_less_than_flags_and_more_than_nothing() {
        let environment = [
            ("HOME", "/h"),
            ("DNSTAPIR_EDM_DATA_DIR", "/e"),
            ("DNSTAPIR_EDM_DEBUG", "T"),
            ("DNSTAPIR_EDM_IGNORED_CLIENT_IPS_FILE", ""),
        ];
        let Ok(Asked::Run(start)) = asked_with("run --data-dir /f", &environment) else { panic!() };
        let expected = [("data-dir", "/f"), ("debug", "1"), ("ignored-client-ips-file", "")];
        assert_eq!(start.file.overlay, overlay(&expected));
        let said = asked_with("run", &[("HOME", "/h"), ("DNSTAPIR_EDM_DEBUG", "")]).unwrap_err().to_string();
        assert!(said.starts_with("environment variable DNSTAPIR_EDM_DEBUG must be true or false"), "{said}");
    }

    #[test]
    fn flags_that_upstream_removed_are_taken_with_a_warning() {
        let line = "run --mqtt-signing-key-id a --mqtt-topic=b -mqtt-client-id c --http-signing-key-id d";
        let start = run(line);
        assert_eq!(start.warnings.len(), 4);
        assert!(start.warnings[1].starts_with("flag --mqtt-topic is ignored: "), "{:?}", start.warnings);
        assert!(start.file.overlay.is_empty());
    }

    #[test]
    fn lists_have_arguments_of_their_own() {
        assert_eq!(asked("domains inspect --help"), Ok(Asked::Domains(vec!["inspect".into(), "--help".into()])));
    }

    #[test]
    fn help_names_every_flag() {
        let Ok(Asked::Say(text)) = asked("run -h") else { panic!() };
        for key in TABLE.iter().filter(|key| key.on_command_line()) {
            assert!(text.contains(&format!("--{} ", key.name)) || text.contains(&format!("--{}\n", key.name)), "{}", key.name);
        }
    }
}

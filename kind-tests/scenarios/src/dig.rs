//! Asking resolvers with the real `dig`, from a Pod.

use anyhow::Result;

use crate::cluster::cluster;

/// Namespace and name of the Pod that has `dig`, made by the harness.
pub const TOOLS: (&str, &str) = ("tapir-tools", "tools");

/// What `dig` saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `NOERROR` with records.
    Records(Vec<String>),
    /// `NOERROR` without records.
    NoData,
    /// Another response code, as `dig` spells it.
    Status(String),
    /// No answer within two seconds.
    Silence,
}

/// Asks `server` (an address, with `-p PORT` behind it where it is not 53) once for the A records of `name`.
///
/// # Errors
/// When `dig` cannot be run.
pub fn dig(server: &str, name: &str) -> Result<Answer> {
    let at = format!("@{server}");
    let (namespace, pod) = TOOLS;
    let mut command =
        vec!["--namespace", namespace, "exec", pod, "--", "dig", "+tries=1", "+time=2", "+noall", "+answer", "+comments"];
    command.extend(at.split(' '));
    command.extend([name, "A"]);
    match cluster().kubectl(&command) {
        Ok(output) => Ok(parse(&output)),
        // dig ends with status 9 when nothing answered.
        Err(error) if format!("{error:#}").contains("exit code 9") => Ok(Answer::Silence),
        Err(error) => Err(error),
    }
}

fn parse(output: &str) -> Answer {
    let status = output.lines().find_map(|line| Some(line.split_once("status: ")?.1.split(',').next()?.to_owned()));
    let records: Vec<String> = output
        .lines()
        .filter(|line| !line.starts_with(';') && !line.trim().is_empty())
        .filter_map(|line| line.split_whitespace().next_back().map(str::to_owned))
        .collect();
    match status.as_deref() {
        None => Answer::Silence,
        Some("NOERROR") if records.is_empty() => Answer::NoData,
        Some("NOERROR") => Answer::Records(records),
        Some(other) => Answer::Status(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_shapes_of_an_answer() {
        let head = ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1\n";
        assert_eq!(parse(&format!("{head}a.example. 60 IN A 192.0.2.80\n")), Answer::Records(vec!["192.0.2.80".into()]));
        assert_eq!(parse(head), Answer::NoData);
        assert_eq!(parse(&head.replace("NOERROR", "NXDOMAIN")), Answer::Status("NXDOMAIN".into()));
    }
}

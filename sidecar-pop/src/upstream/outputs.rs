//! `pop-outputs.yaml`: resolvers that are told of a new serial.

use std::net::SocketAddr;

use tapir_wire::config::pop::{NotifyTarget, PopConfig};

use super::{Report, Tree};

pub(super) fn convert(file: &Tree, config: &mut PopConfig, report: &mut Report) {
    if file.is_empty() {
        report.note(file.whole(), "is missing or empty: nobody is told of a new serial");
        return;
    }
    file.note_unknown(&["outputs"], report);
    for (_, output) in file.map("outputs", report).maps(report) {
        output.note_unknown(&["active", "name", "description", "type", "format", "downstream"], report);
        match target(&output, report) {
            Ok(address) => {
                let known = |target: &NotifyTarget| target.address == address;
                if !config.notify.iter().any(known) {
                    config.notify.push(address.into());
                }
            }
            Err(reason) => report.note(output.whole(), format!("is told nothing, by upstream neither: {reason}")),
        }
    }
}

fn target(output: &Tree, report: &mut Report) -> Result<SocketAddr, &'static str> {
    if output.flag("active", report) != Some(true) {
        return Err("it is not active");
    }
    if !output.text("format", report).is_some_and(|format| format.eq_ignore_ascii_case("rpz")) {
        return Err("its format is not rpz");
    }
    let downstream = output.text("downstream", report).ok_or("downstream is missing")?;
    downstream.parse().map_err(|_| "downstream is no IP address with port")
}

//! Charts, rendered by Helm and applied as they are.

use std::process::Command;

use anyhow::{Context as _, Result};
use tapir_harness::progress::{feed, output};
use tapir_harness::{paths, tools};

use crate::server::Rig;

/// Installs or changes a release.
pub(crate) fn install(rig: &Rig, chart: &str, release: &str, namespace: &str, values: &[(&str, &str)]) -> Result<()> {
    let mut command = Command::new(tools::helm()?.join("helm"));
    command.env("HOME", rig.folder()).args(["template", release]).arg(paths::repository().join("charts").join(chart));
    command.args(["--namespace", namespace, "--kube-version", rig.version().text()]);
    for api in rig.version().apis() {
        command.args(["--api-versions", api]);
    }
    for (name, value) in values {
        command.args(["--set", &format!("{name}={value}")]);
    }
    let manifests = output(&mut command).with_context(|| format!("rendering chart {chart}"))?;
    let mut apply = rig.kubectl()?;
    apply.args(["apply", "--server-side", "--force-conflicts", "--field-manager=helm", "--filename=-"]);
    feed(&mut apply, &manifests).map(|_| ()).with_context(|| format!("applying chart {chart}"))
}

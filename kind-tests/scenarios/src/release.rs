//! The operator's release with other values, for a while.

use anyhow::Result;

use crate::cluster::cluster;

const NAMESPACE: &str = "tapir-system";
const RELEASE: &str = "tapir-operator";

/// The release has the values of before when this is dropped, also when the scenario fails.
#[derive(Debug)]
pub struct Release(());

impl Release {
    /// Upgrades the release and waits until the operator runs by it.
    ///
    /// # Errors
    /// When Helm or the operator does not come through.
    pub fn with(values: &[(&str, &str)]) -> Result<Self> {
        let chart = cluster().repo.join("charts").join(RELEASE);
        let values: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let chart = chart.to_string_lossy();
        let mut upgrade = vec!["upgrade", RELEASE, &chart, "--namespace", NAMESPACE, "--reuse-values", "--force-conflicts"];
        upgrade.extend(values.iter().flat_map(|value| ["--set", value]));
        cluster().helm(&upgrade)?;
        let release = Self(());
        rolled_out()?;
        Ok(release)
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let _ = cluster().helm(&["rollback", RELEASE, "--namespace", NAMESPACE, "--force-conflicts"]);
        let _ = rolled_out();
    }
}

fn rolled_out() -> Result<()> {
    let deployment = format!("deployment/{RELEASE}");
    cluster().kubectl(&["--namespace", NAMESPACE, "rollout", "status", &deployment, "--timeout=120s"]).map(|_| ())
}

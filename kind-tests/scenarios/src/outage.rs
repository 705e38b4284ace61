//! Parts that are away for a time, and the proof that they were.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::cluster::cluster;
use crate::dig::TOOLS;
use crate::objects::{items, text};
use crate::wait;

/// A Deployment without Pods. It has them again when this is dropped, also when the scenario fails.
#[derive(Debug)]
pub struct ScaledDown {
    namespace: &'static str,
    deployment: &'static str,
    /// As many as it had.
    replicas: u64,
}

impl ScaledDown {
    /// Takes the Pods of a Deployment away and waits until the last process of theirs has ended.
    ///
    /// # Errors
    /// When they do not go.
    pub fn new(namespace: &'static str, deployment: &'static str) -> Result<Self> {
        let object = cluster().get(namespace, &["deployment", deployment])?.context("the Deployment")?;
        let replicas = object["spec"]["replicas"].as_u64().context("its replicas")?;
        let down = Self { namespace, deployment, replicas };
        down.scale(0)?;
        wait::until_true(&format!("no Pod of {deployment}"), Duration::from_secs(60), || Ok(down.pods()? == 0))?;
        Ok(down)
    }

    /// Nobody brought a Pod back meanwhile.
    ///
    /// # Errors
    /// When there is one.
    pub fn still(&self) -> Result<()> {
        let pods = self.pods()?;
        ensure!(pods == 0, "{} has {pods} Pods and was to have none", self.deployment);
        Ok(())
    }

    fn pods(&self) -> Result<usize> {
        let selector = format!("app.kubernetes.io/name={}", self.deployment);
        Ok(items(cluster().get(self.namespace, &["pods", "--selector", &selector])?).len())
    }

    fn scale(&self, replicas: u64) -> Result<()> {
        let (deployment, replicas) = (format!("deployment/{}", self.deployment), format!("--replicas={replicas}"));
        cluster().kubectl(&["--namespace", self.namespace, "scale", &deployment, &replicas]).map(|_| ())
    }
}

impl Drop for ScaledDown {
    fn drop(&mut self) {
        let _ = self.scale(self.replicas);
        let deployment = format!("deployment/{}", self.deployment);
        let _ = cluster().kubectl(&["--namespace", self.namespace, "rollout", "status", &deployment, "--timeout=90s"]);
    }
}

/// A port of a Service, seen from a Pod.
#[derive(Debug)]
pub struct Port {
    service: &'static str,
    address: String,
    port: String,
}

impl Port {
    /// Fails when nobody listens there now, so that a later refusal says something.
    ///
    /// # Errors
    /// Also when the Service is not there.
    pub fn in_use(namespace: &str, service: &'static str, port: u16) -> Result<Self> {
        let object = cluster().get(namespace, &["service", service])?.context("the Service")?;
        let port = Self { service, address: text(&object["spec"]["clusterIP"]), port: port.to_string() };
        ensure!(!port.refuses()?, "nobody listens at {service} port {} to begin with", port.port);
        Ok(port)
    }

    /// Fails when a connection is taken.
    ///
    /// # Errors
    /// Also when it cannot be found out.
    pub fn is_closed(&self) -> Result<()> {
        ensure!(self.refuses()?, "{} port {} takes connections", self.service, self.port);
        Ok(())
    }

    /// `dig` is what the tools Pod has to open a connection with; only what becomes of that matters.
    fn refuses(&self) -> Result<bool> {
        let (namespace, pod) = TOOLS;
        let at = format!("@{}", self.address);
        let dig = ["--namespace", namespace, "exec", pod, "--", "dig", "+tcp", "+tries=1", "+time=2", &at, "-p", &self.port, "."];
        match cluster().kubectl(&dig).map_err(|error| format!("{error:#}")) {
            Err(error) if error.contains("connection refused") => Ok(true),
            // Connected, and what answered speaks no DNS.
            Err(error) if error.contains("exit code 9") => Ok(false),
            Err(error) => Err(anyhow::anyhow!(error)),
            Ok(_) => Ok(false),
        }
    }
}

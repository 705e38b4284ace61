//! The cluster that was prepared for the scenarios, and the two tools through which they see it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

/// Where the prepared cluster is.
#[derive(Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    bin_dir: PathBuf,
    /// Repository root.
    pub repo: PathBuf,
    /// Where a failed scenario leaves its evidence.
    pub artifacts: PathBuf,
    /// Audit log of the API server.
    pub audit_log: Option<PathBuf>,
    images: Value,
}

/// The cluster of this test run.
///
/// # Panics
/// When the scenarios are run without a prepared cluster; the message names the command that prepares one.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| match Cluster::from_environment() {
        Ok(cluster) => cluster,
        #[expect(clippy::panic, reason = "a scenario without a cluster must fail, and say what is missing")]
        Err(error) => panic!("no cluster for the scenarios: {error:#}. Run them with `cargo xtask test`"),
    })
}

fn path_of(variable: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(std::env::var_os(variable).ok_or_else(|| anyhow!("{variable} is not set"))?))
}

impl Cluster {
    fn from_environment() -> Result<Self> {
        let images = path_of("TAPIR_IMAGES")?;
        let images = std::fs::read(&images).with_context(|| format!("reading {}", images.display()))?;
        Ok(Self {
            kubeconfig: path_of("TAPIR_KUBECONFIG")?,
            bin_dir: path_of("TAPIR_BIN_DIR")?,
            repo: path_of("TAPIR_REPO")?,
            artifacts: path_of("TAPIR_ARTIFACTS")?,
            audit_log: path_of("TAPIR_AUDIT_LOG").ok(),
            images: serde_json::from_slice(&images).context("parsing TAPIR_IMAGES")?,
        })
    }

    /// Reference of an image by its short name.
    ///
    /// # Errors
    /// When no such image was built.
    pub fn image(&self, name: &str) -> Result<String> {
        self.images[name].as_str().map(str::to_owned).ok_or_else(|| anyhow!("image {name} is not in TAPIR_IMAGES"))
    }

    fn command(&self, tool: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.bin_dir.join(tool));
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.artifacts).args(arguments);
        command
    }

    /// Runs `kubectl` and gives its standard output.
    ///
    /// # Errors
    /// When it fails; the error carries what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run(self.command("kubectl", arguments), None)
    }

    /// Runs `kubectl` with a standard input.
    ///
    /// # Errors
    /// When it fails.
    pub fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        run(self.command("kubectl", arguments), Some(input))
    }

    /// Starts a `kubectl` that runs on, with its output in a file. It ends with the returned guard.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn kubectl_in_background(&self, arguments: &[&str], output: &Path) -> Result<Background> {
        let file = std::fs::File::create(output).with_context(|| format!("creating {}", output.display()))?;
        let child = self.command("kubectl", arguments).stdin(Stdio::null()).stdout(file).stderr(Stdio::null()).spawn()?;
        Ok(Background(Mutex::new(child)))
    }

    /// Runs `helm`.
    ///
    /// # Errors
    /// When it fails.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        run(self.command("helm", arguments), None)
    }

    /// Applies a manifest given as text.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn apply(&self, namespace: &str, manifest: &str) -> Result<String> {
        self.kubectl_with_input(&["--namespace", namespace, "apply", "--filename", "-"], manifest)
    }

    /// Reads an object or a list as JSON; `None` when it is not there.
    ///
    /// # Errors
    /// When the API server answers anything but "not found".
    pub fn get(&self, namespace: &str, what: &[&str]) -> Result<Option<Value>> {
        let mut arguments = vec!["--namespace", namespace, "get", "--ignore-not-found", "--output", "json"];
        arguments.extend_from_slice(what);
        let output = self.kubectl(&arguments)?;
        if output.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&output)?))
    }
}

/// A process that ends with this guard.
#[derive(Debug)]
pub struct Background(Mutex<std::process::Child>);

impl Background {
    fn child(&self) -> MutexGuard<'_, std::process::Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails when the process has ended.
    ///
    /// # Errors
    /// With its exit status.
    pub fn is_running(&self) -> Result<()> {
        match self.child().try_wait()? {
            None => Ok(()),
            Some(status) => bail!("a kubectl in the background has ended: {status}"),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn run(mut command: Command, input: Option<&str>) -> Result<String> {
    let shown = format!("{command:?}").chars().take(400).collect::<String>();
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| format!("starting {shown}"))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        // Some programs tell their errors on standard output.
        let [errors, output_text] = [&output.stderr, &output.stdout].map(|text| String::from_utf8_lossy(text).trim().to_owned());
        bail!("{shown}: {}: {errors} {output_text}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

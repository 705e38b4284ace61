//! The command line: the service itself, and commands that talk to a running one from inside its container, where there is no
//! shell.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use reqwest::{Certificate, Client, Method, Response};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::faults::{Fault, NAMES};
use crate::pki::Pki;
use crate::serve::{Arguments, start};

const REQUEST_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
#[command(name = "core-dev", version = tapir_version::LONG, about = "A strict stand-in for DNS TAPIR Core, for demo and tests")]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run the services.
    Serve(Box<Arguments>),
    /// Print fresh keys and certificates of Core and broker as one Kubernetes List.
    Pki {
        /// Also print the ConfigMap `core-ca` for this namespace; may be given several times.
        #[arg(long, value_name = "NAMESPACE")]
        ca_configmap: Vec<String>,
        /// Write the files of the Secrets into this directory (`core/`, `broker/`) in place of printing.
        #[arg(long)]
        directory: Option<PathBuf>,
    },
    /// Do what Core's administrator does.
    Node {
        #[command(subcommand)]
        action: NodeAction,
        #[command(flatten)]
        nodeman: NodemanAddress,
    },
    /// Print every message that was received, as JSON lines.
    Dump {
        #[command(flatten)]
        control: ControlAddress,
    },
    /// Make the services misbehave, or behave again.
    Fault {
        /// In which way: none, offline, lose-answer, nonsense, refuse, unreachable, slow:SECONDS,
        /// status:NUMBER, no-location.
        #[arg(value_parser = fault)]
        fault: Fault,
        /// Towards this node alone, whatever befalls the others.
        #[arg(long)]
        node: Option<String>,
        #[command(flatten)]
        control: ControlAddress,
    },
    /// Change the keys that edges are told to trust.
    Keys {
        #[command(subcommand)]
        action: KeysAction,
        #[command(flatten)]
        control: ControlAddress,
    },
    /// Change how long certificates live that are issued from now on.
    CertificateLifetime {
        /// Seconds when none are asked for; without limits only these may be.
        default: u64,
        /// The fewest seconds that may be asked for.
        #[arg(long)]
        minimum: Option<u64>,
        /// The most seconds that may be asked for.
        #[arg(long)]
        maximum: Option<u64>,
        #[command(flatten)]
        control: ControlAddress,
    },
    /// Send an observation by hand.
    Observe {
        /// The name.
        name: String,
        /// Seconds that it stands.
        #[arg(long, default_value_t = 60)]
        ttl: u64,
        /// Bits of the observations.
        #[arg(long, default_value_t = crate::analysis::LOOPTEST)]
        tag_mask: u32,
        #[command(flatten)]
        control: ControlAddress,
    },
}

#[derive(Debug, Subcommand)]
enum NodeAction {
    /// Make a node and print its enrolment credentials.
    Create {
        /// Its full name.
        name: String,
    },
    /// Print what is known of every node.
    List,
    /// Print what is known of a node.
    Show {
        /// Its full name.
        name: String,
    },
    /// Delete a node; its name cannot be used again.
    Delete {
        /// Its full name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum KeysAction {
    /// Trust a new key and sign with it; the old ones stay trusted.
    Rotate {
        /// Name of the new key.
        kid: String,
    },
    /// Trust a key no longer. If observations are signed with it, they still are.
    Withdraw {
        /// Name of the key.
        kid: String,
    },
    /// Print the names of the trusted keys and of the one that signs.
    List,
}

#[derive(clap::Args, Debug)]
struct NodemanAddress {
    /// Base URL of nodeman.
    #[arg(long, global = true, default_value = "https://localhost:8443/")]
    url: String,
    /// CA that nodeman's certificate is verified against.
    #[arg(long, global = true, default_value = "/etc/core-dev/pki/web-ca.crt")]
    ca: PathBuf,
    /// Password of the user `admin`.
    #[arg(long, global = true, env = "TAPIR_CORE_ADMINISTRATOR_PASSWORD", default_value = "secret", hide_env_values = true)]
    password: String,
}

#[derive(clap::Args, Debug)]
struct ControlAddress {
    /// Base URL of the control interface.
    #[arg(long, global = true, default_value = "http://localhost:8080")]
    control: String,
}

/// Reads the command line and does what it says.
///
/// # Errors
/// When it cannot be done.
pub fn run() -> Result<()> {
    let command = Command::parse();
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(act(command.action))
}

async fn act(action: Action) -> Result<()> {
    match action {
        Action::Serve(arguments) => serve(&arguments).await,
        Action::Pki { ca_configmap, directory } => pki(&ca_configmap, directory.as_deref()),
        Action::Node { action, nodeman } => node(action, &nodeman).await,
        Action::Dump { control } => {
            let answer =
                client(None)?.get(format!("{}/dump", control.control)).send().await.context("asking the control interface")?;
            print(&successful(answer).await?)
        }
        Action::Fault { fault, node, control } => {
            tell(&control, Method::POST, "faults", Some(&json!({"fault": fault.name(), "node": node}))).await
        }
        Action::Keys { action, control } => match action {
            KeysAction::Rotate { kid } => tell(&control, Method::POST, "keys", Some(&json!({"kid": kid}))).await,
            KeysAction::Withdraw { kid } => tell(&control, Method::DELETE, &format!("keys/{kid}"), None).await,
            KeysAction::List => tell(&control, Method::GET, "keys", None).await,
        },
        Action::CertificateLifetime { default, minimum, maximum, control } => {
            let lifetimes = json!({"default": default, "minimum": minimum, "maximum": maximum});
            tell(&control, Method::PUT, "certificate-lifetime", Some(&lifetimes)).await
        }
        Action::Observe { name, ttl, tag_mask, control } => {
            tell(&control, Method::POST, "observe", Some(&json!({"name": name, "ttl": ttl, "tag_mask": tag_mask}))).await
        }
    }
}

async fn serve(arguments: &Arguments) -> Result<()> {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
    tracing::info!(version = tapir_version::VERSION, commit = tapir_version::COMMIT, "core-dev starting");
    let shutdown = CancellationToken::new();
    let mut core = start(arguments, &shutdown).await?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("core-dev stopping");
    shutdown.cancel();
    while core.tasks.join_next().await.is_some() {}
    Ok(())
}

fn pki(ca_namespaces: &[String], directory: Option<&Path>) -> Result<()> {
    let pki = Pki::generate(Clock::system(0).now())?;
    match directory {
        Some(directory) => pki.write(directory).with_context(|| format!("writing into {}", directory.display())),
        None => print(&format!("{}\n", serde_json::to_string_pretty(&pki.to_list(ca_namespaces))?)),
    }
}

async fn node(action: NodeAction, nodeman: &NodemanAddress) -> Result<()> {
    let (method, path, body) = match &action {
        NodeAction::Create { name } => (Method::POST, "api/v1/node".to_owned(), Some(json!({"name": name}))),
        NodeAction::List => (Method::GET, "api/v1/nodes".to_owned(), None),
        NodeAction::Show { name } => (Method::GET, format!("api/v1/node/{name}"), None),
        NodeAction::Delete { name } => (Method::DELETE, format!("api/v1/node/{name}"), None),
    };
    let url = format!("{}/{path}", nodeman.url.trim_end_matches('/'));
    let mut request = client(Some(&nodeman.ca))?.request(method, url).basic_auth("admin", Some(&nodeman.password));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let text = successful(request.send().await.context("asking nodeman")?).await?;
    if text.is_empty() { Ok(()) } else { print(&format!("{text}\n")) }
}

async fn tell(control: &ControlAddress, method: Method, path: &str, body: Option<&Value>) -> Result<()> {
    let mut request = client(None)?.request(method, format!("{}/{path}", control.control));
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.context("asking the control interface")?;
    print(&format!("{}\n", successful(answer).await?))
}

fn fault(name: &str) -> Result<Fault, String> {
    Fault::named(name).ok_or_else(|| format!("there are {NAMES}"))
}

fn client(ca: Option<&Path>) -> Result<Client> {
    let mut builder = Client::builder().timeout(REQUEST_TIME).no_proxy();
    // An empty list keeps the client from looking for the system's CAs, which the image does not have.
    let mut roots = Vec::new();
    if let Some(path) = ca {
        let pem = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        roots.push(Certificate::from_pem(&pem).context("reading the CA")?);
    }
    builder = builder.tls_certs_only(roots);
    builder.build().context("making an HTTP client")
}

async fn successful(answer: Response) -> Result<String> {
    let status = answer.status();
    let text = answer.text().await.context("reading the answer")?;
    if !status.is_success() {
        bail!("refused with status {status}: {text}");
    }
    Ok(text)
}

fn print(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).context("writing the answer")
}

//! `core-dev serve`: reads the keys, starts bridge and listeners, and waits to be stopped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::aggrec::Aggrec;
use crate::analysis::{self, Analysis};
use crate::authority::{Authority, Lifetimes};
use crate::bridge;
use crate::clock::Clock;
use crate::control::Control;
use crate::faults::Faults;
use crate::networks::Network;
use crate::nodeman::{Nodeman, Settings};
use crate::nodes::EnrolmentKeyKind;
use crate::observations::{CurrentKey, KeyKind, SigningKey, public_half};
use crate::record::Record;
use crate::schema::Schemas;
use crate::server::{Disturbance, Handler, Listener, Service};
use crate::tls;

/// Settings of the dev Core. Each can also come from the environment.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Where nodeman listens (HTTPS).
    #[arg(long, env = "TAPIR_CORE_NODEMAN_LISTEN", default_value = "[::]:8443")]
    pub nodeman_listen: SocketAddr,
    /// Where aggrec listens (HTTPS, client certificate of a node required).
    #[arg(long, env = "TAPIR_CORE_AGGREC_LISTEN", default_value = "[::]:8444")]
    pub aggrec_listen: SocketAddr,
    /// Where the control interface of tests listens (HTTP).
    #[arg(long, env = "TAPIR_CORE_CONTROL_LISTEN", default_value = "[::]:8080")]
    pub control_listen: SocketAddr,
    /// Directory with the files of the Secret `core-pki`, as `core-dev pki` makes it.
    #[arg(long, env = "TAPIR_CORE_PKI", default_value = "/etc/core-dev/pki")]
    pub pki: PathBuf,
    /// Names of nodes end in a dot and this.
    #[arg(long, env = "TAPIR_CORE_SERVICE_DOMAIN", default_value = "edge.tapir.test")]
    pub service_domain: String,
    /// The nodeman_url that edges are told; empty: none.
    #[arg(long, env = "TAPIR_CORE_NODEMAN_URL", default_value = "https://core.tapir-core.svc.cluster.local:8443/")]
    pub nodeman_url: String,
    /// The aggrec_url that edges are told; empty: none.
    #[arg(long, env = "TAPIR_CORE_AGGREC_URL", default_value = "https://core.tapir-core.svc.cluster.local:8444/")]
    pub aggrec_url: String,
    /// The broker that edges are told and that the bridge connects to.
    #[arg(long, env = "TAPIR_CORE_MQTT_BROKER", default_value = "mqtts://broker.tapir-core.svc.cluster.local:8883")]
    pub mqtt_broker: String,
    /// Topic of observations.
    #[arg(long, env = "TAPIR_CORE_OBSERVATIONS_TOPIC", default_value = "observations/down/tapir-pop")]
    pub observations_topic: String,
    /// Seconds of a node certificate's life when none are asked for.
    #[arg(long, env = "TAPIR_CORE_CERTIFICATE_LIFETIME", default_value_t = 90 * 24 * 3600)]
    pub certificate_lifetime: u64,
    /// The shortest lifetime that may be asked for; without it, only the default may.
    #[arg(long, env = "TAPIR_CORE_CERTIFICATE_LIFETIME_MINIMUM")]
    pub certificate_lifetime_minimum: Option<u64>,
    /// The longest lifetime that may be asked for; without it, only the default may.
    #[arg(long, env = "TAPIR_CORE_CERTIFICATE_LIFETIME_MAXIMUM")]
    pub certificate_lifetime_maximum: Option<u64>,
    /// Seconds by which certificates begin before they are made.
    #[arg(long, env = "TAPIR_CORE_CERTIFICATE_SKEW", default_value_t = 0)]
    pub certificate_skew: u64,
    /// Kind of the enrolment keys of new nodes.
    #[arg(long, env = "TAPIR_CORE_ENROLMENT_KEYS", value_enum, default_value_t = EnrolmentKeyKind::Ed25519)]
    pub enrolment_keys: EnrolmentKeyKind,
    /// Which of its keys Core signs observations with.
    #[arg(long, env = "TAPIR_CORE_OBSERVATION_KEY", value_enum, default_value_t = KeyKind::Ed25519)]
    pub observation_key: KeyKind,
    /// Members to leave out of the trusted keys (`alg`, `kid`), by commas.
    #[arg(long, env = "TAPIR_CORE_TRUSTED_KEYS_WITHOUT", value_delimiter = ',')]
    pub trusted_keys_without: Vec<String>,
    /// Seconds that this Core's clock is ahead of the machine's.
    #[arg(long, env = "TAPIR_CORE_CLOCK_OFFSET", default_value_t = 0, allow_negative_numbers = true)]
    pub clock_offset: i64,
    /// Seconds between names of the ticker; 0: none.
    #[arg(long, env = "TAPIR_CORE_TICKER", default_value_t = 60)]
    pub ticker: u64,
    /// Seconds that a looptest observation stands, before the margin.
    #[arg(long, env = "TAPIR_CORE_LOOPTEST_TTL", default_value_t = 60)]
    pub looptest_ttl: u32,
    /// Seconds that a globally-new observation stands, before the margin.
    #[arg(long, env = "TAPIR_CORE_GLOBALLY_NEW_TTL", default_value_t = 3600)]
    pub globally_new_ttl: u32,
    /// Seconds that the encoder adds to every lifetime.
    #[arg(long, env = "TAPIR_CORE_TTL_MARGIN", default_value_t = 7, value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub ttl_margin: u32,
    /// Password of the user `admin`.
    #[arg(long, env = "TAPIR_CORE_ADMINISTRATOR_PASSWORD", default_value = "secret", hide_env_values = true)]
    pub administrator_password: String,
    /// Networks whose clients may see health and statistics, by commas.
    #[arg(long, env = "TAPIR_CORE_ALLOWED_NETWORKS", value_delimiter = ',', default_value = "127.0.0.0/8,::1")]
    pub allowed_networks: Vec<Network>,
    /// Bytes that the record of received messages keeps.
    #[arg(long, env = "TAPIR_CORE_RECORD_BYTES", default_value_t = 64 * 1024 * 1024)]
    pub record_bytes: usize,
}

/// A running Core and where it listens.
#[derive(Debug)]
pub struct Core {
    /// nodeman.
    pub nodeman: SocketAddr,
    /// aggrec.
    pub aggrec: SocketAddr,
    /// Control interface.
    pub control: SocketAddr,
    /// The bridge.
    pub bridge: bridge::Handle,
    /// Ends with the listeners.
    pub tasks: JoinSet<()>,
}

/// Starts everything; it runs until `shutdown`.
///
/// # Errors
/// When keys cannot be read or ports cannot be had.
pub async fn start(arguments: &Arguments, shutdown: &CancellationToken) -> Result<Core> {
    let clock = Clock::system(arguments.clock_offset);
    let file = |name: &str| read(&arguments.pki, name);
    let lifetimes = Lifetimes::new(
        arguments.certificate_lifetime,
        arguments.certificate_lifetime_minimum,
        arguments.certificate_lifetime_maximum,
    );
    let node_root = file("node-root.crt")?;
    let authority =
        Authority::new(&file("node-issuer.crt")?, &file("node-issuer.key")?, &node_root, lifetimes, arguments.certificate_skew)
            .context("reading the nodes' CA")?;
    let observation_keys = [key(&file("observation-ed25519.jwk")?)?, key(&file("observation-p256.jwk")?)?];
    let nodeman = Nodeman::new(nodeman_settings(arguments, &observation_keys), authority, clock.clone());
    let record = Arc::new(Record::new(arguments.record_bytes));
    let aggrec = Aggrec::new(nodeman.clone(), &arguments.aggrec_url, clock.clone()).announcing(Arc::clone(&record));
    let faults = Faults::default();

    let signing_key = &observation_keys[usize::from(arguments.observation_key == KeyKind::P256)];
    let signing_key = CurrentKey::new(SigningKey::from_jwk(signing_key)?);
    let (host, port) = broker_address(&arguments.mqtt_broker)?;
    let bridge_settings = bridge::Settings {
        host,
        port,
        tls: tls::client(&node_root, Some((&file("bridge.crt")?, &file("bridge.key")?)), &clock)?,
        observations_topic: arguments.observations_topic.clone(),
        ticker_seconds: arguments.ticker,
    };
    let parts = bridge::Parts {
        nodeman: nodeman.clone(),
        analysis: Analysis::new(analysis_settings(arguments)),
        signing_key: signing_key.clone(),
        schemas: [Schemas::new()?, Schemas::new()?],
        record: Arc::clone(&record),
        faults: faults.clone(),
        clock: clock.clone(),
    };
    let (bridge, bridge_task) = bridge::spawn(bridge_settings, parts, shutdown.clone());

    let (web_certificate, web_key) = (file("web.crt")?, file("web.key")?);
    let control = Control {
        record: Arc::clone(&record),
        faults: faults.clone(),
        nodeman: nodeman.clone(),
        signing_key,
        bridge: bridge.clone(),
        schemas: Schemas::new()?,
        clock: clock.clone(),
    };
    let disturbance = Disturbance { record, faults, clock: clock.clone() };
    let https = |name, client_ca: Option<&str>, handler: Handler| -> Result<Service> {
        Ok(Service {
            name,
            handler,
            tls: Some(tls::server(&web_certificate, &web_key, client_ca, &clock)?),
            disturbance: Some(disturbance.clone()),
        })
    };
    let services = [
        (arguments.nodeman_listen, https("nodeman", None, Arc::new(move |request| nodeman.answer(request)))?),
        (arguments.aggrec_listen, https("aggrec", Some(&node_root), Arc::new(move |request| aggrec.answer(request)))?),
        (
            arguments.control_listen,
            Service { name: "control", handler: Arc::new(move |request| control.answer(request)), tls: None, disturbance: None },
        ),
    ];
    let mut tasks = JoinSet::new();
    let mut addresses = Vec::new();
    for (address, service) in services {
        let name = service.name;
        let listener = Listener::bind(address, service).await.with_context(|| format!("binding {address} for {name}"))?;
        tracing::info!(service = name, address = %listener.address(), "Listening");
        addresses.push(listener.address());
        tasks.spawn(listener.run(shutdown.clone()));
    }
    tasks.spawn(async move {
        if let Err(error) = bridge_task.await {
            tracing::error!(%error, "The bridge ended");
        }
    });
    let [nodeman, aggrec, control] = addresses[..] else { anyhow::bail!("three listeners were started") };
    Ok(Core { nodeman, aggrec, control, bridge, tasks })
}

fn nodeman_settings(arguments: &Arguments, observation_keys: &[Value]) -> Settings {
    let url = |text: &String| (!text.is_empty()).then(|| text.clone());
    Settings {
        service_domain: arguments.service_domain.clone(),
        mqtt_broker: arguments.mqtt_broker.clone(),
        mqtt_topics: json!({"config": "config/down/tapir-pop", "status": "status/up/{EdgeId}/tapir-pop", "observations": arguments.observations_topic}),
        trusted_keys: observation_keys.iter().map(public_half).collect(),
        trusted_keys_without: arguments.trusted_keys_without.clone(),
        nodeman_url: url(&arguments.nodeman_url),
        aggrec_url: url(&arguments.aggrec_url),
        configuration_max_age: 300,
        administrator: ("admin".into(), arguments.administrator_password.clone()),
        enrolment_keys: arguments.enrolment_keys,
        allowed_networks: arguments.allowed_networks.clone(),
    }
}

fn analysis_settings(arguments: &Arguments) -> analysis::Settings {
    analysis::Settings {
        looptest_ttl: arguments.looptest_ttl,
        globally_new_ttl: arguments.globally_new_ttl,
        ttl_margin: arguments.ttl_margin,
        ..analysis::Settings::default()
    }
}

fn read(directory: &Path, name: &str) -> Result<String> {
    let path = directory.join(name);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

fn key(text: &str) -> Result<Value> {
    serde_json::from_str(text).context("reading an observation key")
}

fn broker_address(url: &str) -> Result<(String, u16)> {
    let address = url.strip_prefix("mqtts://").context("the broker's URL must begin with mqtts://")?;
    let (host, port) = address.trim_end_matches('/').rsplit_once(':').unwrap_or((address, "8883"));
    Ok((host.to_owned(), port.parse().context("reading the broker's port")?))
}

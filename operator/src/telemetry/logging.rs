//! JSON lines on standard output.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// Starts logging; the first record says what runs.
pub fn init() {
    let configured = std::env::var("TAPIR_LOG").or_else(|_| std::env::var("RUST_LOG")).unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).parse_lossy(configured);
    // This module prints whole bodies of answers that do not parse, and they may be Secrets: it stays silent whatever was asked for.
    let filter = "kube_client::client=off".parse::<Directive>().map(|off| filter.clone().add_directive(off)).unwrap_or(filter);
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .finish();
    // A second call, from a test, keeps the first subscriber.
    let _ = tracing::subscriber::set_global_default(subscriber);
    tracing::info!(version = tapir_version::VERSION, commit = tapir_version::COMMIT, component = "tapir-operator", "starting");
}

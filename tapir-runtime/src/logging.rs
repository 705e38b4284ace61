//! Logs: one JSON object a line on standard output.
//!
//! Messages are fixed sentences, data goes into fields. ERROR means that data was lost or a person is needed, WARN that
//! something went wrong and was got over.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging and writes the first record: version and commit of this build.
///
/// The filter is `TAPIR_LOG`, else `RUST_LOG`, else `info`. A second call changes nothing.
pub fn init(component: &str) {
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter(std::env::var("TAPIR_LOG").or_else(|_| std::env::var("RUST_LOG")).ok().as_deref()))
        .with_writer(std::io::stdout)
        .finish();
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        tracing::info!(component, version = tapir_version::VERSION, commit = tapir_version::COMMIT, "starting");
    }
}

/// Directives that do not parse are left out rather than fatal: a typing mistake in a log level must not stop a sidecar.
fn filter(directives: Option<&str>) -> EnvFilter {
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(directives.unwrap_or_default())
}

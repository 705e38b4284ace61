//! Helpers around the metrics registry.

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// A registry whose names start with `prefix` (`tapir_edm`, `tapir_pop`) and that tells version and commit, and what the log lost.
#[must_use]
pub fn registry(prefix: &str) -> Registry {
    let mut registry = Registry::with_prefix(prefix);
    registry.register(
        "build",
        "Version and commit of this build",
        Info::new([("version", tapir_version::VERSION), ("commit", tapir_version::COMMIT)]),
    );
    let lost = crate::logging::dropped();
    registry.register("log_lines_dropped", "Lines of the log that were dropped because nobody read them", lost);
    registry
}

/// OpenMetrics text of everything in the registry.
#[must_use]
pub fn render(registry: &Registry) -> String {
    render_all(&[registry])
}

/// The same of several, whose names begin with prefixes of their own.
#[must_use]
pub fn render_all(registries: &[&Registry]) -> String {
    let mut text = String::new();
    let written = registries.iter().try_for_each(|registry| encode_registry(&mut text, registry));
    match written.and_then(|()| encode_eof(&mut text)) {
        Ok(()) => text,
        // Writing into a String cannot fail; if an encoder does all the same, an empty answer beats half a one.
        Err(_) => "# EOF\n".to_owned(),
    }
}

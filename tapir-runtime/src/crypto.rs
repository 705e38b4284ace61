//! The one cryptography provider of a process.

/// Makes aws-lc-rs the provider of rustls for this process. Once per `main`; calling it again does nothing.
pub fn install() {
    // The error means only that some provider is there already; this workspace builds no other one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

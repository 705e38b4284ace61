//! Where resolvers connect, as the configuration says it.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tapir_wire::certificate::CertificateInfo;
use tapir_wire::config::edm::EdmConfig;

use crate::input::tls::server_config;
use crate::input::{Endpoint, Limits};

/// A certificate file longer than this is none.
const MAX_LENGTH: u64 = 1024 * 1024;

/// The one input that is configured; files of the configuration lie in `folder`. The TLS files are read anew each time.
///
/// # Errors
/// What is wrong with the TLS files, all of it.
pub fn endpoint(config: &EdmConfig, folder: &Path) -> Result<Endpoint, Vec<String>> {
    if !config.input_tcp.is_empty() {
        return Ok(Endpoint::Tcp(config.input_tcp.clone()));
    }
    if config.input_tls.is_empty() {
        let mode = config.socket_mode().unwrap_or(0o666);
        return Ok(Endpoint::Unix { path: config.input_unix.clone(), mode });
    }
    let pem = |key: &str, file: Option<&std::path::PathBuf>| {
        let file = file.ok_or_else(|| format!("{key} is not set"))?;
        super::identity::read(&config.path(folder, file), MAX_LENGTH)
            .map_err(|error| format!("{key} {}: {error}", file.display()))
    };
    let chain = pem("input-tls-cert-file", config.input_tls_cert_file.as_ref());
    let key = pem("input-tls-key-file", config.input_tls_key_file.as_ref());
    let clients = config.input_tls_client_ca_file.as_ref().map(|file| pem("input-tls-client-ca-file", Some(file))).transpose();
    let (chain, key, clients) = match (chain, key, clients) {
        (Ok(chain), Ok(key), Ok(clients)) => (chain, key, clients),
        (chain, key, clients) => return Err([chain.err(), key.err(), clients.err()].into_iter().flatten().collect()),
    };
    let tls = server_config(chain.as_bytes(), key.as_bytes(), clients.as_ref().map(|pem| pem.as_bytes()));
    Ok(Endpoint::Tls(config.input_tls.clone(), tls.map_err(|error| vec![error.to_string()])?))
}

/// When the certificate ends that resolvers are shown, where there is one that says so.
#[must_use]
pub fn certificate_end(config: &EdmConfig, folder: &Path) -> Option<Timestamp> {
    let file = config.input_tls_cert_file.as_ref().filter(|_| !config.input_tls.is_empty())?;
    let pem = super::identity::read(&config.path(folder, file), MAX_LENGTH).ok()?;
    CertificateInfo::from_pem(&pem).ok().map(|certificate| certificate.not_after)
}

/// What one resolver may take.
#[must_use]
pub fn limits(config: &EdmConfig) -> Limits {
    let idle = Duration::from_secs(config.input_idle_seconds.into());
    Limits { connections: config.input_max_connections, idle: Some(idle).filter(|idle| !idle.is_zero()), ..Limits::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> EdmConfig {
        EdmConfig::parse(&format!("format = 2\n{text}")).unwrap().config
    }

    #[test]
    fn each_kind_of_input() {
        let folder = tempfile::tempdir().unwrap();
        let made = |text: &str| endpoint(&config(text), folder.path());
        assert!(matches!(made("input-unix-mode = '0660'").unwrap(), Endpoint::Unix { mode: 0o660, .. }));
        assert_eq!(made("input-tcp = '[::1]:6000'").unwrap().to_string(), "tcp [::1]:6000");
        let tls = "input-tls = '127.0.0.1:6000'\ninput-tls-cert-file = 'a.pem'\ninput-tls-key-file = 'b.pem'\n";
        let faults = made(&format!("{tls}input-tls-client-ca-file = 'c.pem'")).unwrap_err();
        let keys: Vec<&str> = faults.iter().filter_map(|fault| fault.split(' ').next()).collect();
        assert_eq!(keys, ["input-tls-cert-file", "input-tls-key-file", "input-tls-client-ca-file"], "all of them");
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("a.pem"), pair.cert.pem()).unwrap();
        std::fs::write(folder.path().join("b.pem"), pair.signing_key.serialize_pem()).unwrap();
        assert_eq!(made(tls).unwrap().to_string(), "tls 127.0.0.1:6000");
        assert!(made(&format!("{tls}input-tls-client-ca-file = 'a.pem'")).is_ok());
        assert!(made(&format!("{tls}input-tls-client-ca-file = 'b.pem'")).unwrap_err()[0].contains("client CA"));
    }

    #[test]
    fn silence_is_for_ever_unless_it_is_bounded() {
        assert_eq!(limits(&config("")).idle, None);
        let limits = limits(&config("input-idle-seconds = 9\ninput-max-connections = 3"));
        assert_eq!((limits.idle, limits.connections), (Some(Duration::from_secs(9)), 3));
    }
}

//! Nodes as Core enrols them.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tapir_pop::feeds::peers::Identity;
use tapir_runtime::node::NodeMaterial;

pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        tapir_runtime::crypto::install();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    /// What serves with the certificate of a node, and wants one of this CA.
    pub(crate) fn server(&self, name: &str) -> Arc<rustls::ServerConfig> {
        self.material(name, name).server
    }

    /// As Core enrols a node.
    pub(crate) fn node(&self, name: &str) -> Identity {
        self.impostor(name, name)
    }

    /// One that claims to be `name` and has the certificate of another node.
    pub(crate) fn impostor(&self, name: &str, certified: &str) -> Identity {
        Identity::from(&self.material(name, certified))
    }

    fn material(&self, name: &str, certified: &str) -> NodeMaterial {
        let folder = tempfile::tempdir().unwrap();
        self.write_as(folder.path(), name, certified);
        NodeMaterial::load_connection(folder.path()).unwrap()
    }

    /// Writes what a node has into a folder.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        self.write_as(folder, name, name);
    }

    fn write_as(&self, folder: &Path, name: &str, certified: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![certified.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
        write("tls.crt", &certificate.pem());
        write("tls.key", &key.serialize_pem());
        write("ca.crt", &self.pem);
        write("node.json", &format!(r#"{{"format":1,"name":"{name}","mqttBroker":"mqtts://broker.example:8883"}}"#));
    }
}

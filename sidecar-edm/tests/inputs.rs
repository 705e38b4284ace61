//! Inputs as `edm.toml` says them, through a whole EDM: who may connect, how many, for how long, and that all of it follows its files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "dnstap_input/sender.rs"]
mod sender;
mod support;

use std::net::SocketAddr;

use sender::{DNSTAP, READY, Sender, Trust, control};
use serde_json::Value;
use support::broker::Authority;
use support::broker::port::free_port;
use support::{Edm, Files, client_response, dns_message, until};

const CLIENT: &str = "198.51.100.77";

/// An EDM with another input than the usual one.
struct Scene {
    edm: Edm,
    key: &'static str,
    address: SocketAddr,
    revision: u32,
}

impl Scene {
    async fn start(key: &'static str, more: &str, prepare: impl FnOnce(&Files)) -> Self {
        let address = ([127, 0, 0, 1], free_port()).into();
        let edm = Edm::start(|files| {
            prepare(files);
            files.write_list(&["example.com."]);
            write_config(files, key, address, more, 0);
        })
        .await;
        until("ready", async || edm.get("/readyz").await == "ok\n").await;
        edm.status_becomes("/edm/wellKnownDomains", 1).await;
        Self { edm, key, address, revision: 0 }
    }

    async fn configure(&mut self, more: &str) {
        self.revision += 1;
        write_config(&self.edm.files(), self.key, self.address, more, self.revision);
        self.edm.status_becomes("/config/revision", self.revision.to_string()).await;
        self.edm.status_becomes("/config/error", Value::Null).await;
    }

    async fn ended(&self, end: &str, count: u64) {
        self.edm.metric_becomes(&format!("input_connections_closed_total{{end=\"{end}\"}}"), count).await;
    }

    async fn counted(&self, count: u64) {
        self.edm.metric_becomes("frames_total{outcome=\"well_known\"}", count).await;
    }

    /// None who is not let in, which TLS 1.3 tells its client with the first read.
    fn try_connect(&self, trust: &Trust) -> Option<Sender> {
        let mut sender = Sender::tls(self.address, trust).ok()?;
        sender.try_shake_hands().then_some(sender)
    }

    async fn connects(&self, what: &str, trust: &Trust) -> Sender {
        let mut sender = None;
        until(what, async || {
            sender = self.try_connect(trust);
            sender.is_some()
        })
        .await;
        sender.unwrap()
    }
}

fn write_config(files: &Files, key: &str, address: SocketAddr, more: &str, revision: u32) {
    let text = format!(
        "format = 2\nrevision = \"{revision}\"\n{key} = \"{address}\"\n{more}\nhttp-listen = \"127.0.0.1:{}\"\ndata-dir = \"{}\"\n\
         well-known-domains-file = \"well-known-domains.dawg\"\n",
        files.http(),
        files.data().display(),
    );
    files.write("edm.toml", text.as_bytes());
}

fn answered(sender: &mut Sender) {
    sender.send(&client_response(&dns_message("example.com."), CLIENT.parse().unwrap()));
}

const FILES: &str = "input-tls-cert-file = \"server.crt\"\ninput-tls-key-file = \"server.key\"";

fn write_server(files: &Files, authority: &Authority) {
    let (certificate, key) = authority.issue("edm", &["localhost"]);
    files.write("server.crt", certificate.as_bytes());
    files.write("server.key", key.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_those_are_heard_whom_the_ca_file_of_the_moment_has_certified() {
    let (server, clients, strangers) = (Authority::new("server"), Authority::new("clients"), Authority::new("strangers"));
    let with_ca = format!("{FILES}\ninput-tls-client-ca-file = \"clients.crt\"");
    let mut scene = Scene::start("input-tls", &with_ca, |files| {
        write_server(files, &server);
        files.write("clients.crt", clients.pem().as_bytes());
    })
    .await;
    let known = Trust { server: server.pem(), client: Some(clients.issue("resolver", &["resolver"])) };
    let strange = Trust { client: Some(strangers.issue("resolver", &["resolver"])), ..known.clone() };
    let nameless = Trust { client: None, ..known.clone() };

    let mut first = scene.connects("who is known is let in", &known).await;
    answered(&mut first);
    scene.counted(1).await;
    for (ended, refused) in (1..).zip([&strange, &nameless]) {
        assert!(scene.try_connect(refused).is_none());
        scene.ended("tls", ended).await;
    }
    let mut plain = Sender::tcp(scene.address);
    plain.write(&control(READY, &[DNSTAP])).unwrap();
    plain.gone();
    scene.ended("tls", 3).await;

    // Other clients, by the file alone. Who is connected stays.
    scene.edm.files().write("clients.crt", strangers.pem().as_bytes());
    let mut second = scene.connects("who is known by the new file", &strange).await;
    assert!(scene.try_connect(&known).is_none(), "nobody has certified it any more");
    answered(&mut first);
    answered(&mut second);
    scene.counted(3).await;

    // A key that does not belong to the certificate leaves both in service, and is told.
    let renewed = Authority::new("server, renewed");
    let (certificate, key) = renewed.issue("edm", &["localhost"]);
    scene.edm.files().write("server.key", key.as_bytes());
    until("refusal", async || {
        scene.edm.status().await["config"]["error"].as_str().is_some_and(|error| error.contains("TLS of the dnstap input"))
    })
    .await;
    let mut third = scene.try_connect(&strange).unwrap();
    answered(&mut third);
    scene.counted(4).await;
    scene.edm.files().write("server.crt", certificate.as_bytes());
    let renewed = Trust { server: renewed.pem(), ..strange.clone() };
    let mut fourth = scene.connects("the new certificate", &renewed).await;
    answered(&mut fourth);
    assert!(scene.try_connect(&strange).is_none(), "the certificate of before is shown no more");
    scene.edm.status_becomes("/config/error", Value::Null).await;

    // Without a CA for them, everybody may.
    scene.configure(FILES).await;
    let mut fifth = scene.connects("who has no certificate", &Trust { client: None, ..renewed }).await;
    answered(&mut fifth);
    answered(&mut first);
    scene.counted(7).await;
    scene.edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_as_many_are_heard_as_the_configuration_says() {
    let scene = Scene::start("input-tcp", "input-max-connections = 2", |_| ()).await;
    let connect = || {
        let mut sender = Sender::tcp(scene.address);
        sender.shake_hands();
        sender
    };
    let (mut first, mut second) = (connect(), connect());
    for refused in 1..=2 {
        Sender::tcp(scene.address).closed();
        scene.ended("limit", refused).await;
    }
    answered(&mut first);
    answered(&mut second);
    scene.counted(2).await;
    first.stop();
    scene.ended("finished", 1).await;
    let mut third = connect();
    answered(&mut third);
    scene.counted(3).await;
    scene.edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_for_longer_than_the_configuration_says_is_sent_away() {
    let scene = Scene::start("input-tcp", "input-idle-seconds = 5", |_| ()).await;
    let mut silent = Sender::tcp(scene.address);
    silent.shake_hands();
    answered(&mut silent);
    silent.closed();
    scene.ended("idle", 1).await;
    scene.counted(1).await;
    scene.edm.stop().await;
}

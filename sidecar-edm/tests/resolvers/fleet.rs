//! Resolvers of the distribution that answer from what they are told, so that no other server is asked:
//! `www.answers.example` is there, `missing.answers.example` is not, all names below `many.answers.example` are; `broken.example` fails,
//! `closed.example` is refused.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::holds;
use crate::support::broker::port::free_port;
use crate::support::until;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unbound,
    Bind,
    Knot,
}

impl Kind {
    /// BIND does not tell of each, so it is told to leave them all out.
    pub(crate) fn tells_of_questions(self) -> bool {
        self != Self::Bind
    }
}

pub(crate) struct Resolver {
    pub(crate) port: u16,
    child: Child,
    log: PathBuf,
}

impl Resolver {
    /// Starts it in EDM's folder, where the socket is `run/dnstap.sock`: Knot Resolver sees nothing else. Waits until it answers.
    pub(crate) async fn start(kind: Kind, folder: &Path) -> Self {
        let (port, at, log) = (free_port(), folder.join("resolver"), folder.join("resolver/log"));
        std::fs::create_dir(&at).unwrap();
        let mut command = match kind {
            Kind::Unbound => unbound(folder, &at, port),
            Kind::Bind => bind(folder, &at, port),
            Kind::Knot => knot(folder, &at, port),
        };
        let file = File::create(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let mut resolver = Self { port, child, log };
        until("an open port", async || {
            let ended = resolver.child.try_wait().unwrap();
            assert!(ended.is_none(), "{kind:?} ended: {}", resolver.last_words());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
        if kind == Kind::Bind {
            // It answers with SERVFAIL before.
            holds(&resolver.log, "all zones loaded").await;
        }
        resolver
    }

    /// In order.
    pub(crate) async fn stop(mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        until("the end of the resolver", async || self.child.try_wait().unwrap().is_some()).await;
    }

    fn last_words(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), self.last_words().as_bytes());
        }
    }
}

/// What is not there fails the test: it would prove nothing without.
fn program(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    Command::new(found.unwrap_or_else(|| panic!("{name} is not installed; run `cargo xtask test --fast`, which brings it along")))
}

fn unbound(folder: &Path, at: &Path, port: u16) -> Command {
    // A forwarder that it may not ask is a failure at once.
    let text = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  access-control: 127.0.0.0/8 allow\n  chroot: \"\"\n  username: \"\"\n  \
         directory: \"{at}\"\n  pidfile: \"\"\n  use-syslog: no\n  module-config: \"iterator\"\n  \
         local-zone: \"answers.example.\" static\n  \
         local-data: \"www.answers.example. 60 IN A 192.0.2.1\"\n  local-data: \"www.answers.example. 60 IN AAAA 2001:db8::1\"\n  \
         local-data: \"www.answers.example. 60 IN MX 10 mail.answers.example.\"\n  local-data: \"www.answers.example. 60 IN TXT text\"\n  \
         local-zone: \"many.answers.example.\" redirect\n  local-data: \"many.answers.example. 60 IN A 192.0.2.2\"\n  \
         local-zone: \"closed.example.\" always_refuse\n\
         remote-control:\n  control-enable: no\n\
         forward-zone:\n  name: \"broken.example.\"\n  forward-addr: 127.0.0.1@{port}\n\
         dnstap:\n  dnstap-enable: yes\n  dnstap-socket-path: \"{folder}/run/dnstap.sock\"\n  dnstap-send-identity: yes\n  \
         dnstap-send-version: yes\n  dnstap-log-client-query-messages: yes\n  dnstap-log-client-response-messages: yes\n",
        at = at.display(),
        folder = folder.display(),
    );
    std::fs::write(at.join("conf"), text).unwrap();
    let mut command = program("unbound");
    command.arg("-d").arg("-c").arg(at.join("conf"));
    command
}

fn bind(folder: &Path, at: &Path, port: u16) -> Command {
    // A zone without its file fails.
    let text = format!(
        "controls {{ }};\noptions {{ directory \"{at}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; \
         pid-file none; session-keyfile \"{at}/session\"; managed-keys-directory \"{at}\"; dnssec-validation no; recursion yes; \
         allow-recursion {{ 127.0.0.0/8; }}; empty-zones-enable no; notify no; minimal-responses yes; \
         dnstap {{ client response; }}; dnstap-output unix \"{folder}/run/dnstap.sock\"; dnstap-identity \"resolver-1\"; \
         dnstap-version \"BIND\"; }};\n\
         zone \"answers.example\" {{ type primary; file \"{at}/answers\"; }};\n\
         zone \"broken.example\" {{ type primary; file \"{at}/none\"; }};\n\
         zone \"closed.example\" {{ type primary; file \"{at}/answers\"; allow-query {{ none; }}; }};\n",
        at = at.display(),
        folder = folder.display(),
    );
    std::fs::write(at.join("conf"), text).unwrap();
    let zone = "$TTL 60\n@ SOA ns mail 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.1\nwww AAAA 2001:db8::1\n\
                www MX 10 mail\nwww TXT text\n*.many A 192.0.2.2\n";
    std::fs::write(at.join("answers"), zone).unwrap();
    let mut command = program("named");
    command.args(["-f", "-g", "-n", "1", "-c"]).arg(at.join("conf"));
    command
}

/// It sees its working folder as `/work`.
fn knot(folder: &Path, at: &Path, port: u16) -> Command {
    let text = format!(
        "net.listen('127.0.0.1', {port}, {{kind = 'dns'}})\ncache.size = 10 * MB\nmodules.unload('ta_update')\n\
         modules.unload('ta_signal_query')\nmodules.unload('priming')\nmodules.unload('detect_time_skew')\ntrust_anchors.remove('.')\n\
         modules = {{ dnstap = {{ socket_path = '/work/run/dnstap.sock', identity = 'resolver-1', version = 'Knot Resolver', \
           client = {{ log_queries = true, log_responses = true }} }} }}\n\
         local there = {{ [kres.type.A] = {{ rdata = kres.str2ip('192.0.2.1'), ttl = 60 }}, \
           [kres.type.AAAA] = {{ rdata = kres.str2ip('2001:db8::1'), ttl = 60 }}, [kres.type.TXT] = {{ rdata = '\\4text', ttl = 60 }} }}\n\
         policy.add(policy.suffix(policy.DROP, policy.todnames({{'broken.example.'}})))\n\
         policy.add(policy.suffix(policy.REFUSE, policy.todnames({{'closed.example.'}})))\n\
         policy.add(policy.suffix(policy.ANSWER(there, true), policy.todnames({{'www.answers.example.', 'many.answers.example.'}})))\n\
         policy.add(policy.suffix(policy.DENY, policy.todnames({{'answers.example.'}})))\n\
         policy.add(policy.all(policy.REFUSE))\n",
    );
    std::fs::write(at.join("conf"), text).unwrap();
    let mut command = program("kresd");
    command.args(["-n", "-c", "/work/resolver/conf", "/work/resolver"]).current_dir(folder);
    command
}

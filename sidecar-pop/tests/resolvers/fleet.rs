//! Resolvers of the distribution, each with the policy zone in the way in which it takes one.

use std::fmt::{self, Debug};
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Program, free_port, program};

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unbound,
    Bind,
    PowerDns,
    /// From a file: it transfers nothing.
    Knot,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Unbound, Kind::Bind, Kind::PowerDns, Kind::Knot];

/// Where the zone comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Primary {
    /// For who signs.
    pub(crate) signed: u16,
    /// For all.
    pub(crate) open: u16,
    /// What is behind the resolvers.
    pub(crate) internet: SocketAddr,
}

pub(crate) const SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA==";

/// A resolver with a folder and a port of its own.
pub(crate) struct Resolver {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    running: Option<Program>,
}

impl Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("kind", &self.kind).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Resolver {
    pub(crate) fn new(kind: Kind, port: u16, primary: Primary) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        match kind {
            Kind::Unbound => unbound(at, port, primary),
            Kind::Bind => bind(at, port, primary),
            Kind::PowerDns => power_dns(at, port, primary),
            Kind::Knot => knot(at, port, primary),
        }
        Self { kind, port, folder, running: None }
    }

    pub(crate) fn start(&mut self) {
        let at = self.folder.path();
        let log = File::options().create(true).append(true).open(at.join("stderr")).unwrap();
        let mut command = match self.kind {
            Kind::Unbound => Command::new(program("unbound")),
            Kind::Bind => Command::new(program("named")),
            Kind::PowerDns => Command::new(program("pdns_recursor")),
            Kind::Knot => Command::new(program("kresd")),
        };
        match self.kind {
            Kind::Unbound => command.arg("-d").arg("-c").arg(at.join("conf")),
            Kind::Bind => command.args(["-f", "-n", "1", "-L"]).arg(at.join("log")).arg("-c").arg(at.join("conf")),
            Kind::PowerDns => command.arg(format!("--config-dir={}", at.display())),
            // It sees its folder under this name.
            Kind::Knot => command.args(["-n", "-c", "/work/conf", "/work"]).current_dir(at),
        };
        self.running = Some(Program::start(command.stdout(log.try_clone().unwrap()).stderr(log)));
    }

    pub(crate) fn kill(&mut self) {
        self.running.take().unwrap().kill();
    }

    /// Where it reads the zone that transfers nothing.
    pub(crate) fn zone_file(&self) -> PathBuf {
        self.folder.path().join("dnstapir.rpz")
    }

    /// The zone as a file, replaced at once.
    pub(crate) fn write_zone(&self, text: &[u8]) {
        let new = self.folder.path().join("zone.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.zone_file()).unwrap();
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.running = None;
        if std::thread::panicking() {
            for file in ["stderr", "log"] {
                let text = std::fs::read(self.folder.path().join(file)).unwrap_or_default();
                let end = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]);
                let _ = writeln!(std::io::stderr(), "{:?}, end of {file}: {end}", self.kind);
            }
        }
    }
}

/// Why Knot Resolver cannot be run here, which needs a mount namespace: its Lua files have their place compiled in.
pub(crate) fn knot_cannot_run() -> Option<String> {
    let output = Command::new(program("kresd")).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || text.contains("unshare") || text.contains("mount"), "kresd: {text}");
    (!output.status.success()).then_some(text)
}

fn unbound(at: &Path, port: u16, Primary { open, internet, .. }: Primary) {
    let (folder, at, internet) = (at, at.display(), internet.port());
    let text = format!(
        "server:\n  directory: \"{at}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"{at}/pid\"\n  use-syslog: no\n  \
           logfile: \"{at}/log\"\n  verbosity: 2\n  interface: 127.0.0.1\n  port: {port}\n  num-threads: 1\n  \
           module-config: \"respip iterator\"\n  do-not-query-localhost: no\n\
         remote-control:\n  control-enable: no\n\
         forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@{internet}\n\
         rpz:\n  name: \"dnstapir.\"\n  primary: 127.0.0.1@{open}\n  zonefile: \"dnstapir.zone\"\n"
    );
    std::fs::write(folder.join("conf"), text).unwrap();
}

fn bind(at: &Path, port: u16, Primary { signed, internet, .. }: Primary) {
    let folder = at;
    let (at, internet) = (at.display(), internet.port());
    // It takes a new version a minute at most unless told otherwise, and asks the Internet first even where the answer cannot matter.
    let text = format!(
        "key k {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\ncontrols {{ }};\n\
         options {{ directory \"{at}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file \"{at}/pid\"; \
           session-keyfile \"{at}/session\"; managed-keys-directory \"{at}\"; dnssec-validation no; recursion yes; \
           forward only; forwarders {{ 127.0.0.1 port {internet}; }}; empty-zones-enable no; \
           response-policy {{ zone \"dnstapir\" min-update-interval 0; }} qname-wait-recurse no; }};\n\
         zone \"dnstapir\" {{ type secondary; file \"{at}/dnstapir.zone\"; masterfile-format text; \
           primaries {{ 127.0.0.1 port {signed} key k; }}; allow-query {{ none; }}; }};\n"
    );
    std::fs::write(folder.join("conf"), text).unwrap();
}

fn power_dns(at: &Path, port: u16, Primary { signed, internet, .. }: Primary) {
    let internet = internet.port();
    // It understands no NOTIFY for a policy zone so far, and asks every second. The packet cache would answer what it did before.
    let lua = format!(
        "rpzPrimary('127.0.0.1:{signed}', 'dnstapir', {{refresh=1, tsigname='k', tsigalgo='hmac-sha256', tsigsecret='{SECRET}'}})\n"
    );
    std::fs::write(at.join("rpz.lua"), lua).unwrap();
    let at_text = at.display();
    let text = format!(
        "local-address=127.0.0.1\nlocal-port={port}\nsocket-dir={at_text}\nlua-config-file={at_text}/rpz.lua\n\
         forward-zones-recurse=.=127.0.0.1:{internet}\ndont-query=\ndnssec=off\nqname-minimization=no\nsecurity-poll-suffix=\n\
         threads=1\npdns-distributes-queries=no\nserve-rfc1918=no\ndisable-syslog=yes\nwrite-pid=no\nserver-down-max-fails=0\ndisable-packetcache=yes\nloglevel=6\n"
    );
    std::fs::write(at.join("recursor.conf"), text).unwrap();
}

fn knot(at: &Path, port: u16, Primary { internet, .. }: Primary) {
    let internet = internet.port();
    // A name that passes ends its policies, and forwarding is one of them: without the function it would ask the root.
    let text = format!(
        "net.listen('127.0.0.1', {port}, {{kind = 'dns'}})\ncache.size = 10 * MB\nmodules.unload('ta_update')\n\
         modules.unload('ta_signal_query')\nmodules.unload('priming')\nmodules.unload('detect_time_skew')\ntrust_anchors.remove('.')\n\
         local rpz = policy.rpz(policy.DENY, 'dnstapir.rpz', true)\n\
         policy.add(function (request, query)\n  local action = rpz(request, query)\n  if action ~= policy.PASS then return action end\nend)\n\
         policy.add(policy.all(policy.STUB({{'127.0.0.1@{internet}'}})))\n"
    );
    std::fs::write(at.join("conf"), text).unwrap();
}

/// A port for each.
pub(crate) fn ports() -> [u16; KINDS.len()] {
    KINDS.map(|_| free_port())
}

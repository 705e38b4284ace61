//! With whom POP speaks beside resolvers and sources.

use super::super::PopConfig;
use super::{Problem, Problems, check_file, check_topic};
use crate::name::Name;

impl PopConfig {
    pub(super) fn service_problems(&self) -> Problems {
        let mut problems = Vec::new();
        if let Some(peers) = &self.peers {
            if !Name::parse(&peers.service).is_ok_and(|name| !name.is_root()) {
                let remedy = "write the name that leads to all Pods, as edge-peers.dns.svc";
                problems.push(Problem::new("peers.service", "is no host name", remedy));
            }
            if peers.port == 0 {
                problems.push(Problem::new("peers.port", "is 0", "give the port that each of them listens on"));
            }
        }
        problems.extend(check_topic("globalConfig.topic".to_owned(), &self.global_config.topic));
        problems.extend(check_topic("globalConfig.topicPrefix".to_owned(), &self.global_config.topic_prefix));
        problems.extend(check_topic("telemetry.topic".to_owned(), &self.telemetry.topic));
        if let Some(socket) = &self.admin.socket {
            // sun_path has room for 108 octets on Linux, with a zero at the end.
            if !socket.is_absolute() || socket.as_os_str().len() > 107 {
                let remedy = "write it from the root, with 107 octets at most";
                problems.push(Problem::new("admin.socket", "is no absolute path of a socket", remedy));
            }
        }
        problems.extend(self.api.iter().filter_map(|api| check_file("api.keyFile".to_owned(), &api.key_file)));
        problems
    }
}

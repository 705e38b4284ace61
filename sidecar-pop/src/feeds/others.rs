//! Who else knows what Core told: peers and bootstrap servers, as the configuration says, for as long as it does.

use std::net::SocketAddr;
use std::sync::Arc;

use tapir_runtime::shutdown::Shutdown;
use tapir_wire::config::pop::Peers;
use tokio::net::lookup_host;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::bootstrap::Bootstrapping;
use super::peers::{self, Identity};
use super::{NewsSender, again_and_again};
use crate::admin::Question;
use crate::dns::acl::is_own;
use crate::setup::Setup;

/// What is going on.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    /// Peers are told.
    Tell(Peers),
    /// Peers are asked for what they know of these sources. With another one all are asked again: what they told of it went to nobody.
    Ask(Peers, Vec<String>),
    /// The servers of one source are asked, or were.
    Bootstrap(Bootstrapping),
}

/// Runs until the shutdown. An edge that was offboarded has no others.
pub async fn run(
    mut setup: watch::Receiver<Option<Arc<Setup>>>,
    identity: watch::Receiver<Option<Identity>>,
    engine: mpsc::Sender<Question>,
    tell: NewsSender,
    shutdown: Shutdown,
) {
    let mut tasks = JoinSet::new();
    let mut running: Vec<(Task, AbortHandle)> = Vec::new();
    loop {
        let now = setup.borrow_and_update().clone();
        if let Some(setup) = now {
            let wanted = if setup.disabled { Vec::new() } else { wanted(&setup) };
            running.retain(|(task, handle)| {
                let stays = wanted.contains(task);
                if !stays {
                    handle.abort();
                }
                stays
            });
            for task in wanted {
                if running.iter().any(|(known, _)| *known == task) {
                    continue;
                }
                let (identity, tell, shutdown) = (identity.clone(), tell.clone(), shutdown.clone());
                let handle = match &task {
                    Task::Tell(Peers { port, .. }) => {
                        let address = SocketAddr::from(([0_u16; 8], *port));
                        tasks.spawn(peers::serve(address, identity, engine.clone(), shutdown))
                    }
                    Task::Ask(Peers { service, port }, _) => {
                        let (service, port, to, until) = (service.clone(), *port, tell.clone(), shutdown.clone());
                        tasks.spawn(again_and_again(None, tell, shutdown, move || {
                            peers::ask_all(look(service.clone(), port), identity.clone(), to.clone(), until.clone())
                        }))
                    }
                    Task::Bootstrap(bootstrapping) => {
                        let (work, to, until) = (bootstrapping.clone(), tell.clone(), shutdown.clone());
                        tasks.spawn(again_and_again(Some(Arc::clone(&work.source)), tell, shutdown, move || {
                            work.clone().run(identity.clone(), to.clone(), until.clone())
                        }))
                    }
                };
                running.push((task, handle));
            }
        }
        tokio::select! {
            () = shutdown.requested() => break,
            changed = setup.changed() => if changed.is_err() {
                break;
            },
            // Done, or aborted; where peers are told, one that panics ends the process.
            Some(_) = tasks.join_next() => {}
        }
    }
    // They end by themselves at the shutdown.
    while tasks.join_next().await.is_some() {}
}

fn wanted(setup: &Setup) -> Vec<Task> {
    // Nobody has anything to tell of where nothing is observed.
    let peers = setup.peers.iter().filter(|_| !setup.rules.cores.is_empty());
    let cores: Vec<String> = setup.rules.cores.iter().map(|core| core.name.clone()).collect();
    let peers = peers.flat_map(|peers| [Task::Tell(peers.clone()), Task::Ask(peers.clone(), cores.clone())]);
    peers.chain(setup.bootstraps.iter().cloned().map(Task::Bootstrap)).collect()
}

/// Addresses behind a name, without our own.
fn look(service: String, port: u16) -> impl Fn() -> Looking + Send {
    move || {
        let service = service.clone();
        Box::pin(async move { Ok(lookup_host((service, port)).await?.filter(|address| !is_own(address.ip())).collect()) })
    }
}

type Looking = std::pin::Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::NoFiles;

    #[test]
    fn peers_are_asked_again_when_there_is_another_source() {
        let wanted = |sources: &str| {
            let text = format!("format: 2\npeers: {{service: pop.example, port: 9843}}\nsources: [{sources}]\n");
            super::wanted(&Setup::parse(&text, &mut NoFiles).unwrap().0)
        };
        let [none, one, other] = [
            "",
            "{name: core, list: Doubt, core: {}}",
            "{name: own, list: Deny, inline: {names: [a.example]}}, {name: core, list: Doubt, core: {}}",
        ]
        .map(wanted);
        assert!(none.is_empty());
        assert_eq!((one.len(), &one), (2, &other), "what is no source of observations is nothing to peers");
        let two = wanted("{name: core, list: Doubt, core: {}}, {name: more, list: Doubt, core: {topics: [more]}}");
        assert_eq!(two.iter().map(|task| one.contains(task)).collect::<Vec<_>>(), [true, false]);
    }
}

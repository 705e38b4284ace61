//! The folders in which something changes: that of the configuration, and those of files that it names elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::select_all;
use tapir_runtime::shutdown::{Reloads, Shutdown};
use tapir_runtime::watch::DirectoryWatch;
use tapir_wire::config::edm::EdmConfig;
use tokio::sync::{Notify, watch};

/// Tells when something changed in any of them, and at SIGHUP.
#[derive(Debug)]
pub struct Watches {
    /// For those beside the own one: a SIGHUP is one change, however many folders there are.
    silence: (watch::Sender<u64>, Reloads),
    own: DirectoryWatch,
    /// Told of what came without a change in any of the folders.
    news: Arc<Notify>,
    others: BTreeMap<PathBuf, DirectoryWatch>,
}

impl Watches {
    /// Of the configuration's folder alone. Made before the first reading, so that no change falls between.
    #[must_use]
    pub fn new(folder: &Path, shutdown: &Shutdown) -> Self {
        let own = DirectoryWatch::new(folder, shutdown.reloads());
        Self { silence: watch::channel(0), own, news: Arc::default(), others: BTreeMap::new() }
    }

    /// For who brings something that is to be read.
    #[must_use]
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// Watches these folders beside the own one, and no others. True if one of them is new: what changed in it until now may have been missed.
    pub(super) fn follow(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        self.others.retain(|folder, _| folders.contains(folder));
        let before = self.others.len();
        for folder in folders {
            let watch = || DirectoryWatch::new(folder, self.silence.1.clone());
            self.others.entry(folder.clone()).or_insert_with(watch);
        }
        self.others.len() > before
    }

    /// Resolves after a change, or at SIGHUP.
    pub(super) async fn changed(&mut self) {
        let watches = std::iter::once(&mut self.own).chain(self.others.values_mut());
        tokio::select! {
            _ = select_all(watches.map(|watch| Box::pin(watch.changed()))) => {}
            () = self.news.notified() => {}
        }
    }
}

/// Folders of the files that a configuration names, without its own; `folder` is where it lies.
pub(super) fn folders(config: &EdmConfig, folder: &Path) -> BTreeSet<PathBuf> {
    let files = [
        &config.well_known_domains_file,
        &config.well_known_domains_ca_file,
        &config.ignored_client_ips_file,
        &config.ignored_question_names_file,
        &config.input_tls_cert_file,
        &config.input_tls_key_file,
        &config.input_tls_client_ca_file,
        &config.http_ca_file,
        &config.http_signing_key_file,
        &config.http_client_key_file,
        &config.http_client_cert_file,
        &config.mqtt_ca_file,
        &config.mqtt_signing_key_file,
        &config.mqtt_client_key_file,
        &config.mqtt_client_cert_file,
    ];
    let places = files.into_iter().flatten().map(|file| config.path(folder, file));
    let folders = places.filter_map(|place| place.parent().map(Path::to_owned));
    folders.map(|place| if place == Path::new("") { ".".into() } else { place }).filter(|place| place != folder).collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_sighup_is_one_change_however_many_folders_there_are() {
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let (signals, shutdown) = Shutdown::manual();
        let mut watches = Watches::new(folders[0].path(), &shutdown);
        assert!(watches.follow(&folders[1..].iter().map(|folder| folder.path().to_owned()).collect()));
        signals.send_modify(|count| *count += 1);
        watches.changed().await;
        assert!(watches.changed().now_or_never().is_none(), "the others tell of it as well");
        signals.send_modify(|count| *count += 1);
        watches.changed().await;
    }

    #[test]
    fn folders_of_either_form() {
        let own =
            EdmConfig::parse("format = 2\nwell-known-domains-file = 'a'\nhttp-ca-file = '/b/c'\nignored-client-ips-file = 'd/e'");
        let expected = |folders: &[&str]| folders.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
        assert_eq!(folders(&own.unwrap().config, Path::new("/x")), expected(&["/b", "/x/d"]));
        let theirs = "input-unix = '/s'\ncryptopan-key = 'x'\ndisable-mqtt = true\ndisable-histogram-sender = true\n\
                      well-known-domains-file = 'a'\nignored-client-ips-file = '/b/c'\n";
        let folders = folders(&EdmConfig::parse(theirs).unwrap().config, Path::new("/x"));
        assert!(folders.is_superset(&expected(&[".", "/b"])) && !folders.contains(Path::new("/x")), "{folders:?}");
    }
}

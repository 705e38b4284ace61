//! What all controllers share: one namespace or all, back-off after errors, metrics, orderly end.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{Stream, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller, Error};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::settings::Scope;
use crate::telemetry::metrics::Metrics;

/// Pause after the first error of an object; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Pause of all watches of a controller after an error of any of them, give or take half of it.
const WATCH_PAUSE: Duration = Duration::from_millis(250);

/// What one controller watches.
#[derive(Clone, Debug)]
pub enum Watched {
    AllNamespaces,
    Namespace(String),
}

impl Watched {
    /// The controllers that a scope takes.
    #[must_use]
    pub fn of(scope: &Scope) -> Vec<Self> {
        match scope {
            Scope::AllNamespaces => vec![Self::AllNamespaces],
            Scope::Namespaces(names) => names.iter().cloned().map(Self::Namespace).collect(),
        }
    }

    /// API for a kind of object in it.
    #[must_use]
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::AllNamespaces => Api::all(client.clone()),
            Self::Namespace(name) => Api::namespaced(client.clone(), name),
        }
    }

    /// Which namespaces themselves to watch: each by its name, as far as the right to do so goes.
    #[must_use]
    pub fn namespaces(&self) -> watcher::Config {
        match self {
            Self::AllNamespaces => watcher::Config::default(),
            Self::Namespace(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
        }
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllNamespaces => formatter.write_str("of all namespaces"),
            Self::Namespace(name) => write!(formatter, "of namespace {name}"),
        }
    }
}

/// A controller, and what it is told to look at.
pub struct Work<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug + Send + Sync + 'static,
{
    name: &'static str,
    controller: Controller<K>,
    waiting: Waiting<K>,
}

impl<K> Work<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug + Send + Sync + 'static,
{
    /// Of a controller that works on at most so many objects at a time.
    #[must_use]
    pub fn of(name: &'static str, controller: Controller<K>, most: u16, metrics: &Metrics) -> Self {
        metrics.controller(name, most);
        let waiting = Waiting { name, keys: Arc::default(), metrics: metrics.clone() };
        Self { name, controller: controller.with_config(Config::default().concurrency(most)), waiting }
    }

    /// Looks at these as they are named.
    #[must_use]
    pub fn told_by(self, changed: impl Stream<Item = ObjectRef<K>> + Send + 'static) -> Self {
        let waiting = self.waiting.clone();
        let changed = changed.inspect(move |key| waiting.named(key));
        Self { controller: self.controller.reconcile_on(changed), ..self }
    }

    /// Runs until `stop`; reconciles under way may end.
    pub async fn drive<E, R, F>(
        self,
        reconcile: R,
        context: Arc<crate::edge::Context>,
        stop: CancellationToken,
        reason: fn(&E) -> &'static str,
    ) where
        E: std::error::Error + Send + 'static,
        R: Fn(Arc<K>, Arc<crate::edge::Context>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Action, E>> + Send + 'static,
    {
        let Self { name, controller, waiting } = self;
        let failures = Failures::default();
        let metrics = context.metrics.clone();
        let counted = {
            let (metrics, failures, waiting) = (metrics.clone(), failures.clone(), waiting.clone());
            move |object: Arc<K>, context| {
                let (metrics, failures) = (metrics.clone(), failures.clone());
                let (key, started) = (ObjectRef::from_obj(&*object), Instant::now());
                waiting.taken(&key);
                let reconcile = reconcile(object, context);
                async move {
                    let _working = metrics.working(name);
                    let result = reconcile.await;
                    metrics.reconciled(name, result.is_ok(), started.elapsed());
                    if result.is_ok() && failures.forget(&key) {
                        tracing::info!(controller = name, object = %key, "reconciled again");
                    }
                    result
                }
            }
        };
        let on_error = move |object: Arc<K>, error: &E, _| {
            let key = ObjectRef::from_obj(&*object);
            let reason = reason(error);
            let Failed { pause, is_news } = failures.failed(&key, reason);
            metrics.failed(name, reason);
            let retry_in_ms = pause.as_millis();
            // The same again changes nothing: the metric counts it.
            if is_news {
                tracing::warn!(controller = name, object = %key, reason, error = %error, retry_in_ms, "reconcile failed, trying on");
            } else {
                tracing::debug!(controller = name, object = %key, reason, error = %error, retry_in_ms, "reconcile failed again");
            }
            Action::requeue(pause)
        };
        controller
            .trigger_backoff(WatchPause)
            .graceful_shutdown_on(stop.cancelled_owned())
            .run(counted, on_error, context)
            // Errors of reconciles were handled above; those of the queue mean an object that is gone meanwhile.
            .for_each(async |ended| {
                if let Err(Error::ObjectNotFound(gone)) = ended {
                    waiting.taken(&ObjectRef::new(&gone.name).within(gone.namespace.as_deref().unwrap_or_default()));
                }
            })
            .await;
    }
}

impl<K> fmt::Debug for Work<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug + Send + Sync + 'static,
{
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Work").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What was named and not taken by a worker yet, for the metric: the queue itself is kube's.
struct Waiting<K: Resource<DynamicType = ()>> {
    name: &'static str,
    keys: Arc<Mutex<HashSet<ObjectRef<K>>>>,
    metrics: Metrics,
}

impl<K: Resource<DynamicType = ()>> Waiting<K> {
    fn named(&self, key: &ObjectRef<K>) {
        self.change(|keys| keys.insert(key.clone()));
    }

    fn taken(&self, key: &ObjectRef<K>) {
        self.change(|keys| keys.remove(key));
    }

    fn change(&self, change: impl FnOnce(&mut HashSet<ObjectRef<K>>) -> bool) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut keys);
        self.metrics.waiting(self.name, keys.len());
    }
}

impl<K: Resource<DynamicType = ()>> Clone for Waiting<K> {
    fn clone(&self) -> Self {
        Self { name: self.name, keys: Arc::clone(&self.keys), metrics: self.metrics.clone() }
    }
}

/// kube pauses all watches of a controller together, and by default lets the pause grow up to half a minute with each error. When the API
/// server restarts, a dozen watches end at once, and the controller would be deaf for minutes. An even pause asks an API server that is away
/// a few times a second, whatever the number of watches.
#[derive(Debug)]
struct WatchPause;

impl Iterator for WatchPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(WATCH_PAUSE.mul_f64(0.5 + rand::random::<f64>()))
    }
}

impl Backoff for WatchPause {
    fn reset(&mut self) {}
}

/// How often each object failed in a row, and why the last time.
#[derive(Debug)]
struct Failures<K: Resource<DynamicType = ()>>(Arc<Mutex<Failing<K>>>);

type Failing<K> = HashMap<ObjectRef<K>, (u32, &'static str)>;

/// What follows from a failure.
struct Failed {
    pause: Duration,
    /// It was well before, or failed for another reason.
    is_news: bool,
}

impl<K: Resource<DynamicType = ()>> Failures<K>
where
    ObjectRef<K>: Hash + Eq,
{
    fn failed(&self, object: &ObjectRef<K>, reason: &'static str) -> Failed {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, before) = failures.entry(object.clone()).or_insert((0, ""));
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST_PAUSE);
        *count = count.saturating_add(1);
        let is_news = std::mem::replace(before, reason) != reason;
        Failed { pause: pause.mul_f64(1.0 - rand::random::<f64>() / 4.0), is_news }
    }

    /// Whether it had failed.
    fn forget(&self, object: &ObjectRef<K>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object).is_some()
    }
}

impl<K: Resource<DynamicType = ()>> Default for Failures<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Resource<DynamicType = ()>> Clone for Failures<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    #[test]
    fn a_failure_is_news_once_for_each_reason() {
        let (failures, pod) = (Failures::<Pod>::default(), ObjectRef::new("p"));
        let news = ["ReadFailed", "ReadFailed", "ApplyFailed", "ReadFailed"].map(|reason| failures.failed(&pod, reason).is_news);
        assert_eq!(news, [true, false, true, true]);
        assert!(failures.forget(&pod) && !failures.forget(&pod), "well again is news once");
        let Failed { pause, is_news } = failures.failed(&pod, "ReadFailed");
        assert!(is_news && pause <= FIRST_PAUSE);
    }
}

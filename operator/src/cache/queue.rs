//! Keys that wait to be looked at, each once however often it was named: bounded by the number of objects there are.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, Stream};
use tokio::sync::Notify;

/// A queue of keys; clones share it. Has one reader.
#[derive(Debug)]
pub struct Queue<K>(Arc<Inner<K>>);

#[derive(Debug)]
struct Inner<K> {
    waiting: Mutex<HashSet<K>>,
    news: Notify,
}

impl<K: Hash + Eq> Queue<K> {
    /// Names a key.
    pub fn push(&self, key: K) {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        self.0.news.notify_one();
    }

    /// All keys that wait now.
    pub fn take(&self) -> Vec<K> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}

impl<K: Hash + Eq + Send + 'static> Queue<K> {
    /// The keys as they come. Never ends.
    pub fn stream(&self) -> impl Stream<Item = K> + Send + 'static {
        stream::unfold((self.clone(), Vec::new()), async |(queue, mut taken)| {
            loop {
                if let Some(key) = taken.pop() {
                    return Some((key, (queue, taken)));
                }
                // Registered before looking, so that no key comes in between unseen.
                let news = queue.0.news.notified();
                taken = queue.take();
                if taken.is_empty() {
                    news.await;
                }
            }
        })
    }
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self(Arc::new(Inner { waiting: Mutex::default(), news: Notify::new() }))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_key_waits_once_and_none_is_missed() {
        let queue = Queue::default();
        queue.push(1);
        queue.push(1);
        let mut stream = Box::pin(queue.stream());
        assert_eq!(stream.next().await, Some(1));
        assert!(futures::poll!(stream.next()).is_pending());
        queue.push(2);
        assert_eq!(stream.next().await, Some(2));
    }
}

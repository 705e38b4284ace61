//! One part of what is in force: the last good value and why the newest one is not it.

use std::sync::Arc;

/// The part.
#[derive(Debug)]
pub(super) struct Part<T> {
    name: &'static str,
    good: Option<Arc<T>>,
    error: Option<String>,
}

impl<T: PartialEq> Part<T> {
    /// Offers what was read. Logs what changed, once; tells whether something new came into force.
    pub(super) fn offer(&mut self, newest: Result<T, String>) -> bool {
        match newest {
            Ok(value) => {
                let recovered = self.error.take().is_some();
                let changed = self.good.as_deref() != Some(&value);
                if changed {
                    self.good = Some(Arc::new(value));
                }
                if changed || recovered {
                    tracing::info!(part = self.name, "in force");
                }
                changed
            }
            Err(error) => {
                if self.error.as_ref() != Some(&error) {
                    match &self.good {
                        Some(_) => tracing::error!(part = self.name, error, "refused, the last good one is kept"),
                        None => tracing::warn!(part = self.name, error, "not there or not usable, going on without"),
                    }
                }
                self.error = Some(error);
                false
            }
        }
    }
}

impl<T> Part<T> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, good: None, error: None }
    }

    /// The part is not wanted any more.
    pub(super) fn clear(&mut self) {
        self.good = None;
        self.error = None;
    }

    pub(super) const fn good(&self) -> Option<&Arc<T>> {
        self.good.as_ref()
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_good_one_stays() {
        let mut part = Part::new("test");
        assert!(!part.offer(Err("missing".to_owned())));
        assert_eq!((part.good(), part.error()), (None, Some("missing")));
        assert!(part.offer(Ok(1)));
        assert!(!part.offer(Err("bad".to_owned())));
        assert_eq!((part.good().map(|good| **good), part.error()), (Some(1), Some("bad")));
        assert!(!part.offer(Ok(1)), "back to the old value is nothing new");
        assert_eq!(part.error(), None);
        assert!(part.offer(Ok(2)));
    }
}

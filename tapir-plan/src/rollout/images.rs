//! Images of the sidecars of an edge or of a Pod.

/// One of the sidecars. In the order of their containers' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Edm,
    Pop,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Edm, Self::Pop];
}

/// Images of the sidecars; none of one that is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Images {
    pub edm: Option<String>,
    pub pop: Option<String>,
}

impl Images {
    #[must_use]
    pub fn get(&self, kind: Kind) -> Option<&str> {
        match kind {
            Kind::Edm => self.edm.as_deref(),
            Kind::Pop => self.pop.as_deref(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edm.is_none() && self.pop.is_none()
    }

    /// What a Pod with these sidecars is to run: a sidecar that it has and the target lacks keeps its image, as containers cannot be taken
    /// from a running Pod; one that it lacks cannot be added.
    #[must_use]
    pub fn goal(&self, target: &Self) -> Self {
        let one = |own: &Option<String>, target: &Option<String>| own.as_ref().map(|own| target.as_ref().unwrap_or(own).clone());
        Self { edm: one(&self.edm, &target.edm), pop: one(&self.pop, &target.pop) }
    }

    /// These images for exactly the sidecars of the target; one that was not there before gets the target's.
    #[must_use]
    pub fn held(&self, target: &Self) -> Self {
        let one =
            |own: &Option<String>, target: &Option<String>| target.as_ref().map(|target| own.as_ref().unwrap_or(target).clone());
        Self { edm: one(&self.edm, &target.edm), pop: one(&self.pop, &target.pop) }
    }

    /// Of these, the images that are other than before.
    #[must_use]
    pub fn news(&self, before: Option<&Self>) -> Self {
        let one = |own: &Option<String>, before: Option<&String>| own.clone().filter(|own| before != Some(own));
        let before = before.cloned().unwrap_or_default();
        Self { edm: one(&self.edm, before.edm.as_ref()), pop: one(&self.pop, before.pop.as_ref()) }
    }

    /// Whether both have an image of the same sidecar in common.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> bool {
        Kind::ALL.iter().any(|kind| self.get(*kind).is_some() && self.get(*kind) == other.get(*kind))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &String> {
        self.edm.iter().chain(&self.pop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(edm: &str, pop: &str) -> Images {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Images { edm: some(edm), pop: some(pop) }
    }

    #[test]
    fn shapes_are_kept() {
        assert_eq!(images("e1", "p1").goal(&images("e2", "p2")), images("e2", "p2"));
        assert_eq!(images("e1", "p1").goal(&images("", "p2")), images("e1", "p2"));
        assert_eq!(images("", "p1").goal(&images("e2", "p2")), images("", "p2"));
        assert_eq!(images("e1", "").held(&images("e2", "p2")), images("e1", "p2"));
        assert_eq!(images("e1", "p1").held(&images("", "p2")), images("", "p1"));
    }

    #[test]
    fn what_is_new_is_what_is_compared() {
        assert_eq!(images("e1", "p2").news(Some(&images("e1", "p1"))), images("", "p2"));
        assert_eq!(images("e1", "p2").news(None), images("e1", "p2"));
        assert!(images("", "p2").overlap(&images("e1", "p2")));
        assert!(!images("e2", "").overlap(&images("e1", "p2")) && !images("", "").overlap(&images("", "")));
    }
}

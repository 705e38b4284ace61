//! What tells two instances of one node apart.

/// Suffix for MQTT client ids, unique for each Pod: two Pods of an edge share the node's identity, and a broker disconnects
/// the first of two clients with the same id.
#[must_use]
pub fn suffix() -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| variable("HOSTNAME"));
    of_pod().or_else(|| clean(&host()?)).unwrap_or_else(|| "local".to_owned())
}

/// The same of a Pod alone; none outside of one. Nothing of the machine is in it.
#[must_use]
pub fn of_pod() -> Option<String> {
    of(variable("POD_NAME").as_deref(), variable("POD_UID").as_deref())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The name alone is not enough: Pods of a StatefulSet come again under the same name while the broker may still hold the session.
fn of(pod_name: Option<&str>, pod_uid: Option<&str>) -> Option<String> {
    let name = pod_name.and_then(|name| name.rsplit('-').next());
    let uid = pod_uid.map(|uid| uid.chars().take(8).collect::<String>());
    match (name, uid) {
        (Some(name), Some(uid)) => clean(&format!("{name}-{uid}")),
        (Some(name), None) => clean(name),
        (None, Some(uid)) => clean(&uid),
        (None, None) => None,
    }
}

fn clean(suffix: &str) -> Option<String> {
    let clean = suffix.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(64).collect::<String>();
    Some(clean).filter(|clean| !clean.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{clean, of};

    #[test]
    fn a_pod_is_told_by_name_and_uid() {
        let check = |name, uid, expected| assert_eq!(of(name, uid).as_deref(), expected);
        check(Some("unbound-7d4b9c-x2x4z"), Some("0a1b2c3d-4e5f-6071"), Some("x2x4z-0a1b2c3d"));
        check(Some("unbound-0"), None, Some("0"));
        check(None, Some("0a1b2c3d-4e5f"), Some("0a1b2c3d"));
        check(None, None, None);
    }

    #[test]
    fn only_what_a_topic_may_have_is_in_it() {
        assert_eq!(clean("resolver.example\n").as_deref(), Some("resolver.example"));
        assert_eq!((clean("a b#/+").as_deref(), clean(" ")), (Some("ab"), None));
    }
}

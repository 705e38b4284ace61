//! What tells two instances of one node apart.

/// Suffix for MQTT client ids, unique for each Pod: two Pods of an edge share the node's identity, and a broker disconnects
/// the first of two clients with the same id.
#[must_use]
pub fn suffix() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| variable("HOSTNAME"));
    suffix_of(variable("POD_NAME").as_deref(), variable("POD_UID").as_deref(), host.as_deref())
}

/// The name alone is not enough: Pods of a StatefulSet come again under the same name while the broker may still hold the session.
fn suffix_of(pod_name: Option<&str>, pod_uid: Option<&str>, host: Option<&str>) -> String {
    let name = pod_name.and_then(|name| name.rsplit('-').next());
    let uid = pod_uid.map(|uid| uid.chars().take(8).collect::<String>());
    let suffix = match (name, uid) {
        (Some(name), Some(uid)) => format!("{name}-{uid}"),
        (Some(name), None) => name.to_owned(),
        (None, Some(uid)) => uid,
        (None, None) => host.unwrap_or_default().trim().to_owned(),
    };
    let clean: String = suffix.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(64).collect();
    if clean.is_empty() { "local".to_owned() } else { clean }
}

#[cfg(test)]
mod tests {
    use super::suffix_of;

    #[test]
    fn a_pod_is_told_by_name_and_uid() {
        let check = |name, uid, host, expected| assert_eq!(suffix_of(name, uid, host), expected);
        check(Some("unbound-7d4b9c-x2x4z"), Some("0a1b2c3d-4e5f-6071"), Some("h"), "x2x4z-0a1b2c3d");
        check(Some("unbound-0"), None, Some("h"), "0");
        check(None, Some("0a1b2c3d-4e5f"), Some("h"), "0a1b2c3d");
        check(None, None, Some("resolver.example\n"), "resolver.example");
        check(None, None, Some("a b#/+"), "ab");
        check(None, None, None, "local");
    }
}

//! Where a mount is, by its path.

/// What matters of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Our folder, or below it.
    Ours,
    /// The folder that ours is in.
    Run,
    /// Anywhere else.
    Elsewhere,
}

/// `/run`, which in most images is `/var/run` too, and `/run/tapir`. The policy says it as `^/+(var/+)?run/+tapir(/|$)` and
/// `^/+(var/+)?run/*$`.
pub(crate) fn place(path: &str) -> Place {
    let Some(below) = below_run(path) else { return Place::Elsewhere };
    match below.strip_prefix("tapir") {
        _ if below.is_empty() => Place::Run,
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Place::Ours,
        _ => Place::Elsewhere,
    }
}

/// The rest of a path below `/run`; empty for that folder itself.
fn below_run(path: &str) -> Option<&str> {
    let step = |path: &str, name: &str| -> Option<usize> {
        let rest = path.strip_prefix('/')?.trim_start_matches('/').strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| path.len() - rest.len())
    };
    let path = step(path, "var").map_or(path, |end| &path[end..]);
    step(path, "run").map(|end| path[end..].trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_directory_has_many_spellings() {
        for ours in
            ["/run/tapir", "/run/tapir/", "//run//tapir/x", "/var/run/tapir", "/var//run/tapir/dnstap.sock", "/run/tapir/\n"]
        {
            assert_eq!(place(ours), Place::Ours, "{ours:?}");
        }
        for run in ["/run", "/run/", "//var/run//"] {
            assert_eq!(place(run), Place::Run, "{run}");
        }
        for other in [
            "/run/tapirs",
            "/running/tapir",
            "/var/tapir",
            "/srv/run/tapir",
            "run/tapir",
            "/var",
            "/",
            "",
            "/var/running",
            "/run/tapir\n",
        ] {
            assert_eq!(place(other), Place::Elsewhere, "{other:?}");
        }
    }
}

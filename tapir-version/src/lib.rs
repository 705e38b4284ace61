//! Version and commit of this build, for `--version` and the first log record.

/// Version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// First twelve digits of the commit that was built; `unknown` when neither git nor the archive says.
pub const COMMIT: &str = env!("TAPIR_COMMIT");

/// `0.1.0 (abc1234)`, the text behind `--version`.
pub const LONG: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("TAPIR_COMMIT"), ")");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_form_names_both() {
        assert_eq!(LONG, format!("{VERSION} ({COMMIT})"));
    }

    #[test]
    fn commit_is_a_hash_or_unknown() {
        let hash = COMMIT.len() == 12 && COMMIT.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(hash || COMMIT == "unknown", "{COMMIT:?}");
    }
}

//! Logs as a process writes them. The child is this test program itself, because a process has one logger.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

const CHILD: &str = "TAPIR_TEST_LOGGING_CHILD";

#[test]
fn lines_are_json_and_the_first_tells_the_version() {
    if std::env::var_os(CHILD).is_some() {
        tapir_runtime::logging::init("tapir-edm");
        tapir_runtime::logging::init("again");
        tracing::info!(frames = 3, "frames taken");
        tracing::debug!("details");
        return;
    }
    let records = |level: Option<&str>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "lines_are_json_and_the_first_tells_the_version", "--nocapture"])
            .env(CHILD, "1")
            .env_remove("RUST_LOG");
        match level {
            Some(level) => command.env("TAPIR_LOG", level),
            None => command.env_remove("TAPIR_LOG"),
        };
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        // Beside the lines of the test program.
        let lines = output.lines().filter_map(|line| line.find('{').map(|start| line[start..].to_owned()));
        lines.map(|line| serde_json::from_str(&line).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    let plain = records(None);
    assert_eq!(plain.len(), 2, "{plain:?}");
    assert_eq!((&plain[0]["message"], &plain[0]["component"]), (&"starting".into(), &"tapir-edm".into()));
    assert_eq!((&plain[0]["version"], &plain[0]["commit"]), (&tapir_version::VERSION.into(), &tapir_version::COMMIT.into()));
    assert_eq!(
        (&plain[1]["message"], &plain[1]["frames"], &plain[1]["level"]),
        (&"frames taken".into(), &3.into(), &"INFO".into())
    );
    assert_eq!(records(Some("debug")).len(), 3);
    assert_eq!(records(Some("warn")).len(), 0);
    assert_eq!(records(Some("no=such=level")).len(), 2);
}

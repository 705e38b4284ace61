//! What a failure outside of the scenarios leaves behind, since the cluster itself is about to go.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::paths::ClusterName;
use crate::progress::{output, say};
use crate::tools;

/// An API server that hangs may be the very failure.
const PATIENCE: &str = "--request-timeout=20s";

/// Lines of each container that are asked for.
const LINES: &str = "--tail=2000";

/// Larger files (an audit log of a long run) are named, not copied.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Gathers into `folder` whatever can still be had: descriptions, Events, logs of all containers, logs of the node's components.
/// It never fails: each file says what was found or why nothing was.
pub fn collect(name: &ClusterName, folder: &Path) {
    if let Err(error) = fs::create_dir_all(folder) {
        return say(&format!("no evidence kept: {}: {error}", folder.display()));
    }
    copy(&name.folder().join("log"), &folder.join("node"));
    if name.folder().join("kubeconfig").is_file() {
        from_api_server(name, folder);
    }
    say(&format!("evidence of the failure: {}", folder.display()));
}

fn from_api_server(name: &ClusterName, folder: &Path) {
    let program = match tools::kubectl() {
        Ok(folder) => folder.join("kubectl"),
        Err(error) => return keep(folder, "kubectl-missing.txt", &format!("{error:#}")),
    };
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.env("KUBECONFIG", name.folder().join("kubeconfig")).env("HOME", name.folder()).arg(PATIENCE).args(arguments);
        output(&mut command)
    };
    let questions: [(&str, &[&str]); 5] = [
        ("nodes.txt", &["describe", "nodes"]),
        ("pods.txt", &["get", "pods", "--all-namespaces", "--output=wide"]),
        ("pods-described.txt", &["describe", "pods", "--all-namespaces"]),
        ("events.txt", &["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"]),
        ("edges.yaml", &["get", "tapiredges,tapirpolicies", "--all-namespaces", "--output=yaml"]),
    ];
    for (file, arguments) in questions {
        let text = kubectl(arguments);
        let gone = text.is_err();
        keep(folder, file, &text.unwrap_or_else(|error| format!("{error:#}\n")));
        if gone && file == "nodes.txt" {
            return;
        }
    }
    let names = "--output=jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{\"\\n\"}{end}";
    for line in kubectl(&["get", "pods", "--all-namespaces", names]).unwrap_or_default().lines() {
        let Some((namespace, pod)) = line.split_once(' ') else { continue };
        for (suffix, which) in [("", "--previous=false"), (".previous", "--previous=true")] {
            let logs = kubectl(&["--namespace", namespace, "logs", pod, "--all-containers", "--prefix", LINES, which]);
            match (logs, suffix) {
                (Ok(text), _) => keep(folder, &format!("{namespace}.{pod}{suffix}.log"), &text),
                // Most containers had no earlier life.
                (Err(_), ".previous") => {}
                (Err(error), _) => keep(folder, &format!("{namespace}.{pod}.log"), &format!("{error:#}\n")),
            }
        }
    }
}

fn keep(folder: &Path, file: &str, text: &str) {
    if let Err(error) = fs::write(folder.join(file), text) {
        say(&format!("no evidence kept: {}: {error}", folder.join(file).display()));
    }
}

/// Plain files, with their folders; the symbolic links among them only name others of them.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let Ok(data) = entry.metadata() else { continue };
        if data.is_dir() {
            copy(&source, &target);
        } else if data.is_file() {
            let result = fs::create_dir_all(to).and_then(|()| {
                if data.len() > LARGEST {
                    return fs::write(&target, format!("not copied: {} bytes\n", data.len()));
                }
                fs::copy(&source, &target).map(|_| ())
            });
            if let Err(error) = result {
                say(&format!("no evidence kept: {}: {error}", target.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::collect;
    use crate::paths::ClusterName;

    #[test]
    fn logs_of_a_cluster_that_never_answered_are_kept() {
        let name = ClusterName::parse(&format!("evidence-{}", std::process::id())).unwrap();
        let log = name.folder().join("log/pods/a");
        fs::create_dir_all(&log).unwrap();
        fs::write(log.join("0.log"), "last words").unwrap();
        let folder = name.folder().join("kept");
        collect(&name, &folder);
        let kept = fs::read_to_string(folder.join("node/pods/a/0.log"));
        fs::remove_dir_all(name.folder()).unwrap();
        assert_eq!(kept.unwrap(), "last words");
    }
}

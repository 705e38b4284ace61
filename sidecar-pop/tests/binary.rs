//! The program as a supervisor sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

#[test]
fn tells_version_and_commit() {
    let output = Command::new(env!("CARGO_BIN_EXE_tapir-pop")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("tapir-pop {}", tapir_version::LONG));
}

#[test]
fn logs_version_and_commit_before_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tapir-pop"))
        .args(["run", "--config-file"])
        .arg(folder.path().join("pop.yaml"))
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&record["version"], &record["commit"]), (&tapir_version::VERSION.into(), &tapir_version::COMMIT.into()));
}

/// Exit code, standard output and standard error.
fn run(arguments: &[&std::ffi::OsStr]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tapir-pop")).args(arguments).output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_configuration_is_checked_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pop.yaml");
    let shown = file.display();
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        run(&["check-config".as_ref(), file.as_os_str()])
    };
    assert_eq!(
        check("format: 1\n"),
        (Some(0), format!("{shown}: good: zone dnstapir., 0 sources, 0 doubt rules\n"), String::new())
    );

    std::fs::write(folder.path().join("own"), "evil.example\na..b\n").unwrap();
    let text = "format: 2\nlimits: {connections: 5}\nsources:\n- {name: own, list: Deny, file: {path: own}}\n\
                - {name: feed, list: Deny, rpz: {primaries: ['192.0.2.1:53'], zone: feed.example., tsigKeyFile: key}}\n";
    let (code, good, warnings) = check(text);
    assert_eq!((code, good), (Some(0), format!("{shown}: good: zone dnstapir., 2 sources, 0 doubt rules, 2 warnings\n")));
    assert!(warnings.contains("source own, line 2: "), "{warnings}");
    assert!(warnings.contains("source feed holds nothing: key is missing"), "{warnings}");

    let (code, good, error) = check("format: 2\nmode: Enforce\nlistn: 127.0.0.1:53\n");
    assert_eq!((code, good.as_str()), (Some(1), ""));
    assert_eq!(error, format!("{shown}: unknown key listn (line 3); check the spelling or remove it\n"));

    std::fs::remove_file(&file).unwrap();
    assert_eq!(run(&["check-config".as_ref(), file.as_os_str()]), (Some(1), String::new(), format!("{shown}: is missing\n")));
}

/// A message tells the name of its key and nothing else of it.
#[test]
fn two_keys_of_one_name_are_refused_unless_they_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pop.yaml");
    let shown = file.display();
    let text = "format: 2\naccess: {tsigKeyFiles: [one]}\nnotify: [{address: '192.0.2.3:53', tsigKeyFile: two}]\nsources:\n\
                - {name: feed, list: Deny, rpz: {primaries: ['192.0.2.1:53'], zone: feed.example., tsigKeyFile: three}}\n";
    std::fs::write(&file, text).unwrap();
    let check = |keys: [&str; 3]| {
        for (name, key) in ["one", "two", "three"].iter().zip(keys) {
            std::fs::write(folder.path().join(name), key).unwrap();
        }
        run(&["check-config".as_ref(), file.as_os_str()])
    };
    let (key, other) = ("Transfer.example:c2VjcmV0", "TRANSFER.example.:b3RoZXI=");
    let clause = "key \"transfer.Example.\" { algorithm HMAC-SHA256; secret \"c2VjcmV0\"; };";
    let good = (Some(0), format!("{shown}: good: zone dnstapir., 1 source, 0 doubt rules\n"), String::new());
    assert_eq!(check([key, clause, key]), good, "one key in three files");
    assert_eq!(check([key, "b:b3RoZXI=", "c:b3RoZXI="]), good);
    let refused = |what: &str, one: &str, other: &str| {
        let reason = format!("TSIG keys of one name, transfer.example., with different {what} in {one} and {other}");
        let remedy = "give each key a name of its own, on both sides, or the same content to both files";
        (Some(1), String::new(), format!("{shown}: {reason}; {remedy}\n"))
    };
    assert_eq!(check([key, other, "c:b3RoZXI="]), refused("secrets", "one", "two"));
    assert_eq!(check(["a:b3RoZXI=", key, other]), refused("secrets", "two", "three"));
    assert_eq!(check([key, "b:b3RoZXI=", "hmac-sha512:transfer.example:c2VjcmV0"]), refused("algorithms", "one", "three"));
}

#[test]
fn a_compiled_list_holds_the_names_of_the_list_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let (list, compiled) = (folder.path().join("list"), folder.path().join("list.dawg"));
    std::fs::write(&list, "www.Example\n# comment\nb.example.\na..b\n*.below.example\na.example\nb.example\n").unwrap();
    let compile = |list: &std::path::Path| run(&["compile-list".as_ref(), list.as_os_str(), compiled.as_os_str()]);
    let (code, said, refused) = compile(&list);
    assert_eq!((code, said), (Some(0), format!("{}: 4 words, 1 entries refused\n", compiled.display())));
    assert!(refused.contains("line 4: "), "{refused}");
    let words: Vec<_> = tapir_wire::dawg::Dawg::from_bytes(std::fs::read(&compiled).unwrap()).unwrap().words().collect();
    assert_eq!(words, [".below.example.", "a.example.", "b.example.", "www.example."]);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let (code, said, error) = compile(&folder.path().join("none"));
    assert_eq!((code, said.as_str(), error.contains("No such file")), (Some(1), "", true), "{error}");
}

#[test]
fn upstreams_configuration_is_converted_to_one_that_is_good() {
    let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tapir-wire/vectors/pop/config");
    let (code, text, notes) = run(&["convert".as_ref(), vectors.as_os_str()]);
    assert_eq!(code, Some(0), "{notes}");
    assert!(notes.contains("pop-policy.yaml: policy.doubtlist.denytapir: has no tags and never fires"), "{notes}");
    let folder = tempfile::tempdir().unwrap();
    let written = run(&["convert".as_ref(), vectors.as_os_str(), "--output-dir".as_ref(), folder.path().as_os_str()]);
    assert_eq!(written.0, Some(0));
    let file = folder.path().join("pop.yaml");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let (code, good, _) = run(&["check-config".as_ref(), file.as_os_str()]);
    assert_eq!(code, Some(0));
    assert!(good.contains("good: zone dnstapir., 4 sources, 2 doubt rules"), "{good}");
    let (code, _, error) = run(&["convert".as_ref(), folder.path().join("none").as_os_str()]);
    assert_eq!((code, error.contains("none of dnstapir-pop.yaml, ")), (Some(1), true), "{error}");
}

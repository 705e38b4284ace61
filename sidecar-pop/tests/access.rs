//! Addresses and keys of `pop.yaml`, by the real binary and `dig`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;

use process::{Pop, dig, free_port, wait_for};

const KEY: &str = "hmac-sha384:xfr:c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA==";

#[test]
fn the_zone_is_served_where_and_to_whom_the_file_says() {
    let pop = Pop::new(None);
    let second = free_port();
    let configure = |revision: &str, access: &str| {
        let (first, http, state) = (pop.port, pop.http, pop.state());
        pop.write(&format!(
            "format: 2\nrevision: {revision}\nlisten: ['127.0.0.1:{first}', '127.0.0.1:{second}']\nhttpListen: \"{http}\"\n\
             dataDir: {}\n{access}\nsources: [{{name: deny, list: Deny, inline: {{names: [evil.lab]}}}}]\n",
            state.display()
        ));
    };
    let transfer = |port, key: &[&str]| dig(port, &[key, &["dnstapir.", "AXFR"]].concat());
    let whole = |answer: &String| answer.contains("evil.lab.dnstapir.") && answer.contains("XFR size: 5 records");
    pop.write_beside("xfr.key", KEY);
    configure("one", "access: {from: [loopback], tsigKeyFiles: [xfr.key], signedOnly: true}");
    let _running = pop.start();
    pop.in_force("one");
    for port in [pop.port, second] {
        wait_for("a signed transfer", || transfer(port, &["-y", KEY]), whole);
        assert!(transfer(port, &[]).contains("Transfer failed"));
        assert!(dig(port, &["dnstapir.", "SOA"]).contains("status: NOERROR"));
    }
    configure("two", "access: {from: [192.0.2.0/24]}");
    pop.in_force("two");
    wait_for("nobody is here", || dig(second, &["dnstapir.", "SOA"]), |answer| answer.contains("status: REFUSED"));
    configure("three", "");
    pop.in_force("three");
    wait_for("a transfer without a key", || transfer(second, &[]), whole);
}

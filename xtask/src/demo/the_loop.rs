//! The point of it all: one question, asked until the answer is the policy's.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tapir_harness::deploy::Environment;
use tapir_harness::progress::{NotYet, output, say, seconds, wait_quietly_for};

use super::{NAMESPACE, unique};

/// Generous; the loop closes in a few seconds.
const LOOP_CLOSES_WITHIN: Duration = Duration::from_secs(30);
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// What the demo's policy answers.
const BLOCKED: &str = "NXDOMAIN";
const NO_ANSWER: &str = "no answer";

const WHAT_HAPPENED: &str = "\
What happened in between: unbound reported its answer by dnstap to the EDM sidecar in its Pod. EDM had never seen the name and sent
a signed event over MQTT: which name and when, not who asked. Core verified it and answered with a signed observation: this name is
a loop test. The POP sidecar verified that, found the rule for it in the TapirPolicy, published a new version of its response policy
zone and notified unbound, which transferred it. For this resolver's clients the name does not exist any more.";

pub(super) fn tell(environment: &Environment<'_>) -> Result<()> {
    let address = output(environment.cluster().kubectl().args([
        "--namespace",
        NAMESPACE,
        "get",
        "service",
        "unbound",
        "--output=jsonpath={.spec.clusterIP}",
    ]))?;
    let name = format!("demo-{}.from-edge.looptest.dnstapir.se", unique());
    say(&format!("Nobody ever asked for {name}. The first time, the resolver answers as the Internet does:\n"));
    let before = first_answer(environment, &address, &name)?;
    shown(&address, &name, &before);
    say("The same question again and again, until the answer is another one.");
    let asked = Instant::now();
    let last = repeat("another answer", LOOP_CLOSES_WITHIN, || environment.dig(&address, &name), |status| status == BLOCKED)
        .context("the loop did not close")?;
    say(&format!("After {}, the same question:\n", seconds(asked.elapsed())));
    shown(&address, &name, &last);
    say(&format!("The policy's answer: {}.\n", status(&last)));
    say(WHAT_HAPPENED);
    Ok(())
}

/// Pods that are ready may not be in their Service yet.
fn first_answer(environment: &Environment<'_>, address: &str, name: &str) -> Result<String> {
    // An answer of any kind ends the wait: asking again would find what the first question has set off.
    let answer = repeat("an answer", FIRST_ANSWER_WITHIN, || environment.dig(address, name), |status| status != NO_ANSWER)
        .context("the first question")?;
    if status(&answer) != "NOERROR" {
        bail!("the first answer should be NOERROR, it is {}", status(&answer));
    }
    Ok(answer)
}

/// Asks until the response code is the wanted one. Other codes and errors may be passing; the last of them is told in the end.
fn repeat(
    what: &str,
    limit: Duration,
    mut question: impl FnMut() -> Result<String>,
    wanted: impl Fn(&str) -> bool,
) -> Result<String> {
    wait_quietly_for(what, limit, || {
        Ok(match question() {
            Ok(answer) if wanted(status(&answer)) => Ok(answer),
            Ok(answer) => Err(NotYet {
                progress: format!("it is {} still", status(&answer)),
                failure: format!("the last answer was {}:\n{}", status(&answer), answer.trim()),
            }),
            Err(error) => Err(NotYet { progress: String::new(), failure: format!("{error:#}") }),
        })
    })
}

fn shown(address: &str, name: &str, output: &str) {
    say(&format!("$ dig @{address} {name} A"));
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        say(&format!("    {line}"));
    }
    say("");
}

/// The response code, as dig spells it.
fn status(output: &str) -> &str {
    output.lines().find_map(|line| line.split_once("status: ")?.1.split(',').next()).unwrap_or(NO_ANSWER)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::anyhow;

    use super::{BLOCKED, repeat};

    #[test]
    fn only_the_policys_answer_ends_the_wait() {
        let mut answers = vec![
            Err(anyhow!("exec failed")),
            Ok("status: SERVFAIL, id: 1".to_owned()),
            Ok(String::new()),
            Ok("status: NXDOMAIN, id: 2".to_owned()),
        ]
        .into_iter();
        let wanted = |status: &str| status == BLOCKED;
        let found = repeat("it", Duration::from_secs(60), || answers.next().unwrap(), wanted).unwrap();
        assert_eq!(found, "status: NXDOMAIN, id: 2");
        let error = repeat("it", Duration::ZERO, || Ok("status: REFUSED, id: 3".to_owned()), wanted).unwrap_err();
        assert!(error.to_string().contains("REFUSED"));
    }
}

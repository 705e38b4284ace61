//! What the API server refuses, and in which words: one case for each rule of the resource definitions.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tapir_rig::client::{Api, DEFINITIONS, EDGES, Kind, POLICIES, Refusal, text};
use tapir_rig::{Method, PATIENCE, Rig, Signal, Site, wait};

/// What is wrong (a merge patch of something good), where the API server says that it is, and the words that it uses.
type Case = (Value, &'static str, &'static str);

const NAME: &str = "metadata.name becomes the value of a label and the stem of other names: use at most 50 lower-case letters, digits and hyphens, no dots, and begin with a letter";
const BOTH_OFF: &str = "spec.edm.enabled and spec.pop.enabled are both false: enable one, or delete the TapirEdge";
const NO_POLICY: &str = "spec.pop.policyRef is missing: name a TapirPolicy of this namespace, or set spec.pop.enabled to false";
const ENROLMENT: &str =
    "give exactly one of credentialsSecretRef (a new node) and existingIdentitySecretRef (a node that was enrolled before)";
const NODEMAN_URL: &str = "nodemanUrl is no https URL";
const RENEW_AT: &str = "spec.certificate.renewAt is no share of the lifetime from 20% to 80%: write one such as 66%";
const LIFETIME: &str = "spec.certificate.requestedLifetime is not between 10m and 8784h: write one such as 720h, or leave it out";
const NOTIFY: &str = "spec.resolver.notify.address is no IP address: write one such as 127.0.0.1 or ::1";
const IMAGE: &str = "image is no reference of an image: write [registry/]path[:tag][@sha256:digest]";
const CPU: &str = "resources.requests.cpu is more than resources.limits.cpu: raise the limit or lower the request";
const MEMORY: &str = "resources.requests.memory is more than resources.limits.memory: raise the limit or lower the request";
const ALL_RESPONSES: &str = "spec.edm.countedTypes has ALL_RESPONSES and others: write it alone";
const PREFIX: &str = "spec.edm.ignoredClients has an entry that is no prefix: write one such as 192.0.2.0/24 or 2001:db8::1/128";
const ONE_LIST: &str = "spec.edm.wellKnownDomains needs exactly one of configMapRef and https";
const STORAGE: &str = "spec.edm.storage.size is not between 64Mi and 1024Gi: write one such as 2Gi";

fn edge_cases() -> Vec<Case> {
    let spec = |patch: Value| json!({"spec": patch});
    let existing = |url: &str| {
        let existing = json!({"name": "old", "nodemanUrl": url});
        spec(json!({"enrollment": {"credentialsSecretRef": null, "existingIdentitySecretRef": existing}}))
    };
    let mut cases = vec![
        (json!({"metadata": {"name": "a".repeat(51)}}), "", NAME),
        (json!({"metadata": {"name": "with.dot"}}), "", NAME),
        (json!({"metadata": {"name": "1-begins-with-a-digit"}}), "", NAME),
        (spec(json!({"edm": {"enabled": false}, "pop": {"enabled": false}})), "spec", BOTH_OFF),
        (spec(json!({"pop": {"policyRef": null}})), "spec", NO_POLICY),
        (spec(json!({"enrollment": {"credentialsSecretRef": null}})), "spec.enrollment", ENROLMENT),
        (spec(json!({"enrollment": {"existingIdentitySecretRef": {"name": "old"}}})), "spec.enrollment", ENROLMENT),
        (existing("http://core.example/"), "spec.enrollment.existingIdentitySecretRef.nodemanUrl", NODEMAN_URL),
        (existing("core.example"), "spec.enrollment.existingIdentitySecretRef.nodemanUrl", NODEMAN_URL),
        (spec(json!({"resolver": {"notify": {"address": "localhost"}}})), "spec.resolver.notify.address", NOTIFY),
        (spec(json!({"resolver": {"notify": {"address": "127.0.0.256"}}})), "spec.resolver.notify.address", NOTIFY),
        // What the schema says by itself.
        (spec(json!({"resolver": null})), "spec.resolver", "Required value"),
        (spec(json!({"surprise": true})), "", "unknown field \"spec.surprise\""),
        (spec(json!({"deletionPolicy": "Burn"})), "spec.deletionPolicy", "supported values: \"Retain\", \"Delete\""),
    ];
    let alone = json!({"edm": {"countedTypes": ["ALL_RESPONSES", "CLIENT_RESPONSE"]}});
    cases.push((spec(alone), "spec.edm.countedTypes", ALL_RESPONSES));
    for client in ["192.0.2.1", "192.0.2.0/33", "resolver.example"] {
        cases.push((spec(json!({"edm": {"ignoredClients": [client]}})), "spec.edm.ignoredClients[0]", PREFIX));
    }
    let map = json!({"name": "lists", "key": "well-known-domains.dawg"});
    let https = |url: &str, sha256: &str| json!({"url": url, "sha256": sha256});
    let (good, digits) = ("https://lists.example/w.dawg", "0a".repeat(32));
    for (value, field, message) in [
        (json!({}), "spec.edm.wellKnownDomains", ONE_LIST),
        (json!({"configMapRef": map, "https": https(good, &digits)}), "spec.edm.wellKnownDomains", ONE_LIST),
        (json!({"https": https("http://lists.example/w.dawg", &digits)}), "spec.edm.wellKnownDomains.https.url", URL),
        // What EDM does not take either.
        (json!({"https": https("HTTPS://lists.example/w.dawg", &digits)}), "spec.edm.wellKnownDomains.https.url", URL),
        (json!({"https": https("https://:443/w.dawg", &digits)}), "spec.edm.wellKnownDomains.https.url", URL),
        (json!({"https": https(good, &digits.to_uppercase())}), "spec.edm.wellKnownDomains.https.sha256", "should match"),
        (json!({"https": {"url": good}}), "spec.edm.wellKnownDomains.https.sha256", "Required value"),
    ] {
        cases.push((spec(json!({"edm": {"wellKnownDomains": value}})), field, message));
    }
    for size in ["63Mi", "1025Gi"] {
        cases.push((spec(json!({"edm": {"storage": {"size": size}}})), "spec.edm.storage.size", STORAGE));
    }
    for share in ["19%", "81%", "66", "", "066%"] {
        cases.push((spec(json!({"certificate": {"renewAt": share}})), "spec.certificate.renewAt", RENEW_AT));
    }
    for lifetime in ["9m", "8785h", "30d", "720", "1h30m"] {
        let patch = json!({"certificate": {"requestedLifetime": lifetime}});
        cases.push((spec(patch), "spec.certificate.requestedLifetime", LIFETIME));
    }
    for (member, image, cpu, memory) in [
        ("edm", "spec.edm.image", "spec.edm.resources", "spec.edm.resources"),
        ("pop", "spec.pop.image", "spec.pop.resources", "spec.pop.resources"),
    ] {
        cases.push((spec(json!({member: {"image": "Not An Image"}})), image, IMAGE));
        cases.push((spec(json!({member: {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}}})), cpu, CPU));
        cases.push((
            spec(json!({member: {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}})),
            memory,
            MEMORY,
        ));
    }
    cases
}

const ONE_CORE: &str =
    "spec.sources holds more than one source with core: DNS TAPIR Core sends one stream of observations, keep one of them";
const NEVER_FIRES: &str = "a rule of spec.doubt has more minSources than there are sources with list: Doubt: it could never fire";
const NO_ACTIONS: &str =
    "spec.deny.action is Source and no source with list: Deny carries actions: add one with rpz, or choose an action";
const ONE_KIND: &str =
    "a source needs exactly one of core, inline, configMapRef, rpz and https: give core: {} for observations of DNS TAPIR Core";
const CORE_DOUBTS: &str =
    "a source with core must have list: Doubt: observations are no verdicts, the rules of spec.doubt decide on them";
const NO_FORMAT: &str = "format is for configMapRef and https only: leave it out";
const DAWG: &str =
    "a DAWG is looked up and not listed: it can allow, and neither deny nor doubt; use another format or list: Allow";
const PRIMARY: &str = "rpz.primary is no address with port: write 192.0.2.1:53 or [2001:db8::1]:53";
const KEEP: &str = "keepSeconds is less than refreshSeconds: data would be dropped before it could be fetched again";
const URL: &str = "https.url is no https URL";
const NO_CONDITION: &str =
    "a doubt rule without a condition would match every name: give at least one of anyTags, allTags, minTags and minSources";
const ONE_SOURCE: &str =
    "minSources: 1 alone would match every name of every doubt list: use 2 or more, or add a condition on tags";
const REDIRECT: &str = "redirect and action: Redirect belong together: give both or neither";
const REDIRECT_WHERE: &str = "give exactly one of redirect.name and redirect.addresses";
const REDIRECT_ADDRESS: &str = "redirect.addresses holds what is no IP address: write such as 192.0.2.1 or 2001:db8::1";
const TAG: &str = "no tag: use globally_new, newly_registered, registry_investigation, looptest or bit0 to bit31 (names of the old policy processor are translated by its converter)";

fn policy_cases() -> Vec<Case> {
    let source = |source: Value| {
        let mut source = source;
        source["name"] = "one".into();
        json!({"spec": {"sources": [source]}})
    };
    let rule = |rule: Value| {
        let mut rule = rule;
        rule["name"] = "rule".into();
        json!({"spec": {"doubt": [rule]}})
    };
    let core = |name: &str| json!({"name": name, "list": "Doubt", "core": {}});
    let inline = |name: &str| json!({"name": name, "list": "Doubt", "inline": {"names": ["a.example"]}});
    let map = json!({"name": "lists", "key": "names.txt"});
    let rpz = |primary: &str| source(json!({"list": "Deny", "rpz": {"primary": primary, "zone": "feed.example."}}));
    let (at, in_rule, tag) = ("spec.sources[0]", "spec.doubt[0]", "spec.doubt[0].anyTags[0]");
    let mut cases = vec![
        (json!({"spec": {"sources": [core("one"), core("two")]}}), "spec.sources", ONE_CORE),
        (json!({"spec": {"sources": [inline("one"), inline("one")]}}), "spec.sources[1]", "Duplicate value"),
        (
            json!({"spec": {"sources": [inline("one")], "doubt": [{"name": "two", "minSources": 2, "action": "DROP"}]}}),
            "spec",
            NEVER_FIRES,
        ),
        (json!({"spec": {"deny": {"action": "Source"}}}), "spec", NO_ACTIONS),
        (source(json!({"list": "Deny"})), at, ONE_KIND),
        (source(json!({"list": "Doubt", "core": {}, "inline": {"names": ["a.example"]}})), at, ONE_KIND),
        (source(json!({"list": "Deny", "core": {}})), at, CORE_DOUBTS),
        (source(json!({"list": "Deny", "format": "Hosts", "inline": {"names": ["a.example"]}})), at, NO_FORMAT),
        (source(json!({"list": "Deny", "format": "Dawg", "configMapRef": map})), at, DAWG),
        (
            source(
                json!({"list": "Deny", "rpz": {"primary": "192.0.2.1:53", "zone": "a.", "keepSeconds": 60, "refreshSeconds": 61}}),
            ),
            "spec.sources[0].rpz",
            KEEP,
        ),
        (
            source(json!({"list": "Deny", "https": {"url": "https://a.example/", "keepSeconds": 60}})),
            "spec.sources[0].https",
            KEEP,
        ),
        (rule(json!({"action": "DROP"})), in_rule, NO_CONDITION),
        // There is one source with list: Doubt for it in the policy that is patched.
        (
            json!({"spec": {"sources": [inline("one")], "doubt": [{"name": "rule", "minSources": 1, "action": "DROP"}]}}),
            in_rule,
            ONE_SOURCE,
        ),
        (rule(json!({"minTags": 1, "action": "Redirect"})), in_rule, REDIRECT),
        (rule(json!({"minTags": 1, "action": "DROP", "redirect": {"name": "a.example."}})), in_rule, REDIRECT),
        (json!({"spec": {"deny": {"action": "Redirect"}}}), "spec.deny", REDIRECT),
        (json!({"spec": {"deny": {"redirect": {"name": "a.example."}}}}), "spec.deny", REDIRECT),
        (rule(json!({"minTags": 32, "action": "DROP"})), "spec.doubt[0].minTags", "should be less than or equal to 31"),
        (json!({"spec": {"recordTtlSeconds": 86401}}), "spec.recordTtlSeconds", "should be less than or equal to 86400"),
        (json!({"spec": {"recordTtlSeconds": 0}}), "spec.recordTtlSeconds", "should be greater than or equal to 1"),
        (
            source(json!({"list": "Maybe", "core": {}})),
            "spec.sources[0].list",
            "supported values: \"Allow\", \"Deny\", \"Doubt\"",
        ),
        (json!({"spec": {"surprise": true}}), "", "unknown field \"spec.surprise\""),
    ];
    for primary in
        ["192.0.2.1", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.256:53", "a.example:53", "2001:db8::1:53", "[192.0.2:53"]
    {
        cases.push((rpz(primary), "spec.sources[0].rpz.primary", PRIMARY));
    }
    for url in ["http://a.example/list", "a.example", "ftp://a.example"] {
        cases.push((source(json!({"list": "Deny", "https": {"url": url}})), "spec.sources[0].https.url", URL));
    }
    for (place, with) in [("spec.deny.redirect", true), ("spec.doubt[0].redirect", false)] {
        let redirect = |redirect: Value| {
            if with {
                json!({"spec": {"deny": {"action": "Redirect", "redirect": redirect}}})
            } else {
                rule(json!({"minTags": 1, "action": "Redirect", "redirect": redirect}))
            }
        };
        cases.push((redirect(json!({})), place, REDIRECT_WHERE));
        cases.push((redirect(json!({"name": "a.example.", "addresses": ["192.0.2.1"]})), place, REDIRECT_WHERE));
        cases.push((redirect(json!({"addresses": ["192.0.2.1", "a.example"]})), place, REDIRECT_ADDRESS));
    }
    for bad in ["likelymalware", "bit32", "bit", "BIT1", ""] {
        cases.push((rule(json!({"anyTags": [bad], "action": "DROP"})), tag, TAG));
        cases.push((rule(json!({"allTags": [bad], "action": "DROP"})), "spec.doubt[0].allTags[0]", TAG));
    }
    cases
}

const REQUESTS: &str = "requests are more than limits: a Pod with this container would be refused";
const ONE_VOLUME: &str = "a volume is exactly one of emptyDir and projected";
const ONE_OBJECT: &str = "a projection is exactly one of configMap and secret";

/// Places in a `status.injection` that the operator wrote, and what shall stand there. `PROJECTED` is the first volume of that kind.
fn injection_cases() -> Vec<(&'static str, Value, &'static str)> {
    let mut cases = vec![
        ("/volumes/PROJECTED/emptyDir", json!({}), ONE_VOLUME),
        ("/volumes/PROJECTED/projected/sources/0/secret", json!({"name": "a", "optional": true}), ONE_OBJECT),
        // What a Pod would be refused for.
        ("/burstable/0/resources/limits/memory", json!("64MB"), "should match"),
        ("/burstable/0/resources/requests/cpu", json!("many"), "should match"),
        ("/burstable/0/resources/requests/cpu", json!("-1"), "should match"),
        ("/burstable/0/name", json!("tapir_edm"), "should match"),
        ("/burstable/0/name", json!("resolver"), "should match"),
        ("/burstable/0/image", json!("No Image"), "should match"),
        ("/volumes/0/name", json!("data"), "should match"),
        ("/volumes/PROJECTED/projected/sources/0/configMap/optional", json!(false), "Unsupported value"),
        ("/resolverVolumeMounts/0/mountPath", json!("relative"), "should match"),
        ("/container", json!("Not.A.Name"), "should match"),
        // What nobody may have who may only write this status.
        ("/burstable/0/securityContext/allowPrivilegeEscalation", json!(true), "Unsupported value"),
        ("/burstable/0/securityContext/readOnlyRootFilesystem", json!(false), "Unsupported value"),
        ("/burstable/0/securityContext/runAsUser", json!(0), "should be greater than or equal to 1"),
        ("/burstable/0/securityContext/capabilities/drop", json!([]), "should have at least 1 items"),
        // Fields that a Pod has and that are not ours.
        ("/burstable/0/securityContext/privileged", json!(true), "unknown field"),
        ("/burstable/0/livenessProbe", json!({}), "unknown field"),
        ("/volumes/0/hostPath", json!({"path": "/"}), "unknown field"),
        ("/surprise", json!(1), "unknown field"),
    ];
    for class in ["/burstable/0", "/guaranteed/0", "/bestEffort/0"] {
        let much = json!({"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
        cases.push((
            match class {
                "/burstable/0" => "/burstable/0/resources",
                "/guaranteed/0" => "/guaranteed/0/resources",
                _ => "/bestEffort/0/resources",
            },
            much,
            REQUESTS,
        ));
    }
    cases
}

#[test]
fn edges_that_break_a_rule_are_refused_in_words_that_help() -> Result<()> {
    let good = json!({
        "apiVersion": "dnstapir.se/v1alpha1",
        "kind": "TapirEdge",
        "metadata": {"name": "demo"},
        "spec": {
            "enrollment": {"credentialsSecretRef": {"name": "demo-enrollment"}},
            "resolver": {"container": "unbound"},
            "pop": {"policyRef": {"name": "default"}},
        },
    });
    all_refused(Rig::shared()?.admin(), EDGES, &good, edge_cases())
}

#[test]
fn policies_that_break_a_rule_are_refused_in_words_that_help() -> Result<()> {
    let mut good = tapir_rig::policy_manifest("default");
    good["spec"] = json!({"sources": [{"name": "core", "list": "Doubt", "core": {}}]});
    all_refused(Rig::shared()?.admin(), POLICIES, &good, policy_cases())
}

/// Rules that an example or a test of everything could not show to be too strict.
#[test]
fn what_is_at_the_edge_of_a_rule_is_accepted() -> Result<()> {
    let api = Rig::shared()?.admin();
    let policy = json!({
        "apiVersion": "dnstapir.se/v1alpha1",
        "kind": "TapirPolicy",
        "metadata": {"name": "all"},
        "spec": {
            "mode": "Observe",
            "sources": [
                {"name": "core", "list": "Doubt", "core": {"maxTtlSeconds": 60}},
                {"name": "allow", "list": "Allow", "match": "Subtree", "inline": {"names": ["example.se", "a.example."]}},
                {"name": "map", "list": "Doubt", "format": "Csv", "configMapRef": {"name": "lists", "key": "a.csv"}},
                {"name": "feed", "list": "Deny", "rpz": {"primary": "[2001:db8::1]:65535", "zone": "feed.example.", "tsigSecretRef": {"name": "k"}}},
                {"name": "popular", "list": "Allow", "format": "Dawg", "https": {"url": "https://a.example/x", "refreshSeconds": 60, "keepSeconds": 60}},
            ],
            "deny": {"action": "Source"},
            "doubt": [
                {"name": "agreed", "minSources": 2, "action": "NXDOMAIN"},
                {"name": "one", "minSources": 1, "anyTags": ["bit31", "looptest"], "action": "TCP-ONLY"},
                {"name": "away", "minTags": 31, "action": "Redirect", "redirect": {"addresses": ["192.0.2.1", "2001:db8::1"]}},
            ],
            "recordTtlSeconds": 86400,
        },
    });
    api.try_create(POLICIES, "default", &policy)?;
    for (renew_at, lifetime) in [("20%", "10m"), ("80%", "8784h"), ("66%", "600m")] {
        let edge = json!({
            "apiVersion": "dnstapir.se/v1alpha1",
            "kind": "TapirEdge",
            "metadata": {"name": "a".repeat(50)},
            "spec": {
                "suspend": true,
                "enrollment": {"existingIdentitySecretRef": {"name": "old", "nodemanUrl": "https://core.example:8443/"}},
                "certificate": {"renewAt": renew_at, "requestedLifetime": lifetime},
                "resolver": {"container": "unbound", "notify": {"address": "::1", "port": 65535}},
                "edm": {
                    "image": "registry.example:5000/a/edm@sha256:".to_owned() + &"0".repeat(64),
                    "countedTypes": ["ALL_RESPONSES"],
                    "ignoredClients": ["192.0.2.1/32", "2001:db8::/128"],
                    "ignoredNames": [".example.", "host.example."],
                    "storage": {"size": if renew_at == "20%" { "64Mi" } else { "1024Gi" }},
                },
                "pop": {"enabled": false},
                "injection": {"form": "Native"},
                "rollout": {"strategy": "Evict", "paused": true},
                "deletionPolicy": "Delete",
            },
        });
        api.try_create(EDGES, "default", &edge).with_context(|| format!("{renew_at} {lifetime}"))?;
    }
    Ok(())
}

/// The list above is complete: nobody adds a rule without words that were seen.
#[test]
fn every_rule_of_the_definitions_has_its_case() -> Result<()> {
    let definitions = Rig::shared()?.admin().list(DEFINITIONS, "")?;
    let mut rules = BTreeSet::new();
    definitions.iter().for_each(|definition| messages(definition, &mut rules));
    assert!(rules.len() > 20, "the rules are found: {rules:?}");
    for (_, _, words) in edge_cases().into_iter().chain(policy_cases()) {
        rules.remove(words);
    }
    for (_, _, words) in injection_cases() {
        rules.remove(words);
    }
    assert!(rules.is_empty(), "no case breaks these: {rules:#?}");
    Ok(())
}

/// The admission policy copies `status.injection` without looking, and a Pod that does not validate is refused: a resolver less.
#[test]
fn what_a_pod_would_refuse_never_gets_into_the_status() -> Result<()> {
    let site = Site::new(Rig::shared()?, "injection", &[])?;
    let core = site.core(&[])?;
    let operator = site.operator("operator-0", &[])?;
    site.new_edge(&core, "demo")?;
    let edge = wait::until("status.injection", PATIENCE, || {
        Ok(Some(site.edge("demo")?).filter(|edge| edge["status"]["injection"].is_object()))
    })?;
    // It would put right what this test writes.
    operator.signal(Signal::SIGKILL)?;
    operator.exit_code(PATIENCE)?;
    let good = &edge["status"]["injection"];
    put_injection(&site, good).context("what the operator wrote is accepted")?;
    let volumes = good["volumes"].as_array().context("volumes")?;
    let projected = volumes.iter().position(|volume| volume["projected"].is_object()).context("a projected volume")?;
    for (place, value, words) in injection_cases() {
        let place = &place.replace("PROJECTED", &projected.to_string());
        let mut bad = good.clone();
        set(&mut bad, place, value.clone()).with_context(|| format!("{place} in {good}"))?;
        let refusal = refusal(put_injection(&site, &bad), &format!("{place}: {value}"))?;
        ensure!(refusal.message.contains(words), "{place}: {value}: should say {words:?}: {}", refusal.message);
    }
    // Who does not ask for strictness does not get it in, either.
    let mut odd = good.clone();
    odd["burstable"][0]["securityContext"]["privileged"] = true.into();
    site.admin().merge(EDGES, &site.namespace, "demo/status", &json!({"status": {"injection": odd}}))?;
    assert_eq!(&site.edge("demo")?["status"]["injection"], good, "the schema is closed: what it does not know is dropped");
    site.passed()
}

fn put_injection(site: &Site<'_>, injection: &Value) -> Result<Value> {
    let path = format!(
        "/apis/dnstapir.se/v1alpha1/namespaces/{}/tapiredges/demo/status?fieldValidation=Strict&dryRun=All",
        site.namespace
    );
    let patch = json!({"status": {"injection": injection}});
    let answer = site.admin().raw(Method::PATCH, &path, Some(("application/merge-patch+json", &patch)))?;
    tapir_rig::client::accepted(&answer)
}

fn all_refused(api: &Api, kind: Kind, good: &Value, cases: Vec<Case>) -> Result<()> {
    api.try_create(kind, "default", good).context("before anything is broken")?;
    let mut wrong = Vec::new();
    for (patch, place, words) in cases {
        let mut bad = good.clone();
        merge(&mut bad, &patch);
        let refusal = refusal(api.try_create(kind, "default", &bad), &patch.to_string())?;
        // As `kubectl apply` prints it: … is invalid: spec.enrollment: Invalid value: give exactly one …
        let found = refusal.message.contains(words) && refusal.message.contains(format!("{place}: ").trim_start_matches(": "));
        if !found {
            wrong.push(format!("{patch}\n  should say {place:?}: {words:?}\n  says {}", refusal.message));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn refusal(result: Result<Value>, what: &str) -> Result<Refusal> {
    match result {
        Ok(_) => anyhow::bail!("accepted: {what}"),
        Err(error) => error.downcast().with_context(|| format!("asking about {what}")),
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Some(members) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in members {
        match value {
            Value::Null => drop(target.as_object_mut().and_then(|target| target.shift_remove(name))),
            value => merge(&mut target[name], value),
        }
    }
}

/// Puts a value at a JSON pointer (RFC 6901) whose last step may be new.
fn set(target: &mut Value, pointer: &str, value: Value) -> Result<()> {
    let (parent, name) = pointer.rsplit_once('/').context("a pointer")?;
    let parent = target.pointer_mut(parent).with_context(|| format!("nothing at {parent}"))?;
    parent.as_object_mut().context("no object there")?.insert(name.to_owned(), value);
    Ok(())
}

/// Messages of all CEL rules below a value.
fn messages(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let rules = members.get("x-kubernetes-validations").and_then(Value::as_array);
            found.extend(rules.into_iter().flatten().map(|rule| text(&rule["message"])));
            members.values().for_each(|member| messages(member, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| messages(element, found)),
        _ => {}
    }
}

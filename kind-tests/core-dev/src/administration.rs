//! Nodeman's administrator API: making, listing and deleting nodes.

use serde_json::{Map, Value, json};

use crate::encoding::from_base64;
use crate::keys::same_secret;
use crate::message::{Answer, Request, method_not_allowed};
use crate::nodeman::{Nodeman, information, named};
use crate::nodes::{is_node_name, object_id};

/// Limits of a node's tags.
const MAXIMUM_TAGS: usize = 100;
const MAXIMUM_TAG: usize = 100;

impl Nodeman {
    pub(crate) fn administer(&self, parts: &[&str], request: &Request) -> Answer {
        let allowed = match parts {
            ["node"] => "POST",
            ["nodes"] => "GET",
            _ => "GET, DELETE",
        };
        if !allowed.split(", ").any(|method| method == request.method) {
            return method_not_allowed(allowed);
        }
        if let Err(refusal) = self.authenticate(request) {
            return refusal;
        }
        match (parts, request.method.as_str()) {
            (["node"], _) => self.create(request),
            (["nodes"], _) => self.list(request),
            (["node", name], "DELETE") => {
                named(name, |name| if self.nodes().delete(&name) { Answer::empty(204) } else { Answer::detail(404, "Not Found") })
            }
            (["node", name], _) => named(name, |name| {
                self.nodes()
                    .get(&name)
                    .map_or_else(|| Answer::detail(404, "Not Found"), |node| Answer::json(200, &Value::Object(information(node))))
            }),
            _ => Answer::detail(404, "Not Found"),
        }
    }

    fn authenticate(&self, request: &Request) -> Result<(), Answer> {
        let refused = |detail| Answer::detail(401, detail).with("www-authenticate", "Basic");
        let header = request.header("authorization").ok_or_else(|| refused("Not authenticated"))?;
        let encoded =
            header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic")).map(|(_, rest)| rest.trim());
        let decoded = encoded.and_then(from_base64).and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((user, password)) = decoded.as_ref().and_then(|text| text.split_once(':')) else {
            return Err(refused("Invalid authentication credentials"));
        };
        if user.is_empty() || !user.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            return Err(Answer::detail(400, "Invalid username"));
        }
        let (expected_user, expected_password) = &self.settings.administrator;
        if user == expected_user && same_secret(password.as_bytes(), expected_password.as_bytes()) {
            Ok(())
        } else {
            Err(refused("Invalid authentication credentials"))
        }
    }

    fn create(&self, request: &Request) -> Answer {
        let (name, tags) = match creation(&request.body) {
            Ok(creation) => creation,
            Err(complaint) => return Answer::unprocessable(&[complaint]),
        };
        let now = self.clock.now();
        let domain = &self.settings.service_domain;
        let name = name.unwrap_or_else(|| format!("{}.{domain}", object_id(now)));
        let in_domain = name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
        if !in_domain || !is_node_name(&name) {
            return Answer::detail(400, "Invalid node name");
        }
        let Ok(key) = self.settings.enrolment_keys.generate(now) else { return Answer::failure() };
        // The real service stumbles over its unique index here, which nobody catches.
        if self.nodes().create(&name, &tags, key.clone()).is_err() {
            return Answer::failure();
        }
        let mut credentials = Map::new();
        credentials.insert("name".into(), name.as_str().into());
        credentials.insert("key".into(), key);
        if let Some(url) = &self.settings.nodeman_url {
            credentials.insert("nodeman_url".into(), url.as_str().into());
        }
        Answer::json(201, &Value::Object(credentials)).with("location", format!("/api/v1/node/{name}"))
    }

    fn list(&self, request: &Request) -> Answer {
        let tags = request.query("tags");
        let thumbprint = request.query("thumbprint");
        let nodes = self.nodes();
        let wanted = nodes.iter().filter(|node| tags.as_ref().is_none_or(|tags| node.has_tags(tags))).filter(|node| {
            thumbprint.as_ref().is_none_or(|wanted| node.public_key.as_ref().is_some_and(|key| key.thumbprint() == *wanted))
        });
        let list: Vec<Value> = wanted.map(|node| without_nulls(Value::Object(information(node)))).collect();
        Answer::json(200, &json!({"nodes": list}))
    }
}

/// Name and tags of a creation request; its body may be missing.
fn creation(body: &[u8]) -> Result<(Option<String>, Vec<String>), Value> {
    if body.is_empty() {
        return Ok((None, Vec::new()));
    }
    let complaint =
        |kind: &str, location: &[&str], message: &str| json!({"type": kind, "loc": location, "msg": message, "input": null});
    let value: Value = serde_json::from_slice(body).map_err(|_| complaint("json_invalid", &["body"], "JSON decode error"))?;
    let name = match value.get("name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => return Err(complaint("string_type", &["body", "name"], "Input should be a valid string")),
    };
    let bad_tags = || complaint("value_error", &["body", "tags"], "Input should be a valid list of tags");
    let tags = match value.get("tags") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(tags)) if tags.len() <= MAXIMUM_TAGS => tags
            .iter()
            .map(|tag| tag.as_str().filter(|tag| is_tag(tag)).map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(bad_tags)?,
        Some(_) => return Err(bad_tags()),
    };
    Ok((name, tags))
}

fn is_tag(tag: &str) -> bool {
    (1..=MAXIMUM_TAG).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, member)| !member.is_null())
                .map(|(name, member)| (name, without_nulls(member)))
                .collect(),
        ),
        other => other,
    }
}

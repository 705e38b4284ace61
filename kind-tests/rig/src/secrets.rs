//! Private values, and whether anything that people may read shows one of them.

use std::collections::HashMap;
use std::fs;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::client::{CONFIG_MAPS, EDGES, EVENTS, PODS, POLICIES, SECRETS, decoded, text};
use crate::http;
use crate::site::Site;

/// Shorter ones are found anywhere by chance.
const SHORTEST: usize = 16;
/// Members of a JWK that are private (RFC 7517, RFC 7518 section 6).
const PRIVATE_MEMBERS: [&str; 7] = ["d", "k", "p", "q", "dp", "dq", "qi"];

/// A private value as it might be shown, and where it belongs.
#[derive(Clone, PartialEq, Eq)]
struct Needle {
    shown: String,
    of: String,
}

/// Looks for everything private of the site's Secrets in logs, metrics, Events and objects of its two namespaces.
pub(crate) fn nothing_is_shown(site: &Site<'_>) -> Result<()> {
    let mut needles = Needles::default();
    for namespace in [&site.namespace, &site.system] {
        for secret in site.admin().list(SECRETS, namespace)? {
            let name = text(&secret["metadata"]["name"]);
            for (key, value) in secret["data"].as_object().into_iter().flatten() {
                needles.add(private(&decoded(value)?, &format!("{name}/{key}")));
            }
        }
    }
    let found: Vec<String> = shown(site)?.iter().flat_map(|(place, text)| search(place, text, &needles)).collect();
    ensure!(found.is_empty(), "private values are shown:\n{}", found.join("\n"));
    Ok(())
}

/// Everything that people may read, with its place.
fn shown(site: &Site<'_>) -> Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(site.folder())? {
        let path = entry?.path();
        // What the dev Core logs is no part of the product.
        let is_ours =
            path.extension().is_some_and(|extension| extension == "log") && path.file_stem().is_some_and(|stem| stem != "core");
        if is_ours {
            texts.push((path.display().to_string(), String::from_utf8_lossy(&fs::read(&path)?).into_owned()));
        }
    }
    for kind in [EVENTS, EDGES, POLICIES, CONFIG_MAPS, PODS] {
        for namespace in [&site.namespace, &site.system] {
            for object in site.admin().list(kind, namespace)? {
                texts.push((format!("{} {}", kind.1, text(&object["metadata"]["name"])), object.to_string()));
            }
        }
    }
    let client = http::client(None, None)?;
    for address in site.replicas() {
        // Those that ended have none.
        if let Ok(page) = http::send(client.get(format!("{address}/metrics"))) {
            texts.push((format!("{address}/metrics"), page.text));
        }
    }
    Ok(texts)
}

/// All of them by how they begin: a fleet has tens of thousands, and a text is gone through once.
#[derive(Default)]
struct Needles(HashMap<[u8; SHORTEST], Vec<Needle>>);

impl Needles {
    fn add(&mut self, needles: Vec<Needle>) {
        for needle in needles {
            if let Some(begin) = needle.shown.as_bytes().first_chunk() {
                self.0.entry(*begin).or_default().push(needle);
            }
        }
    }
}

fn search(place: &str, text: &str, needles: &Needles) -> Vec<String> {
    let text = text.as_bytes();
    let at = |at: usize| {
        let rest = &text[at..];
        let like = rest.first_chunk().and_then(|begin| needles.0.get(begin));
        like.into_iter().flatten().filter(move |needle| rest.starts_with(needle.shown.as_bytes()))
    };
    let mut found: Vec<String> = (0..text.len()).flat_map(at).map(|needle| format!("  {} in {place}", needle.of)).collect();
    found.dedup();
    found
}

/// What is private in a member of a Secret: parts of JWKs, lines of private keys in PEM, and whatever has neither form.
fn private(content: &[u8], of: &str) -> Vec<Needle> {
    let mut values = Vec::new();
    let as_text = std::str::from_utf8(content).unwrap_or_default();
    let json = serde_json::from_str::<Value>(as_text).ok();
    if let Some(json) = &json {
        private_members(json, &mut values);
    } else if as_text.contains("-----BEGIN ") {
        let mut inside = false;
        for line in as_text.lines() {
            match line {
                _ if line.starts_with("-----BEGIN ") => inside = line.contains("PRIVATE KEY"),
                _ if inside && !line.starts_with("-----") => values.push(line.as_bytes().to_vec()),
                _ => {}
            }
        }
    } else if as_text.starts_with("https://") && !as_text.contains('@') {
        // Where nodeman is, kept beside keys, is told freely.
    } else if as_text.is_empty() {
        values.push(content.to_vec());
    } else {
        // Also what somebody put there by mistake: words of it could be a part of a key.
        let words = as_text.split(|character: char| {
            character.is_whitespace() || character.is_ascii_punctuation() && !"+/-_=".contains(character)
        });
        values.extend(words.map(|word| word.as_bytes().to_vec()));
    }
    if !values.is_empty() {
        values.push(content.to_vec());
    }
    values.retain(|value| value.len() >= SHORTEST);
    let forms = |value: Vec<u8>| {
        let plain = String::from_utf8(value.clone()).ok();
        plain.into_iter().chain([STANDARD.encode(&value), URL_SAFE_NO_PAD.encode(&value)])
    };
    values.into_iter().flat_map(forms).map(|shown| Needle { shown, of: of.to_owned() }).collect()
}

fn private_members(value: &Value, found: &mut Vec<Vec<u8>>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str() {
                    Some(text) if PRIVATE_MEMBERS.contains(&name.as_str()) => found.push(text.as_bytes().to_vec()),
                    _ => private_members(member, found),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| private_members(element, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(content: &str, text: &str) -> bool {
        let mut needles = Needles::default();
        needles.add(private(content.as_bytes(), "secret/key"));
        !search("here", text, &needles).is_empty()
    }

    #[test]
    fn private_parts_are_found_in_every_form_and_public_ones_are_not() {
        let jwk = r#"{"kty":"OKP","x":"PUBLIC-PUBLIC-PUBLIC","nested":{"d":"PRIVATE-PRIVATE-PRIVATE"}}"#;
        assert!(finds(jwk, "error: PRIVATE-PRIVATE-PRIVATE"));
        assert!(finds(jwk, &STANDARD.encode("PRIVATE-PRIVATE-PRIVATE")) && finds(jwk, &STANDARD.encode(jwk)));
        assert!(!finds(jwk, "PUBLIC-PUBLIC-PUBLIC"));
        let pem = "-----BEGIN CERTIFICATE-----\nPUBLICPUBLICPUBLICPUBLIC\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nPRIVATEPRIVATEPRIVATE\n-----END PRIVATE KEY-----\n";
        assert!(finds(pem, "PRIVATEPRIVATEPRIVATE") && !finds(pem, "PUBLICPUBLICPUBLICPUBLIC"));
        let broken = r#"{"key":{"d":"PRIVATE-PRIVATE-PRIVATE"#;
        assert!(finds(broken, "PRIVATE-PRIVATE-PRIVATE") && !finds(broken, "key"));
    }

    #[test]
    fn a_certificate_alone_has_nothing_private() {
        assert!(private(b"-----BEGIN CERTIFICATE-----\nPUBLICPUBLICPUBLICPUBLIC\n-----END CERTIFICATE-----\n", "a").is_empty());
        assert!(private(br#"{"name":"a-long-name-of-some-node.example"}"#, "a").is_empty());
    }
}

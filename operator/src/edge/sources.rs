//! Fetches what the sources of a policy point at: lists in ConfigMaps, TSIG keys in Secrets. Neither is looked into, but for a key that
//! is none.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::Api;
use tapir_wire::tsig::TsigKey;

use super::dereference::{Referent, member};
use crate::api::TapirPolicySpec;
use crate::api::policy::Source;
use crate::build::Contents;
use crate::build::pop_files::fits;

/// Why a policy cannot be rendered, although it is acceptable by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// What is not there, in words.
    Missing(String),
    /// More than a ConfigMap holds, in words.
    TooLarge(String),
    /// What is of no use, in words.
    Invalid(String),
}

/// Fetches all of it, each object once. It holds no more at a time than what fits into POP's ConfigMap, and one object.
///
/// # Errors
/// When the API server cannot be asked.
pub(super) async fn fetch(
    client: &Client,
    namespace: &str,
    policy: &TapirPolicySpec,
) -> Result<Result<Contents, Lack>, kube::Error> {
    let (maps, secrets) = (Api::namespaced(client.clone(), namespace), Api::namespaced(client.clone(), namespace));
    let mut contents = Contents::default();
    let mut total = 0;
    let mut sources: Vec<&Source> = policy.sources.iter().filter(|source| source.config_map_ref.is_some()).collect();
    // Those of one ConfigMap one after the other, so that only one is held.
    sources.sort_by_key(|source| source.config_map_ref.as_ref().map(|reference| &reference.name));
    let mut held: Option<(String, Option<ConfigMap>)> = None;
    for source in sources {
        let Some(reference) = &source.config_map_ref else { continue };
        if held.as_ref().is_none_or(|(name, _)| *name != reference.name) {
            held = Some((reference.name.clone(), Api::<ConfigMap>::get_opt(&maps, &reference.name).await?));
        }
        let map = held.as_ref().and_then(|(_, map)| map.as_ref());
        let list = member("ConfigMap", &reference.name, &reference.key, map, |map| octets(map, &reference.key));
        match list {
            Referent::Missing(what) => return Ok(Err(Lack::Missing(format!("source {}: {what}", source.name)))),
            Referent::Found(list) => {
                total += list.len();
                if let Err(error) = fits(0, total) {
                    return Ok(Err(Lack::TooLarge(error.to_string())));
                }
                contents.lists.insert(source.name.clone(), list);
            }
        }
    }
    drop(held);
    keys(&secrets, policy, contents).await
}

async fn keys(
    secrets: &Api<Secret>,
    policy: &TapirPolicySpec,
    mut contents: Contents,
) -> Result<Result<Contents, Lack>, kube::Error> {
    let mut held: BTreeMap<&str, Option<Secret>> = BTreeMap::new();
    for source in &policy.sources {
        let Some(reference) = source.rpz.as_ref().and_then(|rpz| rpz.tsig_secret_ref.as_ref()) else { continue };
        let secret = match held.entry(&reference.name) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(secrets.get_opt(&reference.name).await?),
        };
        let key = member("Secret", &reference.name, &reference.key, secret.as_ref(), |secret| {
            secret.data.as_ref()?.get(&reference.key).cloned()
        });
        let said = |what: String| format!("source {}: {what}", source.name);
        match key {
            Referent::Missing(what) => return Ok(Err(Lack::Missing(said(what)))),
            Referent::Found(ByteString(key)) => match std::str::from_utf8(&key).map(TsigKey::parse) {
                Ok(Ok(_)) => drop(contents.keys.insert(source.name.clone(), ByteString(key))),
                Ok(Err(error)) => {
                    let what = format!("key {} of Secret {} {error}", reference.key, reference.name);
                    return Ok(Err(Lack::Invalid(said(what))));
                }
                Err(_) => {
                    let what =
                        format!("key {} of Secret {} is no text: give what tsig-keygen prints", reference.key, reference.name);
                    return Ok(Err(Lack::Invalid(said(what))));
                }
            },
        }
    }
    Ok(Ok(contents))
}

fn octets(map: &ConfigMap, key: &str) -> Option<Vec<u8>> {
    let text = map.data.as_ref().and_then(|data| data.get(key)).map(|text| text.clone().into_bytes());
    text.or_else(|| map.binary_data.as_ref()?.get(key).map(|bytes| bytes.0.clone()))
}

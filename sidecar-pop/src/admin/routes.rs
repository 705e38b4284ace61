//! Requests -> answers.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{AdminError, Answer, Question, Sources, explain, lists};

/// Longer than any work of the engine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers a request.
pub(super) async fn answer(sources: &Sources, method: &Method, path: &str, query: &str, body: Option<&str>) -> Answer {
    let get = *method == Method::GET;
    match (path, get) {
        ("/v1/status", true) => Ok(status(sources)),
        ("/v1/sources", true) => Ok(status(sources).pointer("/pop/sources").cloned().unwrap_or_default()),
        ("/v1/filterlists", true) => lists::filter_lists(sources, limit(query)?).await,
        ("/v1/explain", get) => {
            let name = parameter(query, "name")?.ok_or_else(|| AdminError::Request("say which name: ?name=N".to_owned()))?;
            explain::explain(sources, &name, body.filter(|_| !get)).await
        }
        ("/v1/bump", false) => bump(sources).await,
        ("/v1/reload", false) => reload(sources).await,
        _ => Err(AdminError::NotFound(format!("{method} {path}"))),
    }
}

fn status(sources: &Sources) -> Value {
    serde_json::to_value(sources.telemetry.document()).unwrap_or_default()
}

/// Resolvers compare serials, and equal ones mean equal content: so the number stays, and they are told of it once more.
pub(super) async fn bump(sources: &Sources) -> Answer {
    let (reply, done) = oneshot::channel();
    ask(&sources.engine, Question::Bump(reply), done).await?;
    let serial = sources.published.borrow().as_ref().map(|zone| zone.serial.0);
    Ok(json!({"serial": serial, "told": "resolvers are told of this serial again; a new one comes with new content only"}))
}

async fn reload(sources: &Sources) -> Answer {
    let (reply, done) = oneshot::channel();
    ask(&sources.loader, reply, done).await?;
    Ok(serde_json::to_value(sources.telemetry.document().config).unwrap_or_default())
}

/// Asks somebody who may be busy, or gone.
pub(super) async fn ask<Q, A>(whom: &mpsc::Sender<Q>, question: Q, answer: oneshot::Receiver<A>) -> Result<A, AdminError> {
    let asked = async {
        whom.send(question).await.ok()?;
        answer.await.ok()
    };
    timeout(PATIENCE, asked).await.ok().flatten().ok_or(AdminError::NoAnswer)
}

fn limit(query: &str) -> Result<usize, AdminError> {
    match parameter(query, "limit")? {
        None => Ok(lists::MOST_ROWS),
        Some(text) => match text.parse() {
            Ok(limit) if limit <= lists::MOST_ROWS => Ok(limit),
            _ => Err(AdminError::Request(format!("limit is no number: use 0 to {}", lists::MOST_ROWS))),
        },
    }
}

/// A parameter of the query, decoded (RFC 3986 section 2.1).
fn parameter(query: &str, name: &str) -> Result<Option<String>, AdminError> {
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    let Some((_, value)) = value else { return Ok(None) };
    let bad = || AdminError::Request(format!("{name} is badly encoded"));
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let digit = |octet: Option<u8>| octet.and_then(|octet| char::from(octet).to_digit(16));
                let (high, low) = (digit(rest.next()).ok_or_else(bad)?, digit(rest.next()).ok_or_else(bad)?);
                u8::try_from(high * 16 + low).map_err(|_| bad())?
            }
            other => other,
        });
    }
    String::from_utf8(octets).map(Some).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let name = |query: &str| parameter(query, "name").map_err(|error| error.to_string());
        assert_eq!(name("limit=1&name=a%2eb&x="), Ok(Some("a.b".to_owned())));
        assert_eq!((name(""), name("names=a"), name("name")), (Ok(None), Ok(None), Ok(None)));
        for bad in ["name=%", "name=%2", "name=%g0", "name=%ff", "name=%+1"] {
            assert_eq!(name(bad), Err("name is badly encoded".to_owned()), "{bad}");
        }
    }
}

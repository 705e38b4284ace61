//! Every name with its source, as upstream's tool shows them: allow, deny, doubt.

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::routes::ask;
use super::{AdminError, Answer, Question, Sources};
use crate::knowledge::listings::Row;

/// Rows that are told where nothing is said, and at most.
pub(super) const MOST_ROWS: usize = 100_000;

pub(super) async fn filter_lists(sources: &Sources, limit: usize) -> Answer {
    let (reply, knowledge) = oneshot::channel();
    let knowledge = ask(&sources.engine, Question::Knowledge(reply), knowledge).await?;
    // Files are read: not on a thread that DNS needs.
    let (total, rows) = tokio::task::spawn_blocking(move || knowledge.rows(limit)).await.map_err(|_| AdminError::NoAnswer)??;
    let rows: Vec<Value> = rows.iter().map(told).collect();
    Ok(json!({"total": total, "entries": rows}))
}

fn told(row: &Row) -> Value {
    let mut told = json!({"name": row.name.as_str(), "source": &*row.source, "list": row.list});
    if let (Some(sighting), Value::Object(told)) = (&row.sighting, &mut told) {
        let (added, expires) = sighting.times();
        told.insert("tagMask".to_owned(), sighting.tags.into());
        told.insert("added".to_owned(), json!(added));
        told.insert("expires".to_owned(), json!(expires));
    }
    told
}

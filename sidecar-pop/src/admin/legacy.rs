//! The part of upstream's `/api/v1` that its tool uses: always POST, members with capitals, refusals as `ErrorMsg` in a good answer.

pub mod server;

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tapir_wire::config::pop::List;

use super::{AdminError, Answer, Sources, explain, lists, routes, tables};

/// Upstream's word for no time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Pings that were answered.
static PONGS: AtomicU64 = AtomicU64::new(0);

/// Answers a request; `None`: upstream has no such place.
pub(super) async fn answer(sources: &Sources, path: &str, body: &str) -> Option<Value> {
    // As upstream: what cannot be read says nothing.
    let asked: Map<String, Value> = serde_json::from_str(body).unwrap_or_default();
    let asked: Map<String, Value> = asked.into_iter().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect();
    let text = |key: &str| asked.get(key).and_then(Value::as_str).unwrap_or_default();
    Some(match path {
        "/api/v1/ping" => ping(sources, asked.get("pings").and_then(Value::as_u64).unwrap_or_default()),
        "/api/v1/command" => command(sources, text("command"), text("name")).await,
        "/api/v1/debug" => debug(sources, text("command")).await,
        _ => return None,
    })
}

fn ping(sources: &Sources, pings: u64) -> Value {
    let host = std::env::var("HOSTNAME").unwrap_or_default();
    json!({
        "Time": Timestamp::now(),
        "BootTime": sources.telemetry.document().started_at,
        "Daemon": "tapir-pop",
        "ServerHost": host,
        "Version": tapir_version::VERSION,
        "Client": "",
        "Msg": format!("pong from tapir-pop @ {host}"),
        "Pings": pings.saturating_add(1),
        "Pongs": PONGS.fetch_add(1, Ordering::Relaxed).saturating_add(1),
    })
}

async fn command(sources: &Sources, command: &str, name: &str) -> Value {
    let said = match command {
        "status" => Ok("the state of each component".to_owned()),
        "bump" => routes::bump(sources).await.map(|told| tables::fields(&told, &["serial", "told"])),
        "rpz-lookup" => explain::explain(sources, name, None).await.map(|told| tables::explanation(&told)),
        "rpz-list-sources" => by_class(sources),
        "stop" => Err(AdminError::Request("whoever started it stops it: ask Kubernetes or the service manager".to_owned())),
        "mqtt-start" | "mqtt-stop" | "mqtt-restart" => {
            Err(AdminError::Request("the connection follows the configuration: see disabled in pop.yaml".to_owned()))
        }
        "rpz-add" | "rpz-remove" => Err(AdminError::Request("names belong into a list: see sources in pop.yaml".to_owned())),
        other => Err(AdminError::Request(format!("unknown command {other:?}"))),
    };
    let zone = sources.published.borrow().clone();
    let mut answer = json!({
        "Time": Timestamp::now(),
        "Status": "ok",
        "Zone": zone.as_ref().map_or_else(String::new, |zone| zone.apex.name.to_string()),
        "Serial": zone.as_ref().map_or(0, |zone| zone.serial.0),
        "Data": null,
        "Msg": said.as_deref().unwrap_or_default(),
        "TapirFunctionStatus": if command == "status" { components(sources) } else { function(&Map::new()) },
        "Error": false,
        "ErrorMsg": "",
    });
    refuse(&mut answer, said.err());
    answer
}

fn refuse(answer: &mut Value, error: Option<AdminError>) {
    if let Some(error) = error {
        answer["Status"] = "error".into();
        answer["Error"] = true.into();
        answer["ErrorMsg"] = error.to_string().into();
    }
}

fn by_class(sources: &Sources) -> Result<String, AdminError> {
    let setup = sources.setup.borrow().clone().ok_or(AdminError::NoConfiguration)?;
    let of = |class: List| {
        let names = setup.bindings.iter().filter(move |source| source.list == class).map(|source| source.source.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    Ok(format!("allow: {}\ndeny: {}\ndoubt: {}", of(List::Allow), of(List::Deny), of(List::Doubt)))
}

fn function(components: &Map<String, Value>) -> Value {
    json!({"Function": "tapir-pop", "FunctionID": "", "ComponentStatus": components, "NumFailures": 0, "LastFailure": NEVER})
}

/// Upstream's components, as far as they are here: 0 failed, 2 well.
fn components(sources: &Sources) -> Value {
    let document = sources.telemetry.document();
    let pop = document.pop.unwrap_or_default();
    let component = |error: Option<String>, good: &str| {
        let (status, message) = (if error.is_some() { 0 } else { 2 }, error.clone().unwrap_or_else(|| good.to_owned()));
        let now = Timestamp::now().to_string();
        let (fail, success) = if error.is_some() { (now.as_str(), NEVER) } else { (NEVER, now.as_str()) };
        json!({
            "Component": "", "Status": status, "ErrorMsg": error.clone().unwrap_or_default(), "WarningMsg": "", "Msg": message,
            "NumFails": u8::from(error.is_some()), "NumWarnings": 0, "LastFail": fail, "LastWarn": NEVER, "LastSuccess": success,
        })
    };
    let joined = |texts: Vec<String>| Some(texts.join("; ")).filter(|text| !text.is_empty());
    let away = pop.sources.iter().filter_map(|source| Some(format!("{}: {}", source.name, source.error.as_ref()?))).collect();
    let rows = [
        ("main-boot", component(document.config.error, "the configuration is in force")),
        ("rpz", component(joined(pop.errors), &format!("serial {}, {} records", pop.serial, pop.records))),
        ("mqtt-event", component(document.core.error, "nothing is wrong with the connection")),
        ("rpz-inbound", component(joined(away), "every source holds what there is")),
    ];
    function(&rows.into_iter().map(|(name, row)| (name.to_owned(), row)).collect())
}

async fn debug(sources: &Sources, command: &str) -> Value {
    let listed = match command {
        "filterlists" => filter_lists(sources).await,
        other => Err(AdminError::Request(format!("{other:?} is not served; tapir-pop ctl tells more"))),
    };
    let mut answer = json!({
        "Time": Timestamp::now(), "Status": "ok", "Zone": "", "OwnerIndex": null, "RRset": {"RRs": null},
        "Lists": listed.as_ref().ok(), "Allowlists": null, "Denylists": null, "Doubtlists": null, "DenylistedNames": null,
        "DoubtlistedNames": null, "RpzOutput": null, "MqttStats": {"MsgCounters": null, "MsgTimeStamps": null}, "TopicData": null,
        "ReaperStats": null, "Msg": "", "Error": false, "ErrorMsg": "",
    });
    refuse(&mut answer, listed.err());
    answer
}

async fn filter_lists(sources: &Sources) -> Answer {
    let told = lists::filter_lists(sources, lists::MOST_ROWS).await?;
    let setup = sources.setup.borrow().clone().ok_or(AdminError::NoConfiguration)?;
    let mut all = json!({"allowlist": {}, "denylist": {}, "doubtlist": {}});
    for source in &setup.bindings {
        let class = match source.list {
            List::Allow => "allowlist",
            List::Deny => "denylist",
            List::Doubt => "doubtlist",
        };
        let rows = told["entries"].as_array().into_iter().flatten().filter(|row| row["source"] == source.source.as_str());
        let names: Map<String, Value> = rows.filter_map(|row| Some((row["name"].as_str()?.to_owned(), name(row)))).collect();
        let observed = setup.rules.cores.iter().any(|core| core.name == source.source);
        all[class][&source.source] = json!({
            "Name": source.source, "Description": "", "Type": class, "Immutable": false,
            "SrcFormat": if observed { "tapir-msg-v1" } else { "none" }, "Format": "map", "Datasource": "", "Filename": "",
            "Upstream": "", "Dawgf": null, "MqttDetails": null, "RpzZoneName": "", "RpzUpstream": "", "RpzSerial": 0,
            "Names": names, "ReaperData": null,
        });
    }
    Ok(all)
}

fn name(row: &Value) -> Value {
    let time = |key: &str| row[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let (added, expires) = (time("added"), time("expires"));
    // In nanoseconds, as upstream's language counts them.
    let ttl = added.zip(expires).and_then(|(added, expires)| i64::try_from(expires.duration_since(added).as_nanos()).ok());
    json!({
        "Name": row["name"], "TimeAdded": added.map_or_else(|| NEVER.to_owned(), |added| added.to_string()),
        "TTL": ttl.unwrap_or_default(), "TagMask": row["tagMask"].as_u64().unwrap_or_default(), "NumTags": 0, "Action": 0,
    })
}

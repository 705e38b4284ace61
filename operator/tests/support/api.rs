//! An API server in memory: objects as JSON, versions, preconditions, finalizers, merge patches. It can lose a write before or after it
//! took effect, which is all that a crash or a broken connection looks like from outside.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It never arrives.
    BeforeEffect,
    /// It takes effect and its answer is lost.
    AfterEffect,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    writes: Vec<String>,
    reads: Vec<String>,
    requests: Vec<String>,
    lose: Option<(usize, Loss)>,
    /// Somebody else's write, slipped in before the write of that number.
    intrude: Option<(usize, String, Value)>,
    refuse_writes: bool,
    /// Requests whose method and path contain this are refused with this code.
    refuse: Option<(String, u16)>,
    /// A disruption budget allows no eviction.
    budget_holds: bool,
}

/// The server; clones share it.
#[derive(Clone, Default)]
pub struct Server(Arc<Mutex<State>>);

impl Server {
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let kind = parts.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
                let (status, answer) = server.answer(&parts.method, parts.uri.path(), &body, kind);
                Ok::<_, Infallible>(
                    Response::builder().status(status).body(Body::from(serde_json::to_vec(&answer).unwrap())).unwrap(),
                )
            }
        });
        Client::new(service, "dns")
    }

    pub fn put(&self, path: &str, object: Value) {
        let mut state = self.0.lock().unwrap();
        state.store(path, object);
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    /// Removes an object as if it had never had a finalizer.
    pub fn destroy(&self, path: &str) {
        self.0.lock().unwrap().objects.remove(path);
    }

    pub fn writes(&self) -> Vec<String> {
        self.0.lock().unwrap().writes.clone()
    }

    /// All objects with their paths.
    pub fn all(&self) -> Vec<(String, Value)> {
        self.0.lock().unwrap().objects.iter().map(|(path, object)| (path.clone(), object.clone())).collect()
    }

    /// Method and path of all requests since they were last forgotten.
    pub fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.clone()
    }

    /// How many those were.
    pub fn requests(&self) -> usize {
        self.asked().len()
    }

    /// Paths that were read.
    pub fn reads(&self) -> Vec<String> {
        self.0.lock().unwrap().reads.clone()
    }

    /// Everything that is not in a Secret, as text.
    pub fn dump_shown(&self) -> String {
        self.dump_without("/secrets/")
    }

    pub fn forget_writes(&self) {
        let mut state = self.0.lock().unwrap();
        state.writes.clear();
        state.requests.clear();
    }

    /// Loses the write of this number, counted from now.
    pub fn lose(&self, number: usize, loss: Loss) {
        let mut state = self.0.lock().unwrap();
        state.lose = Some((state.writes.len() + number, loss));
    }

    /// No write takes effect from now on.
    pub fn refuse_writes(&self) {
        self.0.lock().unwrap().refuse_writes = true;
    }

    /// Requests whose method and path contain this text are refused with this code from now on; none ends it.
    pub fn refuse(&self, refuse: Option<(&str, u16)>) {
        self.0.lock().unwrap().refuse = refuse.map(|(what, code)| (what.to_owned(), code));
    }

    pub fn let_budget_hold(&self) {
        self.0.lock().unwrap().budget_holds = true;
    }

    pub fn let_budget_go(&self) {
        self.0.lock().unwrap().budget_holds = false;
    }

    pub fn intrude(&self, number: usize, path: &str, object: Value) {
        let mut state = self.0.lock().unwrap();
        state.intrude = Some((state.writes.len() + number, path.to_owned(), object));
    }

    /// All objects whose path contains this.
    pub fn list(&self, what: &str) -> Vec<Value> {
        let state = self.0.lock().unwrap();
        state.objects.iter().filter(|(at, _)| at.contains(what)).map(|(_, object)| object.clone()).collect()
    }

    /// All objects but those of some paths, as text.
    pub fn dump_without(&self, path: &str) -> String {
        let state = self.0.lock().unwrap();
        state.objects.iter().filter(|(at, _)| !at.contains(path)).map(|(at, object)| format!("{at} {object}\n")).collect()
    }

    /// Somebody deletes an object.
    pub fn delete(&self, path: &str) {
        self.0.lock().unwrap().delete(path, &Value::Null);
    }

    fn answer(&self, method: &Method, path: &str, body: &Value, kind: &str) -> (u16, Value) {
        let mut state = self.0.lock().unwrap();
        if let Some((what, code)) = &state.refuse
            && format!("{method} {path}").contains(what)
        {
            let (code, what) = (*code, what.clone());
            state.version += 1;
            if method != Method::GET {
                state.writes.push(format!("{method} {path}"));
            }
            // As when a connection to a webhook breaks: no two messages are the same.
            let message = format!("refused by rule {what}, read tcp 10.0.0.1:{}", 40000 + state.version);
            return (
                code,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "R", "message": message}),
            );
        }
        if method == Method::GET {
            state.reads.push(path.to_owned());
        }
        state.requests.push(format!("{method} {path}"));
        if method == Method::GET && ["/pods", "/tapiredges", "/endpointslices"].iter().any(|kind| path.ends_with(kind)) {
            let items: Vec<&Value> =
                state.objects.iter().filter(|(at, _)| at.starts_with(&format!("{path}/"))).map(|(_, object)| object).collect();
            return (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}));
        }
        if method == Method::GET {
            return state.objects.get(path).map_or_else(not_found, |object| (200, object.clone()));
        }
        let number = state.writes.len();
        state.writes.push(format!("{method} {path}"));
        if let Some((at, path, object)) = state.intrude.clone()
            && at == number
        {
            state.intrude = None;
            state.store(&path, object);
        }
        let loss = state.lose.filter(|(at, _)| *at == number).map(|(_, loss)| loss);
        if loss == Some(Loss::BeforeEffect) || state.refuse_writes {
            return failure(500, "InternalError");
        }
        let answer = match method.as_str() {
            "POST" => state.create(path, body),
            "PUT" => state.replace(path, body),
            "PATCH" if kind == "application/apply-patch+yaml" => state.apply(path, body),
            "PATCH" if kind == "application/strategic-merge-patch+json" => state.patch(path, body, merge_strategically),
            "PATCH" => state.patch(path, body, merge),
            "DELETE" => state.delete(path, body),
            other => panic!("unexpected {other}"),
        };
        if loss == Some(Loss::AfterEffect) { failure(500, "InternalError") } else { answer }
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn create(&mut self, path: &str, body: &Value) -> (u16, Value) {
        assert!(body["metadata"]["resourceVersion"].is_null(), "a new object carries a version");
        if let Some(pod) = path.strip_suffix("/eviction") {
            return self.evict(pod, body);
        }
        let mut body = body.clone();
        if let Some((namespace, _)) = path.split_once("/namespaces/").and_then(|(_, rest)| rest.split_once('/')) {
            body["metadata"]["namespace"] = namespace.into();
        }
        let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
        if self.objects.contains_key(&path) { failure(409, "AlreadyExists") } else { (201, self.store(&path, body)) }
    }

    fn evict(&mut self, pod: &str, body: &Value) -> (u16, Value) {
        let wanted = &body["deleteOptions"]["preconditions"];
        assert!(wanted["uid"].is_string() && wanted["resourceVersion"].is_string(), "an eviction without preconditions: {body}");
        let Some(found) = self.objects.get(pod) else { return not_found() };
        if ["uid", "resourceVersion"].iter().any(|member| wanted[member] != found["metadata"][member]) {
            return failure(409, "Conflict");
        }
        if self.budget_holds {
            let (code, mut answer) = failure(429, "TooManyRequests");
            answer["message"] = "Cannot evict pod as it would violate the pod's disruption budget.".into();
            let why = "The disruption budget unbound needs 2 healthy pods and has 2 currently";
            answer["details"] = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
            return (code, answer);
        }
        self.objects.remove(pod);
        (201, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }

    fn replace(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let Some(found) = self.objects.get(path) else { return not_found() };
        assert!(body["metadata"]["resourceVersion"].is_string(), "a replacement without a version: {path}");
        if found["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
            return failure(409, "Conflict");
        }
        let stored = self.store(path, body.clone());
        self.end(path, &stored);
        (200, stored)
    }

    fn patch(&mut self, path: &str, body: &Value, merge: fn(&mut Value, &Value)) -> (u16, Value) {
        let Some(found) = self.objects.get(path) else { return not_found() };
        let mut changed = found.clone();
        let other = |member: &str| {
            let wanted = &body["metadata"][member];
            wanted.is_string() && *wanted != found["metadata"][member]
        };
        if other("uid") || other("resourceVersion") {
            return failure(409, "Conflict");
        }
        merge(&mut changed, body);
        (200, self.store(path, changed))
    }

    /// Server-side apply by the only manager there is. Of a status it takes back what is left out; of other objects never anything.
    fn apply(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let Some(path) = path.strip_suffix("/status") else {
            return if self.objects.contains_key(path) {
                self.patch(path, body, merge)
            } else {
                (201, self.store(path, body.clone()))
            };
        };
        self.patch(path, body, |found, applied| {
            found["status"] = Value::Null;
            merge(found, applied);
        })
    }

    fn delete(&mut self, path: &str, options: &Value) -> (u16, Value) {
        let Some(found) = self.objects.get(path) else { return not_found() };
        let wanted = &options["preconditions"]["resourceVersion"];
        if wanted.is_string() && *wanted != found["metadata"]["resourceVersion"] {
            return failure(409, "Conflict");
        }
        let mut object = found.clone();
        object["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z".into();
        let stored = self.store(path, object);
        self.end(path, &stored);
        (200, stored)
    }

    /// An object that was deleted goes with its last finalizer.
    fn end(&mut self, path: &str, object: &Value) {
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        if object["metadata"]["deletionTimestamp"].is_string() && !held {
            self.objects.remove(path);
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in members {
        merge(&mut target[name.as_str()], value);
    }
}

/// Lists of named things are merged by name.
fn merge_strategically(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (target @ Value::Object(_), Value::Object(members)) => {
            for (name, value) in members {
                merge_strategically(&mut target[name.as_str()], value);
            }
        }
        (Value::Array(found), Value::Array(items)) if items.iter().all(|item| item["name"].is_string()) => {
            for item in items {
                match found.iter_mut().find(|found| found["name"] == item["name"]) {
                    Some(found) => merge_strategically(found, item),
                    None => found.push(item.clone()),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

fn not_found() -> (u16, Value) {
    failure(404, "NotFound")
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason}))
}

//! The address of upstream's interface.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tapir_runtime::panics::contained;
use tapir_runtime::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::admin::Sources;
use crate::admin::server::{CONNECTIONS, LONGEST, PAUSE, http, json_response};
use crate::setup::ApiSetup;

/// A command of upstream's tool.
const LARGEST_BODY: usize = 64 * 1024;

/// Serves upstream's interface until shutdown, where the configuration says, if it does.
pub async fn serve(sources: Sources, shutdown: Shutdown) {
    tokio::select! {
        () = follow(&sources) => {}
        () = shutdown.requested() => {}
    }
}

async fn follow(sources: &Sources) {
    let mut setup = sources.setup.clone();
    let mut told = false;
    loop {
        let wanted = setup.borrow_and_update().as_ref().and_then(|setup| setup.api.clone());
        let serving = async {
            let Some(api) = &wanted else { return std::future::pending().await };
            match TcpListener::bind(api.listen).await {
                Ok(listener) => {
                    told = false;
                    tracing::info!(listen = ?listener.local_addr().ok(), "upstream's interface is served");
                    accept(listener, sources, api).await;
                }
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(listen = %api.listen, %error, "upstream's interface cannot be served there, trying again");
                }
                Err(_) => {}
            }
            sleep(PAUSE).await;
        };
        let moved = async {
            let mut setup = sources.setup.clone();
            while setup.changed().await.is_ok() {
                if setup.borrow().as_ref().and_then(|setup| setup.api.clone()) != wanted {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = serving => {}
            () = moved => {}
        }
    }
}

async fn accept(listener: TcpListener, sources: &Sources, api: &ApiSetup) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (sources, api) = (sources.clone(), api.clone());
                tasks.spawn(contained(async move {
                    let _place = place;
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (sources, api) = (sources.clone(), api.clone());
                        async move { Ok::<_, Infallible>(respond(&sources, &api, request).await) }
                    });
                    let exchange = http().serve_connection(TokioIo::new(stream), service);
                    // Broken and slow clients are no news.
                    let _ = timeout(LONGEST, exchange).await;
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "connection to upstream's interface not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn respond(sources: &Sources, api: &ApiSetup, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    // Nothing of a stranger's body is read.
    if !head.headers.get("x-api-key").is_some_and(|key| api.admits(key.as_bytes())) {
        return json_response(StatusCode::UNAUTHORIZED, &json!({"error": "X-API-Key is missing or wrong"}));
    }
    if head.method != hyper::Method::POST {
        return json_response(StatusCode::METHOD_NOT_ALLOWED, &json!({"error": "only POST"}));
    }
    let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
        return json_response(StatusCode::PAYLOAD_TOO_LARGE, &json!({"error": "the body is cut off, or too large"}));
    };
    match super::answer(sources, head.uri.path(), &String::from_utf8_lossy(&body.to_bytes())).await {
        Some(value) => json_response(StatusCode::OK, &value),
        None => json_response(StatusCode::NOT_FOUND, &json!({"error": "there is no such place"})),
    }
}

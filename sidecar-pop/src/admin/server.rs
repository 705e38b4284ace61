//! The socket.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tapir_runtime::panics::contained;
use tapir_runtime::shutdown::Shutdown;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{AdminError, Sources, routes};

/// At once; more wait to be taken.
pub(super) const CONNECTIONS: usize = 16;
/// A whole exchange.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// After an error of the socket or of its folder.
pub(super) const PAUSE: Duration = Duration::from_secs(5);
/// A policy that is to be explained.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// Serves until shutdown, where the configuration says. A socket that cannot be made is tried again for ever.
pub async fn serve(mut sources: Sources, shutdown: Shutdown) {
    tokio::select! {
        () = follow(&mut sources) => {}
        () = shutdown.requested() => {}
    }
    if let Some(path) = path(&sources) {
        remove(&path);
    }
}

fn path(sources: &Sources) -> Option<PathBuf> {
    sources.setup.borrow().as_ref().map(|setup| setup.admin_socket.clone())
}

async fn follow(sources: &mut Sources) {
    let mut told = false;
    loop {
        let wanted = path(sources);
        let setup = sources.setup.clone();
        let moved = async {
            let mut setup = setup;
            // Until another place is wanted; when nothing will ever be wanted any more, for ever.
            while setup.changed().await.is_ok() {
                if setup.borrow().as_ref().map(|setup| &setup.admin_socket) != wanted.as_ref() {
                    return;
                }
            }
            std::future::pending().await
        };
        let serving = async {
            let Some(path) = &wanted else { return std::future::pending().await };
            match bind(path) {
                Ok(listener) => {
                    told = false;
                    accept(listener, sources).await;
                }
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(path = %path.display(), %error, "the admin socket cannot be made, trying again");
                }
                Err(_) => {}
            }
            sleep(PAUSE).await;
        };
        tokio::select! {
            () = serving => {}
            () = moved => wanted.iter().for_each(|path| remove(path)),
        }
    }
}

/// One that is left over from before is replaced. Two processes on one folder are kept apart elsewhere.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Made beside its place, so that nobody can open it before its mode is right.
    let new = path.with_extension("new");
    remove(&new);
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "a socket stays where it was");
    }
}

async fn accept(listener: UnixListener, sources: &Sources) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let sources = sources.clone();
                tasks.spawn(contained(async move {
                    let _place = place;
                    // Broken and slow clients are no news.
                    let _ = timeout(LONGEST, exchange(stream, sources)).await;
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "connection to the admin socket not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn exchange(stream: UnixStream, sources: Sources) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let sources = sources.clone();
        async move { Ok::<_, Infallible>(respond(&sources, request).await) }
    });
    http().serve_connection(TokioIo::new(stream), service).await
}

pub(super) fn http() -> Builder {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(5)).max_buf_size(16 * 1024).keep_alive(false);
    builder
}

pub(super) fn json_response(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn respond(sources: &Sources, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let answer = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            match std::str::from_utf8(&body) {
                Ok(text) => {
                    let text = Some(text).filter(|text| !text.is_empty());
                    routes::answer(sources, &head.method, head.uri.path(), head.uri.query().unwrap_or_default(), text).await
                }
                Err(_) => Err(AdminError::Request("the body is no text".to_owned())),
            }
        }
        Err(_) => Err(AdminError::Request(format!("the body is cut off, or larger than {LARGEST_BODY} octets"))),
    };
    let (status, value) = match answer {
        Ok(value) => (StatusCode::OK, value),
        Err(error) => {
            let status = match error {
                AdminError::Request(_) => StatusCode::BAD_REQUEST,
                AdminError::NotFound(_) => StatusCode::NOT_FOUND,
                AdminError::NoConfiguration | AdminError::NoAnswer | AdminError::Read(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, json!({"error": error.to_string()}))
        }
    };
    json_response(status, &value)
}

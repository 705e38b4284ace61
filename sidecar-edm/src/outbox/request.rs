//! The head of an upload.

use hyper::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::http::Error;
use hyper::{Method, Request};
use jiff::Timestamp;
use tapir_wire::http_signature::Content;

use super::target::Target;
use crate::histogram_file::Interval;

/// Signed at `created`, which is when it is sent: Core takes a signature for a day.
pub(super) fn request<Body>(
    target: &Target,
    content: &Content,
    interval: &Interval,
    created: Timestamp,
    body: Body,
) -> Result<Request<Body>, Error> {
    let signature = content.sign(&target.data_key, created);
    Request::builder()
        .method(Method::POST)
        .uri(&target.path)
        .header(HOST, &target.authority)
        .header(USER_AGENT, user_agent())
        .header(CONTENT_LENGTH, content.length)
        .header("Aggregate-Interval", interval.header())
        .header("Content-Digest", &content.digest)
        .header(CONTENT_TYPE, &content.media_type)
        .header("Signature", signature.signature)
        .header("Signature-Input", signature.input)
        // As upstream's client sends it. Bodies are only ever logged, and one that is compressed is not even that.
        .header(ACCEPT_ENCODING, "gzip")
        .body(body)
}

/// As upstream's, with Go's words for system and machine.
fn user_agent() -> String {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("edm/{} {}/{machine}", tapir_version::VERSION, std::env::consts::OS)
}

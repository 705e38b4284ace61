//! HTTP requests and answers as plain values, so that Core's services are functions that tests call without a network.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::encoding::percent_decode;

/// A request with its whole body.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Lower-case names, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
    /// Whose connection it came on.
    pub peer: Option<IpAddr>,
}

impl Request {
    /// The path, still percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The node that a request to nodeman is about.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.path().strip_prefix("/api/v1/node/")?.split('/').next()
    }

    /// The first query parameter of that name, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| percent_decode(value))
    }

    /// The values of a header, joined as RFC 9110 section 5.3 says.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.trim()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// May be empty.
    pub body: Vec<u8>,
    /// The connection ends after this answer, as after an unexpected failure of the real services.
    pub closes: bool,
}

impl Answer {
    /// An answer without body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), closes: false }
    }

    /// An answer with a body of that type.
    #[must_use]
    pub fn content(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::empty(status) }.with("content-type", content_type)
    }

    /// Compact JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::content(status, "application/json", body.to_string())
    }

    /// `{"detail": ...}`
    #[must_use]
    pub fn detail(status: u16, detail: &str) -> Self {
        Self::json(status, &json!({"detail": detail}))
    }

    /// The framework's complaint about parameters.
    #[must_use]
    pub fn unprocessable(complaints: &[Value]) -> Self {
        Self::json(422, &json!({"detail": complaints}))
    }

    /// An unexpected failure: text, after which the server closes the connection.
    #[must_use]
    pub fn failure() -> Self {
        Self { closes: true, ..Self::content(500, "text/plain; charset=utf-8", "Internal Server Error") }
    }

    /// The same with one header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A required header is missing.
#[must_use]
pub fn missing_header(name: &str) -> Value {
    json!({"type": "missing", "loc": ["header", name], "msg": "Field required", "input": null})
}

/// The framework's answer to a method that a path does not have.
#[must_use]
pub fn method_not_allowed(allowed: &str) -> Answer {
    Answer::detail(405, "Method Not Allowed").with("allow", allowed)
}

//! Counts every request to the API server that is not a read, below all code that could forget to count.

use std::task::{Context, Poll};

use http::{Method, Request};
use tower::{Layer, Service};

use super::metrics::Metrics;

/// Layer around the Kubernetes client's transport.
#[derive(Clone, Debug)]
pub struct CountWrites(pub Metrics);

/// Service made by [`CountWrites`].
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    metrics: Metrics,
}

impl<S> Layer<S> for CountWrites {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: self.0.clone() }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        if request.method() != Method::GET {
            self.metrics.wrote(&request.method().as_str().to_ascii_lowercase(), &resource(request.uri().path()));
        }
        self.inner.call(request)
    }
}

/// `pods/eviction` for `/api/v1/namespaces/dns/pods/a/eviction`: kind of object and subresource, never a name.
fn resource(path: &str) -> String {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let group = parts.next();
    // `/api/v1` or `/apis/group/version`
    let skip = if group == Some("apis") { 2 } else { 1 };
    let mut parts: Vec<&str> = parts.skip(skip).collect();
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2);
    }
    match (parts.first(), parts.get(2)) {
        (Some(resource), Some(subresource)) => format!("{resource}/{subresource}"),
        (Some(resource), None) => (*resource).to_owned(),
        (None, _) => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("/api/v1/namespaces/dns/pods/a/eviction", "pods/eviction")]
    #[case("/api/v1/namespaces/dns/secrets", "secrets")]
    #[case("/api/v1/namespaces/dns", "namespaces")]
    #[case("/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges/stockholm/status", "tapiredges/status")]
    #[case("/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings/x", "mutatingadmissionpolicybindings")]
    #[case("/", "other")]
    fn resources_are_named_without_objects(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(resource(path), expected);
    }
}

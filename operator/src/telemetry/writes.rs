//! Counts every request to the API server, and apart those that are no reads, below all code that could forget to count.

use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
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

impl<S, B, A> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Error: 'static,
    S::Future: Send + 'static,
    A: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (method, metrics) = (request.method().clone(), self.metrics.clone());
        if method != Method::GET {
            metrics.wrote(&method.as_str().to_ascii_lowercase(), &resource(request.uri().path()));
        }
        let count = move |answer: &Result<S::Response, S::Error>| {
            metrics.requested(method.as_str(), answer.as_ref().ok().map(|answer| answer.status().as_u16()));
        };
        self.inner.call(request).inspect(count).boxed()
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
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn every_answer_is_counted_and_a_read_is_no_write() {
        let metrics = Metrics::default();
        let service = tower::service_fn(async |request: Request<()>| match request.method() {
            &Method::GET => Err("nobody there"),
            _ => Ok(Response::builder().status(409).body(()).unwrap()),
        });
        for method in [Method::GET, Method::PATCH] {
            let request = Request::builder().method(method).uri("/api/v1/namespaces/dns/pods/a").body(()).unwrap();
            let _ = CountWrites(metrics.clone()).layer(service).oneshot(request).await;
        }
        let text = metrics.render();
        assert!(text.contains("rest_client_requests_total{code=\"<error>\",method=\"GET\"} 1"), "{text}");
        assert!(text.contains("rest_client_requests_total{code=\"409\",method=\"PATCH\"} 1"), "{text}");
        assert!(
            text.contains("api_writes_total{verb=\"patch\",resource=\"pods\"} 1") && !text.contains("verb=\"get\""),
            "{text}"
        );
    }

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

//! A client under the lease: what is not a read is sent only while the lease lasts. Whoever forgets to ask for the lease is stopped here.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::client::Body;

use super::{Leadership, LeaseTooShort};

/// How much longer than now the lease must last before a write begins. An API server that takes a write takes it within that time, or says
/// no by the resourceVersion.
pub const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// The same connections as `client`, for those who act as leader. The lease itself, Events, and what looks at the lease by itself go
/// without a fence.
#[must_use]
pub fn fenced(client: &Client, leadership: Leadership) -> Client {
    let open = client.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (open, leadership) = (open.clone(), leadership.clone());
        async move {
            if request.method() == Method::GET {
                return open.send(request).await;
            }
            leadership.outlasts(WRITE_LIMIT).map_err(refused)?;
            let mut sending = pin!(open.send(request));
            // A process may be stopped between any two steps, for instance while a connection is made: each step looks again.
            poll_fn(|context| match leadership.outlasts(Duration::ZERO) {
                Ok(()) => sending.as_mut().poll(context),
                Err(error) => Poll::Ready(Err(refused(error))),
            })
            .await
        }
    });
    Client::new(service, client.default_namespace()).with_valid_until(*client.valid_until())
}

fn refused(error: LeaseTooShort) -> kube::Error {
    kube::Error::Service(Box::new(error))
}

//! One connection from CONNECT to its end. The only place that drives the client library.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rumqttc::{
    AsyncClient, Broker, ConnAck, ConnectionError, Event, EventLoop, Incoming as Packet, MqttOptions, Outgoing, PersistedAckMode,
    PersistedSession, SessionStore, SessionStoreError, SessionStoreKey, SubscribeFilterInput, TlsConfiguration, Transport,
};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::address::{AddressError, BrokerAddress};
use super::incoming::Inlet;
use super::publisher::Link;
use super::{ConnectionState, MqttMetrics, MqttSettings, Qos};
use crate::panics::contained;

/// Requests of publishers that wait inside the library, and go into one write; publishers wait beyond that.
const REQUEST_CAPACITY: usize = 128;

/// Time for messages on their way and for DISCONNECT when a connection ends in order.
const FAREWELL: Duration = Duration::from_secs(2);

/// A packet as large as MQTT allows: what a broker takes that names no limit.
const MQTT_MAX_PACKET: usize = 268_435_455;

/// Where a connection delivers to. Outlives all connections.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) incoming: Inlet,
    pub(super) state: watch::Sender<ConnectionState>,
    pub(super) link: watch::Sender<Option<Link>>,
    pub(super) metrics: MqttMetrics,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("the broker's URL asks for TLS, but there is no certificate")]
    NoTls,
    #[error("{0}")]
    Connection(Box<ConnectionError>),
    #[error("the broker refused a subscription: {0}")]
    Subscription(String),
    #[error("the broker did not answer the subscription in time")]
    SubscriptionTimeout,
    #[error("the broker closed the connection: {0}")]
    Closed(String),
    #[error("the client library failed: {0}")]
    Library(String),
}

/// Connects, subscribes, and keeps the connection until it fails or `stop` is cancelled. Then it is ended in order.
///
/// In a task of its own: should the client library panic over something that a broker sent, that is one more failed connection.
pub(super) async fn run(settings: &MqttSettings, outlets: &Arc<Outlets>, stop: &CancellationToken) -> Result<(), Failure> {
    let (settings, shared, stop) = (settings.clone(), Arc::clone(outlets), stop.clone());
    let connection = tokio::spawn(contained(async move { run_here(&settings, &shared, &stop).await }));
    let outcome = connection.await.unwrap_or_else(|error| Err(Failure::Library(error.to_string())));
    outlets.link.send_replace(None);
    outcome
}

async fn run_here(settings: &MqttSettings, outlets: &Outlets, stop: &CancellationToken) -> Result<(), Failure> {
    let (client, mut event_loop) = AsyncClient::builder(options(settings)?).capacity(REQUEST_CAPACITY).build();
    let (accepted, acceptance) = oneshot::channel();
    let ended = CancellationToken::new();
    let _ended_at_any_return = ended.clone().drop_guard();

    // Polling is never cancelled while the connection is wanted, because the library does not promise to survive that.
    let mut driving = std::pin::pin!(drive(&mut event_loop, outlets, accepted));
    tokio::select! {
        biased;
        failure = &mut driving => Err(failure),
        outcome = serve(settings, outlets, &client, acceptance, &ended, stop) => match outcome {
            Ok(connected) => {
                outlets.link.send_replace(None);
                if connected && client.disconnect_with_timeout(FAREWELL).await.is_ok() {
                    // The peer may be gone; then nothing is lost by leaving without a word.
                    let _ = timeout(FAREWELL * 2, &mut driving).await;
                }
                Ok(())
            }
            Err(failure) => Err(failure),
        },
    }
}

/// What happens beside the packets: wait for CONNACK, subscribe, announce, wait for `stop`. Tells whether there was a connection.
async fn serve(
    settings: &MqttSettings,
    outlets: &Outlets,
    client: &AsyncClient,
    acceptance: oneshot::Receiver<usize>,
    ended: &CancellationToken,
    stop: &CancellationToken,
) -> Result<bool, Failure> {
    let max_packet_size = tokio::select! {
        Ok(max_packet_size) = acceptance => max_packet_size,
        () = stop.cancelled() => return Ok(false),
        // `acceptance` is dropped unsent only together with `drive`, whose failure is then what counts.
        else => return std::future::pending().await,
    };
    let refused = tokio::select! {
        subscribed = subscribe(settings, client) => subscribed?,
        () = stop.cancelled() => return Ok(true),
    };
    outlets.link.send_replace(Some(Link { client: client.clone(), max_packet_size, ended: ended.clone() }));
    outlets.state.send_replace(ConnectionState {
        connected: true,
        since: Some(Timestamp::now()),
        error: None,
        certificate_serial: settings.certificate_serial.clone(),
        refused,
    });
    outlets.metrics.connects.inc();
    outlets.metrics.connected.set(1);
    tracing::info!(broker = settings.url, client_id = settings.client_id, "connected to the broker");
    stop.cancelled().await;
    Ok(true)
}

/// Filters that there need not be and that were not granted.
async fn subscribe(settings: &MqttSettings, client: &AsyncClient) -> Result<Vec<String>, Failure> {
    if !settings.subscriptions.is_empty() {
        granted(settings, &settings.subscriptions, client).await?;
    }
    let mut refused = Vec::new();
    for one in &settings.optional_subscriptions {
        if let Err(error) = granted(settings, std::slice::from_ref(one), client).await {
            tracing::warn!(%error, topic = one.0, "going on without this subscription");
            refused.push(one.0.clone());
        }
    }
    Ok(refused)
}

async fn granted(settings: &MqttSettings, wanted: &[(String, Qos)], client: &AsyncClient) -> Result<(), Failure> {
    let filters = wanted.iter().map(|(filter, qos)| SubscribeFilterInput::new(filter.as_str(), (*qos).into()));
    let granted = async {
        let notice = client.subscribe_many_tracked(filters).await.map_err(|error| Failure::Subscription(error.to_string()))?;
        notice.wait_completion_async().await.map_err(|error| Failure::Subscription(error.to_string()))
    };
    timeout(settings.connect_timeout, granted).await.map_err(|_| Failure::SubscriptionTimeout)?
}

/// Takes packets until the connection is over.
async fn drive(event_loop: &mut EventLoop, outlets: &Outlets, accepted: oneshot::Sender<usize>) -> Failure {
    let mut accepted = Some(accepted);
    loop {
        match event_loop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(acknowledgement))) => {
                // Nothing is resumed, whatever the broker was told. The library would else copy all that is on its way at each packet.
                event_loop.options.set_clean_start(true);
                if let Some(accepted) = accepted.take() {
                    let _ = accepted.send(max_packet_size(&acknowledgement));
                }
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                outlets.incoming.deliver(&publish.topic, &publish.payload);
            }
            Ok(Event::Incoming(Packet::Disconnect(disconnect))) => {
                return Failure::Closed(format!("{:?}", disconnect.reason_code));
            }
            Ok(Event::Outgoing(Outgoing::Disconnect)) => return Failure::Closed("at our own wish".to_owned()),
            Ok(_) => {}
            Err(error) => return Failure::Connection(Box::new(error)),
        }
    }
}

fn max_packet_size(acknowledgement: &ConnAck) -> usize {
    let named = acknowledgement.properties.as_ref().and_then(|properties| properties.max_packet_size);
    named.and_then(|size| usize::try_from(size).ok()).unwrap_or(MQTT_MAX_PACKET)
}

fn options(settings: &MqttSettings) -> Result<MqttOptions, Failure> {
    let address = match &settings.tls {
        Some(_) => BrokerAddress::parse_encrypted(&settings.url)?,
        None => BrokerAddress::parse(&settings.url)?,
    };
    let mut options = MqttOptions::new(settings.client_id.as_str(), Broker::tcp(address.host.as_str(), address.port));
    options.set_transport(if address.tls {
        let tls = settings.tls.clone().ok_or(Failure::NoTls)?;
        Transport::tls_with_config(TlsConfiguration::Rustls(tls))
    } else {
        Transport::tcp()
    });
    options
        .set_keep_alive(u16::try_from(settings.keep_alive.as_secs()).unwrap_or(u16::MAX))
        .set_connect_timeout(settings.connect_timeout)
        .set_max_packet_size(Some(settings.max_packet_size))
        .set_session_expiry_interval(settings.session_expiry)
        .set_max_request_batch(REQUEST_CAPACITY)
        .set_outgoing_inflight_upper_limit(settings.window)
        .set_clean_start(settings.clean_start);
    if !settings.clean_start {
        options.set_session_store(NothingInFlight { window: settings.window });
    }
    let per_address = settings.connect_timeout / 2;
    options.set_socket_connector(move |_, _| connect(address.host.clone(), address.port, per_address));
    Ok(options)
}

/// The library's own connector cannot tell the colons of an IPv6 address from that of the port, and lets one silent address
/// use up the time of all.
async fn connect(host: String, port: u16, per_address: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), port)).await?.collect();
    for address in addresses {
        match timeout(per_address, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Events are small and one by one: waiting for more to fill a segment only delays them.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")),
        }
    }
    Err(last)
}

/// Session store of a client whose every connection starts with nothing in flight, because publishers were told of everything
/// that was not acknowledged. Without it the library refuses to go on with a session that only the broker remembers.
#[derive(Debug)]
struct NothingInFlight {
    window: u16,
}

type StoreFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl SessionStore for NothingInFlight {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> StoreFuture<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(self.window),
            ack_mode: PersistedAckMode::Automatic,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async { Ok(Some(session)) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl From<Qos> for rumqttc::QoS {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => Self::AtMostOnce,
            Qos::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

//! What a connection is made of.

use std::sync::Arc;
use std::time::Duration;

use crate::back_off::BackOff;

/// Delivery guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
}

/// What a connection is made of. Unequal settings make the task reconnect; the TLS configuration itself cannot be compared
/// and is represented by [`MqttSettings::generation`].
#[derive(Clone, Debug)]
pub struct MqttSettings {
    /// `mqtts://host:port` (`tls`, `ssl`, `tcps`, `mqtt+ssl` mean the same); without `tls`, in development, `mqtt://host:port`
    /// (`tcp`).
    pub url: String,
    /// Unique among all clients of the broker.
    pub client_id: String,
    /// Needed for `mqtts://`; where it is there, any other URL is refused.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Serial of the certificate in `tls`, told while there is a connection that was made with it.
    pub certificate_serial: Option<String>,
    /// Stands for `tls` in comparisons: [`crate::node::NodeMaterial::generation`].
    pub generation: u64,
    /// Longest silence before the client sends a PINGREQ.
    pub keep_alive: Duration,
    /// Whether to forget an earlier session of this client id.
    pub clean_start: bool,
    /// Seconds that the broker keeps the session after a break.
    pub session_expiry: Option<u32>,
    /// Topic filters, subscribed at every connect.
    pub subscriptions: Vec<(String, Qos)>,
    /// The same, without which the connection is of use all the same: what the broker does not grant stands in
    /// [`super::ConnectionState::refused`].
    pub optional_subscriptions: Vec<(String, Qos)>,
    /// Pauses between attempts.
    pub back_off: BackOff,
    /// Time for TCP, TLS and CONNACK together, and for SUBACK.
    pub connect_timeout: Duration,
    /// Largest packet that is taken from the broker.
    pub max_packet_size: u32,
    /// Messages on their way at once, whatever more the broker allows. The client library sets memory aside for as many.
    pub window: u16,
}

impl MqttSettings {
    /// Settings with the defaults of this product: keep-alive 30 s, clean start, no session kept, 256 KiB packets, 64 messages on
    /// their way.
    #[must_use]
    pub fn new(
        url: impl Into<String>,
        client_id: impl Into<String>,
        tls: Option<Arc<rustls::ClientConfig>>,
        generation: u64,
    ) -> Self {
        Self {
            url: url.into(),
            client_id: client_id.into(),
            tls,
            certificate_serial: None,
            generation,
            keep_alive: Duration::from_secs(30),
            clean_start: true,
            session_expiry: None,
            subscriptions: Vec::new(),
            optional_subscriptions: Vec::new(),
            back_off: BackOff::default(),
            connect_timeout: Duration::from_secs(10),
            max_packet_size: 256 * 1024,
            window: 64,
        }
    }
}

impl PartialEq for MqttSettings {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            url,
            client_id,
            tls,
            certificate_serial,
            generation,
            keep_alive,
            clean_start,
            session_expiry,
            subscriptions,
            optional_subscriptions,
            back_off,
            connect_timeout,
            max_packet_size,
            window,
        } = self;
        *url == other.url
            && *client_id == other.client_id
            && tls.is_some() == other.tls.is_some()
            && *certificate_serial == other.certificate_serial
            && *generation == other.generation
            && *keep_alive == other.keep_alive
            && *clean_start == other.clean_start
            && *session_expiry == other.session_expiry
            && *subscriptions == other.subscriptions
            && *optional_subscriptions == other.optional_subscriptions
            && *back_off == other.back_off
            && *connect_timeout == other.connect_timeout
            && *max_packet_size == other.max_packet_size
            && *window == other.window
    }
}

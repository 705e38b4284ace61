//! An MQTT message as it arrived, with all that its sender can put beside the payload.

use rumqttc::mqttbytes::v5::{Publish, PublishProperties};
use serde_json::{Map, Value, json};

use crate::encoding::base64;

/// A message. What concerns one connection only (packet identifier, duplicate flag, topic alias) is the broker's, not the sender's.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Topic.
    pub topic: String,
    /// All of it.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether the broker was asked to keep it.
    pub retain: bool,
    /// Properties of MQTT 5 by name, only those that were there.
    pub properties: Map<String, Value>,
}

impl From<Publish> for Published {
    fn from(packet: Publish) -> Self {
        Self {
            topic: String::from_utf8_lossy(&packet.topic).into_owned(),
            payload: packet.payload.to_vec(),
            qos: packet.qos as u8,
            retain: packet.retain,
            properties: packet.properties.map(members).unwrap_or_default(),
        }
    }
}

fn members(properties: PublishProperties) -> Map<String, Value> {
    let user_properties = (!properties.user_properties.is_empty()).then_some(properties.user_properties);
    let all = [
        ("payload_format_indicator", json!(properties.payload_format_indicator)),
        ("message_expiry_interval", json!(properties.message_expiry_interval)),
        ("content_type", json!(properties.content_type)),
        ("response_topic", json!(properties.response_topic)),
        ("correlation_data", json!(properties.correlation_data.map(|data| base64(&data)))),
        ("user_properties", json!(user_properties)),
    ];
    all.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}

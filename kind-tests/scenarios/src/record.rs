//! Looking into what the dev Core recorded.

use serde_json::Value;

/// A recorded entry as text, and every string of it that decodes from base64 or is a JWS payload.
#[must_use]
pub fn bytes_of(entry: &Value) -> Vec<Vec<u8>> {
    let mut found = vec![entry.to_string().into_bytes()];
    let mut queue = vec![entry.clone()];
    while let Some(value) = queue.pop() {
        match value {
            Value::String(string) => {
                if let Some(bytes) = decode(&string) {
                    if let Ok(inner) = serde_json::from_slice(&bytes) {
                        queue.push(inner);
                    }
                    found.push(bytes);
                }
            }
            Value::Array(values) => queue.extend(values),
            Value::Object(members) => queue.extend(members.into_iter().map(|(_, member)| member)),
            _ => {}
        }
    }
    found
}

/// Base64 in either alphabet, padded or not (RFC 4648); `None` for other text, and for what is too short to hold an address.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    if text.len() < 6 {
        return None;
    }
    let (mut bytes, mut buffer, mut bits) = (Vec::with_capacity(text.len()), 0u32, 0u32);
    for character in text.bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        buffer = buffer << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(buffer >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// Whether one contains the other.
#[must_use]
pub fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

//! What can go wrong with nodeman, by cause: each cause has its own remedy.

use serde::Deserialize;

/// Longest part of an answer's text that is passed on to people.
const LONGEST_DETAIL: usize = 200;

/// A call to nodeman that did not succeed. No variant carries a request body, an answer's certificates or a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
pub enum NodemanError {
    /// The URL in credentials or specification cannot be used.
    #[error("cannot use the address of nodeman: {0}")]
    BadAddress(String),
    /// The trust anchors cannot be used.
    #[error("cannot use the CA certificates for nodeman: {0}")]
    BadTrustAnchors(String),
    /// No answer, or one from something in front of nodeman that did not reach it.
    #[error("cannot reach nodeman: {0}")]
    Unreachable(String),
    /// nodeman answered, and refused.
    #[error("nodeman refused with status {status}: {detail}")]
    Refused { status: u16, detail: String, refusal: Refusal },
    /// Something answered that does not speak as nodeman does, or whose answer fails the checks.
    #[error("nodeman's answer makes no sense: {0}")]
    Nonsense(String),
}

/// What a refusal means, from status and `detail` as Core's nodeman writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
pub enum Refusal {
    /// An earlier attempt with these credentials succeeded.
    AlreadyEnrolled,
    /// Renewal or configuration asked for before enrolment.
    NotActivated,
    /// No such node, or a node that was offboarded.
    UnknownNode,
    /// The enrolment key is no longer on record.
    NoEnrolmentKey,
    /// The enrolment key is not the one on record.
    InvalidEnrolmentSignature,
    /// The data key is not the one on record.
    InvalidDataSignature,
    /// The requested lifetime lies outside of the CA's limits.
    LifetimeRefused,
    /// The payload is malformed or its time too old: most likely our clock is slow.
    BadRequest,
    /// A failure on the side of Core; worth another try later.
    Temporary,
    /// Anything else.
    Other,
}

impl Refusal {
    /// Whether the same request can never succeed.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        match self {
            Self::AlreadyEnrolled
            | Self::UnknownNode
            | Self::NoEnrolmentKey
            | Self::InvalidEnrolmentSignature
            | Self::InvalidDataSignature => true,
            Self::NotActivated | Self::LifetimeRefused | Self::BadRequest | Self::Temporary | Self::Other => false,
        }
    }
}

impl NodemanError {
    /// The refusal, if this is one.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    detail: serde_json::Value,
}

/// Reads an answer other than 200.
#[must_use]
pub(super) fn from_answer(status: u16, body: &[u8]) -> NodemanError {
    if matches!(status, 429 | 502 | 503 | 504) {
        return NodemanError::Unreachable(format!("status {status} from the server or a proxy before it"));
    }
    if (300..400).contains(&status) {
        return NodemanError::Nonsense(format!("status {status}: redirections are not followed"));
    }
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { detail: serde_json::Value::String(detail) }) => {
            let refusal = classify(status, &detail);
            NodemanError::Refused { status, detail: printable(&detail), refusal }
        }
        Ok(ErrorBody { .. }) if status == 422 => {
            NodemanError::Refused { status, detail: "a parameter is missing or malformed".to_owned(), refusal: Refusal::Other }
        }
        _ if status >= 500 => {
            NodemanError::Refused { status, detail: "failure inside the server".to_owned(), refusal: Refusal::Temporary }
        }
        _ => NodemanError::Nonsense(format!("status {status} with a body that is not nodeman's")),
    }
}

fn classify(status: u16, detail: &str) -> Refusal {
    match (status, detail) {
        (404, _) => Refusal::UnknownNode,
        (400, "Node already enrolled") => Refusal::AlreadyEnrolled,
        (400, "Node enrollment failed") => Refusal::NoEnrolmentKey,
        (400, "Node not activated") => Refusal::NotActivated,
        (400, "Certificate request refused") => Refusal::LifetimeRefused,
        (400, "Bad Request") => Refusal::BadRequest,
        (401, "Invalid enrollment signature") => Refusal::InvalidEnrolmentSignature,
        (401, "Invalid data signature") => Refusal::InvalidDataSignature,
        (500.., _) => Refusal::Temporary,
        _ => Refusal::Other,
    }
}

/// At most a line of plain text: the answer of a stranger goes into conditions and logs.
pub(crate) fn printable(text: &str) -> String {
    let mut line: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_DETAIL).collect();
    if text.chars().count() > LONGEST_DETAIL {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Option<Refusal> {
        from_answer(status, body.as_bytes()).refusal()
    }

    #[rstest::rstest]
    #[case(400, "Node already enrolled", Refusal::AlreadyEnrolled)]
    #[case(400, "Node enrollment failed", Refusal::NoEnrolmentKey)]
    #[case(400, "Node not activated", Refusal::NotActivated)]
    #[case(400, "Bad Request", Refusal::BadRequest)]
    #[case(400, "Certificate request refused", Refusal::LifetimeRefused)]
    #[case(401, "Invalid data signature", Refusal::InvalidDataSignature)]
    #[case(401, "Invalid enrollment signature", Refusal::InvalidEnrolmentSignature)]
    #[case(404, "Not Found", Refusal::UnknownNode)]
    #[case(500, "Error issuing certificate", Refusal::Temporary)]
    #[case(403, "Invalid data name", Refusal::Other)]
    fn refusals_are_told_apart(#[case] status: u16, #[case] detail: &str, #[case] expected: Refusal) {
        assert_eq!(refusal(status, &serde_json::json!({"detail": detail}).to_string()), Some(expected));
    }

    #[test]
    fn the_framework_s_own_errors_are_understood() {
        assert_eq!(refusal(500, "Internal Server Error"), Some(Refusal::Temporary));
        let parameters = r#"{"detail":[{"type":"missing","loc":["body"],"msg":"m","input":"do not print me"}]}"#;
        let error = from_answer(422, parameters.as_bytes());
        assert_eq!(error.refusal(), Some(Refusal::Other));
        assert!(!error.to_string().contains("do not print me"));
    }

    #[test]
    fn proxies_and_strangers_are_told_apart_from_nodeman() {
        assert!(matches!(from_answer(502, b"<html>"), NodemanError::Unreachable(_)));
        assert!(matches!(from_answer(404, b"<html>"), NodemanError::Nonsense(_)));
        assert!(matches!(from_answer(302, b""), NodemanError::Nonsense(_)));
    }

    #[test]
    fn details_are_cut_and_printable() {
        let long = serde_json::json!({"detail": format!("a\n\u{1b}[31m{}", "x".repeat(5000))}).to_string();
        let NodemanError::Refused { detail, .. } = from_answer(400, long.as_bytes()) else { panic!("not refused") };
        assert!(detail.chars().count() <= LONGEST_DETAIL + 1 && detail.starts_with("a[31m"));
    }

    /// Recorded answers of a real nodeman: each is understood, and none is taken for something that would burn an identity.
    #[test]
    fn recorded_refusals_are_understood() {
        let text = include_str!("../../../tapir-wire/vectors/core/errors/nodeman.json");
        let recorded: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        assert!(!recorded.is_empty());
        for exchange in recorded {
            let case = exchange["case"].as_str().unwrap();
            let status = u16::try_from(exchange["status"].as_u64().unwrap()).unwrap();
            let expected = match case {
                "enrol: no such node" | "renew: node deleted" => Refusal::UnknownNode,
                "enrol: wrong enrolment key" => Refusal::InvalidEnrolmentSignature,
                "enrol: data key signature missing" | "renew: wrong key" => Refusal::InvalidDataSignature,
                "enrol: timestamp 301 s old" => Refusal::BadRequest,
                "enrol: lifetime over the CA's maximum" => Refusal::LifetimeRefused,
                "renew: node not enrolled yet" => Refusal::NotActivated,
                "enrol: second time" => Refusal::AlreadyEnrolled,
                "enrol: body is no JWS" | "enrol: CSR for another name" => Refusal::Temporary,
                _ => Refusal::Other,
            };
            let error = from_answer(status, exchange["body"].as_str().unwrap().as_bytes());
            assert_eq!(error.refusal(), Some(expected), "{case}: {error}");
        }
    }
}

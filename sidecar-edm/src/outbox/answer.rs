//! What Core's answer means for a file.

/// A refusal that another try of the same file would meet again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumIter, strum::IntoStaticStr)]
pub enum Refusal {
    /// 400: request or signature are malformed.
    #[strum(serialize = "400")]
    BadRequest,
    /// 401: the key is unknown, the signature or the digest does not verify.
    #[strum(serialize = "401")]
    Unauthorized,
    /// 422: a header is missing or not as Core wants it.
    #[strum(serialize = "422")]
    Unprocessable,
}

/// An answer, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Where the aggregate is. Only ever logged, so one that cannot be parsed does no harm.
    pub(super) location: Option<String>,
    /// The beginning of its body.
    pub(super) text: String,
}

/// What to do with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stored,
    Refused(Refusal),
    Later,
}

impl Answer {
    /// 201 alone is success; a 200 may be anybody's.
    pub(super) fn verdict(&self) -> Verdict {
        match self.status {
            201 => Verdict::Stored,
            400 => Verdict::Refused(Refusal::BadRequest),
            401 => Verdict::Refused(Refusal::Unauthorized),
            422 => Verdict::Refused(Refusal::Unprocessable),
            _ => Verdict::Later,
        }
    }
}

/// What a stranger wrote, fit for a log: short, on one line.
pub(super) fn excerpt(octets: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(octets);
    text.chars().take(LONGEST).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_201_is_success_and_three_answers_are_final() {
        let verdict = |status| Answer { status, location: None, text: String::new() }.verdict();
        assert_eq!(verdict(201), Verdict::Stored);
        let refused: Vec<u16> = (100..600).filter(|status| matches!(verdict(*status), Verdict::Refused(_))).collect();
        assert_eq!(refused, [400, 401, 422]);
        assert_eq!([200, 202, 204, 301, 307, 403, 404, 413, 429, 500, 503].map(verdict), [Verdict::Later; 11]);
    }

    #[test]
    fn strange_text_is_made_harmless() {
        assert_eq!(excerpt(b"a\nb\x1b[31m\xff"), "a b [31m\u{fffd}");
        assert_eq!(excerpt(&[b'x'; 5000]).len(), 200);
    }
}

//! Conditions `Enrolled` and `CertificateValid`: what is said of an identity, for each way in which it may stand. Pure.

use super::board::Standing;
use super::calls::Trouble;
use super::due::Certificate;
use crate::conditions::{Draft, Truth};
use tapir_plan::renewal::Standing as Time;

/// The condition `Enrolled`. `troubles` are those of the last renewal and of the last look at the configuration; `replacement` is why the
/// edge has not become another node although its own was removed.
#[must_use]
pub fn enrolled(standing: &Standing, troubles: &[Option<Trouble>; 2], replacement: Option<&str>) -> Draft {
    let draft = |truth, reason: &str, message: String| Draft::new("Enrolled", truth, reason, message);
    match standing {
        Standing::Enrolled { node, ignored_credentials } => {
            for trouble in troubles.iter().flatten() {
                match trouble {
                    Trouble::Removed => {
                        let rest = replacement.map_or_else(
                            || "if that is not meant so, ask its operator; else put credentials of a new node where spec.enrollment names them, or delete this TapirEdge".to_owned(),
                            |why| format!("the credentials of another one are there, but: {why}"),
                        );
                        return draft(
                            Truth::False,
                            "NodeRemoved",
                            format!(
                                "Core knows no node {node} any more (it answers 404), DNS goes on without it; {rest}; looked at again by itself"
                            ),
                        );
                    }
                    Trouble::OtherKey => {
                        return draft(
                            Truth::False,
                            "IdentityRefused",
                            format!(
                                "Core has another data key on record for node {node} than the identity Secret holds: restore that Secret from a backup, or ask the operator of Core for a new node"
                            ),
                        );
                    }
                    Trouble::NotStored(verdict) => return draft(Truth::Unknown, verdict.reason, verdict.message.clone()),
                    Trouble::Failed(_) => {}
                }
            }
            let rest = ignored_credentials.as_ref().map_or_else(String::new, |other| {
                format!("; the credentials are now for {other}, which this edge becomes only if Core removes {node}: else it needs a TapirEdge of its own")
            });
            draft(Truth::True, "Enrolled", format!("enrolled as {node}{rest}"))
        }
        Standing::Restoring => {
            draft(Truth::Unknown, "Restoring", "the identity Secret is being deleted and will be restored".to_owned())
        }
        Standing::Leaving => draft(Truth::False, "NamespaceTerminating", "the namespace is being deleted".to_owned()),
        Standing::Failed(verdict) => draft(verdict.truth, verdict.reason, verdict.message.clone()),
    }
}

/// The condition `CertificateValid`; `trouble` is that of the last renewal.
#[must_use]
pub fn certificate(standing: &Standing, certificate: Option<&Certificate>, trouble: Option<&Trouble>) -> Draft {
    let draft = |truth, reason: &str, message: String| Draft::new("CertificateValid", truth, reason, message);
    let certificate = match (standing, certificate) {
        (Standing::Failed(verdict), _) if verdict.truth == Truth::Unknown => {
            return draft(Truth::Unknown, verdict.reason, "the identity Secret cannot be looked at".to_owned());
        }
        (Standing::Enrolled { .. }, None) => {
            let message = format!("the identity Secret holds no certificate that can be read{}", tried(trouble));
            return draft(Truth::False, "Unusable", message);
        }
        (_, None) => return draft(Truth::Unknown, "NotEnrolled", "there is no certificate yet".to_owned()),
        (_, Some(certificate)) => certificate,
    };
    let (begin, end, due) = (certificate.info.not_before, certificate.info.not_after, certificate.schedule.renew_at);
    match certificate.standing {
        Time::Expired => {
            let message = format!("expired at {end}: Core refuses the sidecars, DNS goes on{}", tried(trouble));
            draft(Truth::False, "Expired", message)
        }
        Time::NotYetValid => draft(
            Truth::False,
            "NotYetValid",
            format!("begins only at {begin}: the clock of this cluster, or that of Core, is wrong; DNS goes on"),
        ),
        _ if let Some(why) = &certificate.unusable => {
            draft(Truth::False, "Unusable", format!("{why}: Core refuses the sidecars, DNS goes on{}", tried(trouble)))
        }
        Time::Overdue => {
            let message = format!("valid until {end} only, and renewal has been due since {due}{}", tried(trouble));
            draft(Truth::True, "RenewalOverdue", message)
        }
        Time::Due | Time::Fresh => {
            let tried = if trouble.is_some() { tried(trouble) } else { String::new() };
            draft(Truth::True, "Valid", format!("valid until {end}{tried}"))
        }
    }
}

fn tried(trouble: Option<&Trouble>) -> String {
    let why = match trouble {
        None => return "; another one is asked for".to_owned(),
        Some(Trouble::Removed) => "Core knows no such node any more",
        Some(Trouble::OtherKey) => "Core has another data key on record for this node",
        Some(Trouble::NotStored(verdict)) => &verdict.message,
        Some(Trouble::Failed(why)) => why,
    };
    format!("; renewal failed and is tried again: {why}")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tapir_plan::renewal::Schedule;
    use tapir_wire::certificate::CertificateInfo;

    use super::*;

    fn enrolled_as_a() -> Standing {
        Standing::Enrolled { node: "a.edge.test".into(), ignored_credentials: None }
    }

    fn said(standing: Time, unusable: Option<&str>, trouble: Option<&Trouble>) -> (Truth, String, String) {
        let at = |second| Timestamp::from_second(second).unwrap();
        let certificate_ = Certificate {
            info: CertificateInfo { serial: "1".into(), not_before: at(0), not_after: at(100) },
            schedule: Schedule { renew_at: at(66), overdue_at: at(85) },
            standing,
            unusable: unusable.map(str::to_owned),
        };
        let draft = certificate(&enrolled_as_a(), Some(&certificate_), trouble);
        (draft.truth, draft.reason, draft.message)
    }

    #[test]
    fn each_standing_of_the_certificate_has_its_reason_and_its_date() {
        let failed = Trouble::Failed("cannot reach nodeman".into());
        for (standing, unusable, truth, reason) in [
            (Time::Fresh, None, Truth::True, "Valid"),
            (Time::Due, None, Truth::True, "Valid"),
            (Time::Overdue, None, Truth::True, "RenewalOverdue"),
            (Time::Expired, None, Truth::False, "Expired"),
            (Time::NotYetValid, None, Truth::False, "NotYetValid"),
            (Time::Fresh, Some("another key"), Truth::False, "Unusable"),
        ] {
            let found = said(standing, unusable, Some(&failed));
            assert_eq!((found.0, found.1.as_str()), (truth, reason));
            let date = if standing == Time::NotYetValid { "1970-01-01T00:00:00Z" } else { "1970-01-01T00:01:40Z" };
            assert!(found.2.contains(date) || unusable.is_some(), "{}", found.2);
            assert!(found.2.contains("cannot reach nodeman") || standing == Time::NotYetValid, "{}", found.2);
        }
        let overdue = said(Time::Overdue, None, None).2;
        assert!(overdue.contains("1970-01-01T00:01:06Z"), "{overdue}");
        assert_eq!(certificate(&Standing::Restoring, None, None).reason, "NotEnrolled");
        assert_eq!(certificate(&enrolled_as_a(), None, None).reason, "Unusable");
    }

    #[test]
    fn what_core_says_of_the_node_decides_whether_it_is_enrolled() {
        let said = |trouble: Option<Trouble>, replacement: Option<&str>| {
            let draft = enrolled(&enrolled_as_a(), &[None, trouble], replacement);
            (draft.truth, draft.reason, draft.message)
        };
        assert_eq!(said(None, None).0, Truth::True);
        assert_eq!(said(Some(Trouble::Failed("silence".into())), None).0, Truth::True, "silence takes nothing back");
        assert_eq!(said(Some(Trouble::OtherKey), None).1, "IdentityRefused");
        let removed = said(Some(Trouble::Removed), Some("the credentials are used up"));
        assert_eq!((removed.0, removed.1.as_str()), (Truth::False, "NodeRemoved"));
        assert!(removed.2.contains("used up"), "{}", removed.2);
    }
}

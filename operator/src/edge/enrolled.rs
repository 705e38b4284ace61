//! Conditions `Enrolled` and `CertificateValid`, from what the identity controller published. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tapir_wire::certificate::CertificateInfo;

use crate::conditions::{Draft, Truth};
use crate::identity::board::{IdentityView, Standing};

/// Both conditions. Until the identity was looked at for the first time, for instance after a restart, what was said before stays said.
#[must_use]
pub(super) fn conditions(view: Option<&IdentityView>, before: &[Condition], now: Timestamp) -> [Draft; 2] {
    let Some(view) = view else {
        return ["Enrolled", "CertificateValid"].map(|kind| {
            Draft::repeated(kind, before)
                .unwrap_or_else(|| Draft::new(kind, Truth::Unknown, "Pending", "the identity was not looked at yet"))
        });
    };
    let certificate = match &view.standing {
        Standing::Failed(verdict) if verdict.truth == Truth::Unknown => {
            Draft::new("CertificateValid", Truth::Unknown, verdict.reason, "the identity Secret cannot be looked at")
        }
        _ => certificate(view.certificate.as_ref(), now),
    };
    [enrolled(&view.standing), certificate]
}

fn enrolled(standing: &Standing) -> Draft {
    let draft = |truth, reason: &str, message: String| Draft::new("Enrolled", truth, reason, message);
    match standing {
        Standing::Enrolled { node, ignored_credentials: None } => draft(Truth::True, "Enrolled", format!("enrolled as {node}")),
        Standing::Enrolled { node, ignored_credentials: Some(other) } => draft(
            Truth::True,
            "Enrolled",
            format!("enrolled as {node}; the credentials are now for {other}, which needs a TapirEdge of its own"),
        ),
        Standing::Restoring => {
            draft(Truth::Unknown, "Restoring", "the identity Secret is being deleted and will be restored".to_owned())
        }
        Standing::Leaving => draft(Truth::False, "NamespaceTerminating", "the namespace is being deleted".to_owned()),
        Standing::Failed(verdict) => draft(verdict.truth, verdict.reason, verdict.message.clone()),
    }
}

/// The condition `CertificateValid`.
fn certificate(info: Option<&CertificateInfo>, now: Timestamp) -> Draft {
    let draft = |truth, reason: &str, message: String| Draft::new("CertificateValid", truth, reason, message);
    match info {
        None => draft(Truth::Unknown, "NotEnrolled", "there is no certificate yet".to_owned()),
        Some(info) if now >= info.not_after => {
            draft(Truth::False, "Expired", format!("expired at {}: Core refuses the sidecars, DNS goes on", info.not_after))
        }
        Some(info) => draft(Truth::True, "Valid", format!("valid until {}", info.not_after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_stays_until_somebody_looked() {
        let said = |drafts: [Draft; 2]| drafts.map(|draft| (draft.truth, draft.reason));
        let (pending, unknown) = ("Pending".to_owned(), Truth::Unknown);
        assert_eq!(said(conditions(None, &[], Timestamp::now())), [(unknown, pending.clone()), (unknown, pending)]);
        let view = IdentityView::of(Standing::Enrolled { node: "a.edge.test".into(), ignored_credentials: None });
        let drafts = conditions(Some(&view), &[], Timestamp::now());
        let (before, _) = crate::conditions::merge(&[], drafts.to_vec(), Some(1), Timestamp::now());
        assert_eq!(conditions(None, &before, Timestamp::now()), drafts);
    }

    #[test]
    fn an_expired_certificate_is_said_with_its_end() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let info = CertificateInfo { serial: "1".into(), not_before: at(0), not_after: at(100) };
        assert_eq!(certificate(Some(&info), at(99)).truth, Truth::True);
        assert_eq!(certificate(Some(&info), at(100)).truth, Truth::False);
        assert_eq!(certificate(None, at(0)).truth, Truth::Unknown);
    }
}

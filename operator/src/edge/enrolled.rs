//! Conditions `Enrolled` and `CertificateValid`, from what the identity controller published. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::conditions::{Draft, Truth};
use crate::identity::board::IdentityView;

/// Both conditions. Until the identity was looked at for the first time, for instance after a restart, what was said before stays said.
#[must_use]
pub(super) fn conditions(view: Option<&IdentityView>, before: &[Condition]) -> [Draft; 2] {
    let Some(view) = view else {
        return ["Enrolled", "CertificateValid"].map(|kind| {
            Draft::repeated(kind, before)
                .unwrap_or_else(|| Draft::new(kind, Truth::Unknown, "Pending", "the identity was not looked at yet"))
        });
    };
    [view.enrolled.clone(), view.valid.clone()]
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::identity::board::Standing;

    #[test]
    fn what_was_said_before_stays_until_somebody_looked() {
        let said = |drafts: [Draft; 2]| drafts.map(|draft| (draft.truth, draft.reason));
        let (pending, unknown) = ("Pending".to_owned(), Truth::Unknown);
        assert_eq!(said(conditions(None, &[])), [(unknown, pending.clone()), (unknown, pending)]);
        let view = IdentityView::of(Standing::Enrolled { node: "a.edge.test".into(), ignored_credentials: None });
        let drafts = conditions(Some(&view), &[]);
        let (before, _) = crate::conditions::merge(&[], drafts.to_vec(), Some(1), Timestamp::now());
        assert_eq!(conditions(None, &before), drafts);
    }
}

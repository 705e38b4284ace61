use tapir_plan::webhook_certificate::{CertStep, Found, next};

use super::*;

fn names() -> Vec<String> {
    vec!["hook.system.svc".to_owned()]
}

fn at(day: i64) -> Timestamp {
    "2026-11-21T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * day)
}

fn secret(material: &Material) -> Secret {
    Secret { data: Some(material.data()), ..Secret::default() }
}

/// A client that trusts this bundle accepts what is served.
fn accepts(bundle: &str, material: &Material, now: Timestamp) -> bool {
    let authorities: Vec<&str> = bundle.split_inclusive(END).filter(|certificate| certificate.contains(END)).collect();
    vouches(&authorities, material.chain.as_deref().unwrap(), &names(), now)
}

#[test]
fn a_secret_gives_back_what_it_was_made_of() {
    let material = Material::default().with_new_authority(at(0)).unwrap().with_new_leaf(&names(), at(0)).unwrap();
    assert!(Material::of(&secret(&material)) == material);
    assert!(material.served().is_ok());
    assert_eq!(material.authority().map(|life| life.not_after), Some(at(730)));
    let leaf = material.leaf(&names(), at(0)).unwrap();
    assert_eq!((leaf.by_newest, leaf.validity.not_before, leaf.validity.not_after), (true, at(0) - BACKDATED, at(90)));
    assert_eq!(material.leaf(&["other.system.svc".to_owned()], at(0)), None);
    assert_eq!(material.leaf(&names(), at(91)), None);
}

#[test]
fn what_does_not_belong_together_is_of_no_use() {
    let one = Material::default().with_new_authority(at(0)).unwrap().with_new_leaf(&names(), at(0)).unwrap();
    let other = Material::default().with_new_authority(at(0)).unwrap().with_new_leaf(&names(), at(0)).unwrap();
    assert_eq!(Material { authority_key: other.authority_key.clone(), ..one.clone() }.authority(), None);
    assert_eq!(Material { key: other.key.clone(), ..one.clone() }.leaf(&names(), at(0)), None);
    assert_eq!(Material { bundle: other.bundle, ..one.clone() }.leaf(&names(), at(0)), None);
    let rubbish = Material {
        bundle: Some("rubbish".into()),
        authority_key: one.key.clone(),
        chain: one.key.as_deref().cloned(),
        key: None,
    };
    assert!(rubbish.authority().is_none() && rubbish.leaf(&names(), at(0)).is_none() && rubbish.served().is_err());
    assert!(rubbish.with_new_leaf(&names(), at(0)).is_err());
    assert!(rubbish.with_new_authority(at(0)).unwrap().authority().is_some(), "a way out of any state");
}

#[test]
fn neither_errors_nor_debug_show_a_key() {
    let material = Material::default().with_new_authority(at(0)).unwrap().with_new_leaf(&names(), at(0)).unwrap();
    let broken = Material { chain: material.key.as_deref().cloned(), key: Some(Zeroizing::new("x".into())), ..material.clone() };
    let shown = format!("{material:?} {broken:?} {} {:?}", broken.served().unwrap_err(), broken.served().unwrap_err());
    for line in material.key.as_deref().unwrap().lines().filter(|line| !line.is_empty()) {
        assert!(!shown.contains(line), "{shown}");
    }
}

/// Ten years, looked at each day and whenever the plan asks: whoever has the bundle that is published, or had it a moment ago, accepts what
/// every replica serves, those included that learn of the Secret late.
#[test]
fn no_valid_client_ever_fails_while_all_of_it_is_renewed_many_times() {
    let (mut material, mut published, mut since): (Material, Option<String>, Option<Timestamp>) =
        (Material::default(), None, None);
    let (mut now, end) = (at(0), at(3650));
    let (mut authorities, mut leaves, mut longest) = (0, 0, 0);
    while now < end {
        let in_force = published.as_deref() == material.bundle() && published.is_some();
        let leaf = material.leaf(&names(), now);
        let seen = since.filter(|_| in_force);
        match next(&Found { ca: material.authority(), older: material.has_older(), leaf, published: seen }, now) {
            CertStep::CreateCa => {
                authorities += 1;
                material = material.with_new_authority(now).unwrap();
                longest = longest.max(material.authorities().count());
            }
            CertStep::PublishBundle => {
                let late = published.replace(material.bundle().unwrap().to_owned());
                since = Some(now);
                // For a moment there are API servers that do not know it yet.
                assert!(late.is_none_or(|late| accepts(&late, &material, now)), "{now}");
            }
            CertStep::IssueLeaf => {
                leaves += 1;
                let before = material.clone();
                material = material.with_new_leaf(&names(), now).unwrap();
                let trusted = published.as_deref().unwrap();
                assert!(accepts(trusted, &material, now), "{now}");
                assert!(
                    leaves == 1 || accepts(trusted, &before, now) && accepts(material.bundle().unwrap(), &before, now),
                    "{now}"
                );
            }
            CertStep::DropOlder => material = material.without_older(),
            CertStep::Settled(until) | CertStep::Wait(until) => {
                assert!(until > now);
                assert!(accepts(published.as_deref().unwrap(), &material, now), "{now}");
                now = until.min(now + SignedDuration::from_hours(24)).max(now + SignedDuration::from_secs(1));
            }
        }
    }
    assert!((6..=8).contains(&authorities) && leaves > 55 && longest == 2, "{authorities} {leaves} {longest}");
}

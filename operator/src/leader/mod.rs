//! Leader election: only the leader reconciles and talks to Core, and only while its lease outlasts the call.
//!
//! Losing the lease ends the process: nothing that ran under it can then still be running.

mod fence;
mod lease;
mod serve;

use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

pub use fence::{WRITE_LIMIT, fenced};
pub use lease::{LOOK_EVERY, MARGIN, Observer, RENEW_EVERY, Step, TERM, held_by, released};
pub use serve::{DRAIN_LIMIT, RELEASE_LIMIT, Served, serve};

/// How often a leader looks whether it is awake.
const BEAT: Duration = Duration::from_secs(1);
/// A leader that did not run for so long was stopped, or starved. Much may have happened: it trusts its lease again once it has renewed it.
const ASLEEP: Duration = Duration::from_secs(3);

/// Proof that this process leads, until a moment.
#[derive(Clone, Debug)]
pub struct Leadership {
    term: watch::Receiver<Term>,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    until: Instant,
    /// When this process was last known to run.
    awake: Instant,
}

impl Term {
    /// After a write that was sent then, and was accepted.
    fn begun(sent: Instant) -> Self {
        Self { until: sent + TERM - MARGIN, awake: sent }
    }

    fn is_awake(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.awake) < ASLEEP
    }
}

/// The lease ends before the call could.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the leader's lease ends before the call could")]
pub struct LeaseTooShort;

impl Leadership {
    /// Whether the lease lasts longer than a call that takes at most `limit`.
    ///
    /// # Errors
    /// [`LeaseTooShort`] if not, and after this process did not run for a while: wait for the next renewal.
    pub fn outlasts(&self, limit: Duration) -> Result<(), LeaseTooShort> {
        let (term, now) = (*self.term.borrow(), Instant::now());
        if term.is_awake(now) && term.until > now + limit { Ok(()) } else { Err(LeaseTooShort) }
    }

    /// Leadership that lasts for a day, for tests of what runs under it.
    #[must_use]
    pub fn for_tests() -> Self {
        let tomorrow = Instant::now() + Duration::from_hours(24);
        Self { term: watch::channel(Term { until: tomorrow, awake: tomorrow }).1 }
    }
}

/// The lease that is held: must be renewed by [`Held::keep`].
#[derive(Debug)]
pub struct Held {
    api: Api<Lease>,
    name: String,
    me: String,
    current: Lease,
    term: watch::Sender<Term>,
}

/// How holding the lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Given up, in order.
    Released,
    /// Somebody else has it, or it could not be renewed in time.
    Lost,
}

/// Waits until this process leads, by the Lease of this name.
pub async fn campaign(api: Api<Lease>, name: &str, me: &str, mut seen: impl FnMut()) -> Held {
    let mut observer = Observer::default();
    let mut failing = false;
    loop {
        match attempt(&api, name, me, &mut observer).await {
            Ok(Some((current, term))) => {
                seen();
                tracing::info!(lease = name, holder = me, "leading");
                return Held { api, name: name.to_owned(), me: me.to_owned(), current, term: watch::channel(term).0 };
            }
            Ok(None) => {
                seen();
                if std::mem::take(&mut failing) {
                    tracing::info!(lease = name, "the leader's lease can be read again");
                }
            }
            Err(error) if is_conflict(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(error = %error, "cannot read or write the leader's lease, trying on");
                }
            }
        }
        sleep(jittered(LOOK_EVERY)).await;
    }
}

async fn attempt(api: &Api<Lease>, name: &str, me: &str, observer: &mut Observer) -> Result<Option<(Lease, Term)>, kube::Error> {
    let current = api.get_opt(name).await?;
    let step = observer.step(current.as_ref(), me, Instant::now());
    let sent = Instant::now();
    let wanted = held_by(me, name, current.as_ref(), Timestamp::now());
    let written = match step {
        Step::Wait => return Ok(None),
        Step::Create => api.create(&PostParams::default(), &wanted).await?,
        Step::Renew | Step::Take => api.replace(name, &PostParams::default(), &wanted).await?,
    };
    Ok(Some((written, Term::begun(sent))))
}

impl Held {
    /// What to hand to those who may only act as leader.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        Leadership { term: self.term.subscribe() }
    }

    /// Renews until `stop` (then the lease is released) or until the term ends without a renewal. From its end on nobody leads by it.
    pub async fn keep(self, stop: CancellationToken) -> End {
        let (term, woken) = (self.term.clone(), Notify::new());
        let end = tokio::select! {
            end = self.hold(stop, &woken) => end,
            never = stay_awake(&term, &woken) => match never {},
        };
        over(&term);
        end
    }

    async fn hold(mut self, stop: CancellationToken, woken: &Notify) -> End {
        loop {
            let until = self.term.borrow().until;
            tokio::select! {
                () = stop.cancelled() => return self.release().await,
                // Also between two tries: the pause after a failed one may reach beyond the term.
                () = sleep_until(until) => return End::Lost,
                () = woken.notified() => {}
                () = sleep(jittered(RENEW_EVERY)) => {}
            }
            let renewal = tokio::select! {
                renewal = self.renew() => renewal,
                () = sleep_until(until) => return End::Lost,
            };
            match renewal {
                Ok(()) => {}
                Err(error) if is_conflict(&error) => match self.reread().await {
                    Ok(true) => {}
                    Ok(false) => return End::Lost,
                    Err(error) => tracing::warn!(error = %error, "cannot read the leader's lease"),
                },
                Err(error) => tracing::warn!(error = %error, "cannot renew the leader's lease"),
            }
            if Instant::now() >= self.term.borrow().until {
                return End::Lost;
            }
        }
    }

    async fn renew(&mut self) -> Result<(), kube::Error> {
        let sent = Instant::now();
        let wanted = held_by(&self.me, &self.name, Some(&self.current), Timestamp::now());
        self.current = self.api.replace(&self.name, &PostParams::default(), &wanted).await?;
        let begun = Term::begun(sent);
        // An answer to what was sent before a long sleep proves nothing of now.
        self.term.send_modify(|term| *term = Term { awake: begun.awake.max(term.awake), ..begun });
        Ok(())
    }

    /// After a conflict: somebody wrote to the object. Is it still ours?
    async fn reread(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            tracing::warn!(lease = self.name, "the leader's lease was deleted");
            return Ok(false);
        };
        let ours = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(self.me.as_str());
        self.current = lease;
        Ok(ours)
    }

    async fn release(self) -> End {
        over(&self.term);
        let wanted = released(&self.current);
        if let Err(error) = self.api.replace(&self.name, &PostParams::default(), &wanted).await {
            tracing::warn!(error = %error, lease = self.name, "cannot release the leader's lease: a successor waits out its term");
        }
        End::Released
    }
}

/// Nobody may act as leader any more.
fn over(term: &watch::Sender<Term>) {
    term.send_modify(|term| term.until = Instant::now());
}

/// Notices when this process did not run, and has the lease renewed then.
async fn stay_awake(term: &watch::Sender<Term>, woken: &Notify) -> Infallible {
    let mut awake = true;
    loop {
        sleep(BEAT).await;
        let now = Instant::now();
        let was_awake = std::mem::replace(&mut awake, term.borrow().is_awake(now));
        if awake {
            term.send_modify(|term| term.awake = now);
        } else {
            if was_awake {
                tracing::warn!("this process did not run for a while: it does nothing as leader until the lease is renewed");
            }
            woken.notify_one();
        }
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 || status.code == 404)
}

/// Up to a fifth more, so that replicas do not move in step.
fn jittered(period: Duration) -> Duration {
    period.mul_f64(1.0 + rand::random::<f64>() / 5.0)
}

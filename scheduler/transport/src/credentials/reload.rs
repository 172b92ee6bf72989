//! Looks for changed files, and puts into force what of them can be.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::age::Age;
use super::combine::Credentials;
use super::error::CredentialError;
use super::files::{CredentialFiles, Own, Parts, Stamp};
use super::revocations::Revocations;
use super::state::{CredentialState, CredentialWatch};
use crate::identity::PeerKind;
use crate::moment::Moment;

/// The most callers that wait for a reload: people and signals, so a few.
const QUEUE_MAX: usize = 16;

/// How often changed files are looked for, unless something else is needed: a peer that was revoked
/// is closed within five seconds of that, and each look is a handful of `stat` calls.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// The shortest time between two looks.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Asks for reloads, and follows them.
#[derive(Clone, Debug)]
pub struct Reloader {
    requests: mpsc::Sender<oneshot::Sender<Result<(), Arc<CredentialError>>>>,
    state: CredentialWatch,
}

/// Says why a reload that was asked for did not put every file into force.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReloadError {
    /// A file cannot be used. What could be used is in force.
    #[error("the credentials were not reloaded: {}", .0.remedy())]
    Refused(#[source] Arc<CredentialError>),
    /// The task that reloads is gone.
    #[error("the task that reloads credentials is gone; the log says why")]
    Gone,
}

impl Reloader {
    /// Loads the credentials, and starts to look for changes every `every`.
    ///
    /// Blocks on the disk, once; needs a tokio runtime. The task ends when the last handle and the
    /// last watch are gone. See [`RELOAD_INTERVAL`] for how often.
    pub fn spawn(
        files: CredentialFiles,
        kinds: Vec<PeerKind>,
        every: Duration,
    ) -> Result<Self, CredentialError> {
        let stamp = files.stamp();
        let credentials = Credentials::load(&files, &kinds, SystemTime::now())?;
        log_in_force(&credentials);
        let (publish, state) = watch::channel(CredentialState::first(credentials));
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let task = ReloadTask {
            files,
            kinds,
            publish,
            loaded: Some(stamp),
            failing: Failing::Not,
            age: None,
        };
        tokio::spawn(task.run(queue, every.max(INTERVAL_MIN)));
        Ok(Self { requests, state })
    }

    /// Returns a watch on the credentials.
    pub fn watch(&self) -> CredentialWatch {
        self.state.clone()
    }

    /// Reads the files now, changed or not: what SIGHUP does.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(reply)
            .await
            .map_err(|mpsc::error::SendError(_)| ReloadError::Gone)?;
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ReloadError::Refused(error)),
            Err(oneshot::error::RecvError { .. }) => Err(ReloadError::Gone),
        }
    }
}

/// Owns the files, and publishes what they hold.
struct ReloadTask {
    files: CredentialFiles,
    kinds: Vec<PeerKind>,
    publish: watch::Sender<CredentialState>,
    /// What the files looked like when all of them were last taken.
    loaded: Option<Stamp>,
    failing: Failing,
    /// As it was last looked at.
    age: Option<Age>,
}

/// How the files that are not in force are seen.
#[derive(Debug, PartialEq, Eq)]
enum Failing {
    /// All are in force.
    Not,
    /// They failed once, which may be the middle of a rotation.
    Once(Stamp),
    /// They failed and it was said; they are tried again in silence, for time may mend them.
    Told(Stamp),
}

/// Who wants the files to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// They changed, or failed the last time.
    Looked,
    /// Somebody asked.
    Asked,
}

/// What was made of the files.
struct Outcome {
    /// Read just before the files were, so that a change between the two is seen again.
    stamp: Stamp,
    /// What can be put into force, whole or in part.
    usable: Option<Credentials>,
    /// Why not all of it can.
    error: Option<CredentialError>,
}

impl ReloadTask {
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<oneshot::Sender<Result<(), Arc<CredentialError>>>>,
        every: Duration,
    ) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Closed once the handles are gone; those who watch still get changes.
                Some(reply) = queue.recv() => {
                    let answer = self.reload(Why::Asked).await;
                    if reply.send(answer).is_err() {
                        tracing::debug!("nobody waits for the reload any more");
                    }
                }
                _ = ticks.tick() => {
                    if self.publish.is_closed() {
                        return;
                    }
                    self.look_at_age(Moment::from_system(SystemTime::now()));
                    if self.needs_reading().await
                        && let Err(error) = self.reload(Why::Looked).await
                    {
                        tracing::debug!(%error, "changed credentials do not fit");
                    }
                }
            }
        }
    }

    fn look_at_age(&mut self, now: Moment) {
        let current = Arc::clone(&self.publish.borrow().current);
        let age = Age::of(&current, now);
        age.log_since(self.age, &current);
        self.age = Some(age);
    }

    async fn needs_reading(&self) -> bool {
        match self.failing {
            Failing::Once(_) | Failing::Told(_) => true,
            Failing::Not => {
                let files = self.files.clone();
                let stamp = blocking(move || files.stamp()).await;
                stamp != self.loaded
            }
        }
    }

    async fn reload(&mut self, why: Why) -> Result<(), Arc<CredentialError>> {
        let files = self.files.clone();
        let kinds = self.kinds.clone();
        let in_force = Arc::clone(&self.publish.borrow().current);
        let Some(outcome) =
            blocking(move || read(&files, &kinds, &in_force, SystemTime::now())).await
        else {
            // Only while the runtime shuts down.
            return Ok(());
        };
        let Outcome {
            stamp,
            usable,
            error,
        } = outcome;
        let usable = usable
            .filter(|usable| !usable.is_same_as(&self.publish.borrow().current))
            .map(Arc::new);
        if let Some(usable) = &usable {
            log_in_force(usable);
        }
        match error {
            None => {
                let was_failing = self.failing != Failing::Not;
                self.failing = Failing::Not;
                self.loaded = Some(stamp);
                if was_failing {
                    tracing::info!("the credential files fit again");
                }
                self.publish.send_modify(|state| {
                    state.reloads_ok += 1;
                    state.last_error = None;
                    state.adopt(usable);
                });
                Ok(())
            }
            Some(error) => {
                let error = Arc::new(error);
                let (failing, tell) = self.failing.after_failure(stamp, why);
                self.failing = failing;
                if tell {
                    tracing::error!(
                        error = %error,
                        cause = std::error::Error::source(error.as_ref()).map(tracing::field::display),
                        remedy = error.remedy(),
                        "changed credentials are not used; what was in force stays"
                    );
                }
                if tell || usable.is_some() {
                    self.publish.send_modify(|state| {
                        if tell {
                            state.reloads_failed += 1;
                            state.last_error = Some(Arc::clone(&error));
                        }
                        state.adopt(usable);
                    });
                }
                Err(error)
            }
        }
    }
}

impl Failing {
    /// Returns what to remember after files of this `stamp` failed, and whether to say so.
    fn after_failure(&self, stamp: Stamp, why: Why) -> (Self, bool) {
        match (why, self) {
            (Why::Asked, _) => (Self::Told(stamp), true),
            (Why::Looked, Self::Told(told)) if *told == stamp => (Self::Told(stamp), false),
            (Why::Looked, Self::Once(once)) if *once == stamp => (Self::Told(stamp), true),
            // They changed again since: another rotation may be under way.
            (Why::Looked, Self::Not | Self::Once(_) | Self::Told(_)) => (Self::Once(stamp), false),
        }
    }
}

impl CredentialState {
    fn adopt(&mut self, credentials: Option<Arc<Credentials>>) {
        if let Some(credentials) = credentials {
            self.current = credentials;
            self.generation += 1;
        }
    }
}

/// Reads the files, and finds the most of them that fits with what of `in_force` must stay.
fn read(
    files: &CredentialFiles,
    kinds: &[PeerKind],
    in_force: &Credentials,
    now: SystemTime,
) -> Outcome {
    let now = Moment::from_system(now);
    let stamp = files.stamp();
    let Parts {
        own,
        authorities,
        revocations,
    } = files.read(now);
    let mut error = None;
    let own = keep(own, &mut error);
    let authorities = keep(authorities, &mut error);
    let revocations = keep(revocations, &mut error);

    // The list before all: who was revoked must not stay because something else is wrong.
    for (take_revocations, take_authorities, take_own) in [
        (true, true, true),
        (true, true, false),
        (true, false, true),
        (true, false, false),
        (false, true, true),
        (false, true, false),
        (false, false, true),
    ] {
        let chosen_own = if take_own {
            own.clone()
        } else {
            Some(Arc::clone(&in_force.own))
        };
        let chosen_authorities = if take_authorities {
            authorities.clone()
        } else {
            Some(Arc::clone(&in_force.authorities))
        };
        let chosen_revocations = if take_revocations {
            revocations.clone()
        } else {
            Some(in_force.revocations.clone())
        };
        let (Some(own), Some(authorities), Some(revocations)) =
            (chosen_own, chosen_authorities, chosen_revocations)
        else {
            continue;
        };
        let whole = take_own && take_authorities && take_revocations;
        match check_succession(&own, revocations.as_deref(), in_force)
            .and_then(|()| Credentials::combine(own, authorities, revocations, kinds, now))
        {
            Ok(usable) => {
                return Outcome {
                    stamp,
                    usable: Some(usable),
                    error,
                };
            }
            Err(found) if whole => {
                error.get_or_insert(found);
            }
            // A lesser choice that does not fit says nothing new.
            Err(_) => {}
        }
    }
    Outcome {
        stamp,
        usable: None,
        error,
    }
}

/// Returns the part, or keeps why it is none.
fn keep<T>(part: Result<T, CredentialError>, error: &mut Option<CredentialError>) -> Option<T> {
    match part {
        Ok(part) => Some(part),
        Err(found) => {
            error.get_or_insert(found);
            None
        }
    }
}

/// Checks what only matters when there was something before.
fn check_succession(
    own: &Own,
    revocations: Option<&Revocations>,
    in_force: &Credentials,
) -> Result<(), CredentialError> {
    if own.certificate.identity != *in_force.identity() {
        return Err(CredentialError::OtherIdentity {
            path: own.path.clone(),
            found: own.certificate.identity.clone(),
            running: in_force.identity().clone(),
        });
    }
    match (revocations, &in_force.revocations) {
        (Some(revocations), Some(in_force)) => revocations.check_newer(in_force),
        (Some(_) | None, None) | (None, Some(_)) => Ok(()),
    }
}

fn log_in_force(credentials: &Credentials) {
    tracing::info!(
        identity = %credentials.identity(),
        serial = %credentials.serial(),
        not_after = %credentials.not_after(),
        "credentials in force"
    );
    for warning in credentials.warnings() {
        tracing::warn!("{warning}");
    }
}

/// Runs what touches the disk where that may take its time.
///
/// There is no answer only when the runtime shuts down.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(of: i64) -> Stamp {
        Stamp::of_test(of)
    }

    #[test]
    fn a_rotation_that_is_seen_half_way_is_no_failure() {
        let (failing, tell) = Failing::Not.after_failure(stamp(1), Why::Looked);
        assert!(!tell);
        // The second file arrives in between, and the third look succeeds: nothing was said.
        let (failing, tell) = failing.after_failure(stamp(2), Why::Looked);
        assert_eq!((failing, tell), (Failing::Once(stamp(2)), false));
    }

    #[test]
    fn what_stays_broken_is_said_once() {
        let (failing, _) = Failing::Not.after_failure(stamp(1), Why::Looked);
        let (failing, tell) = failing.after_failure(stamp(1), Why::Looked);
        assert!(tell);
        let (failing, tell) = failing.after_failure(stamp(1), Why::Looked);
        assert!(!tell);
        assert_eq!(failing, Failing::Told(stamp(1)));
    }

    #[test]
    fn who_asks_is_told_at_once() {
        let (failing, tell) = Failing::Not.after_failure(stamp(1), Why::Asked);
        assert_eq!((failing, tell), (Failing::Told(stamp(1)), true));
    }
}

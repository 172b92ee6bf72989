//! The task that owns the directories of volumes, and the handle to it.
//!
//! It does one order at a time. Deleting what was taken away goes on beside it, and may take as long as
//! there is data.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::error::VolumeError;
use super::execute::{VolumePlaces, delete, execute, observe, set_aside};
use super::plan::{plan, plan_undo};
use crate::container::{blocking, chain};
use crate::session::{VolumeName, VolumeOrder};

/// The session asks for one order at a time, and sweeps after it.
const QUEUE_MAX: usize = 8;

enum Request {
    CarryOut {
        order: VolumeOrder,
        volumes: Vec<VolumeName>,
        reply: oneshot::Sender<Result<(), VolumeError>>,
    },
    Sweep,
}

/// Asks the volume task to do things.
#[derive(Clone, Debug)]
pub struct VolumeHandle(mpsc::Sender<Request>);

impl VolumeHandle {
    /// Starts the task. It ends when no handle is left and nothing is being done; what is being deleted
    /// then is deleted by the next agent.
    pub fn spawn(places: VolumePlaces) -> Self {
        let (requests, received) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(serve(Arc::new(places), received));
        Self(requests)
    }

    /// Makes or takes away the directories of volumes: all, or none.
    pub async fn carry_out(
        &self,
        order: VolumeOrder,
        volumes: Vec<VolumeName>,
    ) -> Result<(), VolumeError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::CarryOut {
            order,
            volumes,
            reply,
        };
        self.0
            .send(request)
            .await
            .map_err(|_gone| VolumeError::Gone)?;
        answer.await.map_err(|_gone| VolumeError::Gone)?
    }

    /// Deletes what was taken away, as far as it was recorded that it is gone: whatever is asked for
    /// later finds it out of its way.
    pub async fn sweep(&self) {
        // Without the task, the next agent does it.
        drop(self.0.send(Request::Sweep).await);
    }
}

async fn serve(places: Arc<VolumePlaces>, mut requests: mpsc::Receiver<Request>) {
    let mut deletions = JoinSet::new();
    loop {
        let request = tokio::select! {
            request = requests.recv() => request,
            Some(_deleted) = deletions.join_next() => continue,
        };
        match request {
            None => return,
            Some(Request::CarryOut {
                order,
                volumes,
                reply,
            }) => {
                let places = Arc::clone(&places);
                let result = blocking(move || carry_out(&places, order, &volumes)).await;
                // Whoever asked may have gone away; the next agent asks again.
                drop(reply.send(result));
            }
            Some(Request::Sweep) => {
                let places = Arc::clone(&places);
                match blocking(move || set_aside(&places, seconds())).await {
                    // One at a time, for they share a disk with the tasks; what the last sweep is at
                    // is tried by this one as well, which finds it gone.
                    Ok(paths) if !paths.is_empty() => {
                        deletions.spawn(blocking(move || delete_all(paths)));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(error = %chain(&error), "what is left of volumes stays");
                    }
                }
            }
        }
    }
}

fn carry_out(
    places: &VolumePlaces,
    order: VolumeOrder,
    volumes: &[VolumeName],
) -> Result<(), VolumeError> {
    let attempt = || {
        let observed = observe(places, volumes)?;
        let steps = plan(order, volumes, &observed, places)?;
        steps.iter().try_for_each(|step| execute(places, step))
    };
    let result = attempt();
    if result.is_err() {
        let undone = observe(places, volumes).and_then(|observed| {
            let steps = plan_undo(order, volumes, &observed);
            steps.iter().try_for_each(|step| execute(places, step))
        });
        if let Err(error) = undone {
            tracing::error!(error = %chain(&error), ?order, "what was done to volumes is not undone");
        }
    }
    result
}

fn delete_all(paths: Vec<PathBuf>) {
    for path in paths {
        if let Err(error) = delete(&path) {
            tracing::error!(error = %chain(&error), "what is left of a volume stays");
        }
    }
}

/// Returns a number that is not used by what was swept before, unless the clock was set back.
fn seconds() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    since.as_secs()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::Path;
    use std::time::Instant;

    use weir_resources::{Role, VolumeId};

    use super::*;

    fn volume(id: &str) -> VolumeName {
        VolumeName {
            role: Role::new("db").unwrap(),
            id: VolumeId::new(id).unwrap(),
        }
    }

    async fn wait_gone(path: &Path) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while path.exists() && fs::read_dir(path).unwrap().next().is_some() {
            assert!(Instant::now() < deadline, "{path:?} is still there");
            tokio::task::yield_now().await;
        }
    }

    struct Lab {
        state: tempfile::TempDir,
        places: VolumePlaces,
        handle: VolumeHandle,
    }

    impl Lab {
        fn new() -> Self {
            let state = tempfile::tempdir().unwrap();
            let places = VolumePlaces::new(state.path());
            let handle = VolumeHandle::spawn(places.clone());
            Self {
                state,
                places,
                handle,
            }
        }

        async fn make(&self, ids: &[&str]) -> Result<(), VolumeError> {
            let volumes = ids.iter().map(|id| volume(id)).collect();
            self.handle.carry_out(VolumeOrder::Make, volumes).await
        }

        async fn remove(&self, ids: &[&str]) -> Result<(), VolumeError> {
            let volumes = ids.iter().map(|id| volume(id)).collect();
            self.handle.carry_out(VolumeOrder::Remove, volumes).await
        }

        fn path(&self, id: &str) -> PathBuf {
            self.places.volume(&volume(id))
        }
    }

    #[tokio::test]
    async fn a_volume_is_an_empty_directory_that_only_its_tasks_reach() {
        let lab = Lab::new();
        lab.make(&["a", "b c"]).await.unwrap();
        let made = fs::metadata(lab.path("b c")).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o755);
        let above = fs::metadata(lab.state.path().join("volumes")).unwrap();
        assert_eq!(above.permissions().mode() & 0o777, 0o700);
        assert_eq!(above.uid(), made.uid());
    }

    #[tokio::test]
    async fn an_order_may_come_again_after_any_part_of_it() {
        let lab = Lab::new();
        for _ in 0..2 {
            lab.make(&["a", "b"]).await.unwrap();
        }
        fs::write(lab.path("a").join("file"), "x").unwrap();
        for ids in [&["a"][..], &["a", "b"], &["a", "b"]] {
            lab.remove(ids).await.unwrap();
        }
        assert!(!lab.path("a").exists() && !lab.path("b").exists());
    }

    #[tokio::test]
    async fn what_was_taken_away_comes_back_if_the_rest_cannot_be() {
        let lab = Lab::new();
        lab.make(&["a", "b"]).await.unwrap();
        fs::write(lab.path("a").join("file"), "x").unwrap();
        // Another of the name of `b` is on its way out.
        let aside = lab.places.aside(&volume("b"));
        fs::create_dir_all(&aside).unwrap();
        let error = lab.remove(&["a", "b"]).await.unwrap_err();
        assert!(matches!(error, VolumeError::Leaving { .. }), "{error}");
        assert_eq!(fs::read_to_string(lab.path("a").join("file")).unwrap(), "x");
        // The same when the first was done before a crash.
        fs::rename(lab.path("a"), lab.places.aside(&volume("a"))).unwrap();
        lab.remove(&["a", "b"]).await.unwrap_err();
        assert_eq!(fs::read_to_string(lab.path("a").join("file")).unwrap(), "x");
    }

    #[tokio::test]
    async fn what_belongs_to_no_volume_is_no_volumes() {
        let lab = Lab::new();
        fs::create_dir_all(lab.path("b")).unwrap();
        fs::write(lab.path("b").join("file"), "x").unwrap();
        let error = lab.make(&["a", "b"]).await.unwrap_err();
        assert!(matches!(error, VolumeError::Occupied { .. }), "{error}");
        assert!(!lab.path("a").exists(), "none of it is there");
        assert!(lab.path("b").join("file").exists());
    }

    #[tokio::test]
    async fn a_sweep_deletes_what_was_taken_away_and_no_more() {
        let lab = Lab::new();
        let outside = lab.state.path().join("outside");
        fs::write(&outside, "x").unwrap();
        lab.make(&["a", "b"]).await.unwrap();
        fs::create_dir_all(lab.path("a").join("deep/er")).unwrap();
        symlink(&outside, lab.path("a").join("link")).unwrap();
        symlink(lab.state.path(), lab.path("a").join("deep/link")).unwrap();
        lab.remove(&["a"]).await.unwrap();
        lab.handle.sweep().await;
        // The name is free at once.
        lab.make(&["a"]).await.unwrap();
        wait_gone(&lab.state.path().join("volumes/removed")).await;
        assert!(outside.exists() && lab.path("a").exists() && lab.path("b").exists());
    }

    #[tokio::test]
    async fn a_deletion_that_was_interrupted_goes_on() {
        let lab = Lab::new();
        let removed = lab.state.path().join("volumes/removed");
        fs::create_dir_all(removed.join("17/db/a/deep")).unwrap();
        fs::create_dir_all(lab.state.path().join("volumes/removing/db/b")).unwrap();
        lab.handle.sweep().await;
        wait_gone(&removed).await;
        assert!(!lab.state.path().join("volumes/removing").exists());
    }
}

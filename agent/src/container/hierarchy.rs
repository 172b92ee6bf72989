//! What Weir changes in the node's cgroup hierarchy above the containers, and how it is put back.
//!
//! Every change is written down before it is made, in `cgroups.json` of the state directory: also an
//! agent that was killed leaves a node that can be restored.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_sys::cgroup::{Cgroup, CgroupError};
use weir_sys::process::{self, ProcessError};

use super::place::Place;

/// The cgroup in a delegated one that takes its processes in.
const ROOM: &str = "unit";

/// How often it is looked for more of them.
const ROOM_ROUNDS_MAX: usize = 100;

/// The name of the record in the state directory.
const RECORD: &str = "cgroups.json";

/// What was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// The boot in which it was changed: a later one begins with an empty hierarchy.
    boot: String,
    /// Cgroups that were made, the highest first.
    made: Vec<PathBuf>,
    /// Controllers that a cgroup was made to pass on, the highest first.
    passed_on: Vec<(PathBuf, String)>,
}

/// The changes of the hierarchy.
#[derive(Debug)]
pub struct HierarchyChanges {
    path: PathBuf,
    record: Record,
}

/// Says which change could not be made or taken back.
#[derive(Debug, thiserror::Error)]
pub enum HierarchyError {
    /// The record cannot be read or written.
    #[error("cannot use `{}`, the record of what was changed in the cgroups", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The record is not what an agent writes.
    #[error("cannot read `{}`, the record of what was changed in the cgroups; if it is damaged, remove it and the cgroups that it names", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// It is not known which boot this is.
    #[error(transparent)]
    Boot(#[from] ProcessError),
    /// A controller would have to be passed on by a cgroup that is systemd's.
    #[error("{} does not pass it on, and is systemd's; start weir-containers.service, or have [cgroup] parent in a cgroup of a unit with Delegate=yes", path.display())]
    NotOurs {
        /// The cgroup.
        path: PathBuf,
    },
    /// A cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

impl HierarchyChanges {
    /// Reads what former agents of this boot have changed.
    pub fn open(state_directory: &Path) -> Result<Self, HierarchyError> {
        let path = state_directory.join(RECORD);
        let boot = process::boot_id()?;
        let found = match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| HierarchyError::Damaged {
                    path: path.clone(),
                    source,
                })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Record::default(),
            Err(source) => return Err(HierarchyError::Record { path, source }),
        };
        let record = if found.boot == boot {
            found
        } else {
            Record {
                boot,
                ..Record::default()
            }
        };
        Ok(Self { path, record })
    }

    /// Makes a cgroup below `root`, with those above it that are missing.
    pub(crate) fn make(&mut self, root: &Path, path: &Path) -> Result<Cgroup, HierarchyError> {
        let missing: Vec<PathBuf> = above(root, path)
            .into_iter()
            .filter(|path| !path.exists() && !self.record.made.contains(path))
            .collect();
        if !missing.is_empty() {
            self.record.made.extend(missing);
            self.save()?;
        }
        Ok(Cgroup::create(path)?)
    }

    /// Moves the processes of a delegated cgroup into one below it: controllers act below a cgroup only
    /// where it has no processes of its own.
    pub(crate) fn make_room(&mut self, delegated: &Cgroup) -> Result<(), HierarchyError> {
        let mut processes = delegated.processes()?;
        // Those that were forked meanwhile are found the next time; if there is no end of it, passing on a controller
        // is refused and says where.
        for _ in 0..ROOM_ROUNDS_MAX {
            if processes.is_empty() {
                break;
            }
            let room = self.make(delegated.path(), &delegated.path().join(ROOM))?;
            for process in processes {
                room.take_in(process)?;
            }
            processes = delegated.processes()?;
        }
        Ok(())
    }

    /// Lets a controller act in each cgroup from below the top of what is ours down to containers.
    pub(crate) fn pass_down(
        &mut self,
        place: &Place,
        controller: &'static str,
    ) -> Result<(), HierarchyError> {
        let top = place.top();
        let chain = std::iter::once(top.to_owned()).chain(above(top, &place.parent));
        for cgroup in chain {
            let cgroup = Cgroup::open(&cgroup)?;
            if cgroup.passed_on()?.iter().any(|name| name == controller) {
                continue;
            }
            if !place.is_ours(cgroup.path()) {
                let path = cgroup.path().to_owned();
                return Err(HierarchyError::NotOurs { path });
            }
            // A controller that is not there is no change to write down.
            if cgroup.controllers()?.iter().any(|name| name == controller) {
                self.record
                    .passed_on
                    .push((cgroup.path().to_owned(), controller.to_owned()));
                self.save()?;
            }
            cgroup.enable_controllers(&[controller])?;
        }
        Ok(())
    }

    /// Puts everything back and forgets it. No container may be left.
    pub fn give_back(&mut self) -> Result<(), HierarchyError> {
        // Controllers first: a cgroup that passes one on takes no process back.
        for (path, controller) in self.record.passed_on.iter().rev() {
            let stopped =
                Cgroup::open(path).and_then(|cgroup| cgroup.disable_controllers(&[controller]));
            if let Err(error) = stopped
                && path.exists()
            {
                tracing::info!(path = %path.display(), controller, %error, "the controller stays");
            }
        }
        for path in self.record.made.iter().rev() {
            if path.file_name() == Some(OsStr::new(ROOM))
                && let Err(error) = move_up(path)
            {
                tracing::info!(path = %path.display(), %error, "its processes stay");
            }
            // And not `Cgroup::remove`, which takes those below along: they are somebody else's.
            let removed = fs::remove_dir(path);
            if let Err(error) = removed
                && error.kind() != io::ErrorKind::NotFound
            {
                // In use by somebody else by now.
                tracing::info!(path = %path.display(), %error, "the cgroup stays");
            }
        }
        self.record.made.clear();
        self.record.passed_on.clear();
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(HierarchyError::Record {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// Writes the record so that a crash leaves the old or the new one.
    fn save(&self) -> Result<(), HierarchyError> {
        let failed = |source| HierarchyError::Record {
            path: self.path.clone(),
            source,
        };
        let text = serde_json::to_vec_pretty(&self.record)
            .expect("the record is plain data, and cgroups' names are text");
        let temporary = self.path.with_extension("json.new");
        let mut file = File::create(&temporary).map_err(failed)?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        fs::rename(&temporary, &self.path).map_err(failed)
    }
}

/// Moves the processes of a cgroup into the one above it.
fn move_up(path: &Path) -> Result<(), CgroupError> {
    let Some(above) = path.parent().filter(|_| path.exists()) else {
        return Ok(());
    };
    let above = Cgroup::open(above)?;
    for process in Cgroup::open(path)?.processes()? {
        above.take_in(process)?;
    }
    Ok(())
}

/// Returns `path` and what is above it, below `root`, the highest first.
fn above(root: &Path, path: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = path
        .ancestors()
        .take_while(|path| *path != root)
        .map(Path::to_owned)
        .collect();
    paths.reverse();
    paths
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_sys::cgroup::find_hierarchy;

    use super::*;

    const REMOVE_PATIENCE: Duration = Duration::from_secs(2);

    fn name(test: &str) -> String {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test makes cgroups: run it as root"
        );
        format!("weir-unit-{}-{test}", std::process::id())
    }

    #[test]
    fn what_was_made_is_removed_and_what_was_there_stays() {
        let root = find_hierarchy().unwrap();
        let state = tempfile::tempdir().unwrap();
        let there = Cgroup::create(&root.join(name("there"))).unwrap();
        let path = there.path().join("made/parent");
        HierarchyChanges::open(state.path())
            .unwrap()
            .make(&root, &path)
            .unwrap();
        assert!(path.exists());
        // The next agent finds it, and still knows that it was made.
        HierarchyChanges::open(state.path())
            .unwrap()
            .make(&root, &path)
            .unwrap();
        HierarchyChanges::open(state.path())
            .unwrap()
            .give_back()
            .unwrap();
        assert!(!there.path().join("made").exists());
        assert!(there.path().exists());
        assert!(!state.path().join(RECORD).exists());
        HierarchyChanges::open(state.path())
            .unwrap()
            .give_back()
            .unwrap();
        there.remove(REMOVE_PATIENCE).unwrap();
    }

    #[test]
    fn a_cgroup_that_others_use_by_now_stays() {
        let root = find_hierarchy().unwrap();
        let state = tempfile::tempdir().unwrap();
        let path = root.join(name("shared"));
        let mut changes = HierarchyChanges::open(state.path()).unwrap();
        let made = changes.make(&root, &path).unwrap();
        made.create_child("another").unwrap();
        changes.give_back().unwrap();
        assert!(path.join("another").exists());
        made.remove(REMOVE_PATIENCE).unwrap();
    }

    #[test]
    fn another_boot_has_nothing_to_give_back_and_a_damaged_record_is_named() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join(RECORD);
        fs::write(
            &file,
            r#"{"boot":"another","made":["/proc/none"],"passed_on":[]}"#,
        )
        .unwrap();
        let changes = HierarchyChanges::open(state.path()).unwrap();
        assert!(changes.record.made.is_empty());
        fs::write(&file, "{").unwrap();
        let error = HierarchyChanges::open(state.path()).unwrap_err();
        assert!(
            error.to_string().contains(&file.display().to_string()),
            "{error}"
        );
    }

    #[test]
    fn a_controller_that_is_missing_is_no_change() {
        let root = find_hierarchy().unwrap();
        let state = tempfile::tempdir().unwrap();
        let path = root.join(name("controllers"));
        let mut changes = HierarchyChanges::open(state.path()).unwrap();
        changes.make(&root, &path).unwrap();
        let mut place = Place {
            parent: path.clone(),
            root: root.clone(),
            delegated: None,
            has_systemd: false,
        };
        let error = changes.pass_down(&place, "no-such-controller").unwrap_err();
        assert!(matches!(
            error,
            HierarchyError::Cgroup(CgroupError::NotAvailable { .. })
        ));
        // What is systemd's is not even asked.
        place.has_systemd = true;
        let error = changes.pass_down(&place, "no-such-controller").unwrap_err();
        assert!(matches!(error, HierarchyError::NotOurs { path } if path == root));
        assert!(changes.record.passed_on.is_empty());
        changes.give_back().unwrap();
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any process will do, and the product starts none this way"
    )]
    #[test]
    fn processes_that_made_room_go_back_to_where_they_were() {
        let root = find_hierarchy().unwrap();
        let state = tempfile::tempdir().unwrap();
        let unit = Cgroup::create(&root.join(name("room"))).unwrap();
        let mut sleeper = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let process = nix::unistd::Pid::from_raw(sleeper.id().try_into().unwrap());
        unit.take_in(process).unwrap();

        let mut changes = HierarchyChanges::open(state.path()).unwrap();
        changes.make_room(&unit).unwrap();
        assert_eq!(unit.processes().unwrap(), []);
        changes.give_back().unwrap();
        assert_eq!(unit.processes().unwrap(), [process]);
        assert!(!unit.path().join(ROOM).exists());

        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        unit.remove(REMOVE_PATIENCE).unwrap();
    }
}

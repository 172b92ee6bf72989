//! What Weir changes on the node outside its own objects, and how it is put back.
//!
//! Every change is written down before it is made, in `network.json` of the state directory, with
//! what was there before: also an agent that was killed leaves a node that can be restored.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The name of the record in the state directory.
const RECORD: &str = "network.json";

/// What was changed, and what was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// The boot in which it was changed: a later one starts from the node's own settings.
    boot: String,
    /// Path below `/proc/sys` → former value.
    settings: BTreeMap<String, String>,
    /// Interfaces whose clsact qdisc is Weir's.
    qdiscs: BTreeSet<u32>,
    /// Interfaces whose root qdisc is Weir's.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    queues: BTreeSet<u32>,
    /// Whether the bpffs was mounted by Weir, and where.
    bpffs: Option<PathBuf>,
}

/// The changes of the node.
#[derive(Debug)]
pub(crate) struct HostChanges {
    path: PathBuf,
    record: Record,
}

/// Says which change could not be made or taken back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error("cannot use `{}`, the record of what was changed on the node", path.display())]
    Record {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read `{}`, the record of what was changed on the node; if it is damaged, set back the settings that it names by hand and remove it", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot set `{path}` to `{value}`")]
    Setting {
        path: String,
        value: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot read `{path}`")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "`{}` is not on a bpffs, where programs outlive the agent; mount one there (`mount -t bpf bpf /sys/fs/bpf`), or set [network] pin_directory", pins.display()
    )]
    NotBpffs { pins: PathBuf },
    #[error("cannot mount a bpffs on `{}`", path.display())]
    Mount {
        path: PathBuf,
        #[source]
        source: nix::Error,
    },
}

impl HostChanges {
    /// Reads what former agents of this boot have changed.
    pub(crate) fn open(state_directory: &Path) -> Result<Self, HostError> {
        let path = state_directory.join(RECORD);
        let boot = read_trimmed("/proc/sys/kernel/random/boot_id")?;
        let record = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| HostError::Damaged {
                path: path.clone(),
                source,
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Record::default(),
            Err(source) => return Err(HostError::Record { path, source }),
        };
        let record = if record.boot == boot {
            record
        } else {
            Record {
                boot,
                ..Record::default()
            }
        };
        Ok(Self { path, record })
    }

    /// Sets one of the node's settings, and remembers what it was.
    ///
    /// `path` is below `/proc/sys`. A setting that the kernel does not have is left out.
    pub(crate) fn set(&mut self, path: &str, value: &str) -> Result<(), HostError> {
        let file = format!("/proc/sys/{path}");
        let present = match fs::read_to_string(&file) {
            Ok(present) => present.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(HostError::Read { path: file, source }),
        };
        if present == value {
            return Ok(());
        }
        // The first former value counts: what we find now may be our own.
        if !self.record.settings.contains_key(path) {
            self.record.settings.insert(path.to_owned(), present);
            self.save()?;
        }
        write_setting(path, value)
    }

    /// Remembers that the clsact qdisc of an interface is Weir's; called before it is made.
    pub(crate) fn add_qdisc(&mut self, ifindex: u32) -> Result<(), HostError> {
        if self.record.qdiscs.insert(ifindex) {
            self.save()
        } else {
            Ok(())
        }
    }

    /// Forgets the qdisc of an interface that is gone, or has been given back.
    pub(crate) fn forget_qdisc(&mut self, ifindex: u32) -> Result<(), HostError> {
        if self.record.qdiscs.remove(&ifindex) {
            self.save()
        } else {
            Ok(())
        }
    }

    /// Remembers that the root qdisc of an interface is Weir's; called before it is made.
    pub(crate) fn add_queue(&mut self, ifindex: u32) -> Result<(), HostError> {
        if self.record.queues.insert(ifindex) {
            self.save()
        } else {
            Ok(())
        }
    }

    /// Forgets the root qdisc of an interface that is gone, or has been given back.
    pub(crate) fn forget_queue(&mut self, ifindex: u32) -> Result<(), HostError> {
        if self.record.queues.remove(&ifindex) {
            self.save()
        } else {
            Ok(())
        }
    }

    /// Returns the interfaces whose root qdisc is Weir's.
    pub(crate) fn queues(&self) -> &BTreeSet<u32> {
        &self.record.queues
    }

    /// Returns the interfaces whose clsact qdisc is Weir's.
    pub(crate) fn qdiscs(&self) -> &BTreeSet<u32> {
        &self.record.qdiscs
    }

    /// Makes sure that the pin directory lies on a bpffs, and mounts one if it is to be below
    /// `/sys/fs/bpf` and nothing is mounted there.
    pub(crate) fn ensure_bpffs(&mut self, pins: &Path) -> Result<(), HostError> {
        use nix::mount::{MsFlags, mount};

        let place = Path::new("/sys/fs/bpf");
        let nearest = pins.ancestors().find(|path| path.exists()).unwrap_or(place);
        if is_bpffs(nearest) {
            return Ok(());
        }
        if !pins.starts_with(place) {
            // Elsewhere the operator chose. Directories can be made anywhere, pins cannot.
            return Err(HostError::NotBpffs {
                pins: pins.to_owned(),
            });
        }
        self.record.bpffs = Some(place.to_owned());
        self.save()?;
        mount(
            Some("bpf"),
            place,
            Some("bpf"),
            MsFlags::empty(),
            Some("mode=0700"),
        )
        .map_err(|source| HostError::Mount {
            path: place.to_owned(),
            source,
        })
    }

    /// Puts everything back and forgets it.
    pub(crate) fn restore(&mut self) -> Result<(), HostError> {
        for (path, value) in &self.record.settings {
            match write_setting(path, value) {
                Err(HostError::Setting { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        if let Some(place) = &self.record.bpffs
            && is_bpffs(place)
        {
            // In use by somebody else by now: then it stays, as any mounted bpffs does.
            if let Err(error) = nix::mount::umount(place.as_path()) {
                tracing::info!(path = %place.display(), %error, "the bpffs stays mounted");
            }
        }
        self.record = Record {
            boot: std::mem::take(&mut self.record.boot),
            ..Record::default()
        };
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(HostError::Record {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// Writes the record so that a crash leaves the old or the new one.
    fn save(&self) -> Result<(), HostError> {
        let failed = |source| HostError::Record {
            path: self.path.clone(),
            source,
        };
        let text =
            serde_json::to_vec_pretty(&self.record).map_err(|source| HostError::Damaged {
                path: self.path.clone(),
                source,
            })?;
        let temporary = self.path.with_extension("json.new");
        let mut file = File::create(&temporary).map_err(failed)?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        fs::rename(&temporary, &self.path).map_err(failed)
    }
}

fn read_trimmed(path: &str) -> Result<String, HostError> {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|source| HostError::Read {
            path: path.to_owned(),
            source,
        })
}

fn write_setting(path: &str, value: &str) -> Result<(), HostError> {
    // An empty list is written as an empty line: nothing at all would change nothing.
    let text = if value.is_empty() { "\n" } else { value };
    fs::write(format!("/proc/sys/{path}"), text).map_err(|source| HostError::Setting {
        path: format!("/proc/sys/{path}"),
        value: value.to_owned(),
        source,
    })
}

/// Returns whether a path lies on a bpffs.
pub(crate) fn is_bpffs(path: &Path) -> bool {
    /// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
    const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type().0 == BPF_FS_MAGIC)
}

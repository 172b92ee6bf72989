//! How a container ended: the file `exit.json` in the container's directory.
//!
//! The executor writes it once, durably (a file of another name, fsync, rename, fsync of the directory), when
//! nothing of the container runs any more. A container without one whose executor is gone was lost.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The name of the record inside the container's directory.
pub const EXIT_RECORD_FILE: &str = "exit.json";

/// The form that this release writes.
pub const EXIT_RECORD_VERSION: u32 = 1;

/// How and when one container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitRecord {
    /// Always [`EXIT_RECORD_VERSION`].
    pub version: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended, in milliseconds since 1970 by the node's clock.
    pub at_unix_ms: u64,
    /// How many bytes of output were thrown away because the disk would not take them.
    #[serde(default)]
    pub output_bytes_dropped: u64,
}

/// How one container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The task exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended the task.
    Signaled {
        /// Which one.
        signal: i32,
        /// Whether the kernel wrote a core dump.
        core_dumped: bool,
    },
    /// The task did not end in time after a SIGTERM and was killed.
    KilledAfterGrace {
        /// How long it had.
        grace_ms: u64,
    },
    /// The container reached its memory limit, and the kernel killed all of it. An executor does not know; who reads
    /// its record does.
    OutOfMemory,
    /// The program could not be executed.
    ExecFailed {
        /// The error number of `execve`.
        errno: i32,
        /// What was executed.
        path: String,
        /// The same in words.
        what: String,
    },
    /// The container could not be set up.
    SetupFailed {
        /// What failed, on what, and why.
        reason: String,
    },
    /// The container was ended before its task began.
    Aborted {
        /// Who ended it, or why.
        reason: String,
    },
    /// Nobody knows how the task ended: whoever looked after it is gone, and the container with it. The task may have
    /// run.
    Lost {
        /// What became of whoever looked after it.
        reason: String,
    },
}

impl ExitRecord {
    /// Reads the record of the container in `directory`; `None` if there is none.
    pub fn read(directory: &Path) -> Result<Option<Self>, RecordError> {
        let path = directory.join(EXIT_RECORD_FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(record) if record.version == EXIT_RECORD_VERSION => Ok(Some(record)),
            // Its words may be the same and mean something else.
            Ok(record) => Err(RecordError::Version {
                path,
                version: record.version,
            }),
            Err(source) => Err(RecordError::Parse { path, source }),
        }
    }

    /// Writes the record into `directory` so that it is whole or absent after any crash.
    pub fn write(&self, directory: &Path) -> Result<(), RecordError> {
        let path = directory.join(EXIT_RECORD_FILE);
        let attempt = || -> io::Result<()> {
            let temporary = directory.join("exit.json.tmp");
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(directory)?.sync_all()
        };
        attempt().map_err(|source| RecordError::Write {
            path: path.clone(),
            source,
        })
    }
}

/// Why the exit record of a container cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file is there and cannot be read.
    #[error("cannot read the exit record `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not what an executor writes.
    #[error(
        "the exit record `{path}` is not one that this release knows: was it written by a newer one?"
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file has a form of another release.
    #[error(
        "the exit record `{path}` has the form {version}, and this release knows {EXIT_RECORD_VERSION}: install the release that wrote it"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its form.
        version: u32,
    },
    /// The file cannot be written.
    #[error("cannot write the exit record `{path}`: is the disk full?")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near_miss::{Edit, near_miss};

    /// An agent reads records that executors of earlier releases wrote: these never change.
    const GOLDEN: [(&str, Outcome); 4] = [
        (
            r#"{"version":1,"outcome":{"outcome":"exited","code":3},"at_unix_ms":1800000000000,"output_bytes_dropped":0}"#,
            Outcome::Exited { code: 3 },
        ),
        (
            r#"{"version":1,"outcome":{"outcome":"signaled","signal":11,"core_dumped":true},"at_unix_ms":1800000000000,"output_bytes_dropped":0}"#,
            Outcome::Signaled {
                signal: 11,
                core_dumped: true,
            },
        ),
        (
            r#"{"version":1,"outcome":{"outcome":"killed_after_grace","grace_ms":5000},"at_unix_ms":1800000000000,"output_bytes_dropped":0}"#,
            Outcome::KilledAfterGrace { grace_ms: 5000 },
        ),
        (
            r#"{"version":1,"outcome":{"outcome":"out_of_memory"},"at_unix_ms":1800000000000,"output_bytes_dropped":0}"#,
            Outcome::OutOfMemory,
        ),
    ];

    #[test]
    fn json_form_is_golden() {
        for (text, outcome) in GOLDEN {
            let record = ExitRecord {
                version: EXIT_RECORD_VERSION,
                outcome,
                at_unix_ms: 1_800_000_000_000,
                output_bytes_dropped: 0,
            };
            assert_eq!(serde_json::to_string(&record).unwrap(), text);
            assert_eq!(serde_json::from_str::<ExitRecord>(text).unwrap(), record);
        }
    }

    #[test]
    fn written_record_is_read_back_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(ExitRecord::read(directory.path()).unwrap(), None);
        let outcome = Outcome::ExecFailed {
            errno: 2,
            path: "/bin/nothing".into(),
            what: "no such file".into(),
        };
        let record = ExitRecord {
            version: 1,
            outcome,
            at_unix_ms: 5,
            output_bytes_dropped: 7,
        };
        record.write(directory.path()).unwrap();
        assert_eq!(ExitRecord::read(directory.path()).unwrap(), Some(record));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn garbage_is_an_error_that_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(EXIT_RECORD_FILE), "{\"version\":1").unwrap();
        let error = ExitRecord::read(directory.path()).unwrap_err();
        assert!(error.to_string().contains("exit.json"), "{error}");
    }

    #[test]
    fn any_file_is_a_record_that_reads_back_or_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(EXIT_RECORD_FILE);
        let check = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            match ExitRecord::read(directory.path()) {
                Ok(record) => {
                    let record = record.expect("the file is there");
                    assert_eq!(record.version, EXIT_RECORD_VERSION);
                    let printed = serde_json::to_vec(&record).unwrap();
                    assert_eq!(
                        serde_json::from_slice::<ExitRecord>(&printed).unwrap(),
                        record
                    );
                }
                Err(error) => assert!(error.to_string().contains(EXIT_RECORD_FILE), "{error}"),
            }
        };
        bolero::check!()
            .with_type::<(u8, Vec<Edit>, Vec<u8>)>()
            .with_iterations(500)
            .for_each(|(which, edits, bytes)| {
                check(bytes);
                check(near_miss(GOLDEN[usize::from(which % 3)].0, edits).as_bytes());
            });
    }

    #[test]
    fn record_of_another_form_is_refused_even_if_it_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let text = GOLDEN[0].0.replace("\"version\":1", "\"version\":2");
        fs::write(directory.path().join(EXIT_RECORD_FILE), text).unwrap();
        let error = ExitRecord::read(directory.path()).unwrap_err();
        assert!(
            matches!(error, RecordError::Version { version: 2, .. }),
            "{error}"
        );
    }
}

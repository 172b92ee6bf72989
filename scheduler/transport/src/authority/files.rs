//! Files that are either wholly there or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::error::AuthorityError;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Everyone: certificates and lists are public.
    Everyone,
    /// Its owner: keys are not.
    Owner,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Everyone => 0o644,
            Self::Owner => 0o600,
        }
    }
}

/// Writes `path`, and refuses when something is there.
///
/// The link is what makes it both atomic and careful: a rename would replace.
pub(super) fn write_new(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), AuthorityError> {
    let temporary = write_temporary(path, bytes, readers)?;
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    linked.map_err(|source| {
        if source.kind() == io::ErrorKind::AlreadyExists {
            AuthorityError::WouldOverwrite {
                path: path.to_owned(),
            }
        } else {
            system("write", path)(source)
        }
    })?;
    removed.map_err(system("remove", &temporary))?;
    flush_directory(path)
}

/// Writes `path`, in the place of what is there.
///
/// Whoever reads it sees the old content or the new, also after a crash.
pub(super) fn write_atomically(
    path: &Path,
    bytes: &[u8],
    readers: Readers,
) -> Result<(), AuthorityError> {
    let temporary = write_temporary(path, bytes, readers)?;
    fs::rename(&temporary, path).map_err(system("replace", path))?;
    flush_directory(path)
}

/// Returns a function that says which file the system refused, and at what.
pub(super) fn system(what: &'static str, path: &Path) -> impl Fn(io::Error) -> AuthorityError {
    move |source| AuthorityError::System {
        what,
        path: path.to_owned(),
        source,
    }
}

fn write_temporary(path: &Path, bytes: &[u8], readers: Readers) -> Result<PathBuf, AuthorityError> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    // Left by a run that was killed: nobody else has this process's id.
    if let Err(source) = fs::remove_file(&temporary)
        && source.kind() != io::ErrorKind::NotFound
    {
        return Err(system("remove", &temporary)(source));
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(readers.mode())
        .open(&temporary)
        .map_err(system("write", &temporary))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(system("write", &temporary))?;
    Ok(temporary)
}

fn flush_directory(path: &Path) -> Result<(), AuthorityError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(system("flush", directory))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_is_there_is_not_overwritten_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.pem");
        write_new(&path, b"one", Readers::Everyone).unwrap();
        assert!(matches!(
            write_new(&path, b"two", Readers::Everyone),
            Err(AuthorityError::WouldOverwrite { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write_atomically(&path, b"three", Readers::Everyone).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_is_for_its_owner_also_when_it_replaces_a_file_for_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        write_new(&path, b"one", Readers::Everyone).unwrap();
        write_atomically(&path, b"two", Readers::Owner).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

//! One step of the plan, one effect.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknod};
use nix::unistd::{Gid, Uid, fchownat};
use weir_sys::mount::{self, Attributes, MountError, Tree};

use super::plan::Step;

/// Major and minor numbers as in `admin-guide/devices.txt`.
const DEVICES: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Neither programs with powers nor devices come from anything that is mounted for a container.
const HARMLESS: fn() -> Attributes = || Attributes::NO_SETUID | Attributes::NO_DEVICES;

/// Performs the steps. The process must be in a mount namespace of its own, as root, with no umask.
pub(crate) fn execute(steps: &[Step]) -> Result<(), ExecuteError> {
    mount::stop_propagation().map_err(|source| ExecuteError::Mount {
        what: "the node's tree".into(),
        source,
    })?;
    let mut held = Held::default();
    for step in steps {
        execute_step(step, &mut held)?;
    }
    Ok(())
}

/// What of the node's tree is held until there is a place for it.
#[derive(Debug, Default)]
struct Held {
    sandbox: Option<Tree>,
    volumes: VecDeque<Tree>,
}

fn execute_step(step: &Step, held: &mut Held) -> Result<(), ExecuteError> {
    let what = step.object();
    let mounting = |source| ExecuteError::Mount {
        what: what.clone(),
        source,
    };
    let filing = |source| ExecuteError::File {
        what: what.clone(),
        source,
    };
    match step {
        Step::HoldSandbox { path } => {
            let tree = Tree::clone_of(path, false).map_err(mounting)?;
            tree.forbid(HARMLESS(), false).map_err(mounting)?;
            held.sandbox = Some(tree);
        }
        Step::HoldVolume { source, read_only } => {
            let tree = Tree::clone_of(source, false).map_err(mounting)?;
            let writing = if *read_only {
                Attributes::READ_ONLY
            } else {
                Attributes::NONE
            };
            tree.forbid(HARMLESS() | writing, false).map_err(mounting)?;
            held.volumes.push_back(tree);
        }
        Step::ChangeRoot { over, without } => {
            let tree = Tree::clone_of(Path::new("/"), true).map_err(mounting)?;
            tree.forbid(HARMLESS() | Attributes::READ_ONLY, true)
                .map_err(mounting)?;
            tree.attach(over).map_err(mounting)?;
            mount::change_root(over, without).map_err(mounting)?;
        }
        Step::MountProc => {
            let tree =
                Tree::new(c"proc", &[], HARMLESS() | Attributes::NO_EXEC).map_err(mounting)?;
            tree.attach(Path::new("/proc")).map_err(mounting)?;
        }
        Step::MountSys => {
            let attributes = HARMLESS() | Attributes::NO_EXEC | Attributes::READ_ONLY;
            let tree = Tree::new(c"sysfs", &[], attributes).map_err(mounting)?;
            tree.attach(Path::new("/sys")).map_err(mounting)?;
        }
        Step::MountDevices { shm_bytes } => mount_devices(*shm_bytes, &mounting, &filing)?,
        Step::MountEmpty { path, mode, bytes } => {
            let tree = memory(*mode, *bytes, HARMLESS()).map_err(mounting)?;
            tree.attach(path).map_err(mounting)?;
        }
        Step::MakeReadOnly { path } => {
            let tree = Tree::clone_of(path, true).map_err(mounting)?;
            tree.forbid(
                HARMLESS() | Attributes::READ_ONLY | Attributes::NO_EXEC,
                true,
            )
            .map_err(mounting)?;
            tree.attach(path).map_err(mounting)?;
        }
        Step::Mask {
            path,
            directory: true,
        } => {
            if path.is_dir() {
                let tree =
                    memory(0o555, 0, HARMLESS() | Attributes::READ_ONLY).map_err(mounting)?;
                tree.attach(path).map_err(mounting)?;
            }
        }
        Step::Mask {
            path,
            directory: false,
        } => {
            let null = Tree::clone_of(Path::new("/dev/null"), false).map_err(mounting)?;
            null.attach(path).map_err(mounting)?;
        }
        Step::WriteFile { path, content } => {
            make_directories(path.parent().unwrap_or(path)).map_err(filing)?;
            fs::write(path, content).map_err(filing)?;
        }
        Step::HideState {
            path,
            sandbox: place,
        } => {
            make_directories(path).map_err(filing)?;
            let tree = memory(0o755, 0, HARMLESS()).map_err(mounting)?;
            tree.attach(path).map_err(mounting)?;
            make_directories(place).map_err(filing)?;
            if let Some(sandbox) = held.sandbox.take() {
                sandbox.attach(place).map_err(mounting)?;
            }
            tree.forbid(Attributes::READ_ONLY, false)
                .map_err(mounting)?;
        }
        Step::AttachVolume {
            sandbox,
            target,
            uid,
            gid,
        } => {
            let place = make_below(sandbox, target, *uid, *gid).map_err(filing)?;
            if let Some(volume) = held.volumes.pop_front() {
                volume.attach_to(place.as_fd()).map_err(mounting)?;
            }
        }
    }
    Ok(())
}

/// Makes what is missing of a path below a directory, gives that to a user, and opens the last of it.
///
/// Step by step from one open directory to the next, and never through a link: whatever stands in the sandbox, nothing
/// is made or mounted outside of it.
fn make_below(base: &Path, path: &Path, uid: u32, gid: u32) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut directory = open(base, flags, Mode::empty())?;
    for component in path.components() {
        let name = Path::new(component.as_os_str());
        match mkdirat(&directory, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => fchownat(
                &directory,
                name,
                Some(Uid::from_raw(uid)),
                Some(Gid::from_raw(gid)),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            )?,
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        directory = openat(&directory, name, flags, Mode::empty())?;
    }
    Ok(directory)
}

fn mount_devices(
    shm_bytes: u64,
    mounting: &impl Fn(MountError) -> ExecuteError,
    filing: &impl Fn(io::Error) -> ExecuteError,
) -> Result<(), ExecuteError> {
    let devices =
        memory(0o755, 0, Attributes::NO_SETUID | Attributes::NO_EXEC).map_err(mounting)?;
    devices.attach(Path::new("/dev")).map_err(mounting)?;
    let everyone = Mode::from_bits_truncate(0o666);
    for (name, major, minor) in DEVICES {
        mknod(
            &Path::new("/dev").join(name),
            SFlag::S_IFCHR,
            everyone,
            makedev(major, minor),
        )
        .map_err(|errno| filing(errno.into()))?;
    }
    for (link, target) in LINKS {
        symlink(target, link).map_err(filing)?;
    }
    make_directories(Path::new("/dev/pts")).map_err(filing)?;
    make_directories(Path::new("/dev/shm")).map_err(filing)?;
    // Group 5 is `tty` wherever terminals are handed out this way.
    let options = [(c"mode", c"0620"), (c"ptmxmode", c"0666"), (c"gid", c"5")];
    let terminals = Tree::new(
        c"devpts",
        &options,
        Attributes::NO_SETUID | Attributes::NO_EXEC,
    )
    .map_err(mounting)?;
    terminals.attach(Path::new("/dev/pts")).map_err(mounting)?;
    let shared = memory(0o1777, shm_bytes, HARMLESS()).map_err(mounting)?;
    shared.attach(Path::new("/dev/shm")).map_err(mounting)?;
    // Device nodes stay usable; nobody adds a file here.
    devices
        .forbid(Attributes::READ_ONLY, false)
        .map_err(mounting)
}

/// Makes an empty file system in memory; zero bytes leave room for names only.
fn memory(mode: u32, bytes: u64, attributes: Attributes) -> Result<Tree, MountError> {
    // A size of zero would mean none at all: one page is the smallest.
    let size = number(&bytes.max(4096).to_string());
    let mode = number(&format!("{mode:o}"));
    Tree::new(c"tmpfs", &[(c"size", &size), (c"mode", &mode)], attributes)
}

fn number(digits: &str) -> CString {
    CString::new(digits).expect("digits hold no NUL byte")
}

fn make_directories(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

impl Step {
    /// Returns what the step is about, in words.
    fn object(&self) -> String {
        match self {
            Self::HoldSandbox { path } => format!("the sandbox `{}`", path.display()),
            Self::ChangeRoot { .. } => "the read-only copy of the node's tree".to_owned(),
            Self::MountProc => "/proc".to_owned(),
            Self::MountSys => "/sys".to_owned(),
            Self::MountDevices { .. } => "/dev".to_owned(),
            Self::MountEmpty { path, .. }
            | Self::MakeReadOnly { path }
            | Self::Mask { path, .. }
            | Self::WriteFile { path, .. }
            | Self::HideState { path, .. } => format!("`{}`", path.display()),
            Self::HoldVolume { source, .. } => format!("the volume `{}`", source.display()),
            Self::AttachVolume { target, .. } => {
                format!("the volume at `{}` in the sandbox", target.display())
            }
        }
    }
}

/// Why the tree is not as planned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    #[error("cannot set up {what} in the container")]
    Mount { what: String, source: MountError },
    #[error("cannot make the files of {what} in the container: is memory short?")]
    File { what: String, source: io::Error },
}

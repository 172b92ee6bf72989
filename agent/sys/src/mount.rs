//! Mounts: trees that are put together out of sight and attached when they are right.
//!
//! The calls are those of Linux 5.12 and later (`open_tree`, `fsopen`, `mount_setattr`, `move_mount`), because
//! only with them can a tree be made read-only as a whole before anyone sees it, and attributes be set for the
//! one mount without changing the file system behind it. `linux/mount.h` is the header followed here.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC.cast_unsigned();
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

/// More mounts than this on one place are a loop, not a stack.
const STACK_MAX: usize = 64;

/// What a mount forbids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// Forbids nothing.
    pub const NONE: Self = Self(0);
    /// Forbids every write.
    pub const READ_ONLY: Self = Self(1);
    /// Makes setuid bits and file capabilities mean nothing.
    pub const NO_SETUID: Self = Self(2);
    /// Makes device nodes mean nothing.
    pub const NO_DEVICES: Self = Self(4);
    /// Forbids execution.
    pub const NO_EXEC: Self = Self(8);
}

impl BitOr for Attributes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A mount, with or without those below it, that is attached nowhere yet; dropping it takes it away.
#[derive(Debug)]
pub struct Tree(OwnedFd);

impl Tree {
    /// Clones the mount at `path`, as a bind mount does; `recursive` takes those below it as well.
    ///
    /// `path` may be a directory or file inside a mount, which then becomes the root of the tree.
    ///
    /// # Minimum kernel version
    ///
    /// 5.2.
    pub fn clone_of(path: &Path, recursive: bool) -> Result<Self, MountError> {
        let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | if recursive { AT_RECURSIVE } else { 0 };
        let name = terminated(path)?;
        // SAFETY: the string lives across the call.
        let result =
            unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, name.as_ptr(), flags) };
        let fail = |source| MountError::Clone {
            path: path.to_path_buf(),
            source,
        };
        Ok(Self(descriptor(result).map_err(fail)?))
    }

    /// Makes a new file system of a kind, with its options, as a tree of one mount.
    ///
    /// # Minimum kernel version
    ///
    /// 5.2.
    pub fn new(
        kind: &CStr,
        options: &[(&CStr, &CStr)],
        attributes: Attributes,
    ) -> Result<Self, MountError> {
        let attempt = || -> io::Result<Self> {
            // SAFETY: the string lives across the call.
            let context = descriptor(unsafe {
                libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC)
            })?;
            for (option, value) in options {
                // SAFETY: the strings live across the call; the last argument is unused by this command.
                let result = unsafe {
                    libc::syscall(
                        libc::SYS_fsconfig,
                        context.as_raw_fd(),
                        FSCONFIG_SET_STRING,
                        option.as_ptr(),
                        value.as_ptr(),
                        0,
                    )
                };
                Errno::result(result)?;
            }
            let none = std::ptr::null::<libc::c_char>();
            // SAFETY: this command takes no key, value or number.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_fsconfig,
                    context.as_raw_fd(),
                    FSCONFIG_CMD_CREATE,
                    none,
                    none,
                    0,
                )
            };
            Errno::result(result)?;
            // SAFETY: the call takes integers only.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_fsmount,
                    context.as_raw_fd(),
                    FSMOUNT_CLOEXEC,
                    attributes.0,
                )
            };
            Ok(Self(descriptor(result)?))
        };
        attempt().map_err(|source| MountError::New {
            kind: kind.to_owned(),
            source,
        })
    }

    /// Adds attributes to the tree's mount, and if `recursive` to all below it; takes none away.
    ///
    /// # Minimum kernel version
    ///
    /// 5.12.
    pub fn forbid(&self, attributes: Attributes, recursive: bool) -> Result<(), MountError> {
        let request = libc::mount_attr {
            attr_set: attributes.0,
            attr_clr: 0,
            propagation: 0,
            userns_fd: 0,
        };
        let flags = libc::AT_EMPTY_PATH.cast_unsigned() | if recursive { AT_RECURSIVE } else { 0 };
        // SAFETY: string and structure live across the call, and the size is the structure's.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                self.0.as_raw_fd(),
                c"".as_ptr(),
                flags,
                &raw const request,
                size_of::<libc::mount_attr>(),
            )
        };
        match Errno::result(result) {
            Ok(_) => Ok(()),
            Err(errno) => Err(MountError::Forbid {
                attributes,
                source: errno.into(),
            }),
        }
    }

    /// Attaches the tree over whatever is at `path`; this hold on it stays good.
    ///
    /// # Minimum kernel version
    ///
    /// 5.2.
    pub fn attach(&self, path: &Path) -> Result<(), MountError> {
        let name = terminated(path)?;
        let here = libc::AT_FDCWD;
        self.move_to(here, &name, 0)
            .map_err(|source| MountError::Attach {
                path: path.to_path_buf(),
                source,
            })
    }

    /// Attaches the tree over a directory that is held open, wherever that is by now: no name of its path is looked
    /// at again.
    ///
    /// # Minimum kernel version
    ///
    /// 5.2.
    pub fn attach_to(&self, place: BorrowedFd<'_>) -> Result<(), MountError> {
        self.move_to(place.as_raw_fd(), c"", MOVE_MOUNT_T_EMPTY_PATH)
            .map_err(|source| MountError::Attach {
                path: PathBuf::from(format!("/proc/self/fd/{}", place.as_raw_fd())),
                source,
            })
    }

    fn move_to(&self, directory: RawFd, name: &CStr, flags: libc::c_uint) -> io::Result<()> {
        // SAFETY: the strings live across the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                self.0.as_raw_fd(),
                c"".as_ptr(),
                directory,
                name.as_ptr(),
                MOVE_MOUNT_F_EMPTY_PATH | flags,
            )
        };
        Errno::result(result)?;
        Ok(())
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Keeps what happens to mounts in this namespace and in others apart.
pub fn stop_propagation() -> Result<(), MountError> {
    let none: Option<&Path> = None;
    nix::mount::mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(
        |errno| MountError::Private {
            source: errno.into(),
        },
    )
}

/// Makes the mount at `root` the root of this process and its namespace, and takes the old root away.
///
/// The mounts at the paths `without`, as they will be under the new root, go with the old one; fine if nothing is
/// mounted at one of them. What is still in use lives on, out of reach, until the last user lets go.
pub fn change_root(root: &Path, without: &[PathBuf]) -> Result<(), MountError> {
    // Into the old root, to be taken away with it at one stroke: every single unmount waits for a grace period of the
    // whole machine, milliseconds when it is busy.
    for path in without {
        let doomed = root.join(path.strip_prefix("/").unwrap_or(path));
        move_all(&doomed, Path::new("/proc"))?;
    }
    let attempt = || -> nix::Result<()> {
        nix::unistd::chdir(root)?;
        // The old root lands on top of the new one, from where it can be detached without a directory to hold it.
        nix::unistd::pivot_root(".", ".")?;
        nix::mount::umount2(".", MntFlags::MNT_DETACH)?;
        nix::unistd::chdir("/")
    };
    attempt().map_err(|errno| MountError::ChangeRoot {
        root: root.to_path_buf(),
        source: errno.into(),
    })
}

/// Moves everything that is mounted at `from`, with all below, on top of `to`.
fn move_all(from: &Path, to: &Path) -> Result<(), MountError> {
    let (from_name, to_name) = (terminated(from)?, terminated(to)?);
    for _ in 0..STACK_MAX {
        // SAFETY: the strings live across the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                libc::AT_FDCWD,
                from_name.as_ptr(),
                libc::AT_FDCWD,
                to_name.as_ptr(),
                0,
            )
        };
        match Errno::result(result) {
            Ok(_) => {}
            // EINVAL: not a mount point (any more).
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => {
                return Err(MountError::Detach {
                    path: from.to_path_buf(),
                    source: errno.into(),
                });
            }
        }
    }
    Err(MountError::Detach {
        path: from.to_path_buf(),
        source: Errno::ELOOP.into(),
    })
}

/// Detaches everything that is mounted at `path`, with all below; fine if nothing is.
///
/// What is still in use lives on, out of reach, until the last user lets go.
pub fn detach(path: &Path) -> Result<(), MountError> {
    for _ in 0..STACK_MAX {
        match nix::mount::umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // EINVAL: not a mount point (any more).
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => {
                return Err(MountError::Detach {
                    path: path.to_path_buf(),
                    source: errno.into(),
                });
            }
        }
    }
    Err(MountError::Detach {
        path: path.to_path_buf(),
        source: Errno::ELOOP.into(),
    })
}

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Which directory of the file system is the root of the mount.
    pub root: PathBuf,
    /// Where it is mounted.
    pub path: PathBuf,
    /// The kind of file system.
    pub kind: String,
}

/// Returns all mounts that this process can see, in the order in which the kernel lists them.
pub fn mounted() -> Result<Vec<Mounted>, MountError> {
    // Not necessarily text: paths are bytes.
    let bytes =
        std::fs::read("/proc/self/mountinfo").map_err(|source| MountError::List { source })?;
    Ok(bytes
        .split(|byte| *byte == b'\n')
        .filter_map(parse_mounted)
        .collect())
}

/// Reads one line: `36 35 98:0 /root /path rw,noatime master:1 - ext3 /dev/root rw`.
fn parse_mounted(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = unescape(fields.nth(3)?);
    let path = unescape(fields.next()?);
    // Optional fields, as many as there are, end with a dash.
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mounted {
        root,
        path,
        kind: String::from_utf8_lossy(kind).into_owned(),
    })
}

/// Undoes the kernel's octal escapes of blanks, newlines and backslashes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            // Digits alone: the standard library reads a sign as well.
            .filter(|digits| digits.iter().all(u8::is_ascii_digit))
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            Some(_) | None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn terminated(path: &Path) -> Result<CString, MountError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|source| MountError::Path {
        path: path.to_path_buf(),
        source,
    })
}

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(Errno::result(result)?).expect("descriptors are C integers");
    // SAFETY: the callers pass what a system call returned that makes a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Why a mount could not be made, changed or taken away.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// There is nothing to clone.
    #[error(
        "cannot clone the mount tree at `{path}`: it must exist, and the kernel be 5.2 or later"
    )]
    Clone {
        /// The place.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel does not make such a file system.
    #[error(
        "cannot make a file system of kind {kind:?}: the kernel may lack it, or refuse it in this namespace"
    )]
    New {
        /// The kind.
        kind: CString,
        /// The system's answer.
        source: io::Error,
    },
    /// The attributes cannot be set.
    #[error("cannot set {attributes:?} on a mount tree: that takes a kernel of 5.12 or later")]
    Forbid {
        /// What was to be forbidden.
        attributes: Attributes,
        /// The system's answer.
        source: io::Error,
    },
    /// There is nowhere to attach it.
    #[error(
        "cannot attach a mount at `{path}`: the place must exist and be of the same type, directory or file"
    )]
    Attach {
        /// The place.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The namespace stays connected to others.
    #[error("cannot cut mount propagation: is this process in a mount namespace of its own?")]
    Private {
        /// The system's answer.
        source: io::Error,
    },
    /// The root stays what it was.
    #[error("cannot make `{root}` the root: it must be a mount point")]
    ChangeRoot {
        /// The new root.
        root: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The mount stays.
    #[error("cannot detach what is mounted at `{path}`")]
    Detach {
        /// The place.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The table cannot be read.
    #[error("cannot read /proc/self/mountinfo: is /proc mounted?")]
    List {
        /// The system's answer.
        source: io::Error,
    },
    /// The path has a NUL byte.
    #[error("`{path}` cannot be passed to the kernel")]
    Path {
        /// The path.
        path: PathBuf,
        /// Where the byte is.
        source: std::ffi::NulError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_shape_are_read() {
        let plain = parse_mounted(b"24 1 254:0 / / rw,relatime - ext4 /dev/vda rw").unwrap();
        assert_eq!(
            (plain.path.to_str(), plain.kind.as_str()),
            (Some("/"), "ext4")
        );
        let odd = parse_mounted(
            b"36 35 98:0 /a\\040b /mnt/two\\040words\\134 rw shared:1 master:2 - fuse.x y rw",
        )
        .unwrap();
        assert_eq!(odd.root.to_str(), Some("/a b"));
        assert_eq!(odd.path.to_str(), Some("/mnt/two words\\"));
        assert_eq!(odd.kind, "fuse.x");
        assert_eq!(parse_mounted(b"36 35 98:0 /"), None);
        assert_eq!(parse_mounted(b""), None);
    }

    #[test]
    fn any_path_reads_back_as_the_kernel_escapes_it() {
        // mangle_path() in fs/seq_file.c with the characters of show_mountinfo().
        let escape = |path: &[u8]| -> Vec<u8> {
            path.iter()
                .flat_map(|byte| match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                    byte => vec![*byte],
                })
                .collect()
        };
        bolero::check!()
            .with_type::<(Vec<u8>, Vec<u8>)>()
            .with_iterations(1000)
            .for_each(|(root, path)| {
                let line = [
                    b"36 35 98:0 ".as_slice(),
                    &escape(root),
                    b" ",
                    &escape(path),
                    b" rw shared:1 - ext4 /dev/x rw",
                ]
                .concat();
                assert!(!line.contains(&b'\n'));
                let mounted = parse_mounted(&line).unwrap();
                assert_eq!(mounted.root.as_os_str().as_bytes(), root);
                assert_eq!(mounted.path.as_os_str().as_bytes(), path);
                assert_eq!(mounted.kind, "ext4");
            });
    }

    #[test]
    fn no_line_makes_it_panic_or_invent_a_byte() {
        const PIECES: &[u8] = b"\\\\  --0174 +/9a\xff";
        bolero::check!()
            .with_type::<Vec<u8>>()
            .with_iterations(2000)
            .for_each(|bytes| {
                let likely: Vec<u8> = bytes
                    .iter()
                    .map(|byte| PIECES[usize::from(*byte) % PIECES.len()])
                    .collect();
                for line in [bytes, &likely] {
                    let is_escape = |four: &[u8]| {
                        four[0] == b'\\' && four[1..].iter().all(|b| (b'0'..b'8').contains(b))
                    };
                    if !line.windows(4).any(is_escape) {
                        assert_eq!(unescape(line).as_os_str().as_bytes(), line);
                    }
                    if let Some(Mounted {
                        root,
                        path,
                        kind: _,
                    }) = parse_mounted(line)
                    {
                        assert!(root.as_os_str().len() + path.as_os_str().len() <= line.len());
                    }
                }
            });
    }

    #[test]
    fn own_table_has_a_root() {
        assert!(
            mounted()
                .unwrap()
                .iter()
                .any(|mount| mount.path == Path::new("/"))
        );
    }

    #[test]
    fn tree_is_attached_forbids_writes_and_is_detached_with_its_stack() {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test mounts file systems in a namespace of its own: run it as root"
        );
        std::thread::spawn(|| {
            use nix::sched::{CloneFlags, unshare};
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
            stop_propagation().unwrap();
            let place = tempfile::tempdir().unwrap();
            let file = place.path().join("file");
            for _ in 0..2 {
                let tree =
                    Tree::new(c"tmpfs", &[(c"size", c"4096")], Attributes::NO_SETUID).unwrap();
                tree.attach(place.path()).unwrap();
                std::fs::write(&file, "x").unwrap();
                tree.forbid(Attributes::READ_ONLY, false).unwrap();
            }
            let error = std::fs::write(&file, "y").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
            detach(place.path()).unwrap();
            assert!(!file.exists());
            detach(place.path()).unwrap();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn unknown_file_system_is_refused_by_name() {
        let error = Tree::new(c"weirfs", &[], Attributes::NONE).unwrap_err();
        assert!(error.to_string().contains("weirfs"), "{error}");
    }
}

//! Loading the programs, attaching them, and keeping both pinned, so that they stay in force while
//! no agent runs and are taken over by the next one.
//!
//! Below the pin directory, `v<layout>/maps/` has the maps and `v<layout>/links/` the links.
//!
//! 1. [`Programs::load`] opens or creates the maps and loads the programs on top of them.
//! 2. [`Programs::attach`] puts a program into the pinned link of that name, in one step; or makes
//!    the link, where there is none or its interface is gone.
//! 3. [`Programs::retain`] collects the links that nobody wants any more.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader};
use nix::sys::stat::fstat;
use weir_abi::LAYOUT_VERSION;
use weir_sys::bpf::{self, Hook, Target};
use weir_sys::netlink::{Netlink, NetlinkError};

use super::clsact::{self, Side};
use super::features::Features;

/// The object that `build.rs` made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-network"));

/// The maps that are pinned. `PEERS` belongs to sockets and dies with them; it is pinned as well,
/// so that the hooks of two agents share it.
const MAPS: &[&str] = &[
    "NODE",
    "PORTS",
    "CONTAINERS",
    "VETHS",
    "NAMESPACES",
    "CGROUPS",
    "ADDRESSES",
    "UPLINKS",
    "NEXT_HOPS",
    "ECHOES",
    "FRAGMENTS_OUT",
    "FRAGMENTS_IN",
    "COUNTERS",
    "NODE_COUNTERS",
    "RTTS",
    "LANES",
    "LANE_STATES",
    "LANE_COUNTERS",
    "FLOWS",
    "EVENT_PACE",
    "EVENTS",
    "PEERS",
];

/// The programs on the cgroup of the whole node, and their hooks.
pub(crate) const NODE_HOOKS: &[(&str, Hook)] = &[
    ("bind4", Hook::CgroupBind4),
    ("bind6", Hook::CgroupBind6),
    ("connect4", Hook::CgroupConnect4),
    ("connect6", Hook::CgroupConnect6),
    ("sendmsg4", Hook::CgroupSendmsg4),
    ("sendmsg6", Hook::CgroupSendmsg6),
    ("recvmsg4", Hook::CgroupRecvmsg4),
    ("recvmsg6", Hook::CgroupRecvmsg6),
    ("getpeername4", Hook::CgroupGetpeername4),
    ("getpeername6", Hook::CgroupGetpeername6),
];

/// How programs are attached to interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// A link, since 6.6.
    Tcx,
    /// A filter of a clsact qdisc.
    Clsact,
}

/// Says what could not be loaded or attached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramsError {
    #[error(
        "cannot create `{}`: is its parent a bpffs (`mount -t bpf bpf /sys/fs/bpf`)?", path.display()
    )]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "`{}` holds the pins of another version of the data plane: stop all containers and run `weir-agent cleanup`, or run the agent that made them", path.display()
    )]
    OtherLayout { path: PathBuf },
    #[error("cannot load the data plane; `weir-agent doctor` says what this kernel lacks")]
    Object {
        #[source]
        source: EbpfError,
    },
    #[error("the kernel refused program `{program}`; `weir-agent doctor` says what it lacks")]
    Load {
        program: String,
        #[source]
        source: ProgramError,
    },
    #[error("cannot attach program `{program}` to {target}")]
    Attach {
        program: &'static str,
        target: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot attach program `{program}` to {target}")]
    AttachFilter {
        program: &'static str,
        target: String,
        #[source]
        source: NetlinkError,
    },
    #[error("cannot use pin `{}`", path.display())]
    Pin {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The loaded programs.
pub(crate) struct Programs {
    object: Ebpf,
    attachment: Attachment,
    links: PathBuf,
    maps: PathBuf,
}

/// The directory of everything that this version of the data plane pins.
pub(crate) fn version_directory(pins: &Path) -> PathBuf {
    pins.join(format!("v{LAYOUT_VERSION}"))
}

impl Programs {
    /// Loads the programs over the pinned maps, or over new ones.
    pub(crate) fn load(
        pins: &Path,
        attachment: Attachment,
        features: &Features,
    ) -> Result<Self, ProgramsError> {
        refuse_other_layouts(pins)?;
        let directory = version_directory(pins);
        let (maps, links) = (directory.join("maps"), directory.join("links"));
        for path in [&maps, &links] {
            fs::create_dir_all(path).map_err(|source| ProgramsError::Directory {
                path: path.clone(),
                source,
            })?;
        }
        let has_set_retval = u32::from(features.set_retval);
        let mut loader = EbpfLoader::new();
        loader.override_global("HAS_SET_RETVAL", &has_set_retval, true);
        for map in MAPS {
            loader.map_pin_path(map, maps.join(map));
        }
        let mut object = loader
            .load(OBJECT)
            .map_err(|source| ProgramsError::Object { source })?;
        for (name, program) in object.programs_mut() {
            load_program(program).map_err(|source| ProgramsError::Load {
                program: name.to_owned(),
                source,
            })?;
        }
        Ok(Self {
            object,
            attachment,
            links,
            maps,
        })
    }

    /// Returns where the maps are pinned.
    pub(crate) fn maps(&self) -> &Path {
        &self.maps
    }

    /// Returns the ring buffer of events; only once.
    pub(crate) fn take_events(&mut self) -> Option<aya::maps::Map> {
        self.object.take_map("EVENTS")
    }

    /// Returns how programs are attached to interfaces.
    pub(crate) fn attachment(&self) -> Attachment {
        self.attachment
    }

    /// Returns the names and ids of the programs, to read their statistics.
    pub(crate) fn ids(&self) -> BTreeMap<String, u32> {
        self.object
            .programs()
            .filter_map(|(name, program)| Some((name.to_owned(), program.info().ok()?.id())))
            .collect()
    }

    fn program(&self, name: &'static str) -> BorrowedFd<'_> {
        let program = self
            .object
            .program(name)
            .expect("the object has every program it is built of");
        program
            .fd()
            .expect("every program is loaded before the struct is made")
            .as_fd()
    }

    /// Makes `program` run on one side of an interface, and on nothing but the one hook: a former
    /// agent may have been told to attach the other way.
    ///
    /// `link` names the pin; an interface has at most one.
    pub(crate) fn attach_interface(
        &self,
        netlink: &mut Netlink,
        link: &str,
        program: &'static str,
        ifindex: u32,
        side: Side,
    ) -> Result<(), ProgramsError> {
        let failed = |source| ProgramsError::AttachFilter {
            program,
            target: format!("interface {ifindex}"),
            source,
        };
        match self.attachment {
            Attachment::Tcx => {
                let hook = match side {
                    Side::Ingress => Hook::TcxIngress,
                    Side::Egress => Hook::TcxEgress,
                };
                self.attach(link, program, Target::Interface(ifindex), hook)?;
                clsact::detach(netlink, ifindex, side).map_err(failed)
            }
            Attachment::Clsact => {
                clsact::attach(netlink, ifindex, side, program, self.program(program))
                    .map_err(failed)?;
                self.detach(link)
            }
        }
    }

    /// Takes the program off an interface; fine where there is none.
    pub(crate) fn detach_interface(
        &self,
        netlink: &mut Netlink,
        link: &str,
        ifindex: u32,
        side: Side,
    ) -> Result<(), ProgramsError> {
        match self.attachment {
            Attachment::Tcx => self.detach(link),
            Attachment::Clsact => clsact::detach(netlink, ifindex, side).map_err(|source| {
                ProgramsError::AttachFilter {
                    program: "none",
                    target: format!("interface {ifindex}"),
                    source,
                }
            }),
        }
    }

    /// Makes `program` run at a hook, through the pinned link of that name.
    pub(crate) fn attach(
        &self,
        link: &str,
        program: &'static str,
        target: Target<'_>,
        hook: Hook,
    ) -> Result<(), ProgramsError> {
        let path = self.links.join(link);
        let failed = |source| ProgramsError::Attach {
            program,
            target: describe(target),
            source,
        };
        match bpf::open_pin(&path) {
            Ok(pinned) => {
                let info = bpf::link_info(pinned.as_fd()).map_err(failed)?;
                let is_there = match target {
                    Target::Interface(index) => info.target == index,
                    // A cgroup's link is dead when its cgroup is, and says zero then. A live one may be
                    // at the cgroup that held the containers of a former agent.
                    Target::Cgroup(cgroup) => {
                        let id = fstat(cgroup).map_err(|errno| failed(errno.into()))?.st_ino;
                        u64::from(info.target) == id & u64::from(u32::MAX)
                    }
                };
                if is_there {
                    return bpf::replace(pinned.as_fd(), self.program(program)).map_err(failed);
                }
                unpin(&path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ProgramsError::Pin { path, source }),
        }
        let made = bpf::attach(self.program(program), target, hook).map_err(failed)?;
        bpf::pin(made.as_fd(), &path).map_err(|source| ProgramsError::Pin { path, source })
    }

    /// Takes a link away; fine where there is none.
    pub(crate) fn detach(&self, link: &str) -> Result<(), ProgramsError> {
        unpin(&self.links.join(link))
    }

    /// Takes away every link whose name is not wanted.
    pub(crate) fn retain(&self, wanted: impl Fn(&str) -> bool) -> Result<(), ProgramsError> {
        let failed = |source| ProgramsError::Pin {
            path: self.links.clone(),
            source,
        };
        for entry in fs::read_dir(&self.links).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let is_wanted = name.to_str().is_some_and(&wanted);
            if !is_wanted {
                unpin(&self.links.join(name))?;
            }
        }
        Ok(())
    }
}

/// How often a program is given to the verifier again that was interrupted by a signal.
const LOAD_TRIES: u32 = 10;

/// Loads a program. The verifier gives up with `EAGAIN` when the thread has a signal to handle,
/// whoever sent it; the next try has nothing in its way.
fn load_program(program: &mut Program) -> Result<(), ProgramError> {
    for _ in 1..LOAD_TRIES {
        match try_load_program(program) {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(nix::libc::EAGAIN) => {}
            result => return result,
        }
    }
    try_load_program(program)
}

fn try_load_program(program: &mut Program) -> Result<(), ProgramError> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the object holds no other kinds; one that it gets one day must be named here"
    )]
    match program {
        Program::SchedClassifier(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        Program::SockOps(program) => program.load(),
        _ => unreachable!("the object has a program of a kind that nobody loads"),
    }
}

fn describe(target: Target<'_>) -> String {
    match target {
        Target::Interface(index) => format!("interface {index}"),
        Target::Cgroup(_) => "the cgroup".to_owned(),
    }
}

fn unpin(path: &Path) -> Result<(), ProgramsError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ProgramsError::Pin {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Two layouts at once would mean two data planes on the same interfaces.
fn refuse_other_layouts(pins: &Path) -> Result<(), ProgramsError> {
    let entries = match fs::read_dir(pins) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(ProgramsError::Pin {
                path: pins.to_owned(),
                source,
            });
        }
    };
    let ours = version_directory(pins);
    for entry in entries {
        let path = entry
            .map_err(|source| ProgramsError::Pin {
                path: pins.to_owned(),
                source,
            })?
            .path();
        if path != ours
            && path
                .file_name()
                .and_then(OsStr::to_str)
                .is_some_and(is_layout)
        {
            return Err(ProgramsError::OtherLayout { path });
        }
    }
    Ok(())
}

fn is_layout(name: &str) -> bool {
    name.strip_prefix('v')
        .is_some_and(|rest| rest.parse::<u32>().is_ok())
}

/// Removes all pins: with them go the programs' links, and the maps with the last of their users.
pub(crate) fn remove_pins(pins: &Path) -> Result<(), ProgramsError> {
    match fs::remove_dir_all(pins) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ProgramsError::Pin {
            path: pins.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use nix::mount::{MsFlags, mount};
    use weir_abi::Node;
    use weir_sys::cgroup::{self, Cgroup};
    use weir_sys::{mount as mounts, netns};

    use super::*;
    use crate::network::tables::Tables;

    /// What a node is made of for one program, and what must go again, also when the test fails.
    struct Bench {
        directory: tempfile::TempDir,
        cgroup: Cgroup,
    }

    impl Bench {
        fn new(name: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            mount(
                Some("bpf"),
                directory.path(),
                Some("bpf"),
                MsFlags::empty(),
                None::<&str>,
            )
            .expect("this test mounts, and loads programs: run it as root");
            let name = format!("weir-test-{}-{name}", std::process::id());
            let hierarchy = cgroup::find_hierarchy().unwrap();
            let cgroup = Cgroup::create(&hierarchy.join(name)).unwrap();
            Self { directory, cgroup }
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            self.cgroup.remove(Duration::from_secs(60)).ok();
            mounts::detach(self.directory.path()).ok();
        }
    }

    /// Returns the error number with which a process of the cgroup fails to bind a port that is a container's.
    #[expect(
        clippy::disallowed_methods,
        reason = "what is refused is a process of another cgroup"
    )]
    fn refused_with(name: &str, set_retval: bool) -> i32 {
        const PORT: u16 = 40_000;
        const BINDS: &str = "import socket, sys\n\
            try: socket.socket().bind(('127.0.0.1', int(sys.argv[1])))\n\
            except OSError as error: sys.exit(error.errno)";
        let bench = Bench::new(name);
        let (_netns, number) = netns::create(|| {
            let features = Features {
                tcx: true,
                set_retval,
                queues: Ok(()),
            };
            let pins = bench.directory.path().join("weir");
            let programs = Programs::load(&pins, Attachment::Tcx, &features).unwrap();
            let mut tables = Tables::open(programs.maps()).unwrap();
            tables
                .set_node(Node {
                    layout_version: LAYOUT_VERSION,
                    netns_cookie: netns::cookie().unwrap(),
                    ..Node::default()
                })
                .unwrap();
            tables.give_port(PORT, 0);
            let cgroup = bench.cgroup.directory().unwrap();
            let target = Target::Cgroup(cgroup.as_fd());
            programs
                .attach("bind", "bind4", target, Hook::CgroupBind4)
                .unwrap();
            let joined = format!("echo $$ >{}/cgroup.procs", bench.cgroup.path().display());
            let ended = Command::new("sh")
                .args(["-c", &format!("{joined} && exec python3 -c \"$0\" $1")])
                .args([BINDS, &PORT.to_string()])
                .status()
                .unwrap();
            programs.detach("bind").unwrap();
            ended.code().unwrap()
        })
        .unwrap();
        number
    }

    #[test]
    fn a_kernel_without_error_numbers_at_bind_refuses_all_the_same() {
        assert_eq!(refused_with("numbers", true), nix::libc::EADDRINUSE);
        // The verifier leaves out what cannot be reached: all programs load, and none calls the helper.
        assert_eq!(refused_with("without", false), nix::libc::EPERM);
    }
}

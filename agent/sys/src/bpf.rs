//! What aya does not reach of `bpf(2)`: links of every kind alike, mapped arrays, and arrays with type information.
//!
//! A link made here is a file descriptor; pinned, it stays in force without any process.

use std::ffi::CString;
use std::io;
use std::mem::{offset_of, size_of};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

// Commands and attach types of include/uapi/linux/bpf.h.
const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_BTF_LOAD: libc::c_long = 18;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;

/// The hook that a program is attached to.
///
/// The numbers are those of `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// Packets received by a cgroup's sockets.
    CgroupIngress = 0,
    /// Packets sent by a cgroup's sockets.
    CgroupEgress = 1,
    /// TCP events.
    CgroupSockOps = 3,
    /// `bind(2)`, IPv4.
    CgroupBind4 = 8,
    /// `bind(2)`, IPv6.
    CgroupBind6 = 9,
    /// `connect(2)`, IPv4.
    CgroupConnect4 = 10,
    /// `connect(2)`, IPv6.
    CgroupConnect6 = 11,
    /// `sendmsg(2)` of unconnected UDP, IPv4.
    CgroupSendmsg4 = 14,
    /// `sendmsg(2)` of unconnected UDP, IPv6.
    CgroupSendmsg6 = 15,
    /// `recvmsg(2)` of UDP, IPv4.
    CgroupRecvmsg4 = 19,
    /// `recvmsg(2)` of UDP, IPv6.
    CgroupRecvmsg6 = 20,
    /// `getpeername(2)`, IPv4.
    CgroupGetpeername4 = 29,
    /// `getpeername(2)`, IPv6.
    CgroupGetpeername6 = 30,
    /// Packets that an interface received, since 6.6.
    TcxIngress = 46,
    /// Packets that an interface is about to queue, since 6.6.
    TcxEgress = 47,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A cgroup, by a descriptor of its directory.
    Cgroup(BorrowedFd<'a>),
    /// An interface of the calling thread's network namespace.
    Interface(u32),
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    /// `relative_fd` and `expected_revision` of tcx; zero appends.
    relative: u32,
    padding: u32,
    revision: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ObjectPath {
    path: u64,
    descriptor: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ObjectInfo {
    descriptor: u32,
    length: u32,
    info: u64,
}

/// The head of `struct bpf_link_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkInfo {
    kind: u32,
    /// The link's id.
    pub id: u32,
    /// The id of the program that it runs.
    pub program_id: u32,
    padding: u32,
    /// For tcx: the interface index, zero when the interface is gone. For cgroups: the lower half
    /// of the cgroup's id, zero when the cgroup is gone.
    pub target: u32,
    more: [u32; 27],
}

const _: () = assert!(offset_of!(LinkInfo, target) == 16 && size_of::<LinkInfo>() == 128);

/// Attaches a loaded program. Dropping the descriptor detaches it, unless the link was pinned.
///
/// # Minimum kernel version
///
/// 5.7 for cgroups, 6.6 for interfaces.
pub fn attach(program: BorrowedFd<'_>, target: Target<'_>, hook: Hook) -> io::Result<OwnedFd> {
    let create = LinkCreate {
        program: number(program),
        target: match target {
            Target::Cgroup(directory) => number(directory),
            Target::Interface(index) => index,
        },
        attach_type: hook as u32,
        ..LinkCreate::default()
    };
    // The kernel refuses bytes that it does not know unless they are zero, and before tcx it did
    // not know all of these; they are.
    let descriptor = call(BPF_LINK_CREATE, &create)?;
    // SAFETY: the kernel just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Puts another program into a link, with no moment without one.
pub fn replace(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let update = LinkUpdate {
        link: number(link),
        program: number(program),
        ..LinkUpdate::default()
    };
    call(BPF_LINK_UPDATE, &update)?;
    Ok(())
}

/// The first fields of the kernel's union that name an entry of a map.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct MapEntry {
    map: u32,
    padding: u32,
    key: u64,
}

/// Empties an entry of an array of maps; fine where it is empty. (aya has no call for it.)
pub fn remove_inner_map(outer: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let entry = MapEntry {
        map: number(outer),
        key: (&raw const index) as u64,
        ..MapEntry::default()
    };
    match call(BPF_MAP_DELETE_ELEM, &entry) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map(drop),
    }
}

/// The fields of the kernel's union that load type information.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct TypesLoad {
    types: u64,
    log: u64,
    length: u32,
    log_length: u32,
    log_level: u32,
    padding: u32,
}

/// The fields that make a map, up to its types.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct MapCreate {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
    inner: u32,
    numa_node: u32,
    name: [u8; 16],
    interface: u32,
    types: u32,
    key_type: u32,
    value_type: u32,
}

const _: () = assert!(size_of::<TypesLoad>() == 32 && size_of::<MapCreate>() == 60);

const BPF_MAP_TYPE_ARRAY: u32 = 2;

/// Creates an array with type information, as the arrays of loaded objects have it.
///
/// Linux before 6.2 takes into an array of maps only what is like its template in this as well: without types it knows not whether
/// a value holds a timer, with types that it holds none (`bpf_map_meta_equal`, kernel/bpf/map_in_map.c).
pub fn create_array(value_bytes: u32, entries: u32) -> io::Result<OwnedFd> {
    let types = array_types(value_bytes);
    let load = TypesLoad {
        types: types.as_ptr() as u64,
        length: u32::try_from(types.len()).map_err(io::Error::other)?,
        ..TypesLoad::default()
    };
    // SAFETY: the kernel just opened it for us.
    let loaded = unsafe { OwnedFd::from_raw_fd(call(BPF_BTF_LOAD, &load)?) };
    let create = MapCreate {
        kind: BPF_MAP_TYPE_ARRAY,
        key_bytes: 4,
        value_bytes,
        entries,
        types: number(loaded.as_fd()),
        key_type: KEY_TYPE,
        value_type: VALUE_TYPE,
        ..MapCreate::default()
    };
    let descriptor = call(BPF_MAP_CREATE, &create)?;
    // SAFETY: as above. The map keeps its types.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The types in [`array_types`], which count from one.
const KEY_TYPE: u32 = 1;
const VALUE_TYPE: u32 = 2;

/// Returns the types of a key of 32 bits, and of a value of which nothing is known but its length (include/uapi/linux/btf.h).
fn array_types(value_bytes: u32) -> Vec<u8> {
    const MAGIC: u16 = 0xeb9f;
    const VERSION: u8 = 1;
    const HEADER_BYTES: u32 = 24;
    const KIND_INT: u32 = 1 << 24;
    const KIND_STRUCT: u32 = 4 << 24;
    const NAMES: &[u8] = b"\0u32\0value\0";
    // Each: its name, its kind, its length; of an integer its bits as well.
    let types = [1, KIND_INT, 4, 32, 5, KIND_STRUCT, value_bytes];
    let type_bytes = u32::try_from(size_of_val(&types)).expect("a few words");
    let name_bytes = u32::try_from(NAMES.len()).expect("a few letters");
    let header = [HEADER_BYTES, 0, type_bytes, type_bytes, name_bytes];
    let mut bytes = MAGIC.to_ne_bytes().to_vec();
    bytes.extend([VERSION, 0]);
    bytes.extend(header.into_iter().chain(types).flat_map(u32::to_ne_bytes));
    bytes.extend(NAMES);
    bytes
}

/// Pins an object under a path of a bpffs.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let name = c_path(path)?;
    let pin = ObjectPath {
        path: name.as_ptr() as u64,
        descriptor: number(object),
        flags: 0,
    };
    call(BPF_OBJ_PIN, &pin)?;
    Ok(())
}

/// Opens a pinned object.
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let name = c_path(path)?;
    let get = ObjectPath {
        path: name.as_ptr() as u64,
        ..ObjectPath::default()
    };
    let descriptor = call(BPF_OBJ_GET, &get)?;
    // SAFETY: the kernel just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Returns what the kernel tells of a link.
pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let ask = ObjectInfo {
        descriptor: number(link),
        length: 128,
        info: (&raw mut info) as u64,
    };
    call(BPF_OBJ_GET_INFO_BY_FD, &ask)?;
    Ok(info)
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|source| io::Error::new(io::ErrorKind::InvalidInput, source))
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    u32::try_from(descriptor.as_raw_fd()).expect("an open descriptor is not negative")
}

fn call<T: Copy>(command: libc::c_long, attributes: &T) -> io::Result<i32> {
    // SAFETY: the attributes are a `repr(C)` struct laid out like the head of `union bpf_attr` for
    // this command, and its size is given; what they point to outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

/// An array map of 32-bit values, mapped into memory: entries are read and written without a
/// system call each.
///
/// The map has to be created with `BPF_F_MMAPABLE`.
#[derive(Debug)]
pub struct MappedArray {
    start: NonNull<AtomicU32>,
    length: u32,
    bytes: NonZeroUsize,
}

/// The kernel lays out the values of an array at multiples of eight bytes.
const STRIDE: usize = 2;

impl MappedArray {
    /// Maps an array map of `length` values of four bytes.
    pub fn map(map: impl AsFd, length: u32) -> io::Result<Self> {
        let bytes = (length as usize * STRIDE * size_of::<u32>()).next_multiple_of(page_size());
        let bytes = NonZeroUsize::new(bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an empty array"))?;
        // SAFETY: a new mapping at an address of the kernel's choice; it is unmapped on drop.
        let start = unsafe {
            mmap(
                None,
                bytes,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map,
                0,
            )?
        };
        Ok(Self {
            start: start.cast(),
            length,
            bytes,
        })
    }

    fn entry(&self, index: u32) -> &AtomicU32 {
        assert!(
            index < self.length,
            "index {index} is outside an array of {}",
            self.length
        );
        // SAFETY: inside the mapping, by the assertion and the length that was mapped; aligned,
        // because a mapping starts at a page. The kernel reads the word whole, and so do we.
        unsafe { self.start.add(index as usize * STRIDE).as_ref() }
    }

    /// Returns a value.
    ///
    /// # Panics
    ///
    /// Where the index is not below the length.
    pub fn get(&self, index: u32) -> u32 {
        self.entry(index).load(Ordering::Relaxed)
    }

    /// Sets a value; programs see it at once.
    ///
    /// # Panics
    ///
    /// Where the index is not below the length.
    pub fn set(&self, index: u32, value: u32) {
        self.entry(index).store(value, Ordering::Release);
    }
}

// SAFETY: the mapping is shared memory that is only touched through atomics.
unsafe impl Send for MappedArray {}
// SAFETY: as above.
unsafe impl Sync for MappedArray {}

impl Drop for MappedArray {
    fn drop(&mut self) {
        // SAFETY: mapped in `map` with this length, and no reference outlives `self`.
        if let Err(error) = unsafe { munmap(self.start.cast(), self.bytes.get()) } {
            // Nothing is lost but address space; there is nobody to tell at this level.
            debug_assert!(false, "munmap of our own mapping: {error}");
        }
    }
}

fn page_size() -> usize {
    // SAFETY: no conditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_has_types() {
        assert!(
            nix::unistd::geteuid().is_root(),
            "only root makes maps: run this test as root"
        );
        let array = create_array(64, 512).unwrap();
        // The head of `struct bpf_map_info`, up to the types: see include/uapi/linux/bpf.h.
        let mut info = [0_u32; 20];
        let ask = ObjectInfo {
            descriptor: number(array.as_fd()),
            length: 80,
            info: (&raw mut info) as u64,
        };
        call(BPF_OBJ_GET_INFO_BY_FD, &ask).unwrap();
        assert_eq!(info[0], BPF_MAP_TYPE_ARRAY);
        assert_eq!(info[2..5], [4, 64, 512]);
        let types = [info[16], info[17], info[18]];
        assert_ne!(types[0], 0, "{info:?}");
        assert_eq!(types[1..], [KEY_TYPE, VALUE_TYPE]);
    }

    #[test]
    fn types_are_written_as_the_kernel_reads_them() {
        if cfg!(target_endian = "big") {
            return;
        }
        let mut expected = vec![0x9f, 0xeb, 1, 0];
        let words = [24_u32, 0, 28, 28, 11, 1, 1 << 24, 4, 32, 5, 4 << 24, 64];
        expected.extend(words.into_iter().flat_map(u32::to_le_bytes));
        expected.extend(b"\0u32\0value\0");
        assert_eq!(array_types(64), expected);
    }
}

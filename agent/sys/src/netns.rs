//! Network namespaces.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `SO_NETNS_COOKIE` of include/uapi/asm-generic/socket.h, since 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Runs `work` in a thread of its own that is inside a new network namespace, and returns what it
/// gave and the namespace.
///
/// The namespace lives as long as the returned descriptor, a socket opened by `work`, or a process
/// inside.
pub fn create<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<(OwnedFd, T)> {
    in_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok((current()?, work()))
    })
}

/// Runs `work` in a thread of its own that is inside the given network namespace.
pub fn enter<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    in_thread(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        Ok(work())
    })
}

/// Returns the calling thread's namespace.
pub fn current() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// Returns the namespace of a process.
pub fn of_process(pid: u32) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/{pid}/ns/net"))?.into())
}

/// Returns the cookie of the calling thread's namespace: a number that the kernel gives once and
/// never again until it is booted anew, and that eBPF programs see too.
///
/// # Minimum kernel version
///
/// 5.14.
pub fn cookie() -> io::Result<u64> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .or_else(|_| {
        socket(
            AddressFamily::Inet6,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
    })?;
    let mut cookie = 0_u64;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the socket is open; the kernel writes at most `length` bytes to `cookie`.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if failed == 0 {
        Ok(cookie)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Runs `work` in a thread that ends with it: a thread that has changed its namespace must not go
/// back to a pool.
fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

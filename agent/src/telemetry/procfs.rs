//! What the kernel says of a container's processes outside of its cgroup's own files.

use nix::unistd::{SysconfVar, sysconf};
use std::io;
use weir_sys::directory::Directory;

/// TCP sockets of one network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpSockets {
    /// In use, listening ones included: Mesos counts them so.
    pub(crate) active: u64,
    /// Waiting for late segments of what is over.
    pub(crate) time_wait: u64,
}

/// Reads the TCP sockets of the network namespace that a process is in.
pub(crate) fn read_tcp_sockets(proc: &mut Directory, pid: u32) -> io::Result<TcpSockets> {
    let v4 = parse_tcp_sockets(proc.read(format!("{pid}/net/sockstat"))?, "");
    // Absent on a kernel without IPv6.
    let v6 = proc.read(format!("{pid}/net/sockstat6"));
    let v6 = v6.map_or_else(
        |_| TcpSockets::default(),
        |text| parse_tcp_sockets("", text),
    );
    Ok(TcpSockets {
        active: v4.active.saturating_add(v6.active),
        time_wait: v4.time_wait,
    })
}

fn parse_tcp_sockets(v4: &str, v6: &str) -> TcpSockets {
    let value = |text: &str, line: &str, key: &str| -> u64 {
        text.lines()
            .find_map(|candidate| candidate.strip_prefix(line))
            .and_then(|rest| {
                let mut words = rest.split_ascii_whitespace();
                words.find(|word| *word == key)?;
                words.next()?.parse().ok()
            })
            .unwrap_or(0)
    };
    TcpSockets {
        active: value(v4, "TCP:", "inuse").saturating_add(value(v6, "TCP6:", "inuse")),
        // The kernel counts both families here.
        time_wait: value(v4, "TCP:", "tw"),
    }
}

/// Returns how much memory processes have mapped that belongs to no file, in bytes.
///
/// The stand-in for `memory.current` where the memory controller is not in cgroup v2: two numbers that the
/// kernel keeps, whereas the proportional set size would have it walk through all pages at each scrape. A
/// process that ends meanwhile counts nothing.
pub(crate) fn read_anonymous_bytes(
    proc: &mut Directory,
    pids: impl IntoIterator<Item = i32>,
) -> u64 {
    let page_bytes = sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|bytes| u64::try_from(bytes).ok())
        .expect("the kernel tells its page size");
    pids.into_iter()
        .filter_map(|pid| parse_anonymous_pages(proc.read(format!("{pid}/statm")).ok()?))
        .fold(0, u64::saturating_add)
        .saturating_mul(page_bytes)
}

/// Reads `statm`: of the resident pages, the second number, those that are not shared, the third.
fn parse_anonymous_pages(text: &str) -> Option<u64> {
    let mut numbers = text.split_ascii_whitespace().skip(1);
    let resident: u64 = numbers.next()?.parse().ok()?;
    let shared: u64 = numbers.next()?.parse().ok()?;
    // They are read one after the other.
    Some(resident.saturating_sub(shared))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn proc() -> Directory {
        Directory::open(Path::new("/proc")).unwrap()
    }

    #[test]
    fn both_families_count() {
        let v4 = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 3 alloc 7 mem 1\nUDP: inuse 2 mem 0\n";
        let v6 = "TCP6: inuse 2\nUDP6: inuse 1\n";
        assert_eq!(
            parse_tcp_sockets(v4, v6),
            TcpSockets {
                active: 7,
                time_wait: 3
            }
        );
        assert_eq!(parse_tcp_sockets("", ""), TcpSockets::default());
    }

    #[test]
    fn pages_of_no_file_count() {
        assert_eq!(parse_anonymous_pages("900 50 20 3 0 4 0\n"), Some(30));
        assert_eq!(parse_anonymous_pages("900 20 50 3 0 4 0\n"), Some(0));
        assert_eq!(parse_anonymous_pages("900 fifty 20\n"), None);
        // Enough to be seen above what a kernel counts late.
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let bytes = read_anonymous_bytes(&mut proc(), [nix::unistd::getpid().as_raw(), i32::MAX]);
        assert!(bytes > 32 << 20, "{bytes}");
        drop(held);
    }

    #[test]
    fn this_process_has_sockets() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(
            read_tcp_sockets(&mut proc(), nix::unistd::getpid().as_raw().unsigned_abs())
                .unwrap()
                .active
                > 0
        );
        drop(listener);
    }

    #[test]
    fn any_numbers_of_the_kernel_are_read_as_they_are_printed() {
        bolero::check!()
            .with_type::<([u64; 5], [String; 2])>()
            .with_iterations(1000)
            .for_each(
                |([in_use, in_use6, time_wait, resident, shared], [text, other])| {
                    parse_tcp_sockets(text, other);
                    parse_anonymous_pages(text);
                    let v4 = format!(
                        "sockets: used 9\nTCP: inuse {in_use} orphan 0 tw {time_wait} alloc 7 mem 1\n"
                    );
                    let v6 = format!("TCP6: inuse {in_use6}\nUDP6: inuse 1\n");
                    let expected = TcpSockets {
                        active: in_use.saturating_add(*in_use6),
                        time_wait: *time_wait,
                    };
                    assert_eq!(parse_tcp_sockets(&v4, &v6), expected);
                    assert_eq!(
                        parse_anonymous_pages(&format!("9 {resident} {shared} 1 0 1 0\n")),
                        Some(resident.saturating_sub(*shared))
                    );
                },
            );
    }
}

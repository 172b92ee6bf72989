//! What the kernel says of a container's processes outside of its cgroup's own files.

use std::fs;
use std::io;
use std::path::Path;

/// TCP sockets of one network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpSockets {
    /// In use, listening ones included: Mesos counts them so.
    pub(crate) active: u64,
    /// Waiting for late segments of what is over.
    pub(crate) time_wait: u64,
}

/// Reads the TCP sockets of the network namespace that a process is in.
pub(crate) fn read_tcp_sockets(pid: u32) -> io::Result<TcpSockets> {
    let directory = Path::new("/proc").join(pid.to_string()).join("net");
    let v4 = fs::read_to_string(directory.join("sockstat"))?;
    // Absent on a kernel without IPv6.
    let v6 = fs::read_to_string(directory.join("sockstat6")).unwrap_or_default();
    Ok(parse_tcp_sockets(&v4, &v6))
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

/// Returns the proportional set size of processes: what they would free by ending together.
///
/// The stand-in for `memory.current` where the memory controller is not in cgroup v2. A process
/// that ends meanwhile counts nothing.
pub(crate) fn read_pss_bytes(pids: impl IntoIterator<Item = i32>) -> u64 {
    pids.into_iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| parse_pss_bytes(&text))
        .fold(0, u64::saturating_add)
}

fn parse_pss_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns a value of a file of `name value` lines, such as `memory.stat`.
pub(crate) fn flat_value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_sum_of_shares_is_in_bytes() {
        assert_eq!(
            parse_pss_bytes("x\nRss:  9 kB\nPss:                 12 kB\n"),
            Some(12 * 1024)
        );
        assert_eq!(parse_pss_bytes("Pss: twelve kB\n"), None);
        assert!(read_pss_bytes([nix::unistd::getpid().as_raw(), i32::MAX]) > 0);
    }

    #[test]
    fn this_process_has_sockets() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(
            read_tcp_sockets(nix::unistd::getpid().as_raw().unsigned_abs())
                .unwrap()
                .active
                > 0
        );
        drop(listener);
    }

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        assert_eq!(flat_value("anon_thp 1\nanon 2\n", "anon"), Some(2));
        assert_eq!(flat_value("anon_thp 1\n", "anon"), None);
    }

    #[test]
    fn any_numbers_of_the_kernel_are_read_as_they_are_printed() {
        bolero::check!()
            .with_type::<([u64; 4], [String; 2])>()
            .with_iterations(1000)
            .for_each(|([in_use, in_use6, time_wait, pss], [text, other])| {
                parse_tcp_sockets(text, other);
                parse_pss_bytes(text);
                flat_value(text, other);
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
                    parse_pss_bytes(&format!("Rss: 9 kB\nPss: {pss:>15} kB\nPss_Anon: 1 kB\n")),
                    pss.checked_mul(1024)
                );
                assert_eq!(
                    flat_value(&format!("anon_thp 1\nanon {pss}\n"), "anon"),
                    Some(*pss)
                );
            });
    }
}

//! Which ports the node's own processes have open.
//!
//! TCP is asked of the kernel ([`super::diag`]); the rest, and TCP where the kernel does not answer, is
//! read from `/proc/net`, one line per socket. Sockets of the agent's own network namespace are seen,
//! which is the node's.

use std::fs;
use std::io;
use std::path::Path;

use weir_resources::{PortRange, PortSet};

use super::diag;

/// The tables of TCP sockets, for a kernel without the module that answers for them.
const TCP_TABLES: [&str; 2] = ["tcp", "tcp6"];

/// The tables of all other sockets that have ports; the last two count too, though few know them.
const TABLES: [&str; 4] = ["udp", "udp6", "udplite", "udplite6"];

/// Returns every port that a socket of the node is bound to, listening or connected.
///
/// A connection in TIME_WAIT counts: its port must not be given to somebody else yet.
pub(crate) fn read_ports_in_use() -> io::Result<PortSet> {
    let directory = Path::new("/proc/thread-self/net");
    let mut ranges = match diag::tcp_ports() {
        Ok(ranges) => ranges,
        Err(error) => {
            tracing::debug!(%error, "TCP sockets are read from /proc");
            read_tables(directory, &TCP_TABLES)?
        }
    };
    ranges.extend(read_tables(directory, &TABLES)?);
    Ok(ranges.into_iter().collect())
}

fn read_tables(directory: &Path, tables: &[&str]) -> io::Result<Vec<PortRange>> {
    let mut ranges = Vec::new();
    for table in tables {
        match fs::read_to_string(directory.join(table)) {
            Ok(text) => ranges.extend(local_ports(&text)),
            // A kernel without IPv6 or UDP-Lite has no such table.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ranges)
}

/// Returns the local port of each line of a table.
///
/// `   0: 0100007F:1F90 00000000:0000 0A …`: the second word is address and port in hexadecimal,
/// as net/ipv4/tcp_ipv4.c prints them. The head line has no such word.
fn local_ports(table: &str) -> impl Iterator<Item = PortRange> {
    table.lines().filter_map(|line| {
        let (_, port) = line.split_ascii_whitespace().nth(1)?.rsplit_once(':')?;
        // Port 0 is a socket without a port.
        PortRange::single(u16::from_str_radix(port, 16).ok()?).ok()
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn the_tables_of_the_kernel_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
            0: 00000000:7918 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n   \
            1: 0100007F:A3C2 0100007F:0000 01 00000000:00000000 00:00000000 00000000 0\n   \
            2: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A\n   \
            3: 00000000:0000 00000000:0000 07 00000000:00000000 00:00000000 00000000 0\n";
        let ports: PortSet = local_ports(table).collect();
        assert_eq!(ports.to_string(), "80,31000,41922");
    }

    #[test]
    fn an_open_socket_is_seen() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ports = read_ports_in_use().unwrap();
        assert!(ports.contains(tcp.local_addr().unwrap().port()));
        assert!(ports.contains(udp.local_addr().unwrap().port()));
    }

    #[test]
    fn every_socket_of_the_kernels_lines_is_seen_and_nothing_else() {
        bolero::check!()
            .with_type::<(Vec<(u16, u128, bool)>, String)>()
            .with_iterations(1000)
            .for_each(|(sockets, text)| {
                assert!(local_ports(text).count() <= text.lines().count());
                // net/ipv4/tcp_ipv4.c, get_tcp4_sock(), and net/ipv6/tcp_ipv6.c.
                let lines = sockets
                    .iter()
                    .enumerate()
                    .map(|(index, (port, address, is_v4))| {
                        let address = if *is_v4 {
                            format!("{:08X}", address & 0xffff_ffff)
                        } else {
                            format!("{address:032X}")
                        };
                        format!("{index:4}: {address}:{port:04X} {address}:FFFF 0A 0:0 00:0 0 0\n")
                    });
                let head = "  sl  local_address rem_address   st tx_queue rx_queue\n".to_owned();
                let table: String = std::iter::once(head).chain(lines).collect();
                let read: Vec<u16> = local_ports(&table).map(PortRange::first).collect();
                let bound = sockets
                    .iter()
                    .map(|(port, ..)| *port)
                    .filter(|port| *port > 0);
                assert!(bound.eq(read), "{table}");
            });
    }
}

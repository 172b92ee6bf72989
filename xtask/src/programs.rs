//! What runs in the containers of a demonstration or a soak: where it is, and what it does.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::command::find;
use crate::node::Node;

/// Returns the path of a program that everybody may run, and that a container sees.
///
/// Not the first of the search path: that may be in root's own folder. What `setup` unpacked is
/// where the repository is, which may be there as well, and is copied to where everybody reads.
pub(crate) fn program(node: Node, name: &str) -> Result<String> {
    let installed = ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        .map(|directory| Path::new(directory).join(name))
        .into_iter()
        .find(|path| path.is_file());
    let path = match (installed, find(name)) {
        (Some(path), _) => path,
        (None, Some(found)) => {
            let copy = node.files_directory().join(name);
            fs::copy(&found, &copy)
                .with_context(|| format!("cannot copy {} for containers", found.display()))?;
            copy
        }
        (None, None) => {
            bail!("{name} is not on this machine; run `cargo xtask setup` and see why")
        }
    };
    Ok(path.display().to_string())
}

/// Serves its directory at its first port, over both address families.
///
/// As `python3 -m http.server`, but that looks its own host name up in the DNS before it listens,
/// and where nobody answers it waits for ten seconds.
pub(crate) const FILE_SERVER: &str = "\
import http.server, os, socket, socketserver
class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
port = int(os.environ['WEIR_PORT0'])
Server(('::', port), http.server.SimpleHTTPRequestHandler).serve_forever()
";

/// Tries to listen on the ports that it is given as arguments, and fails unless each is refused;
/// then on its own first port, which must be granted.
pub(crate) const INTRUDER: &str = "\
import errno, os, socket, sys
for port in map(int, sys.argv[1:]):
    for family, any in (socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::'):
        for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
            try:
                socket.socket(family, kind).bind((any, port))
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM): raise
                refusal = error.strerror
            else:
                raise SystemExit(f'bind to {any} port {port} was allowed')
    print(f'bind to {port}: {refusal}, with TCP and UDP, over IPv4 and IPv6')
own = int(os.environ['WEIR_PORT0'])
socket.socket().bind(('0.0.0.0', own))
print(f'bind to {own}: fine, its own')
";

/// Sends packets, and an honest one after them: address, port, from which port, how many. Then it
/// waits, for its counters end with it.
pub(crate) const FORGER: &str = "\
import socket, struct, sys, time
address, port, source, count = sys.argv[1], *map(int, sys.argv[2:])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
for _ in range(count):
    raw.sendto(struct.pack('!HHHH', source, port, 14, 0) + b'forged', (address, 0))
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'honest', (address, port))
time.sleep(60)
";

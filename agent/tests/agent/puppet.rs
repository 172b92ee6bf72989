//! A Python program inside a container that does what it is told, line by line.
//!
//! It listens on a Unix socket in its sandbox, which the test reaches through the file system: no
//! network is needed to speak with it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use weir_agent::container::ContainerView;

use crate::node::{DEADLINE, Node, eventually};

/// The program. What a script prints is the answer; an `OSError` is answered with its name.
const PROGRAM: &str = r#"
import contextlib, ctypes, errno, io, os, socket, struct, subprocess, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind('puppet')
listener.listen(16)
libc = ctypes.CDLL(None, use_errno=True)
def tried(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), 'call')
    return result
names = dict(globals())
while True:
    peer, _ = listener.accept()
    script = b''
    while chunk := peer.recv(65536):
        script += chunk
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            exec(script, names)
    except OSError as error:
        said.write(errno.errorcode.get(error.errno, repr(error)))
    except BaseException as error:
        said.write(repr(error))
    try:
        peer.sendall(said.getvalue().encode())
    except OSError:
        pass
    peer.close()
"#;

/// Python as Debian installs it, which every user can run.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// A container that runs the program.
pub(crate) struct Puppet {
    pub(crate) view: ContainerView,
}

impl Node {
    /// Starts a container that does what it is told.
    pub(crate) fn start_puppet(&self, options: &[&str]) -> Puppet {
        let program = self.files().join("puppet.py");
        fs::write(&program, PROGRAM).unwrap();
        let view = self.start_container(options, &[PYTHON, "-u", "-B", program.to_str().unwrap()]);
        let puppet = Puppet { view };
        eventually("the puppet listens", || {
            UnixStream::connect(puppet.socket()).ok()
        });
        puppet
    }
}

impl Puppet {
    fn socket(&self) -> PathBuf {
        self.view.directory.join("sandbox/puppet")
    }

    /// Lets it run a script, and returns what that printed, or the name of its error.
    pub(crate) fn run(&self, script: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(script.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said.trim_end().to_owned()
    }

    /// Checks what a script prints, or how it fails.
    #[track_caller]
    pub(crate) fn says(&self, script: &str, expected: &str) {
        assert_eq!(self.run(script), expected, "{script}");
    }

    /// Binds a TCP port of every address, and says `ok` or the error.
    pub(crate) fn bind(&self, port: u16) -> String {
        self.run(&format!(
            "s = socket.socket(socket.AF_INET6)\n\
             s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
             s.bind(('::', {port}))\ns.close()\nprint('ok')"
        ))
    }
}

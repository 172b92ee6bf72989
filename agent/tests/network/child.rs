//! A process of its own, because a cgroup holds processes and these tests are threads of one: this
//! very program, run anew, which does what it is told over its standard input.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

use crate::lab::Place;
use crate::talk::{Server, ask_tcp, ask_tcp_much, ask_udp};

/// Set for the child alone.
const CHILD: &str = "WEIR_TEST_CHILD";
/// What its answers begin with, among what the test harness writes.
const ANSWER: &str = "weir-child: ";

pub(crate) struct Child {
    process: Process,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts a process in a place and in a cgroup.
    pub(crate) fn start(place: &Place, cgroup: &Path) -> Self {
        let mut process = place.run(|| {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "child::a_child_does_what_it_is_told",
                    "--nocapture",
                ])
                .env(CHILD, "yes")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        });
        let questions = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        fs::create_dir_all(cgroup).unwrap();
        // It opens no socket before it is asked to, and so none outside of the cgroup.
        fs::write(cgroup.join("cgroup.procs"), process.id().to_string()).unwrap();
        Self {
            process,
            questions,
            answers,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives an order and waits until it is done: what came of it, or the number of the error.
    pub(crate) fn order(&mut self, order: &str) -> Result<String, i32> {
        writeln!(self.questions, "{order}").unwrap();
        let answer = self
            .answers
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once(ANSWER)?.1.to_owned()))
            .expect("the child answers");
        match answer.strip_prefix("error ") {
            Some(number) => Err(number.parse().unwrap()),
            None => Ok(answer),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Does nothing in the run of the tests: it is the other end of [`Child`].
#[test]
fn a_child_does_what_it_is_told() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let mut held = Held::default();
    for order in std::io::stdin().lines() {
        let answer = match obey(&order.unwrap(), &mut held) {
            Ok(answer) => answer,
            Err(error) => format!("error {}", error.raw_os_error().unwrap_or(0)),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{ANSWER}{answer}").unwrap();
        out.flush().unwrap();
    }
}

/// What a child holds from one order to the next.
#[derive(Default)]
struct Held {
    servers: Vec<Server>,
    stream: Option<TcpStream>,
}

fn obey(order: &str, held: &mut Held) -> std::io::Result<String> {
    let words: Vec<&str> = order.split_whitespace().collect();
    let to = |at: usize| words[at].parse::<SocketAddr>().unwrap();
    let seen = match words[0] {
        "bind-tcp" => TcpListener::bind(to(1))?.local_addr()?,
        "bind-udp" => UdpSocket::bind(to(1))?.local_addr()?,
        "ask-tcp" => ask_tcp(to(1))?.0,
        "ask-udp" => ask_udp(to(1), 100)?,
        "ask-much" => ask_tcp_much(to(1), words[2].parse().unwrap())?,
        "serve-tcp" => {
            held.servers.push(Server::tcp(TcpListener::bind(to(1))?));
            to(1)
        }
        "serve-udp" => {
            held.servers.push(Server::udp(UdpSocket::bind(to(1))?));
            to(1)
        }
        "client" => held.servers.pop().expect("a server was started").client(),
        "open" => held
            .stream
            .insert(TcpStream::connect(to(1))?)
            .local_addr()?,
        "say" => {
            let stream = held.stream.as_mut().expect("a connection was opened");
            stream.write_all(words[1].as_bytes())?;
            stream.local_addr()?
        }
        "close" => {
            held.stream = None;
            return Ok("closed".to_owned());
        }
        // Of the thread that obeys, which is all that matters.
        "drop-capability" => {
            let capability = caps::Capability::CAP_NET_BIND_SERVICE;
            caps::drop(None, caps::CapSet::Effective, capability).unwrap();
            return Ok("dropped".to_owned());
        }
        other => panic!("an order that no child knows: {other}"),
    };
    Ok(seen.to_string())
}

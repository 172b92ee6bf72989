//! Serves the socket.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::frame::{self, FrameError};
use super::peer::Doorkeeper;
use super::protocol::{Answer, Fault, FaultKind, Request, Response};
use crate::container::{ContainerHandle, ContainerView, chain};
use crate::telemetry::Telemetry;

/// The most connections: each container may have one that waits for its end, and there is room for
/// people. Further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = weir_abi::SLOTS_MAX as usize + 64;

/// How long a peer may take to send its next request, or to take an answer: a command does both at
/// once, and waits for answers only.
const PEER_PATIENCE: Duration = Duration::from_secs(10);

/// What the socket serves.
#[derive(Clone, Debug)]
pub struct Served {
    /// Containers.
    pub containers: ContainerHandle,
    /// Measurements.
    pub telemetry: Telemetry,
}

/// The socket, being served.
#[derive(Debug)]
pub struct LocalServer {
    path: PathBuf,
    task: JoinHandle<()>,
}

/// Says why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another agent serves it.
    #[error("{} is served by another agent; stop that one, or set [agent] socket", path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket is there.
    #[error("{} is not a socket; remove it, or set [agent] socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot {what} {}", path.display())]
    System {
        /// What was to be done, as a verb.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl LocalServer {
    /// Binds the socket at `path` and starts to serve it.
    ///
    /// `containers` is the cgroup of all containers, by the name that the kernel has for it: who is
    /// below is in a container.
    pub fn spawn(path: &Path, containers: &Path, served: Served) -> Result<Self, ServeError> {
        let system = |what| {
            move |source| ServeError::System {
                what,
                path: path.to_owned(),
                source,
            }
        };
        let keeper = Doorkeeper::new(containers).map_err(system("guard"))?;
        let listener = bind(path)?;
        let task = tokio::spawn(serve(listener, Arc::new(keeper), served));
        Ok(Self {
            path: path.to_owned(),
            task,
        })
    }

    /// Stops to serve, and removes the socket.
    pub fn stop(self) {
        self.task.abort();
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(socket = %self.path.display(), %error, "the socket stays");
        }
    }
}

fn bind(path: &Path) -> Result<UnixListener, ServeError> {
    let system = |what| {
        move |source| ServeError::System {
            what,
            path: path.to_owned(),
            source,
        }
    };
    if let Some(directory) = path.parent()
        && !directory.exists()
    {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(system("create the directory of"))?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ServeError::NotASocket {
                path: path.to_owned(),
            });
        }
        // Left by an agent that was killed; a living one would answer.
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(ServeError::Taken {
                path: path.to_owned(),
            });
        }
        Ok(_) => fs::remove_file(path).map_err(system("remove the former"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system("look at")(error)),
    }
    let listener = UnixListener::bind(path).map_err(system("bind"))?;
    // Between the two only the umask keeps others out; those who slip in are refused by their uid.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(system("protect"))?;
    Ok(listener)
}

async fn serve(listener: UnixListener, keeper: Arc<Doorkeeper>, served: Served) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = Arc::clone(&room)
            .acquire_owned()
            .await
            .expect("we never close the semaphore");
        match listener.accept().await {
            Ok((stream, _)) => {
                let (keeper, served) = (Arc::clone(&keeper), served.clone());
                // Detached: it ends with its connection, and the permit bounds how many there are.
                drop(tokio::spawn(async move {
                    serve_connection(stream, &keeper, &served).await;
                    drop(permit);
                }));
            }
            Err(error) => {
                // Descriptors are short, most likely: connections that end will make room.
                tracing::error!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(mut stream: UnixStream, keeper: &Doorkeeper, served: &Served) {
    if let Err(refusal) = keeper.check(&stream) {
        tracing::warn!(reason = %chain(&refusal), "a peer of the socket is refused");
        let fault = Fault {
            kind: FaultKind::Refused,
            object: "the connection".to_owned(),
            what: refusal.to_string(),
            remedy: "run the command as root, outside of containers".to_owned(),
        };
        respond(&mut stream, &Response::Fault(fault)).await;
        return;
    }
    loop {
        let request = match timeout(PEER_PATIENCE, frame::read(&mut stream)).await {
            Ok(Ok(Some(request))) => request,
            // It is done, or has nothing to say.
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => {
                let fault = Fault {
                    kind: FaultKind::Refused,
                    object: "the request".to_owned(),
                    what: error.to_string(),
                    remedy: "use a weir-agent command of the daemon's own version".to_owned(),
                };
                if respond(&mut stream, &Response::Fault(fault)).await
                    && matches!(error, FrameError::Content(_))
                {
                    // The frame as such was fine, so the next one can be found.
                    continue;
                }
                return;
            }
        };
        let response = tokio::select! {
            response = answer(request, served) => response,
            // A command that was interrupted waits for nothing any more.
            () = closed(&stream) => return,
        };
        if !respond(&mut stream, &response).await {
            return;
        }
    }
}

/// Returns when the peer has closed; what it sends meanwhile stays to be read.
async fn closed(stream: &UnixStream) {
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        // Looked at and not taken. That nothing is there, after all, clears the readiness that the
        // last read left behind.
        let peeked = stream.try_io(Interest::READABLE, || {
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
            Ok(recv(stream.as_raw_fd(), &mut [0], flags)?)
        });
        match peeked {
            Ok(0) => return,
            // The next request came early. It is read after this answer.
            Ok(_) => std::future::pending().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

async fn respond(stream: &mut UnixStream, response: &Response) -> bool {
    match timeout(PEER_PATIENCE, frame::write(stream, response)).await {
        Ok(Ok(())) => true,
        Ok(Err(FrameError::TooLong { bytes })) => {
            let fault = Fault {
                kind: FaultKind::Failed,
                object: "the answer".to_owned(),
                what: format!("it would have {bytes} bytes, which is more than a frame holds"),
                remedy: "ask for one container by name".to_owned(),
            };
            let response = Response::Fault(fault);
            let written = timeout(PEER_PATIENCE, frame::write(stream, &response)).await;
            matches!(written, Ok(Ok(())))
        }
        Ok(Err(_)) | Err(_) => false,
    }
}

async fn answer(request: Request, served: &Served) -> Response {
    let Served {
        containers,
        telemetry,
    } = served;
    let (object, result) = match request {
        Request::Launch(request) => {
            let object = request
                .name
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            let launched = containers.launch(*request).await;
            (
                object,
                launched.map(|view| Answer::Container(Box::new(view))),
            )
        }
        Request::List { all } => {
            let listing = containers.list();
            let shown = listing.iter().filter(|view| all || view.state.is_live());
            let views = shown.map(|view| ContainerView::clone(view)).collect();
            (String::new(), Ok(Answer::Containers(views)))
        }
        Request::Find { name } => {
            let found = containers.find(&name);
            (name, found.map(|view| Answer::Container(Box::new(view))))
        }
        Request::Statistics { name } => match name {
            None => (
                String::new(),
                Ok(Answer::Statistics(telemetry.statistics(None).await)),
            ),
            Some(name) => {
                let found = containers.find(&name);
                let measured = match found {
                    Ok(view) => Ok(Answer::Statistics(
                        telemetry.statistics(Some(view.id)).await,
                    )),
                    Err(error) => Err(error),
                };
                (name, measured)
            }
        },
        Request::Wait { name } => {
            let ended = containers.wait(name.clone()).await;
            (name, ended.map(Answer::Ended))
        }
        Request::Kill { name, kill } => {
            let killed = containers.kill(name.clone(), kill).await;
            (name, killed.map(|()| Answer::Done))
        }
        Request::UpdatePorts { name, ports } => {
            let updated = containers.update_ports(name.clone(), ports).await;
            (name, updated.map(|view| Answer::Container(Box::new(view))))
        }
        Request::UpdateLimits {
            name,
            limits,
            may_kill,
        } => {
            let updated = containers.update_limits(name.clone(), limits, may_kill);
            let updated = updated.await;
            (name, updated.map(|view| Answer::Container(Box::new(view))))
        }
    };
    match result {
        Ok(answer) => Response::Answer(answer),
        Err(error) => Response::Fault(Fault::of(object, &error)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::container::Slot;
    use crate::local::Client;
    use crate::telemetry::{NetworkStatistics, ProgramStatistics, Queues, WireStatistics};

    struct Quiet;

    impl NetworkStatistics for Quiet {
        fn counters(&self, _: Slot) -> Result<weir_abi::Counters, crate::container::NetworkFault> {
            Ok(weir_abi::Counters::default())
        }

        fn rtt(&self, _: Slot) -> Result<weir_abi::RttHistogram, crate::container::NetworkFault> {
            Ok(weir_abi::RttHistogram::default())
        }

        fn queues(&self, _: Slot) -> Result<Queues, crate::container::NetworkFault> {
            Ok(Queues::default())
        }

        fn wire(&self) -> Result<WireStatistics, crate::container::NetworkFault> {
            Ok(WireStatistics::default())
        }

        fn node_counters(&self) -> Result<weir_abi::NodeCounters, crate::container::NetworkFault> {
            Ok(weir_abi::NodeCounters::default())
        }

        fn programs(&self) -> Result<Vec<ProgramStatistics>, crate::container::NetworkFault> {
            Ok(Vec::new())
        }

        fn follow(&self) -> crate::telemetry::FollowStatistics {
            crate::telemetry::FollowStatistics::default()
        }
    }

    /// A server without containers, and what keeps it alive.
    fn serve_at(path: &Path) -> (LocalServer, impl Drop + use<>) {
        assert!(
            nix::unistd::geteuid().is_root(),
            "only root is served: run this test as root"
        );
        let (containers, task) = ContainerHandle::without_task();
        let telemetry = Telemetry::new(containers.clone(), Arc::new(Quiet), "/nonexistent".into());
        let served = Served {
            containers,
            telemetry,
        };
        (
            LocalServer::spawn(path, Path::new("/weir"), served).unwrap(),
            task,
        )
    }

    async fn raw(path: &Path, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Closing with bytes unread resets the connection, behind the answer.
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_request_is_answered_and_a_second_on_the_same_connection() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/agent.sock");
        let (server, _task) = serve_at(&path);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let mut client = Client::connect(&path).await.unwrap();
        for _ in 0..2 {
            let answer = client.ask(&Request::List { all: true }).await.unwrap();
            assert_eq!(answer, Answer::Containers(Vec::new()));
        }
        let error = client
            .ask(&Request::Find {
                name: "web".to_owned(),
            })
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no container web; `weir-agent ps --all` lists those that there are"
        );
        server.stop();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn any_bytes_get_an_answer_and_leave_the_server_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let (server, _task) = serve_at(&path);
        for bytes in [
            b"\xff\xff\xff\xff".as_slice(),
            b"GET / HTTP/1.1\r\n\r\n",
            b"\0\0\0\x02{}",
            b"\0\0\0\x04\xff\xfe\0\0",
            b"\0\0\0\x08{\"x\":",
            b"\0",
        ] {
            let answer = raw(&path, bytes).await;
            assert!(answer.contains("\"refused\""), "{bytes:?}: {answer}");
        }
        assert_eq!(raw(&path, b"").await, "");
        let mut client = Client::connect(&path).await.unwrap();
        client.ask(&Request::List { all: false }).await.unwrap();
        server.stop();
    }

    #[tokio::test]
    async fn a_bad_request_does_not_end_the_connection() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let (server, _task) = serve_at(&path);
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let requests = b"\0\0\0\x02{}\0\0\0\x15{\"list\":{\"all\":true}}";
        stream.write_all(requests).await.unwrap();
        // Not closed before the second answer: a peer that has gone away gets none.
        let wanted = br#"{"answer":{"containers":[]}}"#;
        let (mut answers, mut piece) = (Vec::new(), [0; 1024]);
        while !answers.ends_with(wanted) {
            let read = timeout(PEER_PATIENCE, stream.read(&mut piece)).await;
            let length = read.expect("an answer in time").unwrap();
            assert_ne!(length, 0, "{}", String::from_utf8_lossy(&answers));
            answers.extend_from_slice(&piece[..length]);
        }
        assert!(String::from_utf8_lossy(&answers).contains("\"refused\""));
        server.stop();
    }

    #[tokio::test]
    async fn a_peer_that_goes_away_while_it_waits_is_noticed() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").await.unwrap();
        ours.read_exact(&mut [0]).await.unwrap();
        let early = timeout(Duration::from_millis(50), closed(&ours)).await;
        assert!(early.is_err(), "it is still there");
        let waiting = closed(&ours);
        drop(theirs);
        timeout(PEER_PATIENCE, waiting).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_is_served_is_not_taken_and_one_that_was_left_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let (first, _task) = serve_at(&path);
        let (containers, _second_task) = ContainerHandle::without_task();
        let telemetry = Telemetry::new(containers.clone(), Arc::new(Quiet), "/nonexistent".into());
        let served = Served {
            containers,
            telemetry,
        };
        let taken = LocalServer::spawn(&path, Path::new("/weir"), served.clone()).unwrap_err();
        assert!(matches!(taken, ServeError::Taken { .. }), "{taken}");
        // As if killed: the file stays.
        first.task.abort();
        drop(first.task.await);
        let second = LocalServer::spawn(&path, Path::new("/weir"), served.clone()).unwrap();
        second.stop();
        fs::write(&path, "a file").unwrap();
        let refused = LocalServer::spawn(&path, Path::new("/weir"), served).unwrap_err();
        assert!(
            matches!(refused, ServeError::NotASocket { .. }),
            "{refused}"
        );
    }
}

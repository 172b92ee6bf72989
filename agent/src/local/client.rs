//! The commands' side of the socket.

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::frame::{self, FrameError};
use super::protocol::{Answer, Fault, Request, Response};

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    path: PathBuf,
}

/// Says why the daemon did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "cannot reach the agent at {}; start it with `weir-agent run`, or name its socket with --socket",
        path.display()
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or what came was no answer.
    #[error("the agent at {} did not answer", path.display())]
    Lost {
        /// The socket.
        path: PathBuf,
        /// What happened.
        #[source]
        source: FrameError,
    },
    /// An answer to another question.
    #[error("the agent at {} answered something else; use the weir-agent of its own version", path.display())]
    Mismatch {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon says no.
    #[error("{0}")]
    Fault(Fault),
}

impl Client {
    /// Connects to the daemon at `path`.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            path: path.to_owned(),
            source,
        };
        let stream = UnixStream::connect(path).await.map_err(unreachable)?;
        Ok(Self {
            stream,
            path: path.to_owned(),
        })
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        let lost = |source| ClientError::Lost {
            path: self.path.clone(),
            source,
        };
        let written = frame::write(&mut self.stream, request).await;
        // A daemon that refuses the connection says so and closes, perhaps before it is asked: what
        // it said is there to be read even where writing failed.
        let answer = frame::read(&mut self.stream).await;
        match (written, answer) {
            (_, Ok(Some(Response::Answer(answer)))) => Ok(answer),
            (_, Ok(Some(Response::Fault(fault)))) => Err(ClientError::Fault(fault)),
            (Err(error), _) | (Ok(()), Err(error)) => Err(lost(error)),
            (Ok(()), Ok(None)) => Err(lost(FrameError::Broken(
                io::ErrorKind::UnexpectedEof.into(),
            ))),
        }
    }

    /// Returns the error for an answer to another question.
    pub fn mismatch(&self) -> ClientError {
        ClientError::Mismatch {
            path: self.path.clone(),
        }
    }
}

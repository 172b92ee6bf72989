//! One request over a plain connection: enough to ask whether somebody answers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long one answer may take: everything asked is on the same machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most that is read of an answer: metrics of a thousand containers are a few megabytes.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Returns the body that `address` answers to `GET path` with.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")
        .with_context(|| format!("cannot ask {address}"))?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .with_context(|| format!("{address} does not finish its answer"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("{address} does not answer in HTTP"))?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("{address} answers `{status}` to {path}");
    }
    Ok(body.to_owned())
}

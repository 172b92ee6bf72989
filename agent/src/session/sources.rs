//! Time and randomness, of which the state machine has none of its own.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};
use weir_protocol::UnixMs;

use super::input::Now;
use super::shell::SessionError;

/// Returns what the node's clocks say.
pub(super) fn now() -> Result<Now, SessionError> {
    let since_boot =
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(|errno| SessionError::System {
            what: "the clock since boot",
            source: errno.into(),
        })?;
    let unix = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(Now {
        since_boot: Duration::from(since_boot),
        unix: UnixMs(u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)),
    })
}

/// Random numbers for ids.
pub(super) struct Random(BufReader<File>);

impl Random {
    pub(super) fn open() -> Result<Self, SessionError> {
        const PATH: &str = "/dev/urandom";
        let file =
            File::open(PATH).map_err(|source| SessionError::System { what: PATH, source })?;
        Ok(Self(BufReader::with_capacity(1024, file)))
    }

    pub(super) fn bits(&mut self) -> u128 {
        let mut bytes = [0; 16];
        self.0
            .read_exact(&mut bytes)
            .expect("the kernel gives random bytes for as long as they are asked for");
        u128::from_ne_bytes(bytes)
    }
}

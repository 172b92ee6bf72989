//! What the service manager is told, by `sd_notify(3)`.
//!
//! - [`tell`]: that the daemon is ready, reloads or stops.
//! - [`attend`]: for as long as it runs, that all is well (`WatchdogSec=`), and what `systemctl status` shows.
//!
//! The socket blocks while the manager is busy, so it is written to by a thread that may wait.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long the manager may take to read: one that is stuck must not keep a daemon from its work, or from ending.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the status is looked at: people read it.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// The shortest interval of a watchdog that is kept.
const WATCHDOG_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Held by the thread that tells the manager: one that is stuck costs one thread, and not one per notice.
static TURN: Semaphore = Semaphore::const_new(1);

/// What the manager is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The daemon serves, or has ended a reload.
    Ready,
    /// A reload begins; [`Notice::Ready`] ends it.
    Reloading,
    /// The daemon ends.
    Stopping,
    /// All is well.
    Watchdog,
    /// How things are, in words.
    Status(String),
}

/// Tells the manager; one that does not read is logged. Without a manager there is nobody to tell, and that is no error.
pub async fn tell(notice: Notice) {
    let what = format!("{notice:?}");
    match timeout(PATIENCE, send(notice)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(what, %error, "the service manager cannot be told"),
        Err(_late) => tracing::warn!(
            what,
            waited_ms = PATIENCE.as_millis(),
            remedy = "see whether process 1 hangs; the service works on",
            "the service manager does not read what it is told"
        ),
    }
}

/// Tells the manager, however long it takes.
async fn send(notice: Notice) -> io::Result<()> {
    // Never closed; and if it were, a second thread that waits would do no harm.
    let turn = TURN.acquire().await.ok();
    let sent = tokio::task::spawn_blocking(move || {
        let sent = match &notice {
            Notice::Ready => sd_notify::notify(&[NotifyState::Ready]),
            Notice::Reloading => sd_notify::notify(&[NotifyState::Reloading]),
            Notice::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
            Notice::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
            Notice::Status(text) => sd_notify::notify(&[NotifyState::Status(text)]),
        };
        drop(turn);
        sent
    });
    sent.await.map_err(io::Error::other)?
}

/// Tells the manager how things are, and that all is well for as long as `is_well` says so. It ends where there is no manager;
/// otherwise it is to be aborted.
///
/// `is_well` is given a third of `WatchdogSec=`: `what` does not answer by then is not well.
pub async fn attend<Well, Answer>(
    what: &'static str,
    is_well: Well,
    status: impl Fn() -> String + Send,
) where
    Well: Fn() -> Answer + Send,
    Answer: Future<Output = bool> + Send,
{
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let third =
        sd_notify::watchdog_enabled().map(|patience| (patience / 3).max(WATCHDOG_INTERVAL_MIN));
    let pause = third.unwrap_or(STATUS_INTERVAL).min(STATUS_INTERVAL);
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        ticks.tick().await;
        if let Some(third) = third {
            match timeout(third, is_well()).await {
                Ok(true) => tell(Notice::Watchdog).await,
                Ok(false) | Err(_) => tracing::error!(
                    what,
                    "it does not answer, and the service manager is not told that all is well: it starts the service again"
                ),
            }
        }
        let text = status();
        if text != told {
            tell(Notice::Status(text.clone())).await;
            told = text;
        }
    }
}

//! What the agent shows and whom it believes: loaded once, for the session and for whoever scrapes.
//!
//! ```text
//!   files ──▶ task: loads, as long as it takes ──(watch)──▶ connection to the scheduler
//!                 ▲                                    └──▶ gate of whoever scrapes
//!                 └──(bounded: read them again)── SIGHUP
//! ```
//!
//! An agent starts without credentials as well: its containers are there, and somebody has to look after them. Until
//! the files can be used nobody is connected to and nobody can scrape over TLS, and the log says why.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use weir_transport::credentials::{CannotServe, CredentialError, CredentialFiles};
use weir_transport::scrape::LateCredentials;
use weir_transport::{CredentialWatch, PeerKind, Reloader};

use crate::config::SchedulerConfig;
use crate::container::chain;

/// How long after credentials could not be loaded that is tried again: whoever puts them there does so in
/// seconds or in hours.
const PAUSE: Duration = Duration::from_secs(5);

/// The agent's credentials, as soon as there are any. The task ends with this.
#[derive(Debug)]
pub(crate) struct AgentCredentials {
    late: LateCredentials,
    reload: mpsc::Sender<()>,
}

impl AgentCredentials {
    /// Starts to load them. With `is_scraped` the log says too if they cannot be served with.
    pub(crate) fn spawn(config: &SchedulerConfig, is_scraped: bool) -> Self {
        let (publish, late) = watch::channel(None);
        // One that waits stands for all that were asked for meanwhile.
        let (reload, asked) = mpsc::channel(1);
        let task = LoadTask {
            files: config.files(),
            every: Duration::from_millis(config.reload_ms),
            is_scraped,
            publish,
            asked,
        };
        tokio::spawn(task.run());
        Self { late, reload }
    }

    /// Returns them, once they are there.
    pub(crate) fn late(&self) -> LateCredentials {
        self.late.clone()
    }

    /// Has the files read again, soon; the log says what came of it.
    pub(crate) fn reload(&self) {
        let _full_when_it_is_about_to_happen = self.reload.try_send(());
    }
}

struct LoadTask {
    files: CredentialFiles,
    every: Duration,
    is_scraped: bool,
    publish: watch::Sender<Option<CredentialWatch>>,
    asked: mpsc::Receiver<()>,
}

/// What ends the task: nobody wants the credentials any more.
struct Gone;

impl LoadTask {
    async fn run(mut self) {
        let Ok(reloader) = self.load().await else {
            return;
        };
        self.publish.send_replace(Some(reloader.watch()));
        let mut asked = self.asked;
        let serve_or_wait = async {
            match self.is_scraped {
                true => say_whether_they_serve(reloader.watch()).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = reload_when_asked(&reloader, &mut asked) => {}
            () = serve_or_wait => {}
        }
    }

    /// Loads the files, for as long as it takes.
    async fn load(&mut self) -> Result<Reloader, Gone> {
        let mut said: Option<String> = None;
        loop {
            let loaded = Reloader::spawn(self.files.clone(), vec![PeerKind::Agent], self.every);
            let error: CredentialError = match loaded {
                Ok(reloader) => return Ok(reloader),
                Err(error) => error,
            };
            let text = chain(&error);
            if said.as_ref() != Some(&text) {
                tracing::error!(
                    error = text,
                    remedy = error.remedy(),
                    "the agent cannot show who it is"
                );
                said = Some(text);
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                // At once: whoever asks has just put them there.
                asked = self.asked.recv() => asked.ok_or(Gone)?,
            }
        }
    }
}

/// Reads the files again whenever that is asked for, until nobody can.
async fn reload_when_asked(reloader: &Reloader, asked: &mut mpsc::Receiver<()>) {
    while asked.recv().await.is_some() {
        match reloader.reload().await {
            Ok(()) => tracing::info!("the certificates were read again"),
            Err(error) => {
                tracing::error!(error = %chain(&error), "the former certificates stay in force");
            }
        }
    }
}

/// Says of each certificate that comes into force if nobody can scrape with it.
async fn say_whether_they_serve(mut credentials: CredentialWatch) {
    let mut said: Option<CannotServe> = None;
    loop {
        let current = credentials.borrow_and_update().current.check_serves().err();
        if current != said
            && let Some(error) = &current
        {
            tracing::error!(
                %error,
                remedy = error.remedy(),
                "nobody can scrape the agent; all else goes on"
            );
        }
        said = current;
        if credentials.changed().await.is_err() {
            return;
        }
    }
}

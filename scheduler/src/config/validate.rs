//! What makes a configuration impossible, beyond what its types already refuse.

use std::path::{Component, Path};

use weir_service::log;

use super::Config;

/// The most addresses: each is a socket with buffers and a task of its own.
const LISTEN_MAX: usize = 16;

/// The longest that anything here may take: thirty days. More is a mistaken unit.
const MS_MAX: u64 = 30 * 24 * 3_600_000;

/// The shortest heartbeat: each is a message to every framework.
const HEARTBEAT_MS_MIN: u64 = 1_000;

/// The shortest time to removal: a dead connection is noticed within ten seconds, and whoever starts
/// again needs one or two.
const REMOVAL_MS_MIN: u64 = 15_000;

/// The longest between two looks at the certificates: a revoked peer is closed within five seconds.
const RELOAD_MS_MAX: u64 = 4_000;

/// The shortest between two looks at the certificates: each is a handful of system calls.
const RELOAD_MS_MIN: u64 = 10;

/// The most agents and the most frameworks: what fits the memory of one machine.
const PEERS_MAX: usize = 1_000_000;

/// A value that cannot be, before it is known where in the file it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) table: &'static str,
    pub(super) key: &'static str,
    /// Completes the sentence that begins with table and key.
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Config {
    /// Returns the first thing that is wrong.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        self.check_scheduler()?;
        self.check_tls()?;
        self.check_times()?;
        self.check_counts()?;
        self.check_roles()
    }

    fn check_scheduler(&self) -> Result<(), Invalid> {
        let scheduler = &self.scheduler;
        let count = scheduler.listen.len();
        if count == 0 || count > LISTEN_MAX {
            return Err(invalid(
                "scheduler",
                "listen",
                format!("has {count} addresses"),
                format!("name 1 to {LISTEN_MAX}, for example \"[::]:5151\""),
            ));
        }
        for (index, address) in scheduler.listen.iter().enumerate() {
            if address.port() != 0 && scheduler.listen[..index].contains(address) {
                return Err(invalid(
                    "scheduler",
                    "listen",
                    format!("names {address} twice"),
                    "name each address once",
                ));
            }
        }
        absolute("scheduler", "state_directory", &scheduler.state_directory)?;
        if scheduler.state_directory == Path::new("/") {
            return Err(invalid(
                "scheduler",
                "state_directory",
                "= \"/\" is the root of the file system",
                "use a directory of the scheduler's own, for example /var/lib/weir-scheduler",
            ));
        }
        if scheduler.audit_entries_max == 0 || i64::try_from(scheduler.audit_entries_max).is_err() {
            return Err(invalid(
                "scheduler",
                "audit_entries_max",
                format!("= {} leaves no log to read", scheduler.audit_entries_max),
                "use for example 1000000, which takes some 200 MB",
            ));
        }
        if let Err(error) = log::check_filter(&scheduler.log_filter) {
            return Err(invalid(
                "scheduler",
                "log_filter",
                format!("= {:?} is no filter: {error}", scheduler.log_filter),
                "write a level such as \"info\", or levels by module",
            ));
        }
        Ok(())
    }

    fn check_tls(&self) -> Result<(), Invalid> {
        let tls = &self.tls;
        absolute("tls", "certificate", &tls.certificate)?;
        absolute("tls", "key", &tls.key)?;
        absolute("tls", "authorities", &tls.authorities)?;
        if let Some(revocations) = &tls.revocations {
            absolute("tls", "revocations", revocations)?;
        }
        between(
            "tls",
            "reload_ms",
            tls.reload_ms,
            RELOAD_MS_MIN,
            RELOAD_MS_MAX,
        )
    }

    fn check_times(&self) -> Result<(), Invalid> {
        between("offers", "timeout_ms", self.offers.timeout_ms, 0, MS_MAX)?;
        between(
            "offers",
            "refusal_ms_min",
            self.offers.refusal_ms_min,
            0,
            MS_MAX,
        )?;
        let agents = &self.agents;
        between(
            "agents",
            "removal_ms",
            agents.removal_ms,
            REMOVAL_MS_MIN,
            MS_MAX,
        )?;
        between(
            "agents",
            "return_ms",
            agents.return_ms,
            REMOVAL_MS_MIN,
            MS_MAX,
        )?;
        if agents.return_ms < agents.removal_ms {
            return Err(invalid(
                "agents",
                "return_ms",
                format!(
                    "= {} is less than removal_ms = {}: after a restart of the scheduler agents would have less time than else",
                    agents.return_ms, agents.removal_ms
                ),
                "make it the larger of the two",
            ));
        }
        let frameworks = &self.frameworks;
        between(
            "frameworks",
            "heartbeat_ms",
            frameworks.heartbeat_ms,
            HEARTBEAT_MS_MIN,
            MS_MAX,
        )?;
        between("frameworks", "return_ms", frameworks.return_ms, 0, MS_MAX)
    }

    fn check_counts(&self) -> Result<(), Invalid> {
        let counts = [
            ("agents", "agents_max", self.agents.agents_max),
            (
                "frameworks",
                "frameworks_max",
                self.frameworks.frameworks_max,
            ),
        ];
        for (table, key, count) in counts {
            if !(1..=PEERS_MAX).contains(&count) {
                return Err(invalid(
                    table,
                    key,
                    format!("= {count} is not between 1 and {PEERS_MAX}"),
                    "use a number in between",
                ));
            }
        }
        Ok(())
    }

    fn check_roles(&self) -> Result<(), Invalid> {
        match self
            .roles
            .weights
            .keys()
            .find(|role| !self.roles.knows(role))
        {
            None => Ok(()),
            Some(role) => Err(invalid(
                "roles",
                "weights",
                format!("has one for `{role}`, which is not in known"),
                "add the role to known, or take its weight out",
            )),
        }
    }
}

fn between(
    table: &'static str,
    key: &'static str,
    value: u64,
    least: u64,
    most: u64,
) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(invalid(
        table,
        key,
        format!("= {value} is not between {least} and {most}"),
        "use a number of milliseconds in between",
    ))
}

fn absolute(table: &'static str, key: &'static str, path: &Path) -> Result<(), Invalid> {
    let climbs = path
        .components()
        .any(|component| component == Component::ParentDir);
    let holds_nul = path.as_os_str().as_encoded_bytes().contains(&0);
    if path.is_absolute() && !climbs && !holds_nul {
        return Ok(());
    }
    Err(invalid(
        table,
        key,
        format!("= {:?} is not an absolute path", path.display().to_string()),
        "begin it with / and leave out ..: the daemon has no working directory of its own",
    ))
}

fn invalid(
    table: &'static str,
    key: &'static str,
    what: impl Into<String>,
    remedy: impl Into<String>,
) -> Invalid {
    Invalid {
        table,
        key,
        what: what.into(),
        remedy: remedy.into(),
    }
}

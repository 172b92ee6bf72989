//! What makes the tables about the scheduler, and about what is lent to it, impossible.

use weir_resources::{Attributes, Kind, PortSet, ResourceName, Resources, Value, ValueType};
use weir_transport::Address;

use super::Config;
use super::estimate::EstimatorKind;
use super::validate::{Invalid, absolute, invalid};

/// The most addresses: each is tried for seconds, and one of them should answer soon.
const ADDRESSES_MAX: usize = 16;

/// Shorter is a program that does nothing else, longer is a mistaken unit.
const RETRY_MS_MIN: u64 = 10;
const RETRY_MS_MAX: u64 = 3_600_000;

/// Shorter keeps the disk busy. Longer lets a revoked scheduler go on for too long.
const RELOAD_MS_MIN: u64 = 100;
const RELOAD_MS_MAX: u64 = 4_000;

/// Shorter asks more often than the answer can change, longer is a mistaken unit.
const ESTIMATE_MS_MIN: u64 = 100;
const ESTIMATE_MS_MAX: u64 = 3_600_000;

/// The resources that every node has, and what each is.
const KNOWN: [(ResourceName, ValueType); 6] = [
    (ResourceName::CPUS, ValueType::Scalar),
    (ResourceName::MEM, ValueType::Scalar),
    (ResourceName::DISK, ValueType::Scalar),
    (ResourceName::NETWORK_EGRESS, ValueType::Scalar),
    (ResourceName::NETWORK_INGRESS, ValueType::Scalar),
    (ResourceName::PORTS, ValueType::Ranges),
];

impl Config {
    pub(super) fn check_scheduler(&self) -> Result<(), Invalid> {
        let scheduler = &self.scheduler;
        let of = |key, what: String, remedy: String| invalid("scheduler", key, what, remedy);
        if scheduler.addresses.len() > ADDRESSES_MAX {
            return Err(of(
                "addresses",
                format!("names {} addresses", scheduler.addresses.len()),
                format!("name at most {ADDRESSES_MAX}"),
            ));
        }
        for text in &scheduler.addresses {
            if let Err(error) = text.parse::<Address>() {
                return Err(of(
                    "addresses",
                    format!("holds {text:?}: {}", crate::container::chain(&error)),
                    "write for example \"scheduler.example:5151\" or \"[fd00::1]:5151\"".to_owned(),
                ));
            }
        }
        absolute("scheduler", "certificate", &scheduler.certificate)?;
        absolute("scheduler", "key", &scheduler.key)?;
        absolute("scheduler", "authorities", &scheduler.authorities)?;
        if let Some(revocations) = &scheduler.revocations {
            absolute("scheduler", "revocations", revocations)?;
        }
        let within = |key, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            Err(of(
                key,
                format!("= {value} is not between {min} and {max}"),
                "use a number of milliseconds between the two".to_owned(),
            ))
        };
        within(
            "reload_ms",
            scheduler.reload_ms,
            RELOAD_MS_MIN,
            RELOAD_MS_MAX,
        )?;
        for (key, value) in [
            ("retry_first_ms", scheduler.retry_first_ms),
            ("retry_longest_ms", scheduler.retry_longest_ms),
        ] {
            within(key, value, RETRY_MS_MIN, RETRY_MS_MAX)?;
        }
        if scheduler.retry_longest_ms < scheduler.retry_first_ms {
            return Err(of(
                "retry_longest_ms",
                format!(
                    "= {} is less than retry_first_ms = {}",
                    scheduler.retry_longest_ms, scheduler.retry_first_ms
                ),
                "use at least as much".to_owned(),
            ));
        }
        Ok(())
    }

    pub(super) fn check_resources(&self) -> Result<(), Invalid> {
        let of = |what: String, remedy: String| invalid("resources", "lend", what, remedy);
        let lend: Resources = match self.resources.lend.parse() {
            Ok(lend) => lend,
            Err(error) => {
                return Err(of(
                    format!("is no list of resources: {error}"),
                    "write for example \"cpus:4;mem:8192;disk(db):10240\"".to_owned(),
                ));
            }
        };
        for resource in &lend {
            let (what, remedy) = if resource.kind() == Kind::Revocable {
                ("is revocable", "lend what is idle by [estimate]".to_owned())
            } else if resource.is_checkpointed() {
                (
                    "is made by an operation at run time",
                    "reserve it for a role here, or at run time by `weir reserve`".to_owned(),
                )
            } else if *resource.name() == ResourceName::PORT_BLOCKS {
                (
                    "is counted by the agent itself",
                    "leave it out; [network] ephemeral_ports says how many there are".to_owned(),
                )
            } else {
                continue;
            };
            return Err(of(format!("holds `{resource}`, which {what}"), remedy));
        }
        for (name, wanted) in KNOWN {
            let found = lend.get(name.as_str()).first();
            if let Some(found) = found.map(|resource| resource.value().value_type())
                && found != wanted
            {
                return Err(of(
                    format!("holds `{name}` as {found}; it is {wanted}"),
                    "write for example \"cpus:4;mem:8192;ports:[31000-31999]\"".to_owned(),
                ));
            }
        }
        self.check_lent_ports(&lend)
    }

    /// Refuses to lend ports that no container can have.
    fn check_lent_ports(&self, lend: &Resources) -> Result<(), Invalid> {
        let pool = &self.network.container_ports;
        let of = |what: String| {
            invalid(
                "resources",
                "lend",
                what,
                "lend ports of [network] container_ports, or widen that",
            )
        };
        for resource in lend.get(ResourceName::PORTS.as_str()) {
            let Value::Ranges(ranges) = resource.value() else {
                continue;
            };
            let ports = PortSet::try_from(ranges)
                .map_err(|error| of(format!("holds `{resource}`: {error}")))?;
            let outside = ports.subtract(pool);
            if !outside.is_empty() {
                return Err(of(format!(
                    "holds ports {outside}, and [network] container_ports = \"{pool}\" does not"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn check_attributes(&self) -> Result<(), Invalid> {
        match self.attributes.text.parse::<Attributes>() {
            Ok(_) => Ok(()),
            Err(error) => Err(invalid(
                "attributes",
                "text",
                format!("is no list of attributes: {error}"),
                "write for example \"rack:r7;zone:a\"",
            )),
        }
    }

    pub(super) fn check_estimate(&self) -> Result<(), Invalid> {
        let estimate = &self.estimate;
        let of = |key, what: String, remedy: String| invalid("estimate", key, what, remedy);
        for (key, value) in [
            ("interval_ms", estimate.interval_ms),
            ("ttl_ms", estimate.ttl_ms),
        ] {
            if !(ESTIMATE_MS_MIN..=ESTIMATE_MS_MAX).contains(&value) {
                return Err(of(
                    key,
                    format!("= {value} is not between {ESTIMATE_MS_MIN} and {ESTIMATE_MS_MAX}"),
                    "use a number of milliseconds between the two".to_owned(),
                ));
            }
        }
        // It is renewed when half of its time is over, at the next answer.
        if estimate.ttl_ms / 2 < estimate.interval_ms {
            return Err(of(
                "ttl_ms",
                format!(
                    "= {} is over before an answer every interval_ms = {} renews it",
                    estimate.ttl_ms, estimate.interval_ms
                ),
                "use at least twice the interval".to_owned(),
            ));
        }
        let lend: Resources = match estimate.lend.parse() {
            Ok(lend) => lend,
            Err(error) => {
                return Err(of(
                    "lend",
                    format!("is no list of resources: {error}"),
                    "write for example \"cpus:2;mem:1024\"".to_owned(),
                ));
            }
        };
        if estimate.estimator == EstimatorKind::None && !lend.is_empty() {
            return Err(of(
                "lend",
                format!("= \"{lend}\" is lent by nobody while estimator = \"none\""),
                "set estimator = \"fixed\", or leave it empty".to_owned(),
            ));
        }
        for resource in &lend {
            // A port or an item that is lent twice would be used twice.
            let what = match resource.value().value_type() {
                ValueType::Ranges | ValueType::Set => "which cannot be lent twice",
                ValueType::Scalar if resource.is_checkpointed() || resource.role().is_some() => {
                    "which is reserved"
                }
                ValueType::Scalar => continue,
            };
            return Err(of(
                "lend",
                format!("holds `{resource}`, {what}"),
                "lend unreserved amounts, such as \"cpus:2;mem:1024\"".to_owned(),
            ));
        }
        self.check_lent_amounts(&lend)
    }

    /// Refuses to lend more of what is idle than the configuration says there is.
    fn check_lent_amounts(&self, lend: &Resources) -> Result<(), Invalid> {
        let has = self.resources.checked_lend();
        for resource in lend {
            let name = resource.name().as_str();
            let is_counted = *resource.name() == ResourceName::PORT_BLOCKS;
            // What is found out is held against this when the agent starts.
            if is_counted || has.get(name).is_empty() && self.resources.detect {
                continue;
            }
            let (wanted, there) = (lend.amount(name), has.amount(name));
            if wanted > there {
                return Err(invalid(
                    "estimate",
                    "lend",
                    format!(
                        "lends {wanted} of `{name}` that may be idle, and [resources] lend has {there}"
                    ),
                    "lend at most what there is",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the whole complaint about a change.
    fn complaint(change: impl FnOnce(&mut Config)) -> Option<String> {
        let mut config = Config::default();
        change(&mut config);
        let invalid = config.check().err()?;
        Some(format!(
            "[{}] {} {}; {}",
            invalid.table, invalid.key, invalid.what, invalid.remedy
        ))
    }

    fn lend(text: &str) -> Option<String> {
        complaint(|c| c.resources.lend = text.to_owned())
    }

    #[test]
    fn resources_that_a_node_can_have_are_taken() {
        for text in [
            "",
            "cpus:4;mem:1024",
            "cpus:4;cpus(db):2;disk(db):100;ports:[31000-31009];ports(web):[31010-31010]",
            "gpus:2;zones:{a,b}",
        ] {
            assert_eq!(lend(text), None, "{text}");
        }
    }

    #[test]
    fn resources_that_no_node_can_have_are_refused() {
        for (text, says) in [
            ("cpus", "position"),
            ("cpus:-1", "position"),
            ("cpus{REV}:1", "revocable"),
            ("cpus(db, alice):1", "by an operation"),
            ("disk(db)[a:b:rw]:1", "by an operation"),
            ("port_blocks:3", "counted by the agent"),
            ("network_egress:{a}", "`network_egress`"),
            ("cpus:[1-2]", "`cpus`"),
            ("ports:3", "`ports`"),
        ] {
            let complaint = lend(text).unwrap();
            assert!(complaint.starts_with("[resources] lend "), "{complaint}");
            assert!(complaint.contains(says), "{complaint} does not say {says}");
        }
    }

    #[test]
    fn ports_outside_of_the_pool_are_refused_with_both() {
        assert_eq!(
            lend("ports:[31990-32010]").unwrap(),
            "[resources] lend holds ports 32000-32010, and [network] container_ports = \
             \"31000-31999\" does not; lend ports of [network] container_ports, or widen that"
        );
        assert!(lend("ports:[0-1]").unwrap().contains("not all ports"));
        assert!(lend("ports(db):[70000-70000]").is_some());
    }

    #[test]
    fn attributes_are_refused_where_they_are_wrong() {
        let attributes = |text: &str| complaint(|c| c.attributes.text = text.to_owned());
        assert_eq!(attributes("rack:r7;cores:8;vlans:[1-2]"), None);
        let refused = attributes("rack:{a,b}").unwrap();
        assert!(
            refused.starts_with("[attributes] text is no list"),
            "{refused}"
        );
    }

    #[test]
    fn an_estimate_lends_amounts_that_there_are() {
        let fixed = |has: &str, text: &str| {
            complaint(|c| {
                c.resources.lend = has.to_owned();
                c.estimate.estimator = EstimatorKind::Fixed;
                c.estimate.lend = text.to_owned();
            })
        };
        assert_eq!(fixed("", "cpus:2;mem:1024"), None);
        assert_eq!(fixed("cpus:2", "cpus:2"), None);
        assert_eq!(fixed("cpus:2", "cpus:1;port_blocks:3"), None);
        assert_eq!(
            fixed("cpus:2", "cpus:3").unwrap(),
            "[estimate] lend lends 3 of `cpus` that may be idle, and [resources] lend has 2; \
             lend at most what there is"
        );
        for text in ["ports:[31000-31001]", "cpus(db):1", "zones:{a}"] {
            assert!(fixed("", text).is_some(), "{text}");
        }
        let unused = complaint(|c| c.estimate.lend = "cpus:1".to_owned()).unwrap();
        assert!(unused.contains("estimator = \"none\""), "{unused}");
    }

    #[test]
    fn an_estimate_outlives_the_wait_for_the_next() {
        let times = |interval, ttl| {
            complaint(|c| {
                c.estimate.interval_ms = interval;
                c.estimate.ttl_ms = ttl;
            })
        };
        assert_eq!(times(1000, 2000), None);
        let refused = times(1000, 1999).unwrap();
        assert!(
            refused.contains("1999") && refused.contains("1000"),
            "{refused}"
        );
        assert!(times(0, 1000).is_some());
    }

    #[test]
    fn a_scheduler_is_somewhere_and_is_asked_again_ever_later() {
        let with = |text: &str| complaint(|c| c.scheduler.addresses = vec![text.to_owned()]);
        for text in ["weir.example:5151", "10.0.0.1:5151", "[fd00::1]:5151"] {
            assert_eq!(with(text), None, "{text}");
        }
        for text in ["", "weir.example", "fd00::1:5151", "weir.example:0"] {
            let refused = with(text).unwrap();
            assert!(
                refused.starts_with("[scheduler] addresses holds"),
                "{refused}"
            );
        }
        let refused = complaint(|c| c.scheduler.retry_longest_ms = 500).unwrap();
        assert!(
            refused.contains("500") && refused.contains("1000"),
            "{refused}"
        );
        assert!(complaint(|c| c.scheduler.certificate = "agent.pem".into()).is_some());
        assert!(complaint(|c| c.scheduler.reload_ms = 60_000).is_some());
    }
}

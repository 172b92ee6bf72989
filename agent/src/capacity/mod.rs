//! What the node lends to the scheduler: what is configured, and what is found out where it is not.
//!
//! 1. [`Found::look`] asks the node: cores, memory, the disk of the state directory.
//! 2. [`capacity`], pure, puts together what `[resources]` names and what was found of the rest. What
//!    cannot be lent is an error that names both numbers.
//!
//! The rules are Mesos', less two of its defects: a resource counts as named when it is, and not when
//! its name stands inside of another's; and what does not fit is refused instead of forgotten.

mod found;

use std::fmt;

use weir_resources::{
    AddError, Amount, BitRate, PortSet, Ranges, Resource, ResourceName, Resources, Value,
};

use crate::config::Config;

pub use found::{Found, FoundError};

/// Below this much memory half of it is lent, from it on all but [`MEMORY_KEPT_MIB`].
const MEMORY_LARGE_MIB: u64 = 2048;

/// What the node keeps of its memory.
const MEMORY_KEPT_MIB: u64 = 1024;

/// Below this much disk half of it is lent, from it on all but [`DISK_KEPT_MIB`].
const DISK_LARGE_MIB: u64 = 10 * 1024;

/// What the node keeps of its disk.
const DISK_KEPT_MIB: u64 = 5 * 1024;

/// Says why the node cannot lend what is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapacityError {
    /// Nothing to lend.
    #[error("[resources] lends nothing")]
    Nothing,
    /// What is named does not fit beside what was found.
    #[error("what [resources] lends cannot be together on one node")]
    Together(#[from] AddError),
    /// Bandwidth of which it is not known whether it is there.
    #[error(
        "[resources] lends {wanted} Mbit/s of `{name}`, and it is not known what the uplinks carry"
    )]
    RateUnknown {
        /// The resource.
        name: ResourceName,
        /// What is to be lent.
        wanted: Amount,
    },
    /// More bandwidth than there is.
    #[error("[resources] lends {wanted} Mbit/s of `{name}`, and containers can be given {there}")]
    Rate {
        /// The resource.
        name: ResourceName,
        /// What is to be lent.
        wanted: Amount,
        /// What there is.
        there: Amount,
    },
    /// More lent of what is idle than there is.
    #[error(
        "[estimate] lends {wanted} of `{name}` that may be idle, and the node lends {there} of it in all"
    )]
    Estimate {
        /// The resource.
        name: ResourceName,
        /// What is to be lent.
        wanted: Amount,
        /// What there is.
        there: Amount,
    },
}

impl CapacityError {
    /// Returns what to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Nothing => "name something in [resources] lend, or set detect = true",
            Self::Together(_) => "name each resource of [resources] lend with one type",
            Self::RateUnknown { .. } => {
                "name it in [bandwidth] egress and ingress, or leave the resource out"
            }
            Self::Rate { .. } => {
                "lend less; [bandwidth] says what the uplinks carry and what the node keeps"
            }
            Self::Estimate { .. } => "lower [estimate] lend, or name more in [resources] lend",
        }
    }
}

/// Returns all that the node lends before any operation.
pub fn capacity(config: &Config, found: &Found) -> Result<Resources, CapacityError> {
    let named = config.resources.checked_lend();
    let mut all: Vec<Resource> = named.iter().cloned().collect();
    if config.resources.detect {
        let is_named = |name: &ResourceName| !named.get(name.as_str()).is_empty();
        let detected = detected(found, &config.network.container_ports);
        all.extend(
            detected
                .into_iter()
                .filter(|resource| !is_named(resource.name())),
        );
    }
    if all.is_empty() {
        return Err(CapacityError::Nothing);
    }
    let capacity = Resources::collect(all)?;
    check_estimate(config, &capacity)?;
    check_rate(&capacity, ResourceName::NETWORK_EGRESS, found.egress)?;
    check_rate(&capacity, ResourceName::NETWORK_INGRESS, found.ingress)?;
    Ok(capacity)
}

/// What is lent is enforced, so there has to be as much.
fn check_rate(
    capacity: &Resources,
    name: ResourceName,
    found: Option<BitRate>,
) -> Result<(), CapacityError> {
    let wanted = capacity.amount(name.as_str());
    match found.map(BitRate::amount) {
        _ if wanted.is_zero() => Ok(()),
        None => Err(CapacityError::RateUnknown { name, wanted }),
        Some(there) if wanted > there => Err(CapacityError::Rate {
            name,
            wanted,
            there,
        }),
        Some(_) => Ok(()),
    }
}

fn check_estimate(config: &Config, capacity: &Resources) -> Result<(), CapacityError> {
    let lend = config.estimate.checked_lend();
    for (name, wanted) in lend.scalars() {
        let there = capacity.amount(name.as_str());
        if *name != ResourceName::PORT_BLOCKS && wanted > there {
            return Err(CapacityError::Estimate {
                name: name.clone(),
                wanted,
                there,
            });
        }
    }
    Ok(())
}

/// Returns what the node lends where nobody says otherwise; what there is none of is left out.
fn detected(found: &Found, ports: &PortSet) -> Vec<Resource> {
    let Found {
        cores,
        memory_mib,
        disk_mib,
        egress,
        ingress,
    } = *found;
    let less = |all: u64, large: u64, kept: u64| {
        if all >= large { all - kept } else { all / 2 }
    };
    let amounts = [
        (ResourceName::CPUS, cores),
        (
            ResourceName::MEM,
            less(memory_mib, MEMORY_LARGE_MIB, MEMORY_KEPT_MIB),
        ),
        (
            ResourceName::DISK,
            less(disk_mib, DISK_LARGE_MIB, DISK_KEPT_MIB),
        ),
    ];
    let amounts = amounts
        .into_iter()
        .filter_map(|(name, amount)| Some((name, Value::Scalar(Amount::from_whole(amount)?))));
    let rates = [
        (ResourceName::NETWORK_EGRESS, egress),
        (ResourceName::NETWORK_INGRESS, ingress),
    ];
    let rates = rates
        .into_iter()
        .filter_map(|(name, rate)| Some((name, Value::Scalar(rate?.amount()))));
    let ports = (ResourceName::PORTS, Value::Ranges(Ranges::from(ports)));
    amounts
        .chain(rates)
        .chain([ports])
        .filter_map(|(name, value)| Resource::new(name, value).ok())
        .collect()
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cores,
            memory_mib,
            disk_mib,
            egress,
            ingress,
        } = self;
        write!(
            f,
            "{cores} cores, {memory_mib} MiB of memory, {disk_mib} MiB of disk"
        )?;
        for (what, rate) in [("sends", egress), ("receives", ingress)] {
            match rate {
                Some(rate) => write!(f, ", {what} {rate}")?,
                None => write!(f, ", {what} nobody knows how much")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EstimatorKind;

    const LARGE: Found = Found {
        cores: 8,
        memory_mib: 16_000,
        disk_mib: 100_000,
        egress: None,
        ingress: None,
    };

    fn lend(text: &str, detect: bool, found: &Found) -> Result<String, CapacityError> {
        let mut config = Config::default();
        config.resources.lend = text.to_owned();
        config.resources.detect = detect;
        capacity(&config, found).map(|resources| resources.to_string())
    }

    #[test]
    fn what_is_not_named_is_found_out() {
        assert_eq!(
            lend("", true, &LARGE).unwrap(),
            "cpus:8; disk:94880; mem:14976; ports:[31000-31999]"
        );
        assert_eq!(
            lend("cpus(db):2;gpus:1", true, &LARGE).unwrap(),
            "cpus(db):2; disk:94880; gpus:1; mem:14976; ports:[31000-31999]"
        );
        // In Mesos a name inside of another hides it.
        assert!(
            lend("cpus:1;reports:2", true, &LARGE)
                .unwrap()
                .contains("ports:[31000-31999]")
        );
        assert_eq!(lend("cpus:0.5", false, &LARGE).unwrap(), "cpus:0.5");
    }

    #[test]
    fn a_small_node_keeps_half_for_itself() {
        let small = Found {
            cores: 1,
            memory_mib: 2047,
            disk_mib: 10_239,
            ..LARGE
        };
        assert_eq!(
            lend("", true, &small).unwrap(),
            "cpus:1; disk:5119; mem:1023; ports:[31000-31999]"
        );
        let border = Found {
            cores: 1,
            memory_mib: 2048,
            disk_mib: 10_240,
            ..LARGE
        };
        assert_eq!(
            lend("", true, &border).unwrap(),
            "cpus:1; disk:5120; mem:1024; ports:[31000-31999]"
        );
    }

    #[test]
    fn bandwidth_is_lent_as_far_as_it_is_known() {
        let known = Found {
            egress: "990mbit".parse().ok(),
            ingress: "1gbit".parse().ok(),
            ..LARGE
        };
        assert_eq!(
            lend("cpus:1;mem:1;disk:1;ports:[31000-31000]", true, &known).unwrap(),
            "cpus:1; disk:1; mem:1; network_egress:990; network_ingress:1000; ports:[31000-31000]"
        );
        let half = lend("network_egress(db):500", false, &known);
        assert_eq!(half.unwrap(), "network_egress(db):500");
        let error = lend("network_egress:991", false, &known).unwrap_err();
        assert!(
            error.to_string().contains("991") && error.to_string().contains("990"),
            "{error}"
        );
        let error = lend("network_ingress:1", false, &LARGE).unwrap_err();
        assert!(error.remedy().contains("[bandwidth] egress"), "{error}");
    }

    #[test]
    fn a_node_that_lends_nothing_needs_no_scheduler() {
        assert_eq!(lend("", false, &LARGE), Err(CapacityError::Nothing));
    }

    #[test]
    fn more_than_was_found_cannot_be_idle() {
        let mut config = Config::default();
        config.estimate.estimator = EstimatorKind::Fixed;
        config.estimate.lend = "cpus:9".to_owned();
        let error = capacity(&config, &LARGE).unwrap_err();
        assert_eq!(
            error.to_string(),
            "[estimate] lends 9 of `cpus` that may be idle, and the node lends 8 of it in all"
        );
    }
}

//! What becomes of the limits of a container that runs.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weir_resources::BitRate;

use super::bandwidth::{Bandwidth, ShareWeight};
use super::io_limit::{IoLimit, IoWeight};
use super::limits::{Limits, MemoryBytes, MilliCpus, ProcessCount, SwapBytes};

/// What a limit is called that is no longer to be.
const LIFTED: &str = "none";

/// What becomes of each limit of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adjustment {
    /// The most CPU time per second.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub cpus: Setting<MilliCpus>,
    /// The most memory.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub memory: Setting<MemoryBytes>,
    /// Beyond how much memory it is slowed down.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub memory_high: Setting<MemoryBytes>,
    /// How much of its memory is taken from it last.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub memory_low: Setting<MemoryBytes>,
    /// How much of it may be swapped out.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub swap: Setting<SwapBytes>,
    /// The most processes and threads.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub pids: Setting<ProcessCount>,
    /// Its part of devices that others want as well.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub io_weight: Setting<IoWeight>,
    /// The most that it may do with devices: those that are not named are not limited afterwards.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub io_max: Setting<Vec<IoLimit>>,
    /// What it can send to the wire at any time.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub egress_min: Setting<BitRate>,
    /// The most that it sends.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub egress_max: Setting<BitRate>,
    /// The most that it receives.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub ingress_max: Setting<BitRate>,
    /// Its part of what is idle on the wire.
    #[serde(skip_serializing_if = "Setting::is_kept")]
    pub weight: Setting<ShareWeight>,
}

/// What becomes of one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// There is none afterwards.
    Lift,
    /// It is this afterwards.
    To(T),
}

impl Adjustment {
    /// Returns the limits afterwards.
    pub(crate) fn applied_to(&self, limits: &Limits) -> Limits {
        let Self {
            cpus,
            memory,
            memory_high,
            memory_low,
            swap,
            pids,
            io_weight,
            io_max,
            egress_min,
            egress_max,
            ingress_max,
            weight,
        } = self;
        let bandwidth = limits.bandwidth;
        let devices = Some(limits.io_max.clone());
        Limits {
            cpus: cpus.applied_to(limits.cpus),
            memory: memory.applied_to(limits.memory),
            memory_high: memory_high.applied_to(limits.memory_high),
            memory_low: memory_low.applied_to(limits.memory_low),
            swap: swap.applied_to(limits.swap),
            pids: pids.applied_to(limits.pids),
            io_weight: io_weight.applied_to(limits.io_weight),
            io_max: io_max.applied_to(devices).unwrap_or_default(),
            bandwidth: Bandwidth {
                egress_min: egress_min.applied_to(bandwidth.egress_min),
                egress_max: egress_max.applied_to(bandwidth.egress_max),
                ingress_max: ingress_max.applied_to(bandwidth.ingress_max),
                weight: weight.applied_to(bandwidth.weight),
            },
        }
    }
}

impl<T: Clone> Setting<T> {
    fn applied_to(&self, limit: Option<T>) -> Option<T> {
        match self {
            Self::Keep => limit,
            Self::Lift => None,
            Self::To(limit) => Some(limit.clone()),
        }
    }
}

impl<T> Setting<T> {
    fn is_kept(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<T: FromStr> FromStr for Setting<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == LIFTED {
            Ok(Self::Lift)
        } else {
            text.parse().map(Self::To)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays_and_what_is_lifted_goes() {
        let limits = Limits {
            cpus: "2".parse().ok(),
            memory: "64M".parse().ok(),
            memory_high: "48M".parse().ok(),
            memory_low: "16M".parse().ok(),
            swap: "0".parse().ok(),
            pids: "512".parse().ok(),
            io_weight: "50".parse().ok(),
            io_max: vec!["8:0:rbps=1M".parse().unwrap()],
            bandwidth: Bandwidth {
                egress_min: "1mbit".parse().ok(),
                egress_max: "2mbit".parse().ok(),
                ingress_max: "3mbit".parse().ok(),
                weight: "4".parse().ok(),
            },
        };
        assert_eq!(Adjustment::default().applied_to(&limits), limits);
        let all = Adjustment {
            cpus: Setting::Lift,
            memory: Setting::Lift,
            memory_high: Setting::Lift,
            memory_low: Setting::Lift,
            swap: Setting::Lift,
            pids: Setting::Lift,
            io_weight: Setting::Lift,
            io_max: Setting::Lift,
            egress_min: Setting::Lift,
            egress_max: Setting::Lift,
            ingress_max: Setting::Lift,
            weight: Setting::Lift,
        };
        assert!(all.applied_to(&limits).is_empty());
        let some = Adjustment {
            cpus: "none".parse().unwrap(),
            memory: "128M".parse().unwrap(),
            pids: "64".parse().unwrap(),
            ..Adjustment::default()
        };
        let expected = Limits {
            cpus: None,
            memory: "128M".parse().ok(),
            pids: "64".parse().ok(),
            ..limits.clone()
        };
        assert_eq!(some.applied_to(&limits), expected);
    }

    #[test]
    fn what_is_neither_an_amount_nor_none_is_refused() {
        for text in ["", "None", "max", "-1", "0.001"] {
            assert!(text.parse::<Setting<MilliCpus>>().is_err(), "{text}");
        }
    }
}

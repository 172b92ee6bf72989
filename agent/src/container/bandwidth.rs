//! What a container may use of the network.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weir_executor::spec::NetworkMode;
use weir_resources::{Amount, BitRate};

use super::cgroups::Enforcement;
use super::error::Refusal;
use super::facilities::NetworkCapacity;

/// The part of the network that is one container's; what is not limited is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bandwidth {
    /// What it can send to the wire at any time, whatever the others do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_min: Option<BitRate>,
    /// The most that it sends: to the wire, to neighbours and to the node, together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_max: Option<BitRate>,
    /// The most that it receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_max: Option<BitRate>,
    /// Its part of what is idle on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<ShareWeight>,
}

impl Bandwidth {
    /// Returns whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the options by which it is asked for.
    fn options(&self) -> impl Iterator<Item = &'static str> {
        // Destructured so that a new limit is a compile error here.
        let Self {
            egress_min,
            egress_max,
            ingress_max,
            weight,
        } = self;
        let asked = [
            (egress_min.is_some(), "--egress-min"),
            (egress_max.is_some(), "--egress-max"),
            (ingress_max.is_some(), "--ingress-max"),
            (weight.is_some(), "--weight"),
        ];
        asked
            .into_iter()
            .filter_map(|(is_asked, option)| is_asked.then_some(option))
    }

    /// Checks what does not depend on the node.
    pub(crate) fn check(
        &self,
        network: NetworkMode,
        capabilities: &[String],
    ) -> Result<(), Refusal> {
        if let (Some(min), Some(max)) = (self.egress_min, self.egress_max)
            && min > max
        {
            return Err(Refusal::EgressMinimum { min, max });
        }
        let Some(option) = self.options().next() else {
            return Ok(());
        };
        if network == NetworkMode::Host {
            return Err(Refusal::RateOnHostNetwork { option });
        }
        if capabilities.iter().any(|name| name == "NET_ADMIN") {
            return Err(Refusal::RateBesideNetAdmin { option });
        }
        Ok(())
    }

    /// Returns whether all of it holds on a node that can do `capacity`, where other containers are promised `promised` Mbit/s; or refuses
    /// it.
    pub(crate) fn check_capacity(
        &self,
        capacity: &NetworkCapacity,
        promised: Amount,
        allow_unenforced: bool,
    ) -> Result<Enforcement, Refusal> {
        let NetworkCapacity {
            egress_min,
            egress_max,
            ingress_max,
        } = capacity;
        let minimum = egress_min.as_ref().err();
        let asked = [
            (self.egress_min.is_some(), "--egress-min", minimum),
            (self.weight.is_some(), "--weight", minimum),
            (
                self.egress_max.is_some(),
                "--egress-max",
                egress_max.as_ref().err(),
            ),
            (
                self.ingress_max.is_some(),
                "--ingress-max",
                ingress_max.as_ref().err(),
            ),
        ];
        let mut enforcement = Enforcement::Full;
        for (is_asked, option, missing) in asked {
            let Some(reason) = missing.filter(|_| is_asked) else {
                continue;
            };
            if !allow_unenforced {
                let reason = reason.clone();
                return Err(Refusal::RateUnenforceable { option, reason });
            }
            enforcement = Enforcement::Lacking;
        }
        if let (Some(wanted), Ok(all)) = (self.egress_min, egress_min) {
            let together = promised.checked_add(wanted.amount());
            if together.is_none_or(|together| together > all.amount()) {
                let all = *all;
                return Err(Refusal::EgressPromised {
                    wanted,
                    promised,
                    all,
                });
            }
        }
        Ok(enforcement)
    }
}

/// A part of what is idle, in proportion to the parts of others who want it as well: 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct ShareWeight(NonZeroU16);

impl ShareWeight {
    /// What a container has of which nothing else is said.
    pub const DEFAULT: Self = Self(NonZeroU16::new(10).unwrap());
    /// The smallest: what a task has that runs on what others leave.
    pub const MIN: Self = Self(NonZeroU16::MIN);
    /// The largest.
    pub const MAX: u16 = 1000;

    /// Returns the weight, if it is one.
    pub fn new(weight: u16) -> Option<Self> {
        NonZeroU16::new(weight)
            .filter(|weight| weight.get() <= Self::MAX)
            .map(Self)
    }

    /// Returns the number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// Says why a text is not a weight.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be a weight; it is a whole number from 1 to {max}", max = ShareWeight::MAX)]
pub struct NotAWeight(String);

impl FromStr for ShareWeight {
    type Err = NotAWeight;

    fn from_str(text: &str) -> Result<Self, NotAWeight> {
        // As it is printed: the standard library reads `+5` and `005` as well.
        text.parse()
            .ok()
            .and_then(Self::new)
            .filter(|weight| weight.to_string() == text)
            .ok_or_else(|| NotAWeight(text.to_owned()))
    }
}

impl fmt::Display for ShareWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u16> for ShareWeight {
    type Error = NotAWeight;

    fn try_from(weight: u16) -> Result<Self, NotAWeight> {
        Self::new(weight).ok_or_else(|| NotAWeight(weight.to_string()))
    }
}

impl From<ShareWeight> for u16 {
    fn from(weight: ShareWeight) -> Self {
        weight.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Option<BitRate> {
        Some(text.parse().unwrap())
    }

    fn capacity() -> NetworkCapacity {
        NetworkCapacity {
            egress_min: Ok("90mbit".parse().unwrap()),
            egress_max: Ok(()),
            ingress_max: Ok(()),
        }
    }

    #[test]
    fn a_minimum_fits_below_the_most_and_beside_what_others_were_promised() {
        let wanted = |min, max| Bandwidth {
            egress_min: rate(min),
            egress_max: rate(max),
            ..Bandwidth::default()
        };
        let check = |bandwidth: Bandwidth| bandwidth.check(NetworkMode::Isolated, &[]);
        check(wanted("50mbit", "50mbit")).unwrap();
        let refusal = check(wanted("51mbit", "50mbit")).unwrap_err();
        assert!(refusal.to_string().contains("51mbit"), "{refusal}");
        let promised = Amount::from_whole(40).unwrap();
        let beside = |bandwidth: Bandwidth| bandwidth.check_capacity(&capacity(), promised, false);
        assert_eq!(
            beside(wanted("50mbit", "1gbit")).unwrap(),
            Enforcement::Full
        );
        let refusal = beside(wanted("50.001mbit", "1gbit")).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "--egress-min 50.001mbit cannot be promised: containers are promised 40 Mbit/s of the 90mbit that there are for them"
        );
    }

    #[test]
    fn who_could_lift_it_or_has_no_link_is_not_held() {
        let all = Bandwidth {
            egress_min: rate("1mbit"),
            egress_max: rate("2mbit"),
            ingress_max: rate("2mbit"),
            weight: ShareWeight::new(3),
        };
        let admin = ["NET_ADMIN".to_owned()];
        assert!(matches!(
            all.check(NetworkMode::Isolated, &admin),
            Err(Refusal::RateBesideNetAdmin {
                option: "--egress-min"
            })
        ));
        assert!(matches!(
            all.check(NetworkMode::Host, &[]),
            Err(Refusal::RateOnHostNetwork { .. })
        ));
        for nothing in [NetworkMode::Isolated, NetworkMode::Host] {
            Bandwidth::default().check(nothing, &admin).unwrap();
        }
    }

    #[test]
    fn what_the_node_cannot_do_is_refused_or_told() {
        let node = NetworkCapacity {
            egress_min: Err("nobody knows".to_owned()),
            ..capacity()
        };
        let weight = Bandwidth {
            weight: ShareWeight::new(3),
            ..Bandwidth::default()
        };
        let refusal = weight
            .check_capacity(&node, Amount::ZERO, false)
            .unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "this node cannot enforce --weight: nobody knows"
        );
        let allowed = weight.check_capacity(&node, Amount::ZERO, true).unwrap();
        assert_eq!(allowed, Enforcement::Lacking);
        let ceiling = Bandwidth {
            egress_max: rate("1mbit"),
            ..Bandwidth::default()
        };
        let held = ceiling.check_capacity(&node, Amount::ZERO, false).unwrap();
        assert_eq!(held, Enforcement::Full);
    }

    #[test]
    fn a_weight_is_a_number_as_it_is_printed() {
        for text in ["1", "10", "1000"] {
            let weight: ShareWeight = text.parse().unwrap();
            assert_eq!(weight.to_string(), text);
        }
        for text in ["", "0", "1001", "+5", "005", "1.5", "none", "-1"] {
            let error = text.parse::<ShareWeight>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn fuzz_no_text_of_a_weight_takes_it_down() {
        bolero::check!().with_type::<String>().for_each(|text| {
            if let Ok(weight) = text.parse::<ShareWeight>() {
                assert_eq!(weight.to_string(), *text);
            }
        });
    }
}

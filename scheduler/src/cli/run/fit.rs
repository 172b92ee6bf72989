//! Whether what is offered has room for the task, and what of it the task takes.
//!
//! Pure.

use std::fmt;

use weir_protocol::NetworkMode;
use weir_resources::{
    Amount, BitRate, Kind, Range, Ranges, Resource, ResourceName, ResourceParts, Resources, Role,
    Value, Volume, VolumeId,
};

use super::super::args::WantedVolume;

/// What an isolated task holds of its agent's blocks of ports.
const ONE_BLOCK: Amount = Amount::from_thousandths(1000);

/// What the task is to hold.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) role: Role,
    /// Of what kind CPUs and memory are; everything else is regular.
    pub(crate) kind: Kind,
    pub(crate) cpus: Amount,
    pub(crate) mem: Amount,
    pub(crate) disk: Amount,
    /// What it sends at least, and what it receives.
    pub(crate) egress: Option<BitRate>,
    pub(crate) ingress: Option<BitRate>,
    /// How many ports.
    pub(crate) ports: u16,
    pub(crate) volumes: Vec<WantedVolume>,
    pub(crate) network: NetworkMode,
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// Less of something than is wanted.
    Scalar {
        name: ResourceName,
        kind: Kind,
        wanted: Amount,
        there: Amount,
    },
    /// Fewer ports.
    Ports { wanted: u16, there: u128 },
    /// No such volume, or none that is the role's.
    Volume { id: VolumeId, role: Role },
    /// No block of ports for a network of its own.
    PortBlock,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar {
                name,
                kind,
                wanted,
                there,
            } => {
                let lent = match kind {
                    Kind::Regular => "",
                    Kind::Revocable => " to lend",
                };
                write!(f, "has {name} {there}{lent}, and {wanted} are wanted")
            }
            Self::Ports { wanted, there } => {
                write!(f, "has {}, and {wanted} are wanted", ports(*there))
            }
            Self::Volume { id, role } => write!(f, "has no volume `{id}` of role {role} to offer"),
            Self::PortBlock => {
                f.write_str("has no block of ports left for a network of the task's own")
            }
        }
    }
}

impl Wanted {
    /// Returns everything that is wanted, for people.
    pub(crate) fn describe(&self) -> String {
        let lent = match self.kind {
            Kind::Regular => "",
            Kind::Revocable => " (revocable)",
        };
        let mut text = format!("cpus {}, mem {}{lent}", self.cpus, self.mem);
        if !self.disk.is_zero() {
            text.push_str(&format!(", disk {}", self.disk));
        }
        for (what, rate) in [("egress", self.egress), ("ingress", self.ingress)] {
            if let Some(rate) = rate {
                text.push_str(&format!(", {what} {rate}"));
            }
        }
        if self.ports > 0 {
            text.push_str(&format!(", {}", ports(self.ports.into())));
        }
        for volume in &self.volumes {
            text.push_str(&format!(", volume {}", volume.id));
        }
        text
    }

    /// Returns what the task takes of what is there, or the first thing that is missing.
    ///
    /// What is reserved for the role is taken first: it is of no use to anyone else.
    pub(crate) fn fit(&self, there: &Resources) -> Result<Resources, Misfit> {
        let there = there.available_to(&self.role);
        let amount = |rate: Option<BitRate>| rate.map_or(Amount::ZERO, BitRate::amount);
        let (egress, ingress) = (amount(self.egress), amount(self.ingress));
        let mut taken = Vec::new();
        for (name, kind, wanted) in [
            (ResourceName::CPUS, self.kind, self.cpus),
            (ResourceName::MEM, self.kind, self.mem),
            (ResourceName::DISK, Kind::Regular, self.disk),
            (ResourceName::NETWORK_EGRESS, Kind::Regular, egress),
            (ResourceName::NETWORK_INGRESS, Kind::Regular, ingress),
        ] {
            taken.extend(scalar(&there, &name, kind, wanted)?);
        }
        taken.extend(self.take_ports(&there)?);
        for volume in &self.volumes {
            taken.push(self.take_volume(&there, volume)?);
        }
        match self.network {
            NetworkMode::Host => {}
            NetworkMode::Isolated => {
                let block = scalar(&there, &ResourceName::PORT_BLOCKS, Kind::Regular, ONE_BLOCK);
                taken.extend(block.map_err(|_none| Misfit::PortBlock)?);
            }
        }
        Ok(Resources::collect(taken).expect("a part of what is on one node can be on one node"))
    }

    fn take_ports(&self, there: &Resources) -> Result<Vec<Resource>, Misfit> {
        let mut missing = u128::from(self.ports);
        let mut taken = Vec::new();
        for resource in own_first(there.get(ResourceName::PORTS.as_str()), Kind::Regular) {
            let Value::Ranges(ranges) = resource.value() else {
                continue;
            };
            let part = lowest(ranges, missing);
            missing -= part.count();
            if !part.is_empty() {
                taken.push(of(resource, part));
            }
        }
        if missing > 0 {
            return Err(Misfit::Ports {
                wanted: self.ports,
                there: u128::from(self.ports) - missing,
            });
        }
        Ok(taken)
    }

    fn take_volume(&self, there: &Resources, wanted: &WantedVolume) -> Result<Resource, Misfit> {
        there
            .volumes()
            .iter()
            .find(|one| one.volume().is_some_and(|volume| volume.id == wanted.id))
            .and_then(|resource| {
                let volume = Volume {
                    id: wanted.id.clone(),
                    container_path: wanted.path.clone(),
                    mode: wanted.mode,
                };
                resource.with_volume(Some(volume)).ok()
            })
            .ok_or_else(|| Misfit::Volume {
                id: wanted.id.clone(),
                role: self.role.clone(),
            })
    }
}

/// Says how many ports, for people.
fn ports(count: u128) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} port{s}")
}

/// Takes so much of a scalar.
fn scalar(
    there: &Resources,
    name: &ResourceName,
    kind: Kind,
    wanted: Amount,
) -> Result<Vec<Resource>, Misfit> {
    let mut missing = wanted;
    let mut taken = Vec::new();
    for resource in own_first(there.get(name.as_str()), kind) {
        let part = resource.amount().unwrap_or(Amount::ZERO).min(missing);
        missing = missing.checked_sub(part).unwrap_or(Amount::ZERO);
        if !part.is_zero() {
            taken.push(of(resource, part));
        }
    }
    if missing.is_zero() {
        return Ok(taken);
    }
    Err(Misfit::Scalar {
        name: name.clone(),
        kind,
        wanted,
        there: wanted.checked_sub(missing).unwrap_or(Amount::ZERO),
    })
}

/// Returns what is plain and of the kind, the reserved before the unreserved.
fn own_first(entries: &[Resource], kind: Kind) -> Vec<&Resource> {
    let mut entries: Vec<&Resource> = entries
        .iter()
        .filter(|entry| entry.kind() == kind && entry.volume().is_none())
        .collect();
    entries.sort_by_key(|entry| entry.role().is_none());
    entries
}

/// Returns so much of the same.
fn of(resource: &Resource, value: impl Into<Value>) -> Resource {
    Resource::from_parts(ResourceParts {
        value: value.into(),
        ..resource.clone().into_parts()
    })
    .expect("less of a resource, but not nothing, is a resource")
}

/// Returns the lowest so many numbers.
fn lowest(ranges: &Ranges, count: u128) -> Ranges {
    let mut missing = count;
    let mut taken = Vec::new();
    for range in ranges.ranges() {
        if missing == 0 {
            break;
        }
        let part = missing.min(range.count());
        let more = u64::try_from(part - 1).expect("a range of u64 has that many behind its first");
        taken.push(
            Range::new(range.first(), range.first() + more)
                .expect("it ends where it begins or later"),
        );
        missing -= part;
    }
    taken.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            role: "db".parse().unwrap(),
            kind: Kind::Regular,
            egress: None,
            ingress: None,
            cpus: "1".parse().unwrap(),
            mem: "256".parse().unwrap(),
            disk: Amount::ZERO,
            ports: 0,
            volumes: Vec::new(),
            network: NetworkMode::Isolated,
        }
    }

    fn resources(text: &str) -> Resources {
        text.parse().unwrap()
    }

    fn fit(wanted: &Wanted, there: &str) -> Result<String, String> {
        let there = resources(there);
        let taken = wanted.fit(&there).map_err(|misfit| misfit.to_string())?;
        assert!(there.contains(&taken), "{taken} of {there}");
        Ok(taken.to_string())
    }

    #[test]
    fn just_what_is_wanted_is_taken() {
        assert_eq!(
            fit(&wanted(), "cpus:4;mem:1024;port_blocks:3;ports:[1-9]"),
            Ok("cpus:1; mem:256; port_blocks:1".to_owned())
        );
        let host = Wanted {
            network: NetworkMode::Host,
            ..wanted()
        };
        assert_eq!(
            fit(&host, "cpus:1;mem:256"),
            Ok("cpus:1; mem:256".to_owned())
        );
    }

    #[test]
    fn what_is_reserved_for_the_role_goes_first_and_others_is_left() {
        assert_eq!(
            fit(
                &wanted(),
                "cpus:4;cpus(db, anna):0.5;cpus(web):8;mem(db):1024;port_blocks:1"
            ),
            Ok("cpus:0.5; cpus(db, anna):0.5; mem(db):256; port_blocks:1".to_owned())
        );
    }

    #[test]
    fn ports_are_the_lowest_and_volumes_are_whole() {
        let wanted = Wanted {
            ports: 3,
            disk: "10".parse().unwrap(),
            volumes: vec!["pgdata:here:ro".parse().unwrap()],
            ..wanted()
        };
        let there = "cpus:1;mem:256;port_blocks:1;ports:[5-6, 9-20];disk:10;\
                     disk(db, anna)[pgdata:data:rw]:100";
        assert_eq!(
            fit(&wanted, there),
            Ok(
                "cpus:1; disk:10; disk(db, anna)[pgdata:here:ro]:100; mem:256; port_blocks:1; \
                 ports:[5-6, 9-9]"
                    .to_owned()
            )
        );
        let of_others = there.replace("(db, anna)", "(web, anna)");
        assert_eq!(
            fit(&wanted, &of_others),
            Err("has no volume `pgdata` of role db to offer".to_owned())
        );
    }

    #[test]
    fn one_port_is_not_ports() {
        let said = |ports| Wanted { ports, ..wanted() }.describe();
        assert_eq!(said(0), "cpus 1, mem 256");
        assert_eq!(said(1), "cpus 1, mem 256, 1 port");
        assert_eq!(said(2), "cpus 1, mem 256, 2 ports");
    }

    #[test]
    fn what_is_missing_is_told_with_both_numbers() {
        for (there, said) in [
            ("", "has cpus 0, and 1 are wanted"),
            ("cpus:0.5;cpus{REV}:8", "has cpus 0.5, and 1 are wanted"),
            ("cpus:1;mem:255.5", "has mem 255.5, and 256 are wanted"),
            (
                "cpus:1;mem:256",
                "has no block of ports left for a network of the task's own",
            ),
        ] {
            assert_eq!(fit(&wanted(), there), Err(said.to_owned()));
        }
        let many = Wanted {
            ports: 3,
            ..wanted()
        };
        assert_eq!(
            fit(&many, "cpus:1;mem:256;port_blocks:1;ports:[5-6]"),
            Err("has 2 ports, and 3 are wanted".to_owned())
        );
    }

    #[test]
    fn bandwidth_is_taken_as_it_is_offered() {
        let fast = Wanted {
            egress: "50mbit".parse().ok(),
            ingress: "0.5gbit".parse().ok(),
            ..wanted()
        };
        assert_eq!(
            fit(&fast, "cpus:1;mem:256;port_blocks:1;network_egress:90;network_egress(db):20;network_ingress:900"),
            Ok("cpus:1; mem:256; network_egress:30; network_egress(db):20; network_ingress:500; port_blocks:1".to_owned())
        );
        assert_eq!(
            fit(&fast, "cpus:1;mem:256;port_blocks:1;network_egress:49.9"),
            Err("has network_egress 49.9, and 50 are wanted".to_owned())
        );
        assert_eq!(
            fast.describe(),
            "cpus 1, mem 256, egress 50mbit, ingress 500mbit"
        );
    }

    #[test]
    fn lent_cpus_and_memory_come_with_regular_ports() {
        let lent = Wanted {
            kind: Kind::Revocable,
            ports: 1,
            ..wanted()
        };
        assert_eq!(
            fit(
                &lent,
                "cpus:8;mem:1024;cpus{REV}:2;mem{REV}:512;port_blocks:1;ports:[7-9]"
            ),
            Ok("cpus{REV}:1; mem{REV}:256; port_blocks:1; ports:[7-7]".to_owned())
        );
        assert_eq!(
            fit(&lent, "cpus:8;mem:1024;port_blocks:1"),
            Err("has cpus 0 to lend, and 1 are wanted".to_owned())
        );
    }
}

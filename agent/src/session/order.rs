//! What a task becomes on this node: the order for its container, and what a refusal means for it.

use weir_executor::spec::{NetworkMode as ContainerNetwork, VolumeMount};
use weir_protocol::{Ceilings, Launch, NetworkMode, Note, Reason, Run, TaskState};
use weir_resources::{Amount, BitRate, PortSet, ResourceName, Resources, VolumeMode};

use super::input::LaunchFailure;
use super::output::VolumeName;
use crate::container::{
    Bandwidth, ContainerError, ContainerId, LaunchRequest, Limits, MemoryBytes, MilliCpus,
    PortsWanted, Refusal, ShareWeight, TaskLaunch, TaskName, TaskPart, chain,
};
use crate::volume::VolumePlaces;

/// What every task finds in its environment beside what every container does.
const TASK_VARIABLE: &str = "WEIR_TASK_ID";
const FRAMEWORK_VARIABLE: &str = "WEIR_FRAMEWORK_ID";

/// Bytes of a MiB, and thousandths of one.
const MIB: u128 = 1024 * 1024;
const THOUSANDTHS: u128 = 1000;

/// Says why a task cannot be a container, on any node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum OrderError {
    /// A container that could not be held to anything.
    #[error("the task holds no `{name}`, so its container could be held to none")]
    Unheld { name: ResourceName },
    /// Less than the kernel can hold a container to.
    #[error("the task holds {amount} of `{name}`, and {least} is the least that can be enforced")]
    TooLittle {
        name: ResourceName,
        amount: Amount,
        least: &'static str,
    },
    /// More than there can be.
    #[error("the task holds {amount} of `{name}`, which is more than a node can have")]
    TooMuch { name: ResourceName, amount: Amount },
    /// Numbers that are no ports.
    #[error("the task holds ports that are none: {what}")]
    Ports { what: String },
    /// Two volumes in one place.
    #[error("the volume at `{inner}` would be in the volume at `{outer}`")]
    VolumesOverlap { inner: String, outer: String },
}

impl OrderError {
    const fn remedy(&self) -> &'static str {
        match self {
            Self::Unheld { .. } => "give the task cpus and mem",
            Self::TooLittle { .. } => "give it more",
            Self::TooMuch { .. } => "give it less",
            Self::Ports { .. } => "take ports out of an offer",
            Self::VolumesOverlap { .. } => "give each volume a path of its own",
        }
    }
}

/// Returns the container of a task, or why it cannot have one.
pub(super) fn order(
    container: ContainerId,
    launch: &Launch,
    places: &VolumePlaces,
) -> Result<TaskLaunch, LaunchFailure> {
    plan_order(container, launch, places).map_err(|error| LaunchFailure::Final {
        state: TaskState::Error,
        reason: Reason::TaskInvalid,
        message: Note::cut(format_args!("{error}; {}", error.remedy())),
    })
}

fn plan_order(
    container: ContainerId,
    launch: &Launch,
    places: &VolumePlaces,
) -> Result<TaskLaunch, OrderError> {
    let Launch { owner, task, .. } = launch;
    let holds = &task.resources;
    let own = [
        (FRAMEWORK_VARIABLE, owner.framework.to_string()),
        (TASK_VARIABLE, task.id.to_string()),
    ];
    let given = task.command.environment.variables().iter();
    let mut env: Vec<(String, String)> = given
        .filter(|(name, _)| own.iter().all(|(own, _)| own != name))
        .cloned()
        .collect();
    env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let ports = PortSet::try_from(&holds.ranges(ResourceName::PORTS.as_str()));
    let request = LaunchRequest {
        name: None,
        argv: match &task.command.run {
            Run::Argv(argv) => argv.words().to_vec(),
            Run::Shell(script) => vec![
                "/bin/sh".to_owned(),
                "-c".to_owned(),
                script.as_str().to_owned(),
            ],
        },
        env,
        working_directory: task
            .command
            .working_directory
            .as_ref()
            .map(|directory| directory.as_str().into()),
        user: task
            .command
            .user
            .as_ref()
            .map(|user| user.as_str().to_owned()),
        ports: PortsWanted::Set(ports.map_err(|error| OrderError::Ports {
            what: error.to_string(),
        })?),
        network: match task.network {
            NetworkMode::Isolated => ContainerNetwork::Isolated,
            NetworkMode::Host => ContainerNetwork::Host,
        },
        limits: Limits {
            cpus: Some(cpus(holds)?),
            memory: Some(memory(holds)?),
            bandwidth: bandwidth(holds, &task.ceilings)?,
            ..Limits::default()
        },
        capabilities: Vec::new(),
    };
    let part = TaskPart {
        name: TaskName {
            framework: owner.framework.to_string(),
            task: task.id.to_string(),
        },
        kill_grace_ms: task.kill_grace.0,
        volumes: volumes(holds, places)?,
        is_revocable: !holds.revocable().is_empty(),
    };
    Ok(TaskLaunch {
        id: container,
        request,
        part,
    })
}

fn cpus(holds: &Resources) -> Result<MilliCpus, OrderError> {
    let name = ResourceName::CPUS;
    let amount = held(holds, &name)?;
    // As people write it: the one way to make a limit.
    match amount.to_string().parse() {
        Ok(cpus) => Ok(cpus),
        Err(_) if amount < Amount::from_thousandths(1000) => Err(OrderError::TooLittle {
            name,
            amount,
            least: "0.01",
        }),
        Err(_) => Err(OrderError::TooMuch { name, amount }),
    }
}

fn memory(holds: &Resources) -> Result<MemoryBytes, OrderError> {
    let name = ResourceName::MEM;
    let amount = held(holds, &name)?;
    // Down to a whole byte: never more than it holds.
    let bytes = u128::from(amount.thousandths()) * MIB / THOUSANDTHS;
    match bytes.to_string().parse() {
        Ok(memory) => Ok(memory),
        Err(_) if bytes < MIB => Err(OrderError::TooLittle {
            name,
            amount,
            least: "a page, 0.004 MiB,",
        }),
        Err(_) => Err(OrderError::TooMuch { name, amount }),
    }
}

/// Returns what a task may use of the network: what it holds of `network_egress` is promised to it, of `network_ingress` it is held to.
///
/// Its ceilings hold beside that. What was lent to it is idle, and promised to nobody: it is the last whose part of that counts.
fn bandwidth(holds: &Resources, ceilings: &Ceilings) -> Result<Bandwidth, OrderError> {
    let regular = holds.regular();
    let rate = |resources: &Resources, name: ResourceName| {
        let amount = resources.amount(name.as_str());
        if amount.is_zero() {
            return Ok(None);
        }
        let rate = BitRate::from_amount(amount);
        rate.map(Some).ok_or(OrderError::TooMuch { name, amount })
    };
    let held_in = rate(holds, ResourceName::NETWORK_INGRESS)?;
    let is_lent = !holds
        .revocable()
        .amount(ResourceName::NETWORK_EGRESS.as_str())
        .is_zero();
    Ok(Bandwidth {
        egress_min: rate(&regular, ResourceName::NETWORK_EGRESS)?,
        egress_max: ceilings.egress,
        ingress_max: held_in.into_iter().chain(ceilings.ingress).min(),
        weight: is_lent.then_some(ShareWeight::MIN),
    })
}

fn held(holds: &Resources, name: &ResourceName) -> Result<Amount, OrderError> {
    let amount = holds.amount(name.as_str());
    if amount.is_zero() {
        return Err(OrderError::Unheld { name: name.clone() });
    }
    Ok(amount)
}

fn volumes(holds: &Resources, places: &VolumePlaces) -> Result<Vec<VolumeMount>, OrderError> {
    let mut mounts = Vec::new();
    for resource in holds {
        let (Some(volume), Some(role)) = (resource.volume(), resource.role()) else {
            continue;
        };
        let name = VolumeName {
            role: role.clone(),
            id: volume.id.clone(),
        };
        mounts.push(VolumeMount {
            source: places.volume(&name),
            target: volume.container_path.as_str().into(),
            read_only: match volume.mode {
                VolumeMode::ReadOnly => true,
                VolumeMode::ReadWrite => false,
            },
        });
    }
    for (index, mount) in mounts.iter().enumerate() {
        let mut others = mounts
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        if let Some((_, outer)) = others.find(|(_, other)| mount.target.starts_with(&other.target))
        {
            return Err(OrderError::VolumesOverlap {
                inner: mount.target.display().to_string(),
                outer: outer.target.display().to_string(),
            });
        }
    }
    Ok(mounts)
}

/// Returns what becomes of a task whose container was refused, or could not be made.
pub(super) fn failure(error: &ContainerError) -> LaunchFailure {
    let (state, reason) = match error {
        // The next agent makes it.
        ContainerError::Gone | ContainerError::Refused(Refusal::Stopping) => {
            return LaunchFailure::Stopping;
        }
        ContainerError::Refused(refusal) => match refusal {
            // It would be refused again, here and on every node that is like this one.
            Refusal::EgressMinimum { .. }
            | Refusal::RateOnHostNetwork { .. }
            | Refusal::RateBesideNetAdmin { .. }
            | Refusal::RateUnenforceable { .. }
            | Refusal::NoProgram
            | Refusal::TooManyWords { .. }
            | Refusal::WordTooLong { .. }
            | Refusal::NulInWord { .. }
            | Refusal::VariableName { .. }
            | Refusal::WorkingDirectory { .. }
            | Refusal::CapabilityNotAllowed { .. }
            | Refusal::CapabilityOnHostNetwork { .. }
            | Refusal::UnknownCapability { .. }
            | Refusal::User { .. }
            | Refusal::Unenforceable { .. }
            | Refusal::AboveMemory { .. }
            | Refusal::Device { .. }
            | Refusal::DeviceTwice { .. }
            | Refusal::TooManyDevices { .. } => (TaskState::Error, Reason::TaskInvalid),
            // It depends on what else is on this node.
            Refusal::NameTaken { .. }
            | Refusal::EgressPromised { .. }
            | Refusal::LowAbove { .. }
            | Refusal::LowUnknown { .. }
            | Refusal::NoSlot { .. }
            | Refusal::Ports(_)
            | Refusal::NoSuchContainer { .. }
            | Refusal::NotRunning { .. }
            | Refusal::Updating { .. }
            | Refusal::LimitsOfTask { .. }
            | Refusal::MemoryHeld { .. }
            | Refusal::Stopping => (TaskState::Failed, Reason::ContainerLaunchFailed),
        },
        ContainerError::Failed(_) => (TaskState::Failed, Reason::ContainerLaunchFailed),
    };
    LaunchFailure::Final {
        state,
        reason,
        message: Note::cut(format_args!("{}; {}", chain(error), error.remedy())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::launch;

    fn places() -> VolumePlaces {
        VolumePlaces::new("/state".as_ref())
    }

    fn ordered(holds: &str) -> Result<TaskLaunch, OrderError> {
        plan_order(ContainerId::from_random(1), &launch("a", holds), &places())
    }

    #[test]
    fn bandwidth_that_is_held_is_promised_and_what_is_lent_is_not() {
        let bandwidth = |holds: &str| {
            let order = ordered(&format!("cpus:1;mem:32;{holds}")).unwrap();
            order.request.limits.bandwidth
        };
        let rate = |text: &str| Some(text.parse::<BitRate>().unwrap());
        let both = bandwidth("network_egress:50;network_egress(db):0.5;network_ingress:100");
        assert_eq!(both.egress_min, rate("50.5mbit"));
        assert_eq!(both.ingress_max, rate("100mbit"));
        assert_eq!((both.egress_max, both.weight), (None, None));
        let lent = bandwidth("network_egress{REV}:50");
        assert_eq!(lent.egress_min, None);
        assert_eq!(lent.weight, Some(ShareWeight::MIN));
        assert!(bandwidth("disk:1").is_empty());
        let mut bounded = launch("a", "cpus:1;mem:32;network_egress:50;network_ingress:100");
        for (ingress, least) in [("30mbit", "30mbit"), ("300mbit", "100mbit")] {
            bounded.task.ceilings = Ceilings {
                egress: rate("200mbit"),
                ingress: rate(ingress),
            };
            let order = plan_order(ContainerId::from_random(1), &bounded, &places()).unwrap();
            let bandwidth = order.request.limits.bandwidth;
            assert_eq!(bandwidth.egress_min, rate("50mbit"));
            assert_eq!(bandwidth.egress_max, rate("200mbit"));
            assert_eq!(bandwidth.ingress_max, rate(least));
        }
        let refused = ordered("cpus:1;mem:32;network_egress:99999999999").unwrap_err();
        assert!(matches!(refused, OrderError::TooMuch { .. }), "{refused}");
    }

    #[test]
    fn a_task_is_held_to_what_it_holds() {
        let order =
            ordered("cpus:0.5;cpus(db, x):1;mem:0.5;ports:[31000-31001];ports(db):[31005-31005]")
                .unwrap();
        let limits = order.request.limits;
        assert_eq!(limits.cpus.unwrap().thousandths(), 1500);
        assert_eq!(limits.memory.unwrap().bytes(), 512 * 1024);
        assert_eq!(
            order.request.ports,
            PortsWanted::Set("31000-31001,31005".parse().unwrap())
        );
        assert_eq!(order.part.kill_grace_ms, 5000);
        assert!(!order.part.is_revocable);
        let variable = ("WEIR_TASK_ID".to_owned(), "a".to_owned());
        assert!(order.request.env.contains(&variable));
    }

    #[test]
    fn a_task_on_what_is_lent_is_known_to_be() {
        let order = ordered("cpus{REV}:1;mem:64").unwrap();
        assert!(order.part.is_revocable);
        assert_eq!(order.request.limits.cpus.unwrap().thousandths(), 1000);
    }

    #[test]
    fn what_no_container_can_be_held_to_is_an_error_that_says_so() {
        for (holds, says) in [
            ("mem:64", "holds no `cpus`"),
            ("cpus:1", "holds no `mem`"),
            ("cpus:0.001;mem:64", "0.01 is the least"),
            ("cpus:9000;mem:64", "more than a node"),
            ("cpus:1;mem:0.001", "a page"),
            ("cpus:1;mem:64;ports:[0-1]", "ports that are none"),
            (
                "cpus:1;mem:64;disk(db)[a:data:rw]:1;disk(db)[b:data/deep:rw]:1",
                "`data/deep` would be in the volume at `data`",
            ),
            (
                "cpus:1;mem:64;disk(db)[a:data:rw]:1;disk(db)[b:data:ro]:1",
                "in the volume at `data`",
            ),
        ] {
            let error = ordered(holds).unwrap_err().to_string();
            assert!(error.contains(says), "{error} does not say {says}");
        }
    }

    #[test]
    fn volumes_come_from_their_roles_directory() {
        let order =
            ordered("cpus:1;mem:64;disk(db)[pg-data:var/data:rw]:10;disk(db)[c:certs:ro]:1")
                .unwrap();
        let mount = |source: &str, target: &str, read_only| VolumeMount {
            source: source.into(),
            target: target.into(),
            read_only,
        };
        let volumes = order.part.volumes;
        assert_eq!(volumes.len(), 2);
        for wanted in [
            mount("/state/volumes/roles/db/c", "certs", true),
            mount("/state/volumes/roles/db/pg-data", "var/data", false),
        ] {
            assert!(volumes.contains(&wanted), "{volumes:?}");
        }
    }

    #[test]
    fn a_refusal_for_good_is_an_error_and_one_for_now_a_failure() {
        let of = |error: ContainerError| match failure(&error) {
            LaunchFailure::Stopping => None,
            LaunchFailure::Final { state, .. } => Some(state),
        };
        let user = Refusal::User {
            user: "nobdy".to_owned(),
            reason: "there is none".to_owned(),
        };
        assert_eq!(of(user.into()), Some(TaskState::Error));
        let slots = Refusal::NoSlot {
            live: 1024,
            slots: 1024,
        };
        assert_eq!(of(slots.into()), Some(TaskState::Failed));
        assert_eq!(of(Refusal::Stopping.into()), None);
        assert_eq!(of(ContainerError::Gone), None);
    }
}

//! Things to say, made short.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_protocol::{
    Action, AgentInfo, Argv, BootId, Ceilings, Command, Environment, Filters, FrameworkCapability,
    FrameworkInfo, Line, Millis, NetworkMode, Operation, OperationId, PortBlocks, Run, TaskId,
    TaskSpec, VolumeSizes,
};
use weir_resources::{
    Attributes, Labels, Principal, Reservation, Resource, ResourceOperation, Resources, Role,
    Volume, VolumeMode,
};

pub(crate) fn line(text: &str) -> Line {
    Line::new(text).expect("a line")
}

pub(crate) fn role(text: &str) -> Role {
    text.parse().expect("a role")
}

pub(crate) fn principal(text: &str) -> Principal {
    text.parse().expect("a principal")
}

pub(crate) fn resources(text: &str) -> Resources {
    text.parse().expect("resources")
}

pub(crate) fn task_id(text: &str) -> TaskId {
    text.parse().expect("a task id")
}

pub(crate) fn operation_id(text: &str) -> OperationId {
    text.parse().expect("an operation id")
}

/// Returns the resources as they are once reserved.
pub(crate) fn reserved(text: &str, for_role: &str, by: &str) -> Resources {
    let reservation = Reservation::Dynamic {
        role: role(for_role),
        principal: principal(by),
        labels: Labels::none(),
    };
    let entries = resources(text);
    let entries = entries.iter().map(|entry| {
        let reserved = entry.with_reservation(reservation.clone());
        reserved.expect("regular resources")
    });
    Resources::collect(entries).expect("resources")
}

/// Returns resources of a role by configuration.
pub(crate) fn kept(text: &str, for_role: &str) -> Resources {
    let entries = resources(text);
    let entries = entries.iter().map(|entry| {
        let kept = entry.with_reservation(Reservation::Static(role(for_role)));
        kept.expect("regular resources")
    });
    Resources::collect(entries).expect("resources")
}

/// Returns a volume on disk that is reserved.
pub(crate) fn volume(id: &str, size: u64, for_role: &str, by: &str) -> Resources {
    volume_on(&reserved(&format!("disk:{size}"), for_role, by), id)
}

/// Returns the volume that all of the disk makes.
pub(crate) fn volume_on(disk: &Resources, id: &str) -> Resources {
    let disk: &Resource = &disk.get("disk")[0];
    let volume = Volume {
        id: id.parse().expect("a volume id"),
        container_path: "data".parse().expect("a path"),
        mode: VolumeMode::ReadWrite,
    };
    let volume = disk.with_volume(Some(volume)).expect("reserved disk");
    Resources::from(volume)
}

pub(crate) fn revocable(text: &str) -> Resources {
    resources(text).to_revocable().expect("unreserved")
}

pub(crate) fn and(one: &Resources, other: &Resources) -> Resources {
    one.checked_add(other).expect("resources of one agent")
}

/// Returns a task in the network of the node, which needs no block of ports.
pub(crate) fn task(id: &str, held: &Resources) -> TaskSpec {
    TaskSpec {
        id: task_id(id),
        name: line(id),
        command: Command {
            run: Run::Argv(Argv::new(vec!["true".to_owned()]).expect("a program")),
            environment: Environment::default(),
            user: None,
            working_directory: None,
        },
        resources: held.clone(),
        network: NetworkMode::Host,
        kill_grace: Millis(5_000),
        labels: Labels::none(),
        ceilings: Ceilings::default(),
    }
}

pub(crate) fn isolated(id: &str, held: &Resources) -> TaskSpec {
    TaskSpec {
        network: NetworkMode::Isolated,
        ..task(id, held)
    }
}

pub(crate) fn launch(id: &str, tasks: Vec<TaskSpec>) -> Operation {
    Operation {
        id: operation_id(id),
        action: Action::Launch(tasks),
    }
}

pub(crate) fn change(id: &str, change: ResourceOperation) -> Operation {
    Operation {
        id: operation_id(id),
        action: Action::Change(change),
    }
}

pub(crate) fn reserve(id: &str, what: Resources) -> Operation {
    change(id, ResourceOperation::Reserve(what))
}

pub(crate) fn unreserve(id: &str, what: Resources) -> Operation {
    change(id, ResourceOperation::Unreserve(what))
}

pub(crate) fn create(id: &str, what: Resources) -> Operation {
    change(id, ResourceOperation::Create(what))
}

pub(crate) fn destroy(id: &str, what: Resources) -> Operation {
    change(id, ResourceOperation::Destroy(what))
}

pub(crate) fn framework_info(name: &str, of_role: &str) -> FrameworkInfo {
    FrameworkInfo {
        name: line(name),
        role: role(of_role),
        user: None,
        failover_timeout: Millis(60_000),
        unattended: false,
        capabilities: BTreeSet::new(),
        labels: Labels::none(),
        weburl: None,
    }
}

/// Returns the same framework, that takes revocable resources as well.
pub(crate) fn opted_in(info: FrameworkInfo) -> FrameworkInfo {
    FrameworkInfo {
        capabilities: BTreeSet::from([FrameworkCapability::RevocableResources]),
        ..info
    }
}

pub(crate) fn agent_info(name: &str, has: &Resources) -> AgentInfo {
    AgentInfo {
        name: name.parse().expect("a name"),
        hostname: line(name),
        addresses: Arc::new([]),
        attributes: Attributes::default(),
        resources: has.clone(),
        volume_sizes: VolumeSizes::Accounted,
    }
}

pub(crate) fn boot(text: &str) -> BootId {
    text.parse().expect("a boot id")
}

pub(crate) fn blocks(count: u32) -> PortBlocks {
    PortBlocks {
        version: 1,
        free: count,
        held: 0,
    }
}

pub(crate) fn refuse(ms: u64) -> Filters {
    Filters { refuse: Millis(ms) }
}

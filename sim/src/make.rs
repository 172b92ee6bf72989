//! Things to say, made short.

use std::sync::Arc;

use crate::lending::ESTIMATE_TTL;
use weir_agent::session::Profile;
use weir_protocol::{
    Action, Argv, BootId, Ceilings, Command, Environment, FrameworkCapability, FrameworkInfo, Line,
    Millis, NetworkMode, Operation, Run, TaskSpec,
};
use weir_resources::{
    Attributes, Labels, Principal, Reservation, Resource, ResourceOperation, Resources, Role,
    Volume, VolumeMode,
};

pub(crate) fn line(text: &str) -> Line {
    Line::new(text).expect("a line")
}

pub(crate) fn resources(text: &str) -> Resources {
    text.parse().expect("resources")
}

pub(crate) fn principal(text: &str) -> Principal {
    text.parse().expect("a principal")
}

pub(crate) fn role(text: &str) -> Role {
    text.parse().expect("a role")
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

/// Returns a volume on disk that is reserved.
pub(crate) fn volume(id: &str, size: u64, for_role: &str, by: &str) -> Resources {
    let disk = reserved(&format!("disk:{size}"), for_role, by);
    let disk: &Resource = disk.get("disk").first().expect("there is disk");
    let volume = Volume {
        id: id.parse().expect("a volume id"),
        container_path: "data".parse().expect("a path"),
        mode: VolumeMode::ReadWrite,
    };
    Resources::from(disk.with_volume(Some(volume)).expect("reserved disk"))
}

/// Returns a task. In a network of its own it needs a block of ports, which is added to what it holds.
pub(crate) fn task(id: &str, held: &Resources, network: NetworkMode) -> TaskSpec {
    TaskSpec {
        id: id.parse().expect("a task id"),
        name: line(id),
        command: Command {
            run: Run::Argv(Argv::new(vec!["true".to_owned()]).expect("a program")),
            environment: Environment::default(),
            user: None,
            working_directory: None,
        },
        resources: held.clone(),
        network,
        kill_grace: Millis(5_000),
        labels: Labels::none(),
        ceilings: Ceilings::default(),
    }
}

pub(crate) fn launch(id: &str, tasks: Vec<TaskSpec>) -> Operation {
    Operation {
        id: id.parse().expect("an operation id"),
        action: Action::Launch(tasks),
    }
}

pub(crate) fn change(id: &str, change: ResourceOperation) -> Operation {
    Operation {
        id: id.parse().expect("an operation id"),
        action: Action::Change(change),
    }
}

pub(crate) fn framework_info(name: &str, of_role: &str, takes_lent: bool) -> FrameworkInfo {
    let lent = FrameworkCapability::RevocableResources;
    FrameworkInfo {
        name: line(name),
        role: role(of_role),
        user: None,
        // Longer than any simulation: a framework that comes back finds its tasks.
        failover_timeout: Millis(3_600_000),
        unattended: false,
        capabilities: takes_lent.then_some(lent).into_iter().collect(),
        labels: Labels::none(),
        weburl: None,
    }
}

pub(crate) fn profile(name: &str, resources: &Resources, boot: u64) -> Profile {
    Profile {
        hostname: line(name),
        addresses: Arc::new([]),
        attributes: Attributes::default(),
        resources: resources.clone(),
        boot: BootId::new(format!("boot-{boot}")).expect("a boot id"),
        estimate_ttl: ESTIMATE_TTL,
    }
}

//! What messages are made of.

use std::net::IpAddr;
use std::sync::Arc;

use weir_protocol::{
    AgentId, AgentName, Argv, CapabilityName, Ceilings, Command, Environment, Exit, Failure,
    FrameworkId, Line, Millis, NetworkMode, Note, OfferId, OperationId, OperationKey,
    OperationOrigin, Reason, Run, Shell, Source, TaskId, TaskKey, TaskOwner, TaskSpec, TaskState,
    TaskStatus, UnixMs, UpdateId, WorkingDirectory,
};
use weir_resources::{LabelKey, LabelValue, Labels, Resource, Resources};

pub(crate) fn line<const MAX: usize>(text: &str) -> Line<MAX> {
    Line::new(text).unwrap()
}

pub(crate) fn note(text: &str) -> Note {
    Note::new(text).unwrap()
}

pub(crate) fn capability(name: &str) -> CapabilityName {
    CapabilityName::new(name).unwrap()
}

pub(crate) fn resources(text: &str) -> Resources {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(crate) fn resource(text: &str) -> Resource {
    resources(text).as_slice()[0].clone()
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs
        .iter()
        .map(|(key, value)| (LabelKey::new(key).unwrap(), LabelValue::new(value).unwrap()));
    Labels::new(pairs).unwrap()
}

pub(crate) fn agent_id() -> AgentId {
    AgentId::from_bits(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)
}

pub(crate) fn agent_name() -> AgentName {
    AgentName::new("n1.example").unwrap()
}

pub(crate) fn framework_id() -> FrameworkId {
    FrameworkId::from_bits(0xfedc_ba98_7654_3210)
}

pub(crate) fn offer_id(bits: u128) -> OfferId {
    OfferId::from_bits(bits)
}

pub(crate) fn update_id() -> UpdateId {
    UpdateId::from_bits(u128::MAX)
}

pub(crate) fn task_id(id: &str) -> TaskId {
    TaskId::new(id).unwrap()
}

pub(crate) fn task_key() -> TaskKey {
    TaskKey {
        framework: framework_id(),
        task: task_id("web.1"),
    }
}

pub(crate) fn operation_id(id: &str) -> OperationId {
    OperationId::new(id).unwrap()
}

pub(crate) fn operation_key() -> OperationKey {
    OperationKey {
        origin: OperationOrigin::Framework(framework_id()),
        id: operation_id("op-1"),
    }
}

pub(crate) fn operators_key() -> OperationKey {
    OperationKey {
        origin: OperationOrigin::Operator("anna".parse().unwrap()),
        id: operation_id("reserve:2026-11-22"),
    }
}

pub(crate) fn addresses() -> Arc<[IpAddr]> {
    ["192.0.2.7", "2001:db8::7"]
        .map(|text| text.parse().unwrap())
        .into()
}

pub(crate) fn failure() -> Failure {
    Failure::new(
        weir_protocol::ErrorCode::InsufficientResources,
        "cpus:4 were asked for, cpus:2.5 are offered",
        "ask for at most cpus:2.5",
    )
}

/// A set of every kind of checkpointed resource.
pub(crate) const CHECKPOINTED: &str = "cpus(db, anna, {tier=gold, zone=\"\"}):1.5; disk(db, anna)[pgdata:data/pg:rw]:1024; \
     disk(web)[cache:cache:ro]:512";

/// What a node has by itself.
pub(crate) const OWN: &str = "cpus:8; mem:16384.5; disk:102400; disk(web):1024; ports:[31000-31999, 40000-40000]; \
     licences:{editor, solver}; network_egress:1000; port_blocks:24";

pub(crate) fn task_spec() -> TaskSpec {
    TaskSpec {
        id: task_id("web.1"),
        name: line("web"),
        command: Command {
            run: Run::Argv(
                Argv::new(vec![
                    "./server".to_owned(),
                    String::new(),
                    "--fast".to_owned(),
                ])
                .unwrap(),
            ),
            environment: Environment::new(vec![
                ("PORT".to_owned(), "31000".to_owned()),
                ("EMPTY".to_owned(), String::new()),
            ])
            .unwrap(),
            user: Some(line("www-data")),
            working_directory: Some(WorkingDirectory::new("/srv/web").unwrap()),
        },
        resources: resources("cpus:0.125; mem:64; ports:[31000-31000]; port_blocks:1"),
        network: NetworkMode::Isolated,
        kill_grace: Millis(10_000),
        labels: labels(&[("tier", "front")]),
        ceilings: Ceilings::default(),
    }
}

pub(crate) fn script() -> TaskSpec {
    TaskSpec {
        id: task_id("script:1"),
        name: line("a script"),
        command: Command {
            run: Run::Shell(Shell::new("echo $HOME && exit 3").unwrap()),
            environment: Environment::default(),
            user: None,
            working_directory: None,
        },
        resources: resources("cpus:0.1"),
        network: NetworkMode::Host,
        kill_grace: Millis(0),
        labels: Labels::none(),
        ceilings: Ceilings::default(),
    }
}

pub(crate) fn status() -> TaskStatus {
    TaskStatus {
        task: task_id("web.1"),
        state: TaskState::Failed,
        agent: Some(agent_id()),
        source: Source::Executor,
        reason: Some(Reason::CommandFailed),
        message: Some(note("exited with 3\nsee stderr")),
        timestamp: UnixMs(1_795_000_000_123),
        update: Some(update_id()),
        exit: Some(Exit::Code(3)),
    }
}

/// A status with all that can be absent absent.
pub(crate) fn bare_status() -> TaskStatus {
    TaskStatus {
        task: task_id("web.1"),
        state: TaskState::Staging,
        agent: None,
        source: Source::Scheduler,
        reason: None,
        message: None,
        timestamp: UnixMs(0),
        update: None,
        exit: None,
    }
}

pub(crate) fn owner() -> TaskOwner {
    TaskOwner {
        framework: framework_id(),
        framework_name: line("shop"),
        principal: "shop".parse().unwrap(),
        role: "web".parse().unwrap(),
        failover_timeout: Millis(604_800_000),
        unattended: false,
    }
}

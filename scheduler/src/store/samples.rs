//! Rows of every kind, for tests.

use weir_protocol::{
    Action, AgentId, AgentInfo, AgentName, Argv, BootId, Ceilings, Command, Environment, ErrorCode,
    Failure, Filters, FrameworkCapability, FrameworkId, FrameworkInfo, Line, Millis, NetworkMode,
    Note, Operation, OperationId, OperationKey, OperationOrigin, OperationOutcome, Reason,
    ResourceSet, Run, SetVersion, TaskId, TaskOwner, TaskSpec, TaskState, UnixMs, VolumeSizes,
};
use weir_resources::{Labels, Principal, ResourceOperation, Resources, Role};

use crate::allocator::Weight;
use crate::ledger::{
    Actor, AgentRow, AnswerRow, AuditEntry, EndedFramework, ErrandNumber, ErrandRow, Fingerprint,
    FrameworkRow, KillOrder, LearnedTask, Past, RemovedAgent, Row, Standing, Step, TaskRow,
    TaskWhat,
};

fn line(text: &str) -> Line {
    Line::new(text).unwrap()
}

fn role() -> Role {
    Role::new("db").unwrap()
}

fn principal() -> Principal {
    Principal::new("pg/main").unwrap()
}

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

fn labels() -> Labels {
    Labels::new([("k".parse().unwrap(), "v w".parse().unwrap())]).unwrap()
}

fn agent(number: u64) -> AgentId {
    AgentId::from_bits(u128::from(number))
}

fn framework(number: u64) -> FrameworkId {
    FrameworkId::from_bits(u128::from(number) << 64)
}

fn framework_info() -> FrameworkInfo {
    FrameworkInfo {
        name: line("a database"),
        role: role(),
        user: Some(line("postgres")),
        failover_timeout: Millis(60_000),
        unattended: false,
        capabilities: [FrameworkCapability::RevocableResources].into(),
        labels: labels(),
        weburl: Some(Line::new("http://[::1]/").unwrap()),
    }
}

fn key(origin: OperationOrigin, number: u64) -> OperationKey {
    OperationKey {
        origin,
        id: OperationId::new(format!("op-{number}")).unwrap(),
    }
}

fn spec(number: u64) -> TaskSpec {
    TaskSpec {
        id: TaskId::new(format!("t-{number}")).unwrap(),
        name: line("a task"),
        command: Command {
            run: Run::Argv(
                Argv::new(vec!["sh".to_owned(), "-c".to_owned(), "ü".to_owned()]).unwrap(),
            ),
            environment: Environment::new(vec![("A".to_owned(), "B".to_owned())]).unwrap(),
            user: Some(line("nobody")),
            working_directory: None,
        },
        resources: resources("cpus:0.5;mem:32;ports:[31000-31001];port_blocks:1"),
        network: NetworkMode::Isolated,
        kill_grace: Millis(5_000),
        labels: labels(),
        ceilings: Ceilings::default(),
    }
}

fn errand(number: u64) -> ErrandRow {
    let step = |operation| Step {
        operation,
        fingerprint: Fingerprint(u64::MAX - number),
    };
    let operation = |id: &str, action| Operation {
        id: OperationId::new(id).unwrap(),
        action,
    };
    let reserve = ResourceOperation::Reserve(resources("cpus:1;mem:64"));
    ErrandRow {
        number: ErrandNumber(number),
        turn: number + 7,
        origin: OperationOrigin::Framework(framework(1)),
        agent: agent(1),
        pool: resources("cpus(db):4;mem:64;ports:[1-5, 7-7]"),
        steps: vec![
            step(operation("a", Action::Change(reserve))),
            step(operation("b", Action::Launch(vec![spec(1), spec(2)]))),
            step(operation("c", Action::Launch(Vec::new()))),
        ],
        filters: Filters { refuse: Millis(0) },
    }
}

/// Returns a row; those of equal `kind` and `key` are of one key, and `version` tells them apart.
pub(super) fn row(kind: u8, number: u64, version: u64) -> Row {
    let by_framework = || key(OperationOrigin::Framework(framework(number)), number);
    match kind % 9 {
        0 => Row::Agent(AgentRow {
            id: agent(number),
            info: AgentInfo {
                name: AgentName::new(format!("n{number}")).unwrap(),
                hostname: line("n.example.org"),
                addresses: ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()].into(),
                attributes: "rack:r7; cores:16".parse().unwrap(),
                resources: resources("cpus:4;mem:1024;disk(db):10;ports:[31000-32000]"),
                volume_sizes: VolumeSizes::Accounted,
            },
            boot: BootId::new("boot-1").unwrap(),
            software: line("weir-agent 0.1.0"),
            registered: UnixMs(version),
            checkpointed: ResourceSet::new(SetVersion(version), Resources::new()).unwrap(),
            port_blocks: 33,
            standing: match version % 3 {
                0 => Standing::Open,
                1 => Standing::Draining { grace_max: None },
                _ => Standing::Draining {
                    grace_max: Some(Millis(version)),
                },
            },
        }),
        1 => Row::RemovedAgent(RemovedAgent {
            id: agent(number),
            name: AgentName::new("n1").unwrap(),
            at: UnixMs(version),
            why: Note::cut("it was away\nfor too long"),
        }),
        2 => Row::Framework(FrameworkRow {
            id: framework(number),
            info: framework_info(),
            principal: principal(),
            subscribed: UnixMs(version),
            past: match version % 3 {
                0 => Past::Known,
                1 => Past::Unknown,
                _ => Past::FromTasks,
            },
        }),
        3 => Row::EndedFramework(EndedFramework {
            id: framework(number),
            info: framework_info(),
            principal: principal(),
            subscribed: UnixMs(1),
            at: UnixMs(version),
            why: Note::cut("torn down"),
        }),
        4 => Row::Task(Box::new(TaskRow {
            number: version,
            owner: TaskOwner {
                framework: framework(number),
                framework_name: line("a database"),
                principal: principal(),
                role: role(),
                failover_timeout: Millis(1),
                unattended: false,
            },
            agent: agent(number),
            operation: by_framework(),
            what: if number.is_multiple_of(2) {
                TaskWhat::Launched(spec(number))
            } else {
                TaskWhat::Learned(LearnedTask {
                    id: TaskId::new(format!("t-{number}")).unwrap(),
                    name: line("learned"),
                    resources: resources("cpus:1"),
                    network: NetworkMode::Host,
                    labels: labels(),
                })
            },
            kill: (version % 2 == 1).then_some(KillOrder {
                grace: Some(Millis(version)),
                reason: Some(Reason::KilledByOperator),
            }),
            ended: (version % 5 == 2).then_some(TaskState::Lost),
        })),
        5 => Row::Errand(ErrandRow {
            turn: version,
            ..errand(number)
        }),
        6 => Row::Answer(AnswerRow {
            key: by_framework(),
            number: version,
            fingerprint: Fingerprint(version),
            outcome: OperationOutcome::Finished {
                notes: vec![Note::cut("the size is not enforced")],
            },
        }),
        7 => Row::Answer(AnswerRow {
            key: key(OperationOrigin::Operator(principal()), number),
            number: version,
            fingerprint: Fingerprint(version),
            outcome: OperationOutcome::Failed(Failure::new(ErrorCode::Conflict, "no", "retry")),
        }),
        _ => Row::Weight {
            role: Role::new(format!("role-{number}")).unwrap(),
            weight: Weight::from_thousandths(u32::try_from(version % 1000).unwrap() + 1).unwrap(),
        },
    }
}

/// Returns an entry of who did what.
pub(super) fn audit(number: u64) -> AuditEntry {
    let who = match number % 4 {
        0 => Actor::Framework {
            id: Some(framework(number)),
            principal: principal(),
        },
        1 => Actor::Operator(principal()),
        2 => Actor::Agent(AgentName::new("n1").unwrap()),
        _ => Actor::Scheduler,
    };
    AuditEntry {
        at: UnixMs(number),
        who,
        what: Note::cut(format_args!("did {number}")),
        refused: (number % 2 == 1).then(|| Note::cut("not allowed")),
    }
}

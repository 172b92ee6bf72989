//! What messages are made of.

use std::net::IpAddr;
use std::sync::Arc;

use weir_protocol::bounds::{COUNT_MAX, DURATION_MS_MAX, PORT_BLOCKS_MAX, UNIX_MS_MAX};
use weir_protocol::{
    AgentId, AgentName, AgentTask, Argv, CapabilityName, Ceilings, Command, Environment, ErrorCode,
    Estimate, Exit, Failure, FrameworkId, Line, Millis, NetworkMode, Note, OfferId, OperationId,
    OperationKey, OperationOrigin, PortBlocks, Reason, ResourceSet, Run, SetVersion, Shell, Source,
    TaskId, TaskKey, TaskOwner, TaskSpec, TaskState, TaskStatus, UnixMs, UpdateId, VolumeSizes,
    WorkingDirectory,
};
use weir_resources::{
    Amount, Attribute, AttributeName, AttributeText, AttributeValue, Attributes, BitRate,
    ContainerPath, Item, ItemSet, Kind, LabelKey, LabelValue, Labels, Principal, Range, Ranges,
    Reservation, Resource, ResourceName, ResourceOperation, ResourceParts, Resources, Role, Value,
    Volume, VolumeId, VolumeMode,
};

use super::Dice;

const WORDS: [&str; 6] = [
    "a",
    "web",
    "x-1_y.z",
    "Ω mega",
    "日本",
    "\"quoted\" {}[]();:,",
];
const NAMES: [&str; 4] = ["a", "web.1", "B-2_c", "0"];

pub(crate) fn line<const MAX: usize>(dice: &mut Dice<'_>) -> Line<MAX> {
    let word = dice.pick(&WORDS);
    let times = if dice.below(16) == 15 {
        MAX / word.len()
    } else {
        1
    };
    Line::new(word.repeat(times)).unwrap()
}

pub(crate) fn note(dice: &mut Dice<'_>) -> Note {
    let text = dice.pick(&["", "why", "two\nlines\tand a tab", "Ω"]);
    let times = if dice.below(16) == 15 { 1000 } else { 1 };
    Note::cut(text.repeat(times))
}

pub(crate) fn capability(dice: &mut Dice<'_>) -> CapabilityName {
    CapabilityName::new(dice.pick(&NAMES)).unwrap()
}

pub(crate) fn agent_id(dice: &mut Dice<'_>) -> AgentId {
    AgentId::from_bits(dice.bits())
}

pub(crate) fn agent_name(dice: &mut Dice<'_>) -> AgentName {
    AgentName::new(dice.pick(&NAMES)).unwrap()
}

pub(crate) fn framework_id(dice: &mut Dice<'_>) -> FrameworkId {
    FrameworkId::from_bits(dice.bits())
}

pub(crate) fn offer_id(dice: &mut Dice<'_>) -> OfferId {
    OfferId::from_bits(dice.bits())
}

pub(crate) fn update_id(dice: &mut Dice<'_>) -> UpdateId {
    UpdateId::from_bits(dice.bits())
}

pub(crate) fn task_id(dice: &mut Dice<'_>) -> TaskId {
    TaskId::new(dice.pick(&["a", "web.1", "ct:1:0:x@y", "0=1+2"])).unwrap()
}

pub(crate) fn operation_id(dice: &mut Dice<'_>) -> OperationId {
    OperationId::new(dice.pick(&NAMES)).unwrap()
}

pub(crate) fn task_key(dice: &mut Dice<'_>) -> TaskKey {
    TaskKey {
        framework: framework_id(dice),
        task: task_id(dice),
    }
}

pub(crate) fn operation_key(dice: &mut Dice<'_>) -> OperationKey {
    OperationKey {
        origin: if dice.flip() {
            OperationOrigin::Operator(principal(dice))
        } else {
            OperationOrigin::Framework(framework_id(dice))
        },
        id: operation_id(dice),
    }
}

pub(crate) fn role(dice: &mut Dice<'_>) -> Role {
    Role::new(dice.pick(&["db", "web", "ü(),"])).unwrap()
}

pub(crate) fn principal(dice: &mut Dice<'_>) -> Principal {
    Principal::new(dice.pick(&["anna", "shop", "a/b@c"])).unwrap()
}

pub(crate) fn duration(dice: &mut Dice<'_>) -> Millis {
    Millis(dice.number(0, DURATION_MS_MAX))
}

fn rate(dice: &mut Dice<'_>) -> BitRate {
    BitRate::from_kilobits(dice.number(1, BitRate::MAX.kilobits())).unwrap()
}

pub(crate) fn timestamp(dice: &mut Dice<'_>) -> UnixMs {
    UnixMs(dice.number(0, UNIX_MS_MAX))
}

pub(crate) fn set_version(dice: &mut Dice<'_>) -> SetVersion {
    SetVersion(dice.number(0, COUNT_MAX))
}

pub(crate) fn addresses(dice: &mut Dice<'_>) -> Arc<[IpAddr]> {
    let address = |dice: &mut Dice<'_>| {
        if dice.flip() {
            IpAddr::V6(dice.bits().into())
        } else {
            IpAddr::V4(dice.number_u32(0, u32::MAX).into())
        }
    };
    dice.list(address).into()
}

pub(crate) fn failure(dice: &mut Dice<'_>) -> Failure {
    const CODES: [ErrorCode; 5] = [
        ErrorCode::ProtocolVersion,
        ErrorCode::Internal,
        ErrorCode::InvalidOffers,
        ErrorCode::StaleVersion,
        ErrorCode::AgentNameTaken,
    ];
    Failure {
        code: dice.pick(&CODES),
        reason: note(dice),
        remedy: note(dice),
    }
}

pub(crate) fn labels(dice: &mut Dice<'_>) -> Labels {
    let pair = |dice: &mut Dice<'_>| {
        let key = LabelKey::new(dice.pick(&WORDS)).unwrap();
        (
            key,
            LabelValue::new(dice.pick(&["", "gold", "日本"])).unwrap(),
        )
    };
    // A key twice is no set of labels; then there are none.
    Labels::new(dice.list(pair)).unwrap_or_default()
}

fn ranges(dice: &mut Dice<'_>) -> Ranges {
    let range = |dice: &mut Dice<'_>| {
        let first = dice.number(0, u64::MAX);
        Range::new(first, dice.number(first, u64::MAX)).unwrap()
    };
    dice.some(range).into_iter().collect()
}

fn value(dice: &mut Dice<'_>) -> Value {
    match dice.below(3) {
        0 => Value::Scalar(Amount::from_thousandths(dice.number(1, u64::MAX))),
        1 => Value::Ranges(ranges(dice)),
        _ => {
            let items = dice.some(|dice| Item::new(dice.pick(&WORDS)).unwrap());
            Value::Set(ItemSet::from_iter(items))
        }
    }
}

fn dynamic(dice: &mut Dice<'_>) -> Reservation {
    Reservation::Dynamic {
        role: role(dice),
        principal: principal(dice),
        labels: labels(dice),
    }
}

fn reservation(dice: &mut Dice<'_>) -> Reservation {
    match dice.below(3) {
        0 => Reservation::Unreserved,
        1 => Reservation::Static(role(dice)),
        _ => dynamic(dice),
    }
}

fn volume(dice: &mut Dice<'_>) -> Volume {
    Volume {
        id: VolumeId::new(dice.pick(&["data", "pg data", "Ω"])).unwrap(),
        container_path: ContainerPath::new(dice.pick(&["data", "a/b", "Ω"])).unwrap(),
        mode: dice.pick(&[VolumeMode::ReadWrite, VolumeMode::ReadOnly]),
    }
}

/// What kind of resources are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// Any of this kind.
    Of(Kind),
    /// What a node has by itself.
    Own,
    /// What operations made.
    Checkpointed,
}

pub(crate) fn resource(dice: &mut Dice<'_>, wanted: Wanted) -> Resource {
    const RESOURCES: [ResourceName; 4] = [
        ResourceName::CPUS,
        ResourceName::DISK,
        ResourceName::PORTS,
        ResourceName::PORT_BLOCKS,
    ];
    let name = dice.pick(&RESOURCES);
    let value = value(dice);
    let (reservation, kind) = match wanted {
        Wanted::Of(Kind::Regular) => (reservation(dice), Kind::Regular),
        Wanted::Of(Kind::Revocable) => (Reservation::Unreserved, Kind::Revocable),
        Wanted::Own if dice.flip() => (Reservation::Static(role(dice)), Kind::Regular),
        Wanted::Own => (Reservation::Unreserved, Kind::Regular),
        Wanted::Checkpointed => (dynamic(dice), Kind::Regular),
    };
    let can_be_volume = name == ResourceName::DISK
        && matches!(value, Value::Scalar(_))
        && reservation.role().is_some()
        && !matches!(wanted, Wanted::Own);
    let volume = if can_be_volume {
        dice.maybe(volume)
    } else {
        None
    };
    Resource::from_parts(ResourceParts {
        name,
        value,
        reservation,
        volume,
        kind,
    })
    .unwrap()
}

pub(crate) fn resources(dice: &mut Dice<'_>, wanted: Wanted) -> Resources {
    let mut all = Resources::new();
    for entry in dice.list(|dice| resource(dice, wanted)) {
        // What no node can have together is left out.
        all = all.checked_add(&Resources::from(entry)).unwrap_or(all);
    }
    all
}

pub(crate) fn some_resources(dice: &mut Dice<'_>, wanted: Wanted) -> Resources {
    let first = Resources::from(resource(dice, wanted));
    let rest = resources(dice, wanted);
    first.checked_add(&rest).unwrap_or(first)
}

pub(crate) const REGULAR: Wanted = Wanted::Of(Kind::Regular);

pub(crate) fn change(dice: &mut Dice<'_>) -> ResourceOperation {
    let kinds = [
        ResourceOperation::Reserve,
        ResourceOperation::Unreserve,
        ResourceOperation::Create,
        ResourceOperation::Destroy,
    ];
    dice.pick(&kinds)(resources(dice, REGULAR))
}

pub(crate) fn resource_set(dice: &mut Dice<'_>) -> ResourceSet {
    ResourceSet::new(set_version(dice), resources(dice, Wanted::Checkpointed)).unwrap()
}

pub(crate) fn estimate(dice: &mut Dice<'_>) -> Estimate {
    let ttl = Millis(dice.number(1, DURATION_MS_MAX));
    let lent = resources(dice, Wanted::Of(Kind::Revocable));
    Estimate::new(dice.number(0, COUNT_MAX), ttl, lent).unwrap()
}

pub(crate) fn port_blocks(dice: &mut Dice<'_>) -> PortBlocks {
    PortBlocks {
        version: dice.number(0, COUNT_MAX),
        free: dice.number_u32(0, PORT_BLOCKS_MAX),
        held: dice.number_u32(0, PORT_BLOCKS_MAX),
    }
}

pub(crate) fn attributes(dice: &mut Dice<'_>) -> Attributes {
    let attribute = |dice: &mut Dice<'_>| {
        let value = match dice.below(3) {
            0 => AttributeValue::Scalar(Amount::from_thousandths(dice.number(0, u64::MAX))),
            1 => AttributeValue::Ranges(ranges(dice)),
            _ => AttributeValue::Text(AttributeText::new(dice.pick(&WORDS)).unwrap()),
        };
        let name = AttributeName::new(dice.pick(&["rack", "os", "a/b"])).unwrap();
        Attribute::new(name, value).unwrap()
    };
    // A name twice is no set of attributes; then there are none.
    Attributes::new(dice.list(attribute)).unwrap_or_default()
}

pub(crate) fn volume_sizes(dice: &mut Dice<'_>) -> VolumeSizes {
    dice.pick(&[VolumeSizes::Enforced, VolumeSizes::Accounted])
}

pub(crate) fn network(dice: &mut Dice<'_>) -> NetworkMode {
    dice.pick(&[NetworkMode::Isolated, NetworkMode::Host])
}

fn command(dice: &mut Dice<'_>) -> Command {
    let word = |dice: &mut Dice<'_>| dice.pick(&["x", "", "a b", "Ω\n"]).to_owned();
    let run = if dice.flip() {
        Run::Shell(Shell::new(dice.pick(&["true", "a\nb", "Ω"])).unwrap())
    } else {
        let mut words = vec!["./x".to_owned()];
        words.extend(dice.list(word));
        Run::Argv(Argv::new(words).unwrap())
    };
    let variables = dice.list(word);
    let named = (0..).zip(variables);
    let named = named.map(|(index, value): (u32, _)| (format!("V {index}"), value));
    Command {
        run,
        environment: Environment::new(named.collect()).unwrap(),
        user: dice.maybe(line),
        working_directory: dice
            .maybe(|dice| WorkingDirectory::new(dice.pick(&["/", "/a/..b", "/Ω"])).unwrap()),
    }
}

pub(crate) fn task_spec(dice: &mut Dice<'_>) -> TaskSpec {
    TaskSpec {
        id: task_id(dice),
        name: line(dice),
        command: command(dice),
        resources: some_resources(dice, REGULAR),
        network: network(dice),
        kill_grace: duration(dice),
        labels: labels(dice),
        ceilings: Ceilings {
            egress: dice.maybe(rate),
            ingress: dice.maybe(rate),
        },
    }
}

pub(crate) fn state(dice: &mut Dice<'_>) -> TaskState {
    dice.pick(&TaskState::ALL)
}

pub(crate) fn reason(dice: &mut Dice<'_>) -> Reason {
    dice.pick(&Reason::ALL)
}

pub(crate) fn status(dice: &mut Dice<'_>) -> TaskStatus {
    let exit = |dice: &mut Dice<'_>| {
        if dice.flip() {
            Exit::Signal(u8::try_from(dice.number(1, 127)).unwrap())
        } else {
            Exit::Code(u8::try_from(dice.number(0, 255)).unwrap())
        }
    };
    TaskStatus {
        task: task_id(dice),
        state: state(dice),
        agent: dice.maybe(agent_id),
        source: dice.pick(&[Source::Scheduler, Source::Agent, Source::Executor]),
        reason: dice.maybe(reason),
        message: dice.maybe(note),
        timestamp: timestamp(dice),
        update: dice.maybe(update_id),
        exit: dice.maybe(exit),
    }
}

pub(crate) fn owner(dice: &mut Dice<'_>) -> TaskOwner {
    TaskOwner {
        framework: framework_id(dice),
        framework_name: line(dice),
        principal: principal(dice),
        role: role(dice),
        failover_timeout: duration(dice),
        unattended: dice.pick(&[false, true]),
    }
}

pub(crate) fn agent_task(dice: &mut Dice<'_>) -> AgentTask {
    let status = status(dice);
    AgentTask {
        owner: owner(dice),
        id: status.task.clone(),
        name: line(dice),
        resources: resources(dice, REGULAR),
        network: network(dice),
        labels: labels(dice),
        status,
        acknowledged: dice.maybe(state),
        operation: operation_key(dice),
    }
}

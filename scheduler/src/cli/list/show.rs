//! Entries as people read them.

use weir_protocol::operator::{
    AgentEntry, AgentState, FrameworkEntry, FrameworkState, Holder, OfferEntry, ReservationEntry,
    RoleEntry, TaskEntry, VolumeEntry,
};
use weir_protocol::{Exit, TaskState, TaskStatus, UnixMs, VolumeSizes};
use weir_resources::{Amount, Kind, Reservation, Resource, ResourceName, Resources, Value};

use super::super::output::Colour;
use super::super::table::{Cell, Table, Tone};
use super::super::units::{age, mebibytes, scalar, used_of};
use super::json::{agent_state, framework_state};

/// What stands where there is nothing.
const NOTHING: &str = "-";

/// What stands behind a size beyond which a task can write.
const NOT_ENFORCED: &str = " not enforced";

/// The longest text in a table: the rest of a longer one is in `--json`.
const TEXT_CHARS_MAX: usize = 60;

pub(super) fn agents(entries: &[AgentEntry], colour: Colour) -> String {
    let mut table = Table::new([
        "NAME", "STATE", "HOST", "TASKS", "CPUS", "MEM", "DISK", "BLOCKS", "OFFERED", "LENT",
    ]);
    for entry in entries {
        let tone = match entry.state {
            AgentState::Connected => Tone::Good,
            AgentState::Draining | AgentState::Recovered => Tone::Notable,
            AgentState::Disconnected => Tone::Bad,
        };
        let column = |name| Cell::from(used_of(&entry.used, &entry.total, &name));
        table.push([
            entry.agent.name.as_str().into(),
            Cell::toned(agent_state(entry.state), tone),
            entry.agent.hostname.as_str().into(),
            entry.tasks.to_string().into(),
            column(ResourceName::CPUS),
            column(ResourceName::MEM),
            disk(entry),
            column(ResourceName::PORT_BLOCKS),
            brief(&entry.offered).into(),
            brief(&entry.revocable).into(),
        ]);
    }
    table.render(colour)
}

/// What is used of the disk, and whether a volume can take more of it than it has.
fn disk(entry: &AgentEntry) -> Cell {
    let disk = used_of(&entry.used, &entry.total, &ResourceName::DISK);
    match entry.agent.volume_sizes {
        VolumeSizes::Enforced => disk.into(),
        VolumeSizes::Accounted if entry.total.volumes().is_empty() => disk.into(),
        VolumeSizes::Accounted => {
            Cell::toned(format!("{disk} volumes not enforced"), Tone::Notable)
        }
    }
}

pub(super) fn offers(entries: &[OfferEntry], now: UnixMs, colour: Colour) -> String {
    let mut table = Table::new([
        "AGENT",
        "FRAMEWORK",
        "ROLE",
        "KIND",
        "AGE",
        "RESOURCES",
        "VOLUMES",
    ]);
    for entry in entries {
        let kind = match entry.offer.kind {
            Kind::Regular => Cell::from("regular"),
            Kind::Revocable => Cell::toned("revocable", Tone::Notable),
        };
        table.push([
            entry.offer.agent_name.as_str().into(),
            entry.framework_name.as_str().into(),
            entry.role.as_str().into(),
            kind,
            age(entry.offered, now).into(),
            brief(&plain(&entry.offer.resources)).into(),
            held_volumes(&entry.offer.resources, Some(entry.offer.volume_sizes)),
        ]);
    }
    table.render(colour)
}

pub(super) fn roles(entries: &[RoleEntry], colour: Colour) -> String {
    let mut table = Table::new([
        "ROLE",
        "WEIGHT",
        "FRAMEWORKS",
        "SHARE",
        "ALLOCATED",
        "RESERVED",
    ]);
    for entry in entries {
        let share = entry.dominant_share_millionths;
        table.push([
            entry.role.as_str().into(),
            entry.weight.to_string().into(),
            entry.frameworks.to_string().into(),
            format!("{}.{}%", share / 10_000, share % 10_000 / 1_000).into(),
            brief(&entry.allocated).into(),
            brief(&entry.reserved).into(),
        ]);
    }
    table.render(colour)
}

pub(super) fn weights(entries: &[RoleEntry], colour: Colour) -> String {
    let mut table = Table::new(["ROLE", "WEIGHT"]);
    for entry in entries {
        table.push([entry.role.as_str().into(), entry.weight.to_string().into()]);
    }
    table.render(colour)
}

pub(super) fn frameworks(entries: &[FrameworkEntry], colour: Colour) -> String {
    let mut table = Table::new([
        "ID",
        "NAME",
        "ROLE",
        "PRINCIPAL",
        "STATE",
        "TASKS",
        "OFFERS",
        "USED",
    ]);
    for entry in entries {
        let tone = match entry.state {
            FrameworkState::Connected | FrameworkState::Suppressed => Tone::Good,
            FrameworkState::Recovered | FrameworkState::Disconnected => Tone::Notable,
            FrameworkState::Completed => Tone::Faint,
        };
        table.push([
            entry.id.to_string().into(),
            entry.framework.name.as_str().into(),
            entry.framework.role.as_str().into(),
            entry.principal.as_str().into(),
            Cell::toned(framework_state(entry.state), tone),
            entry.tasks.to_string().into(),
            entry.offers.to_string().into(),
            brief(&entry.used).into(),
        ]);
    }
    table.render(colour)
}

pub(super) fn tasks(entries: &[TaskEntry], now: UnixMs, colour: Colour) -> String {
    let mut table = Table::new([
        "TASK",
        "FRAMEWORK",
        "ROLE",
        "AGENT",
        "STATE",
        "SINCE",
        "RESOURCES",
        "VOLUMES",
        "MESSAGE",
    ]);
    for entry in entries {
        let agent = entry.agent.as_ref();
        table.push([
            entry.id.as_str().into(),
            entry.owner.framework_name.as_str().into(),
            entry.owner.role.as_str().into(),
            agent.map_or(NOTHING, |(_, name)| name.as_str()).into(),
            Cell::toned(task_state(&entry.status), tone_of(entry.status.state)),
            age(entry.status.timestamp, now).into(),
            brief(&plain(&entry.resources)).into(),
            held_volumes(&entry.resources, entry.volume_sizes),
            message(&entry.status).into(),
        ]);
    }
    table.render(colour)
}

pub(super) fn reservations(entries: &[ReservationEntry], colour: Colour) -> String {
    let mut table = Table::new(["AGENT", "ROLE", "BY", "RESOURCES", "HOLDER"]);
    for entry in entries {
        // One line for each role and principal: what an entry holds may be of several.
        let mut keys: Vec<Reservation> = Vec::new();
        for resource in &entry.resources {
            if !keys.contains(resource.reservation()) {
                keys.push(resource.reservation().clone());
            }
        }
        for key in keys {
            let own = entry.resources.filter(|one| *one.reservation() == key);
            let by = match &key {
                Reservation::Dynamic { principal, .. } => principal.as_str(),
                Reservation::Static(_) => "(static)",
                Reservation::Unreserved => NOTHING,
            };
            table.push([
                entry.agent_name.as_str().into(),
                key.role().map_or(NOTHING, |role| role.as_str()).into(),
                by.into(),
                brief(&own).into(),
                holder(&entry.holder),
            ]);
        }
    }
    table.render(colour)
}

pub(super) fn volumes(entries: &[VolumeEntry], colour: Colour) -> String {
    let mut table = Table::new(["AGENT", "ROLE", "VOLUME", "SIZE", "PATH", "MODE", "HOLDER"]);
    for entry in entries {
        let size = size(&entry.volume);
        let size = match entry.sizes {
            VolumeSizes::Enforced => Cell::from(size),
            VolumeSizes::Accounted => Cell::toned(format!("{size}{NOT_ENFORCED}"), Tone::Notable),
        };
        let volume = entry.volume.volume();
        let role = entry.volume.role();
        table.push([
            entry.agent_name.as_str().into(),
            role.map_or(NOTHING, |role| role.as_str()).into(),
            volume.map_or(NOTHING, |one| one.id.as_str()).into(),
            size,
            volume
                .map_or(NOTHING, |one| one.container_path.as_str())
                .into(),
            volume.map_or(NOTHING, |one| one.mode.as_str()).into(),
            holder(&entry.holder),
        ]);
    }
    table.render(colour)
}

fn size(volume: &Resource) -> String {
    mebibytes(volume.amount().unwrap_or(Amount::ZERO))
}

/// Everything but volumes, which have a column of their own.
fn plain(resources: &Resources) -> Resources {
    resources.filter(|one| one.volume().is_none())
}

/// Says which volumes there are, and whether a task can write beyond their sizes.
fn held_volumes(resources: &Resources, sizes: Option<VolumeSizes>) -> Cell {
    let there: Vec<String> = resources
        .volumes()
        .iter()
        .filter_map(|one| Some(format!("{}:{}", one.volume()?.id, size(one))))
        .collect();
    if there.is_empty() {
        return NOTHING.into();
    }
    let there = shorten(&there.join(" "));
    match sizes {
        Some(VolumeSizes::Enforced) => there.into(),
        // Of an agent that is gone nobody knows that they were.
        Some(VolumeSizes::Accounted) | None => {
            Cell::toned(format!("{there}{NOT_ENFORCED}"), Tone::Notable)
        }
    }
}

fn holder(holder: &Holder) -> Cell {
    match holder {
        Holder::Free => Cell::toned("free", Tone::Faint),
        Holder::Offered(framework) => format!("offered to {framework}").into(),
        Holder::Used(task) => Cell::toned(format!("task {task}"), Tone::Good),
    }
}

/// Says what there is, short: sums of scalars, ranges, and how many items.
fn brief(resources: &Resources) -> String {
    let mut parts: Vec<String> = resources
        .scalars()
        .map(|(name, amount)| format!("{name}:{}", scalar(name, amount)))
        .collect();
    let mut names: Vec<&ResourceName> = Vec::new();
    for resource in resources {
        match resource.value() {
            Value::Scalar(_) => {}
            Value::Ranges(_) if names.contains(&resource.name()) => {}
            Value::Ranges(_) => {
                names.push(resource.name());
                let ranges = resources.ranges(resource.name().as_str());
                parts.push(format!("{}:{ranges}", resource.name()));
            }
            Value::Set(items) => parts.push(format!("{}:{items}", resource.name())),
        }
    }
    if parts.is_empty() {
        NOTHING.to_owned()
    } else {
        shorten(&parts.join(" "))
    }
}

/// Says where a task is, in a word, and how it ended.
fn task_state(status: &TaskStatus) -> String {
    let word = match status.state {
        TaskState::Staging => "staging",
        TaskState::Starting => "starting",
        TaskState::Running => "running",
        TaskState::Killing => "killing",
        TaskState::Finished => "finished",
        TaskState::Failed => "failed",
        TaskState::Killed => "killed",
        TaskState::Lost => "lost",
        TaskState::Error => "error",
    };
    match status.exit {
        Some(Exit::Code(code)) => format!("{word} {code}"),
        Some(Exit::Signal(signal)) => format!("{word} by signal {signal}"),
        None => word.to_owned(),
    }
}

const fn tone_of(state: TaskState) -> Tone {
    match state {
        TaskState::Running => Tone::Good,
        TaskState::Staging | TaskState::Starting | TaskState::Killing => Tone::Notable,
        TaskState::Finished | TaskState::Killed => Tone::Faint,
        TaskState::Failed | TaskState::Lost | TaskState::Error => Tone::Bad,
    }
}

fn message(status: &TaskStatus) -> String {
    match (&status.message, status.reason) {
        (Some(message), _) if !message.is_empty() => shorten(message.as_str()),
        (Some(_) | None, Some(reason)) => reason.as_str().to_owned(),
        (Some(_) | None, None) => NOTHING.to_owned(),
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= TEXT_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(TEXT_CHARS_MAX - 1).chain(['…']).collect()
}

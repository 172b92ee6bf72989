//! Entries as machines read them.

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use weir_protocol::operator::{
    AgentEntry, AgentState, FrameworkEntry, FrameworkState, Holder, OfferEntry, ReservationEntry,
    RoleEntry, TaskEntry, VolumeEntry,
};
use weir_protocol::{
    Exit, FrameworkCapability, Line, NetworkMode, Note, Reason, TaskKey, VolumeSizes,
};
use weir_resources::{
    Amount, Attributes, Kind, Labels, Reservation, Resource, Resources, VolumeMode,
};

pub(super) fn each<T>(entries: &[T], one: impl Fn(&T) -> Value) -> Vec<Value> {
    entries.iter().map(one).collect()
}

/// Returns resources in the form of Mesos' messages.
pub(crate) fn resources(resources: &Resources) -> Value {
    serde_json::from_str(&resources.to_json()).expect("what is written reads back")
}

/// Returns how much there is of each scalar.
fn totals(resources: &Resources) -> Value {
    let amounts = resources
        .scalars()
        .map(|(name, amount)| (name.as_str().to_owned(), number(amount)));
    Value::Object(Map::from_iter(amounts))
}

fn number(amount: Amount) -> Value {
    serde_json::from_str(&amount.to_string()).expect("a decimal is a number")
}

pub(super) fn agent(entry: &AgentEntry) -> Value {
    json!({
        "id": entry.id.to_string(),
        "name": entry.agent.name.as_str(),
        "state": agent_state(entry.state),
        "hostname": entry.agent.hostname.as_str(),
        "addresses": addresses(&entry.agent.addresses),
        "attributes": attributes(&entry.agent.attributes),
        "software": entry.software.as_str(),
        "registered_ms": entry.registered.0,
        "set_version": entry.set_version.0,
        "total": resources(&entry.total),
        "used": resources(&entry.used),
        "offered": resources(&entry.offered),
        "revocable": resources(&entry.revocable),
        "tasks": entry.tasks,
        "size_enforced": size_enforced(entry.agent.volume_sizes),
    })
}

pub(super) fn offer(entry: &OfferEntry) -> Value {
    let offer = &entry.offer;
    json!({
        "id": offer.id.to_string(),
        "agent_id": offer.agent.to_string(),
        "agent": offer.agent_name.as_str(),
        "hostname": offer.hostname.as_str(),
        "addresses": addresses(&offer.addresses),
        "attributes": attributes(&offer.attributes),
        "resources": resources(&offer.resources),
        "kind": kind(offer.kind),
        "expires_after_ms": offer.expires_after.map(|after| after.0),
        "size_enforced": size_enforced(offer.volume_sizes),
        "framework_id": entry.framework.to_string(),
        "framework": entry.framework_name.as_str(),
        "role": entry.role.as_str(),
        "offered_ms": entry.offered.0,
    })
}

pub(super) fn role(entry: &RoleEntry) -> Value {
    json!({
        "role": entry.role.as_str(),
        "weight": number(entry.weight.amount()),
        "frameworks": entry.frameworks,
        "allocated": totals(&entry.allocated),
        "reserved": totals(&entry.reserved),
        "dominant_share_millionths": entry.dominant_share_millionths,
    })
}

pub(super) fn weight(entry: &RoleEntry) -> Value {
    json!({
        "role": entry.role.as_str(),
        "weight": number(entry.weight.amount()),
    })
}

pub(super) fn framework(entry: &FrameworkEntry) -> Value {
    let info = &entry.framework;
    json!({
        "id": entry.id.to_string(),
        "name": info.name.as_str(),
        "role": info.role.as_str(),
        "principal": entry.principal.as_str(),
        "state": framework_state(entry.state),
        "user": info.user.as_ref().map(Line::as_str),
        "failover_timeout_ms": info.failover_timeout.0,
        "unattended": info.unattended,
        "revocable_resources": info.capabilities.contains(&FrameworkCapability::RevocableResources),
        "labels": labels(&info.labels),
        "weburl": info.weburl.as_ref().map(Line::as_str),
        "subscribed_ms": entry.subscribed.0,
        "used": totals(&entry.used),
        "offered": totals(&entry.offered),
        "tasks": entry.tasks,
        "offers": entry.offers,
    })
}

pub(super) fn task(entry: &TaskEntry) -> Value {
    let status = &entry.status;
    let (agent_id, agent) = match &entry.agent {
        Some((id, name)) => (Some(id.to_string()), Some(name.as_str())),
        None => (None, None),
    };
    let (exit_code, exit_signal) = match status.exit {
        Some(Exit::Code(code)) => (Some(code), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    };
    json!({
        "id": entry.id.to_string(),
        "name": entry.name.as_str(),
        "framework_id": entry.owner.framework.to_string(),
        "framework": entry.owner.framework_name.as_str(),
        "principal": entry.owner.principal.as_str(),
        "role": entry.owner.role.as_str(),
        "agent_id": agent_id,
        "agent": agent,
        "resources": resources(&entry.resources),
        "size_enforced": entry.volume_sizes.map(size_enforced),
        "network": network(entry.network),
        "labels": labels(&entry.labels),
        "state": status.state.as_str(),
        "source": status.source.as_str(),
        "reason": status.reason.map(Reason::as_str),
        "message": status.message.as_ref().map(Note::as_str),
        "timestamp_ms": status.timestamp.0,
        "exit_code": exit_code,
        "exit_signal": exit_signal,
    })
}

pub(super) fn reservation(entry: &ReservationEntry) -> Value {
    json!({
        "agent_id": entry.agent.to_string(),
        "agent": entry.agent_name.as_str(),
        "resources": resources(&entry.resources),
        "holder": holder(&entry.holder),
    })
}

pub(super) fn volume(entry: &VolumeEntry) -> Value {
    let volume = entry.volume.volume();
    json!({
        "id": volume.map(|volume| volume.id.as_str()),
        "agent_id": entry.agent.to_string(),
        "agent": entry.agent_name.as_str(),
        "role": entry.volume.role().map(weir_resources::Role::as_str),
        "principal": principal(&entry.volume),
        "size_mib": entry.volume.amount().map(number),
        "size_enforced": size_enforced(entry.sizes),
        "container_path": volume.map(|volume| volume.container_path.as_str()),
        "mode": volume.map(|volume| match volume.mode {
            VolumeMode::ReadWrite => "rw",
            VolumeMode::ReadOnly => "ro",
        }),
        "holder": holder(&entry.holder),
    })
}

fn principal(resource: &Resource) -> Option<&str> {
    match resource.reservation() {
        Reservation::Dynamic { principal, .. } => Some(principal.as_str()),
        Reservation::Unreserved | Reservation::Static(_) => None,
    }
}

fn holder(holder: &Holder) -> Value {
    match holder {
        Holder::Free => json!({ "state": "free" }),
        Holder::Offered(framework) => {
            json!({ "state": "offered", "framework_id": framework.to_string() })
        }
        Holder::Used(TaskKey { framework, task }) => json!({
            "state": "used",
            "framework_id": framework.to_string(),
            "task_id": task.as_str(),
        }),
    }
}

fn addresses(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().map(IpAddr::to_string).collect()
}

fn attributes(attributes: &Attributes) -> String {
    attributes.to_string()
}

fn labels(labels: &Labels) -> Value {
    let pairs = labels
        .as_slice()
        .iter()
        .map(|(key, value)| (key.as_str().to_owned(), json!(value.as_str())));
    Value::Object(Map::from_iter(pairs))
}

const fn size_enforced(sizes: VolumeSizes) -> bool {
    match sizes {
        VolumeSizes::Enforced => true,
        VolumeSizes::Accounted => false,
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Regular => "regular",
        Kind::Revocable => "revocable",
    }
}

pub(super) const fn network(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Isolated => "isolated",
        NetworkMode::Host => "host",
    }
}

pub(super) const fn agent_state(state: AgentState) -> &'static str {
    match state {
        AgentState::Connected => "connected",
        AgentState::Disconnected => "disconnected",
        AgentState::Draining => "draining",
        AgentState::Recovered => "recovered",
    }
}

pub(super) const fn framework_state(state: FrameworkState) -> &'static str {
    match state {
        FrameworkState::Connected => "connected",
        FrameworkState::Suppressed => "suppressed",
        FrameworkState::Disconnected => "disconnected",
        FrameworkState::Recovered => "recovered",
        FrameworkState::Completed => "completed",
    }
}

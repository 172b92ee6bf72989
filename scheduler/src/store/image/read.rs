//! From bytes to rows: checked like what comes from a peer, for a disk may have changed them.

use std::fmt;
use std::str::FromStr;

use prost::Message;
use weir_protocol::{
    Action, Filters, Millis, NetworkMode, Note, Operation, OperationKey, OperationOrigin,
    OperationOutcome, Reason, TaskSpec, TaskState, UnixMs, wire,
};
use weir_resources::{LabelKey, LabelValue, Labels, Resource, Resources};

use super::message;
use crate::allocator::Weight;
use crate::ledger::{
    AgentRow, AnswerRow, EndedFramework, ErrandNumber, ErrandRow, Fingerprint, FrameworkRow,
    KillOrder, LearnedTask, Past, RemovedAgent, Row, Standing, Step, TaskRow, TaskWhat,
};

/// What is wrong with bytes, in words.
type Wrong = String;

pub(crate) fn agent(bytes: &[u8]) -> Result<Row, Wrong> {
    let message::Agent {
        id,
        info,
        boot,
        software,
        registered_ms,
        checkpointed,
        port_blocks,
        draining,
    } = decode(bytes)?;
    Ok(Row::Agent(AgentRow {
        id: parse("id", &id)?,
        info: convert("info", info)?,
        boot: parse("boot", &boot)?,
        software: parse("software", &software)?,
        registered: UnixMs(registered_ms),
        checkpointed: convert("checkpointed", checkpointed)?,
        port_blocks,
        standing: match draining {
            None => Standing::Open,
            Some(message::Draining { grace_ms_max }) => Standing::Draining {
                grace_max: grace_ms_max.map(Millis),
            },
        },
    }))
}

pub(crate) fn removed_agent(bytes: &[u8]) -> Result<Row, Wrong> {
    let message::RemovedAgent {
        id,
        name,
        at_ms,
        why,
    } = decode(bytes)?;
    Ok(Row::RemovedAgent(RemovedAgent {
        id: parse("id", &id)?,
        name: parse("name", &name)?,
        at: UnixMs(at_ms),
        why: note("why", why)?,
    }))
}

pub(crate) fn framework(bytes: &[u8]) -> Result<Row, Wrong> {
    let message::Framework {
        id,
        info,
        principal,
        subscribed_ms,
        past,
        ended: _,
    } = decode(bytes)?;
    let past = match message::Past::try_from(past) {
        Ok(message::Past::Known) => Past::Known,
        Ok(message::Past::Unknown) => Past::Unknown,
        Ok(message::Past::FromTasks) => Past::FromTasks,
        Ok(message::Past::Unspecified) | Err(_) => return Err(format!("past: {past} is none")),
    };
    Ok(Row::Framework(FrameworkRow {
        id: parse("id", &id)?,
        info: convert("info", info)?,
        principal: parse("principal", &principal)?,
        subscribed: UnixMs(subscribed_ms),
        past,
    }))
}

pub(crate) fn ended_framework(bytes: &[u8]) -> Result<Row, Wrong> {
    let message::Framework {
        id,
        info,
        principal,
        subscribed_ms,
        past: _,
        ended,
    } = decode(bytes)?;
    let message::Ended { at_ms, why } = there("ended", ended)?;
    Ok(Row::EndedFramework(EndedFramework {
        id: parse("id", &id)?,
        info: convert("info", info)?,
        principal: parse("principal", &principal)?,
        subscribed: UnixMs(subscribed_ms),
        at: UnixMs(at_ms),
        why: note("why", why)?,
    }))
}

pub(crate) fn task(bytes: &[u8]) -> Result<Row, Wrong> {
    let message::Task {
        number,
        owner,
        agent_id,
        operation,
        what,
        kill,
        ended,
    } = decode(bytes)?;
    let state = |name: String| {
        let mut states = TaskState::ALL.into_iter();
        states
            .find(|state| state.as_str() == name)
            .ok_or_else(|| format!("ended: there is no state {name:?}"))
    };
    let what = match there("what", what)? {
        message::TaskWhat::Launched(spec) => TaskWhat::Launched(convert("task", Some(spec))?),
        message::TaskWhat::Learned(task) => TaskWhat::Learned(learned(task)?),
    };
    Ok(Row::Task(Box::new(TaskRow {
        number,
        owner: convert("owner", owner)?,
        agent: parse("agent_id", &agent_id)?,
        operation: operation_key(operation)?,
        what,
        kill: kill.map(kill_order).transpose()?,
        ended: ended.map(state).transpose()?,
    })))
}

fn learned(task: message::LearnedTask) -> Result<LearnedTask, Wrong> {
    let message::LearnedTask {
        id,
        name,
        resources,
        is_on_host_network,
        labels,
    } = task;
    Ok(LearnedTask {
        id: parse("id", &id)?,
        name: parse("name", &name)?,
        resources: resource_list("resources", resources)?,
        network: if is_on_host_network {
            NetworkMode::Host
        } else {
            NetworkMode::Isolated
        },
        labels: label_list(labels)?,
    })
}

fn kill_order(kill: message::Kill) -> Result<KillOrder, Wrong> {
    let message::Kill { grace_ms, reason } = kill;
    let named = |name: String| {
        let mut reasons = Reason::ALL.into_iter();
        reasons
            .find(|reason| reason.as_str() == name)
            .ok_or_else(|| format!("kill: there is no reason {name:?}"))
    };
    Ok(KillOrder {
        grace: grace_ms.map(Millis),
        reason: reason.map(named).transpose()?,
    })
}

pub(crate) fn errand(bytes: &[u8]) -> Result<Row, Wrong> {
    let message::Errand {
        number,
        turn,
        origin,
        agent_id,
        pool,
        steps,
        refuse_ms,
    } = decode(bytes)?;
    Ok(Row::Errand(ErrandRow {
        number: ErrandNumber(number),
        turn,
        origin: operation_origin(origin)?,
        agent: parse("agent_id", &agent_id)?,
        pool: resource_list("pool", pool)?,
        steps: steps.into_iter().map(step).collect::<Result<_, _>>()?,
        filters: Filters {
            refuse: Millis(refuse_ms),
        },
    }))
}

fn step(step: message::Step) -> Result<Step, Wrong> {
    let message::Step { fingerprint, is } = step;
    let operation = match there("step", is)? {
        message::StepIs::Change(change) => convert("step", Some(change))?,
        message::StepIs::Launch(message::LaunchStep {
            operation_id,
            tasks,
        }) => {
            let task = |task: wire::TaskSpec| convert("task", Some(task));
            let tasks: Vec<TaskSpec> = tasks.into_iter().map(task).collect::<Result<_, _>>()?;
            Operation {
                id: parse("operation_id", &operation_id)?,
                action: Action::Launch(tasks),
            }
        }
    };
    Ok(Step {
        operation,
        fingerprint: Fingerprint(fingerprint),
    })
}

pub(crate) fn answer(bytes: &[u8]) -> Result<Row, Wrong> {
    let message::Answer {
        key,
        number,
        fingerprint,
        outcome,
    } = decode(bytes)?;
    let outcome = match there("outcome", outcome)? {
        message::Outcome::Accepted(message::Accepted {}) => OperationOutcome::Accepted,
        message::Outcome::Finished(message::Finished { notes }) => OperationOutcome::Finished {
            notes: notes
                .into_iter()
                .map(|text| note("notes", text))
                .collect::<Result<_, _>>()?,
        },
        message::Outcome::Failed(failure) => {
            OperationOutcome::Failed(convert("failed", Some(failure))?)
        }
    };
    Ok(Row::Answer(AnswerRow {
        key: operation_key(key)?,
        number,
        fingerprint: Fingerprint(fingerprint),
        outcome,
    }))
}

pub(crate) fn weight(bytes: &[u8]) -> Result<Row, Wrong> {
    let message::RoleWeight { role, thousandths } = decode(bytes)?;
    Ok(Row::Weight {
        role: parse("role", &role)?,
        weight: Weight::from_thousandths(thousandths)
            .ok_or_else(|| format!("a weight of {thousandths} thousandths is none"))?,
    })
}

fn operation_key(key: Option<message::OperationKey>) -> Result<OperationKey, Wrong> {
    let message::OperationKey { origin, id } = there("operation", key)?;
    Ok(OperationKey {
        origin: operation_origin(origin)?,
        id: parse("operation", &id)?,
    })
}

fn operation_origin(origin: Option<message::Origin>) -> Result<OperationOrigin, Wrong> {
    match there("origin", there("origin", origin)?.is)? {
        message::OriginIs::FrameworkId(id) => Ok(OperationOrigin::Framework(parse("origin", &id)?)),
        message::OriginIs::Operator(principal) => {
            Ok(OperationOrigin::Operator(parse("origin", &principal)?))
        }
    }
}

fn resource_list(field: &str, list: Vec<wire::Resource>) -> Result<Resources, Wrong> {
    let entry = |entry: wire::Resource| convert::<Resource, _>(field, Some(entry));
    let entries: Vec<Resource> = list.into_iter().map(entry).collect::<Result<_, _>>()?;
    Resources::collect(entries).map_err(|error| format!("{field}: {error}"))
}

fn label_list(list: Vec<wire::Label>) -> Result<Labels, Wrong> {
    let label = |label: wire::Label| {
        let key = LabelKey::new(&label.key).map_err(|error| format!("labels: {error}"))?;
        let value = LabelValue::new(&label.value).map_err(|error| format!("labels: {error}"))?;
        Ok::<_, Wrong>((key, value))
    };
    let labels: Vec<_> = list.into_iter().map(label).collect::<Result<_, _>>()?;
    Labels::new(labels).map_err(|error| format!("labels: {error}"))
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Wrong> {
    M::decode(bytes).map_err(|error| error.to_string())
}

fn there<T>(field: &str, value: Option<T>) -> Result<T, Wrong> {
    value.ok_or_else(|| format!("{field} is missing"))
}

fn parse<T: FromStr<Err: fmt::Display>>(field: &str, text: &str) -> Result<T, Wrong> {
    text.parse().map_err(|error| format!("{field}: {error}"))
}

fn note(field: &str, text: String) -> Result<Note, Wrong> {
    Note::new(text).map_err(|error| format!("{field}: {error}"))
}

fn convert<T, W>(field: &str, message: Option<W>) -> Result<T, Wrong>
where
    T: TryFrom<W, Error: fmt::Display>,
{
    T::try_from(there(field, message)?).map_err(|error| format!("{field}: {error}"))
}

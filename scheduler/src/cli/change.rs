//! Commands that change something, one call each.

use serde_json::json;
use weir_client::{OperatorClient, OperatorError, fresh};
use weir_protocol::operator::Weight;
use weir_protocol::{AgentName, FrameworkId, Millis, Note, OperationId, TaskKey};
use weir_resources::{
    Amount, ContainerPath, Labels, Principal, Reservation, Resource, ResourceName,
    ResourceOperation, Resources, Role, Volume, VolumeId, VolumeMode,
};

use super::args::{
    ChangeArguments, OperationArguments, OutputArguments, TaskReference, VolumeCommand,
};
use super::exit::{Exit, Failure, chain};
use super::list;
use super::output::{print_json, say};

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Reserve,
    Unreserve,
}

pub(crate) async fn reserve(
    mut client: OperatorClient,
    arguments: ChangeArguments,
    direction: Direction,
) -> Result<Exit, Failure> {
    let ChangeArguments {
        agent,
        role,
        resources,
        operation,
    } = arguments;
    let reservation = own(&client, &role)?;
    let reserved = reserved(&resources, &reservation)?;
    let change = match direction {
        Direction::Reserve => ResourceOperation::Reserve(reserved),
        Direction::Unreserve => ResourceOperation::Unreserve(reserved),
    };
    apply(&mut client, agent, change, operation).await?;
    client.close().await;
    Ok(Exit::Done)
}

pub(crate) async fn volume(
    mut client: OperatorClient,
    command: VolumeCommand,
) -> Result<Exit, Failure> {
    match command {
        VolumeCommand::List(place) => return list::volumes(client, place).await,
        VolumeCommand::Create {
            agent,
            role,
            size,
            path,
            reserve,
            id,
            operation,
        } => {
            let reservation = own(&client, &role)?;
            let volume = new_volume(&id, path, size, reservation)?;
            if reserve {
                let disk = volume.with_volume(None).map_err(unusable)?;
                let change = ResourceOperation::Reserve(disk.into());
                // Another operation than the volume, and as often repeated.
                let first = OperationArguments {
                    operation_id: match &operation.operation_id {
                        None => None,
                        Some(id) => {
                            Some(OperationId::new(format!("{id}.reserve")).map_err(|error| {
                                Failure::usage(error.to_string(), "choose a shorter --operation-id")
                            })?)
                        }
                    },
                    output: OutputArguments { json: false },
                };
                apply(&mut client, agent.clone(), change, first).await?;
            }
            let change = ResourceOperation::Create(volume.into());
            apply(&mut client, agent, change, operation).await?;
        }
        VolumeCommand::Destroy {
            agent,
            role,
            id,
            operation,
        } => {
            // A volume is destroyed as it is, with its size and whoever reserved its disk.
            let there = client
                .volumes(Some(agent.clone()), Some(role.clone()))
                .await?;
            let volume = there
                .into_iter()
                .map(|entry| entry.volume)
                .find(|volume| volume.volume().is_some_and(|volume| volume.id == id))
                .ok_or_else(|| {
                    Failure::refused(
                        format!("agent {agent} has no volume `{id}` of role {role}"),
                        "`weir volume list` shows those that there are",
                    )
                })?;
            let change = ResourceOperation::Destroy(volume.into());
            apply(&mut client, agent, change, operation).await?;
        }
    }
    client.close().await;
    Ok(Exit::Done)
}

pub(crate) async fn kill(
    mut client: OperatorClient,
    task: TaskReference,
    grace: Option<Millis>,
    output: OutputArguments,
) -> Result<Exit, Failure> {
    let task = match task {
        TaskReference::Whole(task) => task,
        TaskReference::Id(id) => {
            let tasks = client.tasks(None, None, false).await?;
            let matching: Vec<TaskKey> = tasks
                .into_iter()
                .filter(|entry| entry.id == id)
                .map(|entry| TaskKey {
                    framework: entry.owner.framework,
                    task: entry.id,
                })
                .collect();
            the_only(matching, &id)?
        }
    };
    let notes = client.kill_task(task.clone(), grace).await?;
    say(&format!("killing {task}"));
    done(client, &notes, output, json!({ "task": task.to_string() })).await
}

/// Returns the task, if there is just one.
fn the_only(mut matching: Vec<TaskKey>, id: &weir_protocol::TaskId) -> Result<TaskKey, Failure> {
    match (matching.len(), matching.pop()) {
        (1, Some(task)) => Ok(task),
        (_, None) => Err(Failure::refused(
            format!("no task {id} is running"),
            "`weir tasks --all` shows every task that is remembered",
        )),
        (count, Some(task)) => Err(Failure::refused(
            format!("{count} frameworks have a task {id}"),
            format!("name the framework as well, such as `weir kill {task}`"),
        )),
    }
}

pub(crate) async fn set_weight(
    mut client: OperatorClient,
    role: Role,
    weight: Weight,
    output: OutputArguments,
) -> Result<Exit, Failure> {
    let notes = client.set_weight(role.clone(), weight).await?;
    say(&format!("role {role} has weight {weight}"));
    let told = json!({ "role": role.as_str(), "weight": weight.to_string() });
    done(client, &notes, output, told).await
}

pub(crate) async fn drain(
    mut client: OperatorClient,
    agent: AgentName,
    grace: Option<Millis>,
    output: OutputArguments,
) -> Result<Exit, Failure> {
    let notes = client.drain_agent(agent.clone(), grace).await?;
    say(&format!("draining {agent}"));
    done(client, &notes, output, json!({ "agent": agent.as_str() })).await
}

pub(crate) async fn remove_agent(
    mut client: OperatorClient,
    agent: AgentName,
    output: OutputArguments,
) -> Result<Exit, Failure> {
    let notes = client.remove_agent(agent.clone()).await?;
    say(&format!("removed {agent}"));
    done(client, &notes, output, json!({ "agent": agent.as_str() })).await
}

pub(crate) async fn teardown(
    mut client: OperatorClient,
    framework: FrameworkId,
    output: OutputArguments,
) -> Result<Exit, Failure> {
    let notes = client.teardown_framework(framework).await?;
    say(&format!("tearing down {framework}"));
    let told = json!({ "framework": framework.to_string() });
    done(client, &notes, output, told).await
}

async fn done(
    client: OperatorClient,
    notes: &[Note],
    output: OutputArguments,
    mut told: serde_json::Value,
) -> Result<Exit, Failure> {
    client.close().await;
    say_notes(notes);
    if output.json {
        told["notes"] = json!(notes.iter().map(Note::as_str).collect::<Vec<_>>());
        return print_json(&told);
    }
    Ok(Exit::Done)
}

/// Makes a change under an id that is told if the answer does not come.
async fn apply(
    client: &mut OperatorClient,
    agent: AgentName,
    change: ResourceOperation,
    arguments: OperationArguments,
) -> Result<(), Failure> {
    change
        .check()
        .map_err(|error| Failure::usage(chain(&error), error.remedy()))?;
    let kind = change.kind();
    let operation = match arguments.operation_id {
        Some(id) => id,
        None => fresh::operation_id(&kind.to_string().to_lowercase())
            .expect("a word and a number are an id"),
    };
    let resources = change.resources().clone();
    let notes = client
        .change(operation.clone(), agent.clone(), change)
        .await
        .map_err(|error| unanswered(error, &operation))?;
    say(&format!("{kind} of {resources} on {agent} is done"));
    say_notes(&notes);
    if arguments.output.json {
        print_json(&json!({
            "operation_id": operation.as_str(),
            "agent": agent.as_str(),
            "resources": list::resources_json(&resources),
            "notes": notes.iter().map(Note::as_str).collect::<Vec<_>>(),
        }))?;
    }
    Ok(())
}

/// Says by which id the change can be repeated, where it may be needed.
fn unanswered(error: OperatorError, operation: &OperationId) -> Failure {
    let may_have_happened = error.may_have_happened();
    let mut failure = Failure::from(error);
    if may_have_happened {
        failure.remedy = format!(
            "the same command again with `--operation-id {operation}`: what is done already is not done \
             again"
        );
    }
    failure
}

fn say_notes(notes: &[Note]) {
    for note in notes {
        say(&format!("note: {note}"));
    }
}

/// Returns the reservation that this operator makes for a role.
fn own(client: &OperatorClient, role: &Role) -> Result<Reservation, Failure> {
    let principal = client.principal();
    let principal: Principal = principal.as_str().parse().map_err(|error| {
        Failure::usage(
            format!("the certificate's name `{principal}` is no principal: {error}"),
            "use a certificate with another name",
        )
    })?;
    Ok(Reservation::Dynamic {
        role: role.clone(),
        principal,
        labels: Labels::none(),
    })
}

/// Returns the resources as they are reserved. One that names a reservation itself keeps it.
fn reserved(resources: &Resources, reservation: &Reservation) -> Result<Resources, Failure> {
    let entries = resources.iter().map(|resource| {
        if resource.role().is_some() {
            Ok(resource.clone())
        } else {
            resource.with_reservation(reservation.clone())
        }
    });
    let entries = entries.collect::<Result<Vec<_>, _>>().map_err(unusable)?;
    Resources::collect(entries).map_err(unusable)
}

fn new_volume(
    id: &VolumeId,
    path: Option<ContainerPath>,
    size: Amount,
    reservation: Reservation,
) -> Result<Resource, Failure> {
    let container_path = match path {
        Some(path) => path,
        None => ContainerPath::new(id.as_str()).map_err(unusable)?,
    };
    Resource::new(ResourceName::DISK, size)
        .and_then(|disk| disk.with_reservation(reservation))
        .and_then(|disk| {
            disk.with_volume(Some(Volume {
                id: id.clone(),
                container_path,
                mode: VolumeMode::ReadWrite,
            }))
        })
        .map_err(unusable)
}

fn unusable(error: impl std::error::Error) -> Failure {
    Failure::usage(
        chain(&error),
        "write resources as in 'cpus:2;mem:2048;disk:10240;ports:[31000-31009]'",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::TaskId;

    fn reservation() -> Reservation {
        Reservation::Dynamic {
            role: "db".parse().unwrap(),
            principal: "anna".parse().unwrap(),
            labels: Labels::none(),
        }
    }

    #[test]
    fn what_is_reserved_is_the_operators_own() {
        let plain: Resources = "cpus:2;mem:2048".parse().unwrap();
        assert_eq!(
            reserved(&plain, &reservation()).unwrap(),
            "cpus(db, anna):2; mem(db, anna):2048".parse().unwrap()
        );
        let other: Resources = "cpus(db, bert):1".parse().unwrap();
        assert_eq!(reserved(&other, &reservation()).unwrap(), other);
    }

    #[test]
    fn lent_resources_cannot_be_reserved() {
        let lent: Resources = "cpus{REV}:2".parse().unwrap();
        let failure = reserved(&lent, &reservation()).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("revocable"), "{}", failure.message);
    }

    #[test]
    fn a_volume_is_found_at_its_id_unless_something_else_is_said() {
        let volume = |path: Option<&str>| {
            let size = Amount::from_whole(10).unwrap();
            let id = VolumeId::new("pgdata").unwrap();
            let path = path.map(|path| ContainerPath::new(path).unwrap());
            new_volume(&id, path, size, reservation())
                .unwrap()
                .to_string()
        };
        assert_eq!(volume(None), "disk(db, anna)[pgdata:pgdata:rw]:10");
        assert_eq!(volume(Some("data")), "disk(db, anna)[pgdata:data:rw]:10");
    }

    #[test]
    fn an_id_that_two_frameworks_use_needs_the_framework() {
        let id = TaskId::new("web.1").unwrap();
        let key = |bits| TaskKey {
            framework: FrameworkId::from_bits(bits),
            task: id.clone(),
        };
        assert_eq!(the_only(vec![key(1)], &id).unwrap(), key(1));
        assert!(
            the_only(vec![], &id)
                .unwrap_err()
                .message
                .contains("no task web.1")
        );
        let failure = the_only(vec![key(1), key(2)], &id).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.remedy.contains(&key(2).to_string()));
    }
}

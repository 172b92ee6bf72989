//! Commands that list: each is one question, a table for people, and JSON for machines.
//!
//! The names of the fields of JSON are part of what scripts rely on: golden files hold them. Resources
//! are in the form of Mesos' messages; whatever holds a volume says whether its size is enforced.

mod json;
mod show;

use serde::Serialize;
use weir_client::OperatorClient;

use super::args::{ListArguments, OutputArguments, PlaceArguments, TasksArguments};
use super::exit::{Exit, Failure};
use super::output::{Colour, print, print_json};
use super::units::now;

pub(crate) use json::resources as resources_json;

pub(crate) async fn agents(
    mut client: OperatorClient,
    arguments: ListArguments,
) -> Result<Exit, Failure> {
    let entries = client.agents().await?;
    client.close().await;
    answer(
        arguments.output,
        || json::each(&entries, json::agent),
        |colour| show::agents(&entries, colour),
    )
}

pub(crate) async fn offers(
    mut client: OperatorClient,
    arguments: ListArguments,
) -> Result<Exit, Failure> {
    let entries = client.offers().await?;
    client.close().await;
    answer(
        arguments.output,
        || json::each(&entries, json::offer),
        |colour| show::offers(&entries, now(), colour),
    )
}

pub(crate) async fn roles(
    mut client: OperatorClient,
    arguments: ListArguments,
) -> Result<Exit, Failure> {
    let entries = client.roles().await?;
    client.close().await;
    answer(
        arguments.output,
        || json::each(&entries, json::role),
        |colour| show::roles(&entries, colour),
    )
}

pub(crate) async fn weights(
    mut client: OperatorClient,
    arguments: ListArguments,
) -> Result<Exit, Failure> {
    let entries = client.roles().await?;
    client.close().await;
    answer(
        arguments.output,
        || json::each(&entries, json::weight),
        |colour| show::weights(&entries, colour),
    )
}

pub(crate) async fn frameworks(
    mut client: OperatorClient,
    arguments: ListArguments,
) -> Result<Exit, Failure> {
    let entries = client.frameworks().await?;
    client.close().await;
    answer(
        arguments.output,
        || json::each(&entries, json::framework),
        |colour| show::frameworks(&entries, colour),
    )
}

pub(crate) async fn tasks(
    mut client: OperatorClient,
    arguments: TasksArguments,
) -> Result<Exit, Failure> {
    let TasksArguments {
        framework,
        agent,
        all,
        output,
    } = arguments;
    let entries = client.tasks(framework, agent, all).await?;
    client.close().await;
    answer(
        output,
        || json::each(&entries, json::task),
        |colour| show::tasks(&entries, now(), colour),
    )
}

pub(crate) async fn reservations(
    mut client: OperatorClient,
    arguments: PlaceArguments,
) -> Result<Exit, Failure> {
    let PlaceArguments {
        agent,
        role,
        output,
    } = arguments;
    let entries = client.reservations(agent, role).await?;
    client.close().await;
    answer(
        output,
        || json::each(&entries, json::reservation),
        |colour| show::reservations(&entries, colour),
    )
}

pub(crate) async fn volumes(
    mut client: OperatorClient,
    arguments: PlaceArguments,
) -> Result<Exit, Failure> {
    let PlaceArguments {
        agent,
        role,
        output,
    } = arguments;
    let entries = client.volumes(agent, role).await?;
    client.close().await;
    answer(
        output,
        || json::each(&entries, json::volume),
        |colour| show::volumes(&entries, colour),
    )
}

fn answer<T: Serialize>(
    output: OutputArguments,
    machines: impl FnOnce() -> T,
    people: impl FnOnce(Colour) -> String,
) -> Result<Exit, Failure> {
    if output.json {
        print_json(&machines())
    } else {
        print(&people(Colour::of_stdout()))
    }
}

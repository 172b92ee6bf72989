//! The conversation of an operator.

use weir_protocol::operator::{
    AgentEntry, AgentState, Cursor, FrameworkEntry, FrameworkState, Holder, Listing, OfferEntry,
    Page, ReservationEntry, RoleEntry, TaskEntry, VolumeEntry, Weight,
};
use weir_protocol::{Answered, OperatorAnswer, OperatorCall};
use weir_resources::{Amount, Resource};

use super::parts::*;
use super::{Dice, agent, call_id, framework};

fn page(dice: &mut Dice<'_>) -> Page {
    Page {
        after: dice.maybe(|dice| Cursor(line(dice))),
        limit: dice.maybe(|dice| dice.number_u32(1, u32::MAX).try_into().unwrap()),
    }
}

fn weight(dice: &mut Dice<'_>) -> Weight {
    Weight::new(Amount::from_thousandths(dice.number(1, u64::MAX))).unwrap()
}

pub(crate) fn call(dice: &mut Dice<'_>) -> OperatorCall {
    match dice.below(13) {
        0 => OperatorCall::ListAgents(page(dice)),
        1 => OperatorCall::ListOffers(page(dice)),
        2 => OperatorCall::ListRoles(page(dice)),
        3 => OperatorCall::ListFrameworks(page(dice)),
        4 => OperatorCall::ListTasks {
            page: page(dice),
            framework: dice.maybe(framework_id),
            agent: dice.maybe(agent_name),
            ended: dice.flip(),
        },
        5 => OperatorCall::ListReservations {
            page: page(dice),
            agent: dice.maybe(agent_name),
            role: dice.maybe(role),
        },
        6 => OperatorCall::ListVolumes {
            page: page(dice),
            agent: dice.maybe(agent_name),
            role: dice.maybe(role),
        },
        7 => OperatorCall::SetWeight {
            role: role(dice),
            weight: weight(dice),
        },
        8 => OperatorCall::DrainAgent {
            agent: agent_name(dice),
            grace_max: dice.maybe(duration),
        },
        9 => OperatorCall::RemoveAgent {
            agent: agent_name(dice),
        },
        10 => OperatorCall::KillTask {
            task: task_key(dice),
            grace: dice.maybe(duration),
        },
        11 => OperatorCall::TeardownFramework {
            framework: framework_id(dice),
        },
        _ => OperatorCall::Change {
            operation: operation_id(dice),
            agent: agent_name(dice),
            change: change(dice),
        },
    }
}

fn listing<T>(dice: &mut Dice<'_>, entry: fn(&mut Dice<'_>) -> T) -> Listing<T> {
    Listing {
        entries: dice.list(entry),
        next: dice.maybe(|dice| Cursor(line(dice))),
    }
}

pub(crate) fn answer(dice: &mut Dice<'_>) -> Answered {
    let answer = match dice.below(9) {
        0 => {
            return Answered {
                call: dice.maybe(call_id),
                answer: OperatorAnswer::Failed(failure(dice)),
            };
        }
        1 => OperatorAnswer::Agents(listing(dice, agent_entry)),
        2 => OperatorAnswer::Offers(listing(dice, offer_entry)),
        3 => OperatorAnswer::Roles(listing(dice, role_entry)),
        4 => OperatorAnswer::Frameworks(listing(dice, framework_entry)),
        5 => OperatorAnswer::Tasks(listing(dice, task_entry)),
        6 => OperatorAnswer::Reservations(listing(dice, reservation_entry)),
        7 => OperatorAnswer::Volumes(listing(dice, volume_entry)),
        _ => OperatorAnswer::Done {
            notes: dice.list(note),
        },
    };
    Answered {
        call: Some(call_id(dice)),
        answer,
    }
}

fn agent_entry(dice: &mut Dice<'_>) -> AgentEntry {
    const STATES: [AgentState; 4] = [
        AgentState::Connected,
        AgentState::Disconnected,
        AgentState::Draining,
        AgentState::Recovered,
    ];
    AgentEntry {
        id: agent_id(dice),
        agent: agent::info(dice),
        state: dice.pick(&STATES),
        software: line(dice),
        registered: timestamp(dice),
        set_version: set_version(dice),
        total: resources(dice, REGULAR),
        used: resources(dice, REGULAR),
        offered: resources(dice, REGULAR),
        revocable: resources(dice, REGULAR),
        tasks: dice.number_u32(0, u32::MAX),
    }
}

fn offer_entry(dice: &mut Dice<'_>) -> OfferEntry {
    OfferEntry {
        offer: framework::offer(dice),
        framework: framework_id(dice),
        framework_name: line(dice),
        role: role(dice),
        offered: timestamp(dice),
    }
}

fn role_entry(dice: &mut Dice<'_>) -> RoleEntry {
    RoleEntry {
        role: role(dice),
        weight: weight(dice),
        frameworks: dice.number_u32(0, u32::MAX),
        allocated: resources(dice, REGULAR),
        reserved: resources(dice, REGULAR),
        dominant_share_millionths: dice.number_u32(0, 1_000_000),
    }
}

fn framework_entry(dice: &mut Dice<'_>) -> FrameworkEntry {
    const STATES: [FrameworkState; 5] = [
        FrameworkState::Connected,
        FrameworkState::Suppressed,
        FrameworkState::Disconnected,
        FrameworkState::Recovered,
        FrameworkState::Completed,
    ];
    FrameworkEntry {
        id: framework_id(dice),
        framework: framework::info(dice),
        principal: principal(dice),
        state: dice.pick(&STATES),
        subscribed: timestamp(dice),
        used: resources(dice, REGULAR),
        offered: resources(dice, REGULAR),
        tasks: dice.number_u32(0, u32::MAX),
        offers: dice.number_u32(0, u32::MAX),
    }
}

fn task_entry(dice: &mut Dice<'_>) -> TaskEntry {
    let status = status(dice);
    TaskEntry {
        owner: owner(dice),
        id: status.task.clone(),
        name: line(dice),
        agent: dice.maybe(|dice| (agent_id(dice), agent_name(dice))),
        resources: resources(dice, REGULAR),
        network: network(dice),
        labels: labels(dice),
        status,
        volume_sizes: dice.maybe(volume_sizes),
    }
}

fn holder(dice: &mut Dice<'_>) -> Holder {
    match dice.below(3) {
        0 => Holder::Free,
        1 => Holder::Offered(framework_id(dice)),
        _ => Holder::Used(task_key(dice)),
    }
}

fn reservation_entry(dice: &mut Dice<'_>) -> ReservationEntry {
    ReservationEntry {
        agent: agent_id(dice),
        agent_name: agent_name(dice),
        resources: resources(dice, REGULAR),
        holder: holder(dice),
    }
}

fn volume_entry(dice: &mut Dice<'_>) -> VolumeEntry {
    let size = Amount::from_thousandths(dice.number(1, u64::MAX));
    let text = format!("disk(db, anna)[pgdata:data:rw]:{size}");
    let volume: Resource = text
        .parse::<weir_resources::Resources>()
        .unwrap()
        .as_slice()[0]
        .clone();
    VolumeEntry {
        agent: agent_id(dice),
        agent_name: agent_name(dice),
        volume,
        holder: holder(dice),
        sizes: volume_sizes(dice),
    }
}

//! Any message, made of any bytes: what the laws are tried on.

mod agent;
mod dice;
mod framework;
mod operator;
mod parts;

use weir_protocol::{CallId, Hello, HelloAnswer, Limits, Numbered, Refused, VersionRange, Welcome};

pub(crate) use dice::Dice;

use crate::samples::Message;

/// Returns the message that the dice make.
pub(crate) fn message(dice: &mut Dice<'_>) -> Message {
    match dice.below(8) {
        0 => Message::Hello(hello(dice)),
        1 => Message::HelloAnswer(hello_answer(dice)),
        2 => Message::FrameworkCall(numbered(dice, framework::call)),
        3 => Message::FrameworkEvent(framework::event(dice)),
        4 => Message::AgentCall(numbered(dice, agent::call)),
        5 => Message::AgentEvent(agent::event(dice)),
        6 => Message::OperatorCall(numbered(dice, operator::call)),
        _ => Message::OperatorAnswer(operator::answer(dice)),
    }
}

fn numbered<C>(dice: &mut Dice<'_>, call: fn(&mut Dice<'_>) -> C) -> Numbered<C> {
    Numbered {
        id: call_id(dice),
        call: call(dice),
    }
}

fn call_id(dice: &mut Dice<'_>) -> CallId {
    CallId(dice.number(1, u64::MAX).try_into().unwrap())
}

fn versions(dice: &mut Dice<'_>) -> VersionRange {
    let min = dice.number_u32(1, u32::MAX);
    VersionRange::new(min, dice.number_u32(min, u32::MAX)).unwrap()
}

fn hello(dice: &mut Dice<'_>) -> Hello {
    Hello {
        versions: versions(dice),
        capabilities: dice.list(parts::capability).into_iter().collect(),
        software: parts::line(dice),
    }
}

fn hello_answer(dice: &mut Dice<'_>) -> HelloAnswer {
    if dice.flip() {
        return HelloAnswer::Refused(Refused {
            failure: parts::failure(dice),
            versions: versions(dice),
        });
    }
    HelloAnswer::Welcome(Welcome {
        version: dice.number_u32(1, u32::MAX),
        capabilities: dice.list(parts::capability).into_iter().collect(),
        scheduler: parts::line(dice),
        limits: Limits {
            frame_bytes_max: dice.number_u32(0, u32::MAX),
            offer_ids_max: dice.number_u32(0, u32::MAX),
            operations_max: dice.number_u32(0, u32::MAX),
            tasks_per_launch_max: dice.number_u32(0, u32::MAX),
            reconcile_max: dice.number_u32(0, u32::MAX),
        },
    })
}

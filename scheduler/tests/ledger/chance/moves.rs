//! What may happen, and how often.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{FRAMEWORKS, NODES};

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Move {
    Accept {
        fw: usize,
        offers: Vec<usize>,
        operations: Vec<Wish>,
        refuse_ms: u64,
    },
    AcceptAnothers {
        fw: usize,
        offer: usize,
    },
    Repeat {
        fw: usize,
        operation: usize,
    },
    Decline {
        fw: usize,
        offer: usize,
        refuse_ms: u64,
    },
    Kill {
        fw: usize,
        task: usize,
    },
    Acknowledge(usize),
    Reconcile(usize),
    Revive(usize),
    Suppress(usize),
    CutFramework(usize),
    Subscribe(usize),
    TakeOver(usize),
    Teardown(usize),
    Act(usize),
    ActAll,
    CutNode(usize),
    Register(usize),
    End {
        node: usize,
        task: usize,
        failed: bool,
    },
    Fail(usize),
    Lend {
        node: usize,
        cpus: u64,
    },
    Blocks {
        node: usize,
        count: u32,
    },
    Operate {
        node: usize,
        wish: Wish,
    },
    KillByOperator {
        fw: usize,
        task: usize,
    },
    TeardownByOperator(usize),
    Drain(usize),
    Remove(usize),
    Advance(u64),
    Restart,
    CrashBeforeWriting(usize),
    LoseDatabase,
}

/// What somebody wants of what they are offered.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Launch {
        tasks: usize,
        cpus: u64,
        isolated: bool,
    },
    LaunchAll,
    Reserve {
        cpus: u64,
        disk: u64,
    },
    Unreserve,
    Create {
        id: usize,
        size: u64,
    },
    Destroy,
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        4 => (1..3_usize, 1..3_u64, any::<bool>()).prop_map(|(tasks, cpus, isolated)| {
            Wish::Launch { tasks, cpus, isolated }
        }),
        1 => Just(Wish::LaunchAll),
        3 => (0..3_u64, 0..300_u64).prop_map(|(cpus, disk)| Wish::Reserve { cpus, disk }),
        2 => Just(Wish::Unreserve),
        2 => (0..3_usize, 1..200_u64).prop_map(|(id, size)| Wish::Create { id, size }),
        1 => Just(Wish::Destroy),
    ]
}

pub(super) fn a_move() -> impl Strategy<Value = Move> {
    let refuse = prop_oneof![Just(0_u64), Just(5_000), Just(60_000)];
    let fw = 0..FRAMEWORKS;
    let node = 0..NODES;
    prop_oneof![
        16 => (fw.clone(), vec(0..8_usize, 1..3), vec(wish(), 0..4), refuse.clone()).prop_map(
            |(fw, offers, operations, refuse_ms)| Move::Accept { fw, offers, operations, refuse_ms }
        ),
        2 => (fw.clone(), 0..8_usize).prop_map(|(fw, offer)| Move::AcceptAnothers { fw, offer }),
        2 => (fw.clone(), any::<usize>()).prop_map(|(fw, operation)| Move::Repeat { fw, operation }),
        4 => (fw.clone(), 0..8_usize, refuse).prop_map(|(fw, offer, refuse_ms)| {
            Move::Decline { fw, offer, refuse_ms }
        }),
        3 => (fw.clone(), any::<usize>()).prop_map(|(fw, task)| Move::Kill { fw, task }),
        8 => fw.clone().prop_map(Move::Acknowledge),
        2 => fw.clone().prop_map(Move::Reconcile),
        2 => fw.clone().prop_map(Move::Revive),
        1 => fw.clone().prop_map(Move::Suppress),
        3 => fw.clone().prop_map(Move::CutFramework),
        6 => fw.clone().prop_map(Move::Subscribe),
        1 => fw.clone().prop_map(Move::TakeOver),
        1 => fw.prop_map(Move::Teardown),
        12 => node.clone().prop_map(Move::Act),
        8 => Just(Move::ActAll),
        4 => node.clone().prop_map(Move::CutNode),
        8 => node.clone().prop_map(Move::Register),
        8 => (node.clone(), any::<usize>(), any::<bool>()).prop_map(|(node, task, failed)| {
            Move::End { node, task, failed }
        }),
        1 => node.clone().prop_map(Move::Fail),
        4 => (node.clone(), 0..5_u64).prop_map(|(node, cpus)| Move::Lend { node, cpus }),
        4 => (node.clone(), wish()).prop_map(|(node, wish)| Move::Operate { node, wish }),
        2 => (node.clone(), 3..9_u32).prop_map(|(node, count)| Move::Blocks { node, count }),
        1 => (0..FRAMEWORKS, any::<usize>()).prop_map(|(fw, task)| {
            Move::KillByOperator { fw, task }
        }),
        1 => (0..FRAMEWORKS).prop_map(Move::TeardownByOperator),
        1 => node.clone().prop_map(Move::Drain),
        1 => node.prop_map(Move::Remove),
        6 => prop_oneof![Just(1_u64), Just(6), Just(30), Just(80), Just(700)].prop_map(Move::Advance),
        3 => Just(Move::Restart),
        2 => (0..FRAMEWORKS).prop_map(Move::CrashBeforeWriting),
        1 => Just(Move::LoseDatabase),
    ]
}

//! The agenda: which agents are to be looked at, and when.
//!
//! What happens to one agent (something is freed, added, or no longer refused) puts it into the queue:
//! it is looked at next. When a framework begins to want something, every agent that has something free
//! is to be looked at, in one *sweep* in a circle that begins anywhere. The sweep and the queue take
//! turns, so that neither waits for the other for longer than for itself: a freed resource does not
//! wait for ten thousand agents, nor they for resources to cease being freed.

use std::collections::{BTreeSet, VecDeque};

use weir_resources::Kind;

use super::members::Members;
use super::refusals::Nanos;

/// Which agents are to be looked at, and when.
#[derive(Clone, Debug)]
pub(super) struct Agenda {
    /// Agents to which something happened, the earliest first. One that is no longer in `waiting` is
    /// passed over: it was removed.
    queue: VecDeque<u32>,
    waiting: Members,
    /// Agents that had something free when they were last looked at.
    stocked: Members,
    sweep: Sweep,
    turn: Turn,
    /// The first filter of each lot to lapse.
    timers: BTreeSet<(Nanos, u32, Kind)>,
    random: u64,
}

/// How far a sweep has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sweep {
    Idle,
    /// So many numbers of agents are `left` from `next` on, and around, of those below `circle`.
    /// Agents that were added since are in the queue.
    Running {
        next: u32,
        left: u32,
        circle: u32,
    },
}

/// Whose turn it is when both have something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Queue,
    Sweep,
}

impl Agenda {
    /// Returns an agenda without an agent; `seed` decides where sweeps begin.
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            queue: VecDeque::new(),
            waiting: Members::new(),
            stocked: Members::new(),
            sweep: Sweep::Idle,
            turn: Turn::Queue,
            timers: BTreeSet::new(),
            random: seed,
        }
    }

    /// Has an agent looked at soon.
    pub(super) fn enqueue(&mut self, agent: u32) {
        if !self.waiting.contains(agent) {
            self.waiting.insert(agent);
            self.queue.push_back(agent);
        }
    }

    /// Has every agent that has something free looked at; their numbers are below `agents`, which
    /// never becomes less.
    pub(super) fn start_sweep(&mut self, agents: u32) {
        if agents == 0 {
            return;
        }
        let next = match self.sweep {
            // Once around from where it is, so that those behind it are looked at again.
            Sweep::Running { next, .. } => next,
            Sweep::Idle => self.random_below(agents),
        };
        self.sweep = Sweep::Running {
            next,
            left: agents,
            circle: agents,
        };
    }

    /// Returns the agent to look at now.
    pub(super) fn next(&mut self) -> Option<u32> {
        let first = match self.turn {
            Turn::Queue => self.next_queued().or_else(|| self.next_swept()),
            Turn::Sweep => self.next_swept().or_else(|| self.next_queued()),
        };
        self.turn = match self.turn {
            Turn::Queue => Turn::Sweep,
            Turn::Sweep => Turn::Queue,
        };
        first
    }

    /// Returns whether [`Self::next`] may have an agent.
    pub(super) fn is_pending(&self) -> bool {
        !self.queue.is_empty() || self.sweep != Sweep::Idle
    }

    /// Returns whether an agent is in the queue.
    pub(super) fn is_waiting(&self, agent: u32) -> bool {
        self.waiting.contains(agent)
    }

    /// Writes down whether an agent has something free.
    pub(super) fn set_stocked(&mut self, agent: u32, is_stocked: bool) {
        self.stocked.set(agent, is_stocked);
    }

    /// Changes when a lot is to be looked at.
    pub(super) fn set_timer(
        &mut self,
        agent: u32,
        kind: Kind,
        timer: &mut Option<Nanos>,
        deadline: Option<Nanos>,
    ) {
        if *timer == deadline {
            return;
        }
        if let Some(before) = *timer {
            self.timers.remove(&(before, agent, kind));
        }
        if let Some(deadline) = deadline {
            self.timers.insert((deadline, agent, kind));
        }
        *timer = deadline;
    }

    /// Returns when the next timer is due, if ever.
    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        let deadline = self.timers.first().map(|(deadline, _, _)| *deadline);
        // What never lapses is the last, and nothing to wait for.
        deadline.filter(|deadline| *deadline != Nanos::MAX)
    }

    /// Returns a lot whose timer is due. It stays so until the timer is set.
    pub(super) fn first_due(&self, now: Nanos) -> Option<(u32, Kind)> {
        self.timers
            .first()
            .filter(|(deadline, _, _)| *deadline <= now)
            .map(|(_, agent, kind)| (*agent, *kind))
    }

    /// Forgets an agent whose timers are not set.
    pub(super) fn remove(&mut self, agent: u32) {
        self.waiting.remove(agent);
        self.stocked.remove(agent);
    }

    fn next_queued(&mut self) -> Option<u32> {
        loop {
            let agent = self.queue.pop_front()?;
            if self.waiting.contains(agent) {
                self.waiting.remove(agent);
                return Some(agent);
            }
        }
    }

    fn next_swept(&mut self) -> Option<u32> {
        loop {
            let Sweep::Running { next, left, circle } = self.sweep else {
                return None;
            };
            // To the end of the numbers, or of the circle.
            let stretch = left.min(circle - next);
            let found = self.stocked.next_from(next);
            let found = found.filter(|agent| agent - next < stretch);
            let passed = found.map_or(stretch, |agent| agent - next + 1);
            let left = left - passed;
            self.sweep = if left == 0 {
                Sweep::Idle
            } else {
                let next = (next + passed) % circle;
                Sweep::Running { next, left, circle }
            };
            if found.is_some() {
                return found;
            }
        }
    }

    /// Returns a number below `bound`, by the generator of Steele, Lea and Flood (SplitMix64).
    fn random_below(&mut self, bound: u32) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let below = (u128::from(mixed) * u128::from(bound)) >> u64::BITS;
        u32::try_from(below).expect("a fraction of a 32-bit bound")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(agenda: &mut Agenda) -> Vec<u32> {
        std::iter::from_fn(|| agenda.next()).collect()
    }

    #[test]
    fn a_sweep_goes_once_around_all_that_have_something() {
        for seed in 0..50 {
            let mut agenda = Agenda::new(seed);
            for agent in [1, 63, 64, 99] {
                agenda.set_stocked(agent, true);
            }
            agenda.start_sweep(100);
            let mut seen = drain(&mut agenda);
            seen.sort_unstable();
            assert_eq!(seen, [1, 63, 64, 99]);
            assert!(!agenda.is_pending());
        }
    }

    #[test]
    fn a_sweep_that_is_started_again_looks_at_all_once_more() {
        let mut agenda = Agenda::new(7);
        for agent in 0..10 {
            agenda.set_stocked(agent, true);
        }
        agenda.start_sweep(10);
        let first: Vec<u32> = (0..4).filter_map(|_| agenda.next()).collect();
        agenda.start_sweep(10);
        let mut seen = drain(&mut agenda);
        assert_eq!(first.len(), 4);
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_sweep_goes_all_around_though_agents_are_added_meanwhile() {
        for seed in 0..10 {
            let mut agenda = Agenda::new(seed);
            for agent in 0..5 {
                agenda.set_stocked(agent, true);
            }
            agenda.start_sweep(5);
            let mut seen: Vec<u32> = agenda.next().into_iter().collect();
            for agent in 5..50 {
                agenda.set_stocked(agent, true);
            }
            seen.extend(drain(&mut agenda));
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn the_queue_and_the_sweep_take_turns() {
        let mut agenda = Agenda::new(0);
        for agent in 0..4 {
            agenda.set_stocked(agent, true);
        }
        agenda.start_sweep(4);
        for agent in [10, 11, 12, 10] {
            agenda.enqueue(agent);
        }
        let seen = drain(&mut agenda);
        assert_eq!(seen.len(), 7);
        assert_eq!((seen[0], seen[2], seen[4]), (10, 11, 12));
    }

    #[test]
    fn a_removed_agent_is_passed_over_and_its_number_can_be_given_again() {
        let mut agenda = Agenda::new(0);
        agenda.enqueue(3);
        agenda.enqueue(4);
        agenda.remove(3);
        agenda.enqueue(3);
        assert_eq!(drain(&mut agenda), [3, 4]);
    }
}

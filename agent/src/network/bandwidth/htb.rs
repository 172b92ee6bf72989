//! HTB: a queue whose classes have an assured rate, borrow what others leave, and go no faster than their ceiling.
//!
//! Written from net/sched/sch_htb.c and include/uapi/linux/pkt_sched.h. All rates are in bytes per second.

use std::collections::BTreeSet;

use netlink_packet_core::{
    DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Nla as _, NlasIterator,
};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption, TcStats2};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use weir_abi::QUEUE_MAJOR;
use weir_sys::netlink::{Netlink, NetlinkError};

const TCA_OPTIONS: u16 = 2;
const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_INIT: u16 = 2;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;
/// `struct tc_htb_glob`: the version of the interface, and a divisor that nothing uses where quanta are given.
const HTB_VERSION: u32 = 3;
const RATE_TO_QUANTUM: u32 = 10;
/// With any other the kernel wants tables of times, as it did before 3.8.
const TC_LINKLAYER_ETHERNET: u8 = 1;
/// The kernel counts such times in units of 64 ns (`PSCHED_SHIFT`).
const NS_PER_TICK: u64 = 64;

/// How long a class may have been idle and still send at once what it could have sent meanwhile: what a timer is late by on a busy
/// machine. More would be above the rate for all to see, less would be below it.
const BURST_NS: u64 = 3_000_000;

/// See [`Bound::Packets`].
const LEAF_PACKETS_MAX: u32 = 10_000;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// So many packets. Senders of the node stop at what their sockets hold, long before; this ends what does not stop.
    Packets,
    /// So many bytes.
    Bytes(u32),
}

/// One class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// Its number, within Weir's queue.
    pub(crate) minor: u16,
    /// That of the class above; zero for the one at the top.
    pub(crate) parent: u16,
    pub(crate) rate: u64,
    pub(crate) ceiling: u64,
    /// Which goes first where several borrow: zero before one.
    pub(crate) priority: u32,
    /// What it sends each time that it is its turn to borrow, in bytes.
    pub(crate) quantum: u32,
    /// How much may wait in it, if it has no classes below.
    pub(crate) leaf: Option<Bound>,
}

fn handle(minor: u16) -> TcHandle {
    TcHandle {
        major: major(),
        minor,
    }
}

fn major() -> u16 {
    u16::try_from(QUEUE_MAJOR).expect("it is written with four digits")
}

fn message(ifindex: u32, own: TcHandle, parent: TcHandle, kind: &str) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.family = AddressFamily::Unspec;
    message.header.index = i32::try_from(ifindex).unwrap_or(i32::MAX);
    message.header.handle = own;
    message.header.parent = parent;
    message.attributes = vec![TcAttribute::Kind(kind.to_owned())];
    message
}

fn option(kind: u16, bytes: Vec<u8>) -> TcOption {
    TcOption::Other(DefaultNla::new(kind, bytes))
}

/// What an interface queues in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// What the kernel gave it.
    Default,
    /// Weir's queue.
    Own,
    /// What somebody else gave it.
    Foreign {
        /// As `tc` calls it.
        kind: String,
    },
}

/// Returns what an interface queues in.
pub(crate) fn root(netlink: &mut Netlink, ifindex: u32) -> Result<Root, NetlinkError> {
    let ask = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let index = i32::try_from(ifindex).unwrap_or(i32::MAX);
    let found = netlink.dump(ask, "list the qdiscs")?;
    let root = found.into_iter().find_map(|message| {
        if let RouteNetlinkMessage::NewQueueDiscipline(qdisc) = message
            && qdisc.header.index == index
            && qdisc.header.parent == TcHandle::ROOT
        {
            return Some(qdisc);
        }
        None
    });
    let Some(root) = root else {
        return Ok(Root::Default);
    };
    // What the kernel makes by itself has no number.
    if root.header.handle.major == 0 {
        return Ok(Root::Default);
    }
    let kind = root.attributes.iter().find_map(|attribute| {
        if let TcAttribute::Kind(kind) = attribute {
            return Some(kind.clone());
        }
        None
    });
    let kind = kind.unwrap_or_default();
    if root.header.handle == handle(0) && kind == "htb" {
        return Ok(Root::Own);
    }
    Ok(Root::Foreign { kind })
}

/// Makes an HTB queue at the root of an interface, unless it has it. What is in no class goes to the leaf `default`.
pub(crate) fn make(netlink: &mut Netlink, ifindex: u32, default: u16) -> Result<(), NetlinkError> {
    let mut message = message(ifindex, handle(0), TcHandle::ROOT, "htb");
    let numbers = [HTB_VERSION, RATE_TO_QUANTUM, u32::from(default), 0, 0];
    let init = numbers
        .iter()
        .flat_map(|number| number.to_ne_bytes())
        .collect();
    message
        .attributes
        .push(TcAttribute::Options(vec![option(TCA_HTB_INIT, init)]));
    let made = netlink.execute(
        RouteNetlinkMessage::NewQueueDiscipline(message),
        NLM_F_CREATE | NLM_F_EXCL,
        || format!("add an HTB queue to interface {ifindex}"),
    );
    match made {
        Err(error) if error.is_present() => Ok(()),
        result => result,
    }
}

/// Removes the queue with all that waits in it; fine where there is none.
pub(crate) fn remove(netlink: &mut Netlink, ifindex: u32) -> Result<(), NetlinkError> {
    let removed = netlink.execute(
        RouteNetlinkMessage::DelQueueDiscipline(message(ifindex, handle(0), TcHandle::ROOT, "htb")),
        0,
        || format!("remove the HTB queue of interface {ifindex}"),
    );
    match removed {
        // "No such qdisc" is EINVAL where the one at the root is another.
        Err(error) if error.is_gone() || error.errno() == Some(nix::libc::EINVAL) => Ok(()),
        result => result,
    }
}

/// Makes a class, or changes it while packets pass.
pub(crate) fn set_class(
    netlink: &mut Netlink,
    ifindex: u32,
    class: &Class,
) -> Result<(), NetlinkError> {
    let mut new = message(ifindex, handle(class.minor), handle(class.parent), "htb");
    new.attributes.push(TcAttribute::Options(class.options()));
    netlink.execute(
        RouteNetlinkMessage::NewTrafficClass(new),
        NLM_F_CREATE,
        || format!("set class {:x} of interface {ifindex}", class.minor),
    )?;
    let Some(bound) = class.leaf else {
        return Ok(());
    };
    let (kind, limit) = match bound {
        Bound::Packets => ("pfifo", LEAF_PACKETS_MAX),
        Bound::Bytes(bytes) => ("bfifo", bytes),
    };
    let own = TcHandle {
        major: leaf_major(class.minor),
        minor: 0,
    };
    let mut queue = message(ifindex, own, handle(class.minor), kind);
    // `struct tc_fifo_qopt`, which is not made of attributes.
    queue.attributes.push(TcAttribute::Other(DefaultNla::new(
        TCA_OPTIONS,
        limit.to_ne_bytes().to_vec(),
    )));
    netlink.execute(
        RouteNetlinkMessage::NewQueueDiscipline(queue),
        NLM_F_CREATE | NLM_F_REPLACE,
        || {
            format!(
                "set the queue of class {:x} of interface {ifindex}",
                class.minor
            )
        },
    )
}

/// Removes a class with what waits in it; fine where there is none.
pub(crate) fn remove_class(
    netlink: &mut Netlink,
    ifindex: u32,
    minor: u16,
) -> Result<(), NetlinkError> {
    let removed = netlink.execute(
        RouteNetlinkMessage::DelTrafficClass(message(
            ifindex,
            handle(minor),
            TcHandle::ROOT,
            "htb",
        )),
        0,
        || format!("remove class {minor:x} of interface {ifindex}"),
    );
    match removed {
        Err(error) if error.is_gone() || error.errno() == Some(nix::libc::EINVAL) => Ok(()),
        result => result,
    }
}

/// What one class has, and what passed through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassStatistics {
    pub(crate) minor: u16,
    /// The assured rate.
    pub(crate) rate: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) waiting_bytes: u64,
    pub(crate) dropped_packets: u64,
}

/// Returns what passed through all classes of Weir's queue at an interface.
pub(crate) fn statistics(
    netlink: &mut Netlink,
    ifindex: u32,
) -> Result<Vec<ClassStatistics>, NetlinkError> {
    let found = own_classes(netlink, ifindex)?;
    Ok(found.iter().map(ClassStatistics::read).collect())
}

impl ClassStatistics {
    fn read(class: &TcMessage) -> Self {
        let mut read = Self {
            minor: class.header.handle.minor,
            ..Self::default()
        };
        for attribute in &class.attributes {
            // What the crate does not know of it is in one piece.
            if let TcAttribute::Options(options) = attribute
                && let [TcOption::Other(all)] = &options[..]
            {
                let mut bytes = vec![0; all.value_len()];
                all.emit_value(&mut bytes);
                read.rate = rate_of(&bytes);
            }
            let TcAttribute::Stats2(statistics) = attribute else {
                continue;
            };
            for part in statistics {
                if let TcStats2::Basic(basic) = part {
                    read.sent_bytes = basic.bytes;
                }
                if let TcStats2::Queue(queue) = part {
                    read.waiting_bytes = queue.backlog.into();
                    read.dropped_packets = queue.drops.into();
                }
            }
        }
        read
    }
}

/// Returns the assured rate of a class from its options, attribute after attribute; the kernel tells it twice where it is more than 32
/// bits hold.
fn rate_of(options: &[u8]) -> u64 {
    /// Where `struct tc_htb_opt` has it.
    const RATE_AT: std::ops::Range<usize> = 8..12;
    let mut rate = 0;
    for attribute in NlasIterator::new(options).map_while(Result::ok) {
        let value = attribute.value();
        if attribute.kind() == TCA_HTB_PARMS
            && let Some(Ok(short)) = value.get(RATE_AT).map(<[u8; 4]>::try_from)
        {
            rate = rate.max(u32::from_ne_bytes(short).into());
        }
        if attribute.kind() == TCA_HTB_RATE64
            && let Ok(long) = <[u8; 8]>::try_from(value)
        {
            rate = u64::from_ne_bytes(long);
        }
    }
    rate
}

/// Returns the numbers of all classes of Weir's queue at an interface.
pub(crate) fn classes(netlink: &mut Netlink, ifindex: u32) -> Result<BTreeSet<u16>, NetlinkError> {
    let found = own_classes(netlink, ifindex)?;
    Ok(found
        .iter()
        .map(|class| class.header.handle.minor)
        .collect())
}

fn own_classes(netlink: &mut Netlink, ifindex: u32) -> Result<Vec<TcMessage>, NetlinkError> {
    let mut ask = TcMessage::default();
    ask.header.index = i32::try_from(ifindex).unwrap_or(i32::MAX);
    let found = netlink.dump(
        RouteNetlinkMessage::GetTrafficClass(ask),
        "list the classes of a queue",
    )?;
    Ok(found
        .into_iter()
        .filter_map(|message| {
            if let RouteNetlinkMessage::NewTrafficClass(class) = message
                && class.header.handle.major == major()
            {
                return Some(class);
            }
            None
        })
        .collect())
}

/// Returns the number of the queue of a leaf: its own number, which no other queue of the interface has.
const fn leaf_major(minor: u16) -> u16 {
    0x8000 | minor
}

impl Class {
    fn options(&self) -> Vec<TcOption> {
        let mut parameters = Vec::with_capacity(44);
        for rate in [self.rate, self.ceiling] {
            // `struct tc_ratespec`: cell_log, linklayer, overhead, cell_align, mpu, rate.
            parameters.extend([0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0]);
            let low = u32::try_from(rate).unwrap_or(u32::MAX);
            parameters.extend(low.to_ne_bytes());
        }
        let ticks = u32::try_from(BURST_NS / NS_PER_TICK).expect("milliseconds fit");
        // buffer, cbuffer, quantum, level, prio.
        for number in [ticks, ticks, self.quantum, 0, self.priority] {
            parameters.extend(number.to_ne_bytes());
        }
        vec![
            option(TCA_HTB_PARMS, parameters),
            option(TCA_HTB_RATE64, self.rate.to_ne_bytes().to_vec()),
            option(TCA_HTB_CEIL64, self.ceiling.to_ne_bytes().to_vec()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable as _;

    use super::*;

    #[test]
    fn a_class_is_written_as_the_kernel_reads_it() {
        let class = Class {
            minor: 2,
            parent: 1,
            rate: 125_000,
            ceiling: 5_000_000_000,
            priority: 1,
            quantum: 1600,
            leaf: Some(Bound::Packets),
        };
        let bytes = |option: &TcOption| {
            let mut bytes = vec![0; option.value_len()];
            option.emit_value(&mut bytes);
            (option.kind(), bytes)
        };
        let options: Vec<(u16, Vec<u8>)> = class.options().iter().map(bytes).collect();
        let [(TCA_HTB_PARMS, parameters), rate, ceiling] = &options[..] else {
            panic!("{options:?}");
        };
        // `struct tc_htb_opt`: what does not fit 32 bits is all ones there, and whole behind it.
        let expected = [
            &[0, 1, 0, 0, 0, 0, 0, 0][..],
            &125_000_u32.to_ne_bytes(),
            &[0, 1, 0, 0, 0, 0, 0, 0],
            &u32::MAX.to_ne_bytes(),
            &46_875_u32.to_ne_bytes(),
            &46_875_u32.to_ne_bytes(),
            &1600_u32.to_ne_bytes(),
            &0_u32.to_ne_bytes(),
            &1_u32.to_ne_bytes(),
        ]
        .concat();
        assert_eq!(*parameters, expected);
        // And read back: what is too large for the parameters stands behind them.
        let written = |options: &[TcOption]| {
            let mut bytes = vec![0; options.buffer_len()];
            options.emit(&mut bytes);
            bytes
        };
        assert_eq!(rate_of(&written(&class.options())), 125_000);
        assert_eq!(rate_of(&written(&class.options()[..1])), 125_000);
        let large = Class {
            rate: 5_000_000_000,
            ..class
        };
        assert_eq!(rate_of(&written(&large.options())), 5_000_000_000);
        assert_eq!(*rate, (TCA_HTB_RATE64, 125_000_u64.to_ne_bytes().to_vec()));
        assert_eq!(
            *ceiling,
            (TCA_HTB_CEIL64, 5_000_000_000_u64.to_ne_bytes().to_vec())
        );
    }
}

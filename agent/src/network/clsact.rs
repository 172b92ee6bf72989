//! Attaching programs the way that every kernel knows: a `clsact` qdisc and a direct-action filter.
//!
//! For kernels before 6.6, and where the configuration asks for it. A filter holds its program, so
//! it stays in force without the agent, and is replaced in one step.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use weir_sys::netlink::{Netlink, NetlinkError};

// include/uapi/linux/pkt_cls.h
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
const ETH_P_ALL: u16 = 3;

/// Where Weir's filter stands among others: late enough to let an operator's own go first.
const PRIORITY: u16 = 0x5745;
/// One filter per interface and program, so one handle.
const HANDLE: TcHandle = TcHandle { major: 0, minor: 1 };

/// Which packets of an interface a program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Those that it received.
    Ingress,
    /// Those that it is about to queue.
    Egress,
}

impl Side {
    fn handle(self) -> TcHandle {
        TcHandle {
            major: TcHandle::CLSACT.major,
            minor: match self {
                Self::Ingress => TcHandle::MIN_INGRESS,
                Self::Egress => TcHandle::MIN_EGRESS,
            },
        }
    }
}

fn message(ifindex: u32, handle: TcHandle, parent: TcHandle, info: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.family = AddressFamily::Unspec;
    message.header.index = i32::try_from(ifindex).unwrap_or(i32::MAX);
    message.header.handle = handle;
    message.header.parent = parent;
    message.header.info = info;
    message
}

fn qdisc(ifindex: u32) -> TcMessage {
    let handle = TcHandle {
        major: TcHandle::CLSACT.major,
        minor: 0,
    };
    let mut message = message(ifindex, handle, TcHandle::CLSACT, 0);
    message
        .attributes
        .push(TcAttribute::Kind("clsact".to_owned()));
    message
}

fn filter(ifindex: u32, side: Side) -> TcMessage {
    let info = u32::from(PRIORITY) << 16 | u32::from(ETH_P_ALL.to_be());
    message(ifindex, HANDLE, side.handle(), info)
}

/// Returns whether an interface has a clsact qdisc.
pub(crate) fn has_qdisc(netlink: &mut Netlink, ifindex: u32) -> Result<bool, NetlinkError> {
    let ask = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let index = i32::try_from(ifindex).unwrap_or(i32::MAX);
    let found = netlink.dump(ask, "list the qdiscs")?;
    Ok(found.iter().any(|qdisc| {
        matches!(
            qdisc,
            RouteNetlinkMessage::NewQueueDiscipline(qdisc)
                if qdisc.header.index == index && qdisc.header.parent == TcHandle::CLSACT
        )
    }))
}

/// Puts a program on one side of an interface, in place of Weir's former one, and makes the
/// qdisc that it needs.
pub(crate) fn attach(
    netlink: &mut Netlink,
    ifindex: u32,
    side: Side,
    name: &str,
    program: BorrowedFd<'_>,
) -> Result<(), NetlinkError> {
    let added = netlink.execute(
        RouteNetlinkMessage::NewQueueDiscipline(qdisc(ifindex)),
        NLM_F_CREATE | NLM_F_EXCL,
        || format!("add a clsact qdisc to interface {ifindex}"),
    );
    match added {
        Ok(()) => {}
        Err(error) if error.is_present() => {}
        Err(error) => return Err(error),
    }
    let mut message = filter(ifindex, side);
    let mut name = name.as_bytes().to_vec();
    name.push(0);
    let number = |value: u32| value.to_ne_bytes().to_vec();
    message.attributes = vec![
        TcAttribute::Kind("bpf".to_owned()),
        TcAttribute::Options(vec![
            TcOption::Other(DefaultNla::new(
                TCA_BPF_FD,
                program.as_raw_fd().to_ne_bytes().to_vec(),
            )),
            TcOption::Other(DefaultNla::new(TCA_BPF_NAME, name)),
            TcOption::Other(DefaultNla::new(
                TCA_BPF_FLAGS,
                number(TCA_BPF_FLAG_ACT_DIRECT),
            )),
        ]),
    ];
    netlink.execute(
        RouteNetlinkMessage::NewTrafficFilter(message),
        NLM_F_CREATE | NLM_F_REPLACE,
        || format!("attach a program to interface {ifindex}"),
    )
}

/// Takes Weir's program off one side of an interface; fine where there is none.
pub(crate) fn detach(netlink: &mut Netlink, ifindex: u32, side: Side) -> Result<(), NetlinkError> {
    let removed = netlink.execute(
        RouteNetlinkMessage::DelTrafficFilter(filter(ifindex, side)),
        0,
        || format!("detach a program from interface {ifindex}"),
    );
    absent_is_fine(removed)
}

/// Removes the qdisc that [`attach`] made, with all that is attached to it.
pub(crate) fn remove_qdisc(netlink: &mut Netlink, ifindex: u32) -> Result<(), NetlinkError> {
    let removed = netlink.execute(
        RouteNetlinkMessage::DelQueueDiscipline(qdisc(ifindex)),
        0,
        || format!("remove the clsact qdisc of interface {ifindex}"),
    );
    absent_is_fine(removed)
}

/// Returns whether the ingress of an interface has filters that are not Weir's.
pub(crate) fn has_foreign_filters(
    netlink: &mut Netlink,
    ifindex: u32,
) -> Result<bool, NetlinkError> {
    let ask = message(ifindex, TcHandle::UNSPEC, Side::Ingress.handle(), 0);
    match netlink.dump(
        RouteNetlinkMessage::GetTrafficFilter(ask),
        "list the filters of tc",
    ) {
        Ok(filters) => Ok(filters.iter().any(|filter| {
            matches!(
                filter,
                RouteNetlinkMessage::NewTrafficFilter(filter)
                    if filter.header.info >> 16 != u32::from(PRIORITY)
            )
        })),
        // An interface without a clsact qdisc has no such place.
        Err(error) if error.errno().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

fn absent_is_fine(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Ok(()) => Ok(()),
        // "No such qdisc" is EINVAL to the kernel where the interface never had one.
        Err(error) if error.is_gone() || error.errno() == Some(nix::libc::EINVAL) => Ok(()),
        Err(error) => Err(error),
    }
}

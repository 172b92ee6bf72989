//! How long the programs themselves take, run by the kernel over and over on one packet
//! (`BPF_PROG_TEST_RUN`): no device, no stack, warm caches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, bail};
use aya::programs::tc::TcAttachType;
use aya::programs::{ProgramInfo, SchedClassifier, TestRun as _, TestRunOptions};
use nix::net::if_::if_nametoindex;

use crate::empty;
use crate::ground::check_interrupt;
use crate::path::{NODE, Paths, Subject, UPLINK, WIRE, container_link};
use crate::progress::Progress;
use crate::sample::Samples;
use crate::table::Table;

const NODE_V6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2);
const WIRE_V6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);

/// A port of the node's own.
const NODE_PORT: u16 = 22;
/// A port of nobody in particular.
const PEER_PORT: u16 = 50_000;

// include/uapi/linux/bpf.h: the size of `struct __sk_buff`, and where it has the interface.
const CONTEXT_BYTES: usize = 192;
const CONTEXT_IFINDEX: usize = 40;

// include/uapi/linux/bpf.h and pkt_cls.h.
const TC_ACT_OK: u32 = 0;
const TCX_NEXT: u32 = u32::MAX;
const TC_ACT_REDIRECT: u32 = 7;

const ETHERNET: usize = 14;

/// A packet that a program is run on, and what it has to decide.
#[derive(Clone, Copy, Debug)]
struct Case {
    program: &'static str,
    /// The interface of the node that the program is on.
    link: Link,
    what: &'static str,
    packet: Packet,
    verdict: u32,
}

#[derive(Clone, Copy, Debug)]
enum Link {
    /// None: the program is the empty one.
    Nowhere,
    Uplink,
    Container,
    Loopback,
}

#[derive(Clone, Copy, Debug)]
enum Packet {
    /// A datagram from the wire or the node, or to one of them.
    Datagram { from: End, to: End },
    /// Not of a protocol that the programs know.
    Foreign,
}

/// One end of a datagram.
#[derive(Clone, Copy, Debug)]
enum End {
    Wire,
    Node,
    Container,
}

const CASES: [Case; 7] = {
    const fn case(
        program: &'static str,
        link: Link,
        what: &'static str,
        packet: Packet,
        verdict: u32,
    ) -> Case {
        Case {
            program,
            link,
            what,
            packet,
            verdict,
        }
    }
    const fn datagram(from: End, to: End) -> Packet {
        Packet::Datagram { from, to }
    }
    use End::{Container, Node, Wire};
    [
        case(
            "empty",
            Link::Nowhere,
            "the least there is",
            datagram(Wire, Container),
            TC_ACT_OK,
        ),
        case(
            "uplink_in",
            Link::Uplink,
            "neither IPv4 nor IPv6",
            Packet::Foreign,
            TCX_NEXT,
        ),
        case(
            "uplink_in",
            Link::Uplink,
            "to a container",
            datagram(Wire, Container),
            TC_ACT_REDIRECT,
        ),
        case(
            "uplink_in",
            Link::Uplink,
            "to the node itself",
            datagram(Wire, Node),
            TCX_NEXT,
        ),
        case(
            "container_out",
            Link::Container,
            "to the wire",
            datagram(Container, Wire),
            TC_ACT_REDIRECT,
        ),
        case(
            "node_loopback",
            Link::Loopback,
            "to a container",
            datagram(Node, Container),
            TC_ACT_REDIRECT,
        ),
        case(
            "node_loopback",
            Link::Loopback,
            "to the node itself",
            datagram(Node, Node),
            TCX_NEXT,
        ),
    ]
};

/// What the programs take, in nanoseconds, for IPv4 and for IPv6, one sample a round.
pub(crate) struct Programs(Vec<(Case, [Samples; 2])>);

impl Programs {
    pub(crate) fn measure(paths: &mut Paths, rounds: u32, repeats: u32) -> Result<Self> {
        let subject = Subject::Weir {
            ranges: 1000,
            statistics: false,
        };
        paths.prepare(subject)?;
        let port = subject.port();
        // In the node's namespace, where the interfaces are.
        paths
            .path(subject)?
            .host
            .run(|| measure(port, rounds, repeats))?
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(
            "Time of a program, in nanoseconds",
            "By `BPF_PROG_TEST_RUN`, 64 bytes of UDP; what the kernel itself needs for a run, the first line, is part of all.",
            &["program", "packet", "IPv4", "IPv6"],
        );
        for (case, samples) in &self.0 {
            let mut row = vec![format!("`{}`", case.program), case.what.to_owned()];
            row.extend(samples.iter().map(Samples::to_string));
            table.push(row);
        }
        table
    }
}

fn measure(port: u16, rounds: u32, repeats: u32) -> Result<Programs> {
    let mut empty = empty::load()?;
    let mut measured = Vec::new();
    for case in CASES {
        let link = match case.link {
            Link::Nowhere | Link::Loopback => "lo".to_owned(),
            Link::Uplink => UPLINK.to_owned(),
            Link::Container => container_link(),
        };
        let index =
            if_nametoindex(link.as_str()).with_context(|| format!("no interface {link}"))?;
        let info = match case.link {
            Link::Nowhere => empty
                .program_mut(case.program)
                .context("it is loaded")?
                .info()?,
            Link::Uplink | Link::Container | Link::Loopback => find(&link, case.program)?,
        };
        let program = SchedClassifier::from_program_info(info, case.program.into())
            .with_context(|| format!("cannot take {} from the kernel", case.program))?;
        measured.push((case, program, index, [const { Samples::new() }; 2]));
    }
    let progress = Progress::new("rounds of programs", rounds);
    for round in 0..rounds {
        progress.show(round);
        for (case, program, index, samples) in &mut measured {
            for (is_v6, samples) in [false, true].into_iter().zip(samples) {
                check_interrupt()?;
                let packet = packet(case.packet, port, is_v6);
                let mut context = [0; CONTEXT_BYTES];
                context[CONTEXT_IFINDEX..CONTEXT_IFINDEX + 4].copy_from_slice(&index.to_ne_bytes());
                let options = TestRunOptions {
                    data_in: Some(&packet),
                    ctx_in: Some(&context),
                    repeat: repeats,
                    ..TestRunOptions::new()
                };
                let result = program
                    .test_run(options)
                    .with_context(|| format!("cannot test-run {}", case.program))?;
                if result.return_value != case.verdict {
                    bail!(
                        "{} {}: the verdict is {}, not {}",
                        case.program,
                        case.what,
                        result.return_value,
                        case.verdict
                    );
                }
                samples.push(result.duration.as_secs_f64() * 1e9);
            }
        }
    }
    drop(progress);
    Ok(Programs(
        measured
            .into_iter()
            .map(|(case, _, _, samples)| (case, samples))
            .collect(),
    ))
}

/// Returns the program of that name on an interface.
fn find(link: &str, name: &'static str) -> Result<ProgramInfo> {
    let (_, programs) = SchedClassifier::query_tcx(link, TcAttachType::Ingress)
        .with_context(|| format!("cannot list the programs on {link}"))?;
    programs
        .into_iter()
        .find(|info| info.name_as_str() == Some(name))
        .with_context(|| format!("{name} is not on {link}; this needs tcx, and so Linux 6.6"))
}

/// Returns the packet as it is on the interface.
fn packet(packet: Packet, port: u16, is_v6: bool) -> Vec<u8> {
    const PAYLOAD: usize = 64;
    let mut frame = vec![0; ETHERNET - 2];
    let Packet::Datagram { from, to } = packet else {
        // 802.1 local experimental
        frame.extend(0x88b5_u16.to_be_bytes());
        frame.resize(ETHERNET + 28 + PAYLOAD, 0);
        return frame;
    };
    let length = u16::try_from(8 + PAYLOAD).expect("a small packet");
    let [(source, source_port), (target, target_port)] = [from, to].map(|end| end.at(port, is_v6));
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            frame.extend(0x0800_u16.to_be_bytes());
            frame.extend([0x45, 0]);
            frame.extend((20 + length).to_be_bytes());
            // Identifier, do not fragment, hops, UDP, no checksum: the programs leave it to the stack.
            frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0]);
            frame.extend(source.octets());
            frame.extend(target.octets());
        }
        (source, target) => {
            frame.extend(0x86dd_u16.to_be_bytes());
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([17, 64]);
            for address in [source, target] {
                let IpAddr::V6(address) = address else {
                    unreachable!("both are of one family")
                };
                frame.extend(address.octets());
            }
        }
    }
    frame.extend(source_port.to_be_bytes());
    frame.extend(target_port.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend([0; 2]);
    frame.extend([0; PAYLOAD]);
    frame
}

impl End {
    fn at(self, port: u16, is_v6: bool) -> (IpAddr, u16) {
        let choose = |v4: Ipv4Addr, v6: Ipv6Addr| {
            if is_v6 {
                IpAddr::V6(v6)
            } else {
                IpAddr::V4(v4)
            }
        };
        match self {
            Self::Wire => (choose(WIRE, WIRE_V6), PEER_PORT),
            Self::Node => (choose(NODE, NODE_V6), NODE_PORT),
            Self::Container => (choose(NODE, NODE_V6), port),
        }
    }
}

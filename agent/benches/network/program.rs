//! How long the programs themselves take, run by the kernel over and over on one packet
//! (`BPF_PROG_TEST_RUN`): no device, no stack, warm caches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, bail};
use aya::programs::tc::TcAttachType;
use aya::programs::{ProgramInfo, SchedClassifier, TestRun as _, TestRunOptions};
use nix::net::if_::if_nametoindex;

use crate::ground::check_interrupt;
use crate::path::{NODE, Paths, Subject, UPLINK, WIRE, container_link};
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

const CASES: [Case; 6] = {
    const fn case(
        program: &'static str,
        link: Link,
        what: &'static str,
        packet: Packet,
        verdict: u32,
    ) -> Case {
        Case { program, link, what, packet, verdict }
    }
    const fn datagram(from: End, to: End) -> Packet {
        Packet::Datagram { from, to }
    }
    use End::{Container, Node, Wire};
    [
        case("uplink_in", Link::Uplink, "neither IPv4 nor IPv6: the least there is", Packet::Foreign, TCX_NEXT),
        case("uplink_in", Link::Uplink, "to a container", datagram(Wire, Container), TC_ACT_REDIRECT),
        case("uplink_in", Link::Uplink, "to the node itself", datagram(Wire, Node), TCX_NEXT),
        case("container_out", Link::Container, "to the wire", datagram(Container, Wire), TC_ACT_REDIRECT),
        case("node_loopback", Link::Loopback, "to a container", datagram(Node, Container), TC_ACT_REDIRECT),
        case("node_loopback", Link::Loopback, "to the node itself", datagram(Node, Node), TCX_NEXT),
    ]
};

/// What the programs take, in nanoseconds, for IPv4 and for IPv6, one sample a round.
pub(crate) struct Programs(Vec<(Case, [Samples; 2])>);

impl Programs {
    pub(crate) fn measure(paths: &mut Paths, rounds: u32, repeats: u32) -> Result<Self> {
        let subject = Subject::Weir { ranges: 1000, statistics: false };
        paths.prepare(subject)?;
        let port = subject.port();
        // In the node's namespace, where the interfaces are.
        paths.path(subject)?.host.run(|| measure(port, rounds, repeats))?
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(
            "Time of a program, in nanoseconds",
            "By `BPF_PROG_TEST_RUN`, 64 bytes of UDP; the harness of the kernel is part of it (see the first line).",
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
    let mut measured = Vec::new();
    for case in CASES {
        let link = match case.link {
            Link::Uplink => UPLINK.to_owned(),
            Link::Container => container_link(),
            Link::Loopback => "lo".to_owned(),
        };
        let index = if_nametoindex(link.as_str()).with_context(|| format!("no interface {link}"))?;
        measured.push((case, load(&link, case.program)?, index, [const { Samples::new() }; 2]));
    }
    for round in 0..rounds {
        eprint!("\rtime of a program: round {} of {rounds}", round + 1);
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
    eprintln!();
    Ok(Programs(measured.into_iter().map(|(case, _, _, samples)| (case, samples)).collect()))
}

/// Returns the program of that name on an interface.
fn load(link: &str, name: &'static str) -> Result<SchedClassifier> {
    let (_, programs) = SchedClassifier::query_tcx(link, TcAttachType::Ingress)
        .with_context(|| format!("cannot list the programs on {link}"))?;
    let is_it = |info: &ProgramInfo| info.name_as_str() == Some(name);
    let info = programs
        .into_iter()
        .find(is_it)
        .with_context(|| format!("{name} is not on {link}; this needs tcx, and so Linux 6.6"))?;
    SchedClassifier::from_program_info(info, name.into())
        .with_context(|| format!("cannot take {name} from the kernel"))
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
                let IpAddr::V6(address) = address else { unreachable!("both are of one family") };
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
        let choose = |v4: Ipv4Addr, v6: Ipv6Addr| if is_v6 { IpAddr::V6(v6) } else { IpAddr::V4(v4) };
        match self {
            Self::Wire => (choose(WIRE, WIRE_V6), PEER_PORT),
            Self::Node => (choose(NODE, NODE_V6), NODE_PORT),
            Self::Container => (choose(NODE, NODE_V6), port),
        }
    }
}

//! The programs themselves, run by the kernel on packets that nobody sent: on any bytes at all they
//! keep their word, and on whole packets they decide as this file would.

use std::net::{IpAddr, SocketAddr};

use aya::TestRun;
use aya::maps::MapInfo;
use aya::programs::{SchedClassifier, TestRunOptions};
use weir_abi::{Counters, LINK_MAC};

use crate::frames::{DESTINATION_OPTIONS, HOP_BY_HOP, Packet, ROUTING, frame, octets, tagged};
use crate::lab::{Container, Lab, NODE_V4, NODE_V6, WIRE_V4, WIRE_V6};

/// Goes on to the stack, is dropped, is sent elsewhere: all that tcx and clsact are ever told.
const NEXT: i32 = -1;
const DROP: i32 = 2;
const REDIRECT: i32 = 7;

/// Where `struct __sk_buff` of include/uapi/linux/bpf.h has the index of the interface.
const IFINDEX: usize = 40;
const SK_BUFF: usize = 192;

/// More does not fit into the page that the kernel makes of it.
const LONGEST: usize = 2000;

/// The three programs on interfaces, of one laboratory.
struct Programs {
    uplink_in: Program,
    container_out: Program,
    node_loopback: Program,
}

struct Program {
    program: SchedClassifier,
    ifindex: u32,
}

impl Programs {
    fn of(lab: &Lab, a: &Container) -> Self {
        let program = |name: &'static str, link: &str| {
            let text = lab.node.command("ip", &format!("-o link show dev {link}"));
            let ifindex = text.split(':').next().unwrap().parse().unwrap();
            Program {
                program: loaded(lab, name),
                ifindex,
            }
        };
        Self {
            uplink_in: program("uplink_in", "up0"),
            container_out: program("container_out", &format!("we{}", a.attachment.container)),
            node_loopback: program("node_loopback", "lo"),
        }
    }

    fn all(&self) -> [&Program; 3] {
        [&self.uplink_in, &self.container_out, &self.node_loopback]
    }
}

/// Finds a program by its name and by one of its maps: other laboratories have the same.
fn loaded(lab: &Lab, name: &'static str) -> SchedClassifier {
    let node = MapInfo::from_pin(lab.maps().join("NODE")).unwrap().id();
    aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .filter(|info| info.name_as_str() == Some(name))
        .find(|info| {
            info.map_ids()
                .unwrap()
                .is_some_and(|ids| ids.contains(&node))
        })
        .map(|info| SchedClassifier::from_program_info(info, name.into()).unwrap())
        .unwrap_or_else(|| panic!("program {name} is loaded"))
}

impl Program {
    /// Returns the verdict on a frame, and the frame as the program left it.
    fn judge(&self, frame: &[u8]) -> (i32, Vec<u8>) {
        let mut context = [0; SK_BUFF];
        context[IFINDEX..IFINDEX + 4].copy_from_slice(&self.ifindex.to_ne_bytes());
        let mut after = vec![0; frame.len() + 64];
        let result = self
            .program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut after),
                ctx_in: Some(&context),
                ..TestRunOptions::new()
            })
            .unwrap_or_else(|error| panic!("{} bytes: {error}: {frame:02x?}", frame.len()));
        after.truncate(result.data_size_out as usize);
        (result.return_value.cast_signed(), after)
    }
}

/// The length of the shortest frame that the kernel runs a program on, of this one's type: it wants
/// the fixed part of an IP header, and one byte of anything else.
///
/// What is shorter is sent for real, among the drops.
fn shortest(frame: &[u8]) -> usize {
    match frame[12..14] {
        [0x08, 0x00] => 14 + 20,
        [0x86, 0xdd] => 14 + 40,
        _ => 14 + 1,
    }
}

/// Checks what holds for every frame whatsoever.
fn assert_kept(programs: &Programs, frame: &[u8]) {
    if frame.len() < shortest(frame) {
        return;
    }
    for program in programs.all() {
        let (verdict, after) = program.judge(frame);
        assert!(
            [NEXT, DROP, REDIRECT].contains(&verdict),
            "{verdict} on {frame:02x?}"
        );
        assert_eq!(after.len(), frame.len(), "the length of {frame:02x?}");
        if program.ifindex == programs.container_out.ifindex {
            assert_ne!(
                verdict, NEXT,
                "a container's frame went to the node: {frame:02x?}"
            );
        }
        // The only things that are ever written: the destination MAC, and of an echo request or an
        // error about one the checksum and the identifier, which lie side by side.
        let changed: Vec<usize> = (6..frame.len())
            .filter(|&at| frame[at] != after[at])
            .collect();
        if let (Some(first), Some(last)) = (changed.first(), changed.last()) {
            assert!(
                last - first < 4 && *first >= 14 + 20 + 2,
                "{changed:?} of {frame:02x?}"
            );
        }
    }
}

/// An honest packet of every kind there is, of both families.
fn specimens(a: &Container) -> Vec<Vec<u8>> {
    let block = a.attachment.ephemeral.unwrap();
    let mut specimens = Vec::new();
    for (node, wire) in [(NODE_V4, WIRE_V4), (NODE_V6, WIRE_V6)] {
        let (node, wire): (IpAddr, IpAddr) = (node.parse().unwrap(), wire.parse().unwrap());
        let own = SocketAddr::new(node, 31000);
        let other = SocketAddr::new(wire, 9);
        for (from, to) in [(own, other), (other, own), (own, own)] {
            let ping = Packet::echo_request(from.ip(), to.ip(), block.first(), 1, b"weir");
            let packets = [
                Packet::udp(from, to, b"weir"),
                Packet::tcp(from, to),
                ping.clone(),
                Packet::icmp(
                    from.ip(),
                    to.ip(),
                    if node.is_ipv4() { 0 } else { 129 },
                    0,
                    [0; 4],
                    b"",
                ),
                Packet::unreachable(from.ip(), to.ip(), &Packet::udp(to, from, b"weir")),
                Packet::unreachable(from.ip(), to.ip(), &ping),
                Packet::udp(from, to, &[7; 64]).with_fragment(0, true),
                Packet::udp(from, to, &[7; 64]).with_fragment(9, false),
            ];
            for packet in packets {
                let extended = if node.is_ipv4() {
                    packet.clone().with_options(&[148, 4, 0, 0])
                } else {
                    let mut extended = packet.clone();
                    for kind in [HOP_BY_HOP, DESTINATION_OPTIONS, ROUTING] {
                        extended = extended.with_extension(kind, &[0; 6]);
                    }
                    extended
                };
                specimens.extend([packet.frame(LINK_MAC), extended.frame(LINK_MAC)]);
                specimens.push(tagged(&packet.frame(LINK_MAC), 100));
            }
        }
    }
    specimens
}

#[test]
fn any_bytes_are_judged_and_left_as_they_are() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let _b = lab.container(2, "31001");
    let programs = Programs::of(&lab, &a);
    let ethertypes = [0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x0000];
    lab.node.run(|| {
        bolero::check!()
            .with_type::<(u8, Vec<u8>)>()
            .with_iterations(3000)
            .for_each(|(kind, bytes)| {
                let ethertype = ethertypes[usize::from(*kind) % ethertypes.len()];
                // Half of them a version that leads on.
                let mut bytes = [&[if kind % 2 == 0 { 0x45 } else { 0x60 }], &bytes[..]].concat();
                bytes.resize(bytes.len().clamp(40, LONGEST), *kind);
                assert_kept(&programs, &frame(LINK_MAC, ethertype, &bytes));
            });
    });
}

#[test]
fn damaged_packets_are_judged_and_left_as_they_are() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let _b = lab.container(2, "31001");
    let programs = Programs::of(&lab, &a);
    let specimens = specimens(&a);
    // Unharmed, cut at every length, and with each byte of the headers turned over.
    lab.node.run(|| {
        for specimen in &specimens {
            assert_kept(&programs, specimen);
            for length in 15..specimen.len() {
                assert_kept(&programs, &specimen[..length]);
            }
            for at in 12..specimen.len().min(120) {
                let mut damaged = specimen.clone();
                damaged[at] ^= 0xff;
                assert_kept(&programs, &damaged);
            }
        }
        bolero::check!()
            .with_type::<(u16, Vec<(u8, u8)>, u16)>()
            .with_iterations(3000)
            .for_each(|(which, damage, cut)| {
                let mut bytes = specimens[usize::from(*which) % specimens.len()].clone();
                for (at, value) in damage.iter().take(8) {
                    let at = 12 + usize::from(*at) % (bytes.len() - 12);
                    bytes[at] = *value;
                }
                if cut % 4 == 0 {
                    bytes.truncate(15 + usize::from(*cut) % bytes.len());
                }
                assert_kept(&programs, &bytes);
            });
    });
}

/// A packet, as numbers that a fuzzer can choose.
type Choice = (bool, [u8; 6], bool);

/// What a container and its neighbour receive and send, for one packet.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    verdict: i32,
    sent_by_a: u64,
    received_by_a: u64,
    received_by_b: u64,
}

const NOBODYS: [u16; 3] = [22, 8080, 65535];

/// Who owns a port: a, b, or neither.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    A,
    B,
    Nobody,
}

fn owner_of(port: u16, a: &Container, b: &Container) -> Owner {
    let owns = |container: &Container| {
        let block = container.attachment.ephemeral.unwrap();
        container.attachment.ports.contains(port) || (block.first()..=block.last()).contains(&port)
    };
    match (owns(a), owns(b)) {
        (true, _) => Owner::A,
        (_, true) => Owner::B,
        _ => Owner::Nobody,
    }
}

/// What a packet says, and what this file makes of it.
struct Question {
    packet: Packet,
    /// The ports that count, of the packet or of the one that an error is about.
    source_port: u16,
    destination_port: u16,
    kind: u8,
    about_source_is_node: bool,
    about_destination_is_node: bool,
}

impl Question {
    fn new((v4, choices, fragmented): &Choice, a: &Container, b: &Container) -> Self {
        let [source, destination, from_port, to_port, kind, about] = choices.map(usize::from);
        let address = |choice: usize| -> IpAddr {
            let v4s = [
                NODE_V4,
                WIRE_V4,
                "8.8.8.8",
                "127.0.0.1",
                "224.0.0.251",
                "10.9.0.77",
            ];
            let v6s = [
                NODE_V6,
                WIRE_V6,
                "fd09::77",
                "::1",
                "ff02::fb",
                "2001:db8::1",
            ];
            // Mostly the first two, of which the interesting packets are.
            let choice = if choice < 128 { choice % 2 } else { choice % 6 };
            if *v4 { v4s[choice] } else { v6s[choice] }.parse().unwrap()
        };
        let port = |choice: usize| {
            let (of_a, of_b) = (
                a.attachment.ephemeral.unwrap(),
                b.attachment.ephemeral.unwrap(),
            );
            let ports = [
                31000,
                31001,
                of_a.first(),
                of_a.last(),
                of_b.first(),
                of_b.last(),
            ];
            let edges = [of_a.first() - 1, 30999, 31002];
            let all = [&ports[..], &edges, &NOBODYS].concat();
            all[choice % all.len()]
        };
        let (from, to) = (
            SocketAddr::new(address(source), port(from_port)),
            SocketAddr::new(address(destination), port(to_port)),
        );
        let kind = (kind % 5) as u8;
        let (about_from, about_to) = (address(about), address(about / 7 + 64));
        let packet = match kind {
            0 => Packet::udp(from, to, &[7; 64]),
            1 => Packet::tcp(from, to),
            2 => Packet::echo_request(from.ip(), to.ip(), 7, 1, b"weir"),
            3 => Packet::new(from.ip(), to.ip(), 132, vec![0; 32]),
            _ => {
                let about = Packet::udp(
                    SocketAddr::new(about_from, from.port()),
                    SocketAddr::new(about_to, to.port()),
                    b"weir",
                );
                Packet::unreachable(from.ip(), to.ip(), &about)
            }
        };
        let packet = if *fragmented {
            packet.with_fragment(0, true)
        } else {
            packet
        };
        let is_node = |ip: IpAddr| [NODE_V4, NODE_V6].contains(&ip.to_string().as_str());
        Self {
            packet,
            source_port: from.port(),
            destination_port: to.port(),
            kind,
            about_source_is_node: is_node(about_from),
            about_destination_is_node: is_node(about_to),
        }
    }

    fn is_node(ip: IpAddr) -> bool {
        octets(ip) == octets(NODE_V4.parse().unwrap())
            || octets(ip) == octets(NODE_V6.parse().unwrap())
    }

    /// What has to become of it when a sends it.
    fn out_of_a(&self, a: &Container, b: &Container) -> Outcome {
        let (source, destination) = (self.packet.source, self.packet.destination);
        let dropped = Outcome {
            verdict: DROP,
            sent_by_a: 0,
            received_by_a: 0,
            received_by_b: 0,
        };
        if destination.is_multicast()
            || source.is_loopback()
            || destination.is_loopback()
            || !Self::is_node(source)
        {
            return dropped;
        }
        let receiver = match self.kind {
            0 | 1 if owner_of(self.source_port, a, b) == Owner::A => {
                owner_of(self.destination_port, a, b)
            }
            2 => Owner::Nobody,
            4 if owner_of(self.destination_port, a, b) == Owner::A
                && self.about_destination_is_node =>
            {
                owner_of(self.source_port, a, b)
            }
            _ => return dropped,
        };
        let inside = Self::is_node(destination);
        Outcome {
            verdict: REDIRECT,
            sent_by_a: 1,
            received_by_a: u64::from(inside && receiver == Owner::A),
            received_by_b: u64::from(inside && receiver == Owner::B),
        }
    }

    /// What has to become of it when it comes to the node, from the wire or from the node itself.
    fn to_node(&self, from_wire: bool, a: &Container, b: &Container) -> Outcome {
        let passed = Outcome {
            verdict: NEXT,
            sent_by_a: 0,
            received_by_a: 0,
            received_by_b: 0,
        };
        if !Self::is_node(self.packet.destination) {
            return passed;
        }
        let receiver = match self.kind {
            0 | 1 => owner_of(self.destination_port, a, b),
            4 if self.about_source_is_node => owner_of(self.source_port, a, b),
            _ => return passed,
        };
        if receiver == Owner::Nobody {
            return passed;
        }
        if from_wire && Self::is_node(self.packet.source) {
            return Outcome {
                verdict: DROP,
                ..passed
            };
        }
        Outcome {
            verdict: REDIRECT,
            received_by_a: u64::from(receiver == Owner::A),
            received_by_b: u64::from(receiver == Owner::B),
            ..passed
        }
    }
}

#[test]
fn whole_packets_go_where_their_ports_belong_and_nowhere_else() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let programs = Programs::of(&lab, &a);
    let judge = |program: &Program, question: &Question| {
        let counters = || -> [Counters; 2] { [lab.counters(&a), lab.counters(&b)] };
        let before = counters();
        let (verdict, _) = program.judge(&question.packet.frame(LINK_MAC));
        let after = counters();
        Outcome {
            verdict,
            sent_by_a: after[0].tx_packets - before[0].tx_packets,
            received_by_a: after[0].rx_packets - before[0].rx_packets,
            received_by_b: after[1].rx_packets - before[1].rx_packets,
        }
    };
    lab.node.run(|| {
        bolero::check!()
            .with_type::<Choice>()
            .with_iterations(5000)
            .for_each(|choice| {
                let question = Question::new(choice, &a, &b);
                let packet = &question.packet;
                assert_eq!(
                    judge(&programs.container_out, &question),
                    question.out_of_a(&a, &b),
                    "out of a: {packet:?}"
                );
                assert_eq!(
                    judge(&programs.uplink_in, &question),
                    question.to_node(true, &a, &b),
                    "from the wire: {packet:?}"
                );
                assert_eq!(
                    judge(&programs.node_loopback, &question),
                    question.to_node(false, &a, &b),
                    "from the node: {packet:?}"
                );
            });
    });
}

//! Packets byte by byte, as no honest socket sends them, and the ears that hear what arrived.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use weir_sys::packet::PacketSocket;

use crate::lab::{Place, eventually};

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const NO_NEXT_HEADER: u8 = 59;
pub(crate) const DESTINATION_OPTIONS: u8 = 60;
pub(crate) const HOP_BY_HOP: u8 = 0;

/// Six bytes of padding: the shortest body of a hop-by-hop or destination options header.
pub(crate) const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];

/// One IP packet.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) time_to_live: u8,
    pub(crate) id: u32,
    /// Offset in units of eight bytes, and whether more follow.
    pub(crate) fragment: Option<(u16, bool)>,
    /// IPv4 options; a multiple of four bytes.
    pub(crate) options: Vec<u8>,
    /// IPv6 extension headers before the fragment header: kind, and all but the first two bytes.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
}

impl Packet {
    pub(crate) fn new(source: IpAddr, destination: IpAddr, protocol: u8, payload: Vec<u8>) -> Self {
        assert_eq!(source.is_ipv4(), destination.is_ipv4());
        Self {
            source,
            destination,
            protocol,
            payload,
            time_to_live: 64,
            id: 0x5745,
            fragment: None,
            options: Vec::new(),
            extensions: Vec::new(),
        }
    }

    pub(crate) fn udp(source: SocketAddr, destination: SocketAddr, data: &[u8]) -> Self {
        let length = u16::try_from(8 + data.len()).unwrap();
        let mut bytes = Vec::new();
        bytes.extend(source.port().to_be_bytes());
        bytes.extend(destination.port().to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(data);
        Self::new(source.ip(), destination.ip(), UDP, bytes).with_checksum(6)
    }

    /// A SYN.
    pub(crate) fn tcp(source: SocketAddr, destination: SocketAddr) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(source.port().to_be_bytes());
        bytes.extend(destination.port().to_be_bytes());
        bytes.extend(7_u32.to_be_bytes());
        bytes.extend(0_u32.to_be_bytes());
        bytes.extend([0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
        Self::new(source.ip(), destination.ip(), TCP, bytes).with_checksum(16)
    }

    /// Any ICMP message, of the family of the addresses.
    pub(crate) fn icmp(
        source: IpAddr,
        destination: IpAddr,
        kind: u8,
        code: u8,
        rest: [u8; 4],
        data: &[u8],
    ) -> Self {
        let mut bytes = vec![kind, code, 0, 0];
        bytes.extend(rest);
        bytes.extend(data);
        let protocol = if source.is_ipv4() { ICMP } else { ICMPV6 };
        Self::new(source, destination, protocol, bytes).with_checksum(2)
    }

    pub(crate) fn echo_request(
        source: IpAddr,
        destination: IpAddr,
        id: u16,
        sequence: u16,
        data: &[u8],
    ) -> Self {
        let kind = if source.is_ipv4() { 8 } else { 128 };
        let ([a, b], [c, d]) = (id.to_be_bytes(), sequence.to_be_bytes());
        Self::icmp(source, destination, kind, 0, [a, b, c, d], data)
    }

    /// "Port unreachable", about another packet.
    pub(crate) fn unreachable(source: IpAddr, destination: IpAddr, about: &Self) -> Self {
        let (kind, code) = if source.is_ipv4() { (3, 3) } else { (1, 4) };
        let quoted = about.bytes();
        Self::icmp(
            source,
            destination,
            kind,
            code,
            [0; 4],
            &quoted[..quoted.len().min(500)],
        )
    }

    /// Writes the checksum, which lies at this offset and is zero until now.
    fn with_checksum(mut self, at: usize) -> Self {
        let sum = self.payload_checksum();
        self.payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        self
    }

    /// The checksum over the payload and, but for ICMP of IPv4, the pseudo header: zero where the
    /// payload has the right one in it.
    pub(crate) fn payload_checksum(&self) -> u16 {
        let mut bytes = Vec::new();
        if self.protocol != ICMP {
            bytes.extend(octets(self.source));
            bytes.extend(octets(self.destination));
            bytes.extend(u32::try_from(self.payload.len()).unwrap().to_be_bytes());
            bytes.extend(u32::from(self.protocol).to_be_bytes());
        }
        bytes.extend(&self.payload);
        checksum(&bytes)
    }

    pub(crate) fn with_fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = Some((offset, more));
        self
    }

    pub(crate) fn with_options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    pub(crate) fn with_extension(mut self, kind: u8, body: &[u8]) -> Self {
        self.extensions.push((kind, body.to_vec()));
        self
    }

    /// Cuts the packet into fragments with this much of the payload each: a multiple of eight.
    pub(crate) fn fragments(&self, each: usize) -> Vec<Self> {
        assert_eq!(each % 8, 0);
        let count = self.payload.len().div_ceil(each);
        self.payload
            .chunks(each)
            .enumerate()
            .map(|(number, piece)| Self {
                payload: piece.to_vec(),
                fragment: Some((
                    u16::try_from(number * each / 8).unwrap(),
                    number + 1 < count,
                )),
                ..self.clone()
            })
            .collect()
    }

    /// The packet from its IP header on.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self.source {
            IpAddr::V4(_) => self.bytes_v4(),
            IpAddr::V6(_) => self.bytes_v6(),
        }
    }

    fn bytes_v4(&self) -> Vec<u8> {
        let words = u8::try_from(5 + self.options.len() / 4).unwrap();
        let length = u16::try_from(usize::from(words) * 4 + self.payload.len()).unwrap();
        let (offset, more) = self.fragment.unwrap_or((0, false));
        let mut header = vec![0x40 | words, 0];
        header.extend(length.to_be_bytes());
        header.extend(u16::try_from(self.id & 0xffff).unwrap().to_be_bytes());
        header.extend((offset | u16::from(more) << 13).to_be_bytes());
        header.extend([self.time_to_live, self.protocol, 0, 0]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        header.extend(&self.options);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header.extend(&self.payload);
        header
    }

    fn bytes_v6(&self) -> Vec<u8> {
        let mut headers = self.extensions.clone();
        if let Some((offset, more)) = self.fragment {
            let mut body = (offset << 3 | u16::from(more)).to_be_bytes().to_vec();
            body.extend(self.id.to_be_bytes());
            headers.push((FRAGMENT, body));
        }
        let mut rest = Vec::new();
        for (at, (kind, body)) in headers.iter().enumerate() {
            assert_eq!(
                (2 + body.len()) % 8,
                0,
                "extension headers fill words of eight bytes"
            );
            rest.push(headers.get(at + 1).map_or(self.protocol, |(next, _)| *next));
            let length = if *kind == FRAGMENT {
                0
            } else {
                (2 + body.len()) / 8 - 1
            };
            rest.push(u8::try_from(length).unwrap());
            rest.extend(body);
        }
        rest.extend(&self.payload);
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.push(headers.first().map_or(self.protocol, |(kind, _)| *kind));
        bytes.push(self.time_to_live);
        bytes.extend(octets(self.source));
        bytes.extend(octets(self.destination));
        bytes.extend(rest);
        bytes
    }

    /// The packet in a frame to this MAC address.
    pub(crate) fn frame(&self, to: [u8; 6]) -> Vec<u8> {
        let ethertype = if self.source.is_ipv4() {
            0x0800
        } else {
            0x86dd
        };
        frame(to, ethertype, &self.bytes())
    }

    /// Reads a packet from its IP header on. What is not whole is no packet.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::read_v4(bytes),
            6 => Self::read_v6(bytes),
            _ => None,
        }
    }

    fn read_v4(bytes: &[u8]) -> Option<Self> {
        let header = usize::from(bytes[0] & 0xf) * 4;
        let address = |at: usize| {
            Some(IpAddr::from(
                <[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?,
            ))
        };
        let half = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let length = usize::from(half(2)?).min(bytes.len());
        let piece = half(6)?;
        let mut packet = Self::new(
            address(12)?,
            address(16)?,
            *bytes.get(9)?,
            bytes.get(header..length)?.to_vec(),
        );
        packet.time_to_live = bytes[8];
        packet.id = u32::from(half(4)?);
        packet.options = bytes.get(20..header)?.to_vec();
        if piece & 0x3fff != 0 {
            packet.fragment = Some((piece & 0x1fff, piece & 0x2000 != 0));
        }
        Some(packet)
    }

    fn read_v6(bytes: &[u8]) -> Option<Self> {
        let address = |at: usize| {
            Some(IpAddr::from(
                <[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?,
            ))
        };
        let length = usize::from(u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?]));
        let bytes = bytes.get(..(40 + length).min(bytes.len()))?;
        let mut packet = Self::new(address(8)?, address(24)?, *bytes.get(6)?, Vec::new());
        packet.time_to_live = bytes[7];
        let mut at = 40;
        while let HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT = packet.protocol {
            let next = *bytes.get(at)?;
            if packet.protocol == FRAGMENT {
                let piece = u16::from_be_bytes(bytes.get(at + 2..at + 4)?.try_into().ok()?);
                packet.id = u32::from_be_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?);
                packet.fragment = Some((piece >> 3, piece & 1 != 0));
                at += 8;
                packet.protocol = next;
                break;
            }
            let end = at + 8 + usize::from(*bytes.get(at + 1)?) * 8;
            packet
                .extensions
                .push((packet.protocol, bytes.get(at + 2..end)?.to_vec()));
            packet.protocol = next;
            at = end;
        }
        packet.payload = bytes.get(at..)?.to_vec();
        Some(packet)
    }

    /// The identifier of an echo request or reply.
    pub(crate) fn echo_id(&self) -> Option<u16> {
        let kinds: [u8; 2] = match self.protocol {
            ICMP => [8, 0],
            ICMPV6 => [128, 129],
            _ => return None,
        };
        (self.payload.len() >= 8 && kinds.contains(&self.payload[0])).then(|| self.half(4))
    }

    fn half(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.payload[at], self.payload[at + 1]])
    }
}

pub(crate) fn frame(to: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    // Locally administered, and nobody's.
    frame.extend([0x02, 0, 0, 0, 0, 0x77]);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The same frame with an 802.1Q tag.
pub(crate) fn tagged(frame: &[u8], tag: u16) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    tagged.extend(0x8100_u16.to_be_bytes());
    tagged.extend(tag.to_be_bytes());
    tagged.extend(&frame[12..]);
    tagged
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The Internet checksum (RFC 1071).
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// Opens a packet socket inside a place.
pub(crate) fn socket_on(place: &Place, interface: &str) -> PacketSocket {
    place.run(|| PacketSocket::open(interface).unwrap())
}

/// Returns the MAC address of an interface.
pub(crate) fn mac_of(place: &Place, interface: &str) -> [u8; 6] {
    place.run(|| {
        nix::ifaddrs::getifaddrs()
            .unwrap()
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| entry.address?.as_link_addr()?.addr())
            .unwrap()
    })
}

/// Hears every IP packet that an interface receives.
pub(crate) struct Ear {
    socket: PacketSocket,
    /// What was heard and not yet asked for.
    heard: Vec<Packet>,
}

impl Ear {
    pub(crate) fn on(place: &Place, interface: &str) -> Self {
        Self {
            socket: socket_on(place, interface),
            heard: Vec::new(),
        }
    }

    /// Waits for a packet, and returns it with all that came before it.
    pub(crate) fn until(
        &mut self,
        what: &str,
        wanted: impl Fn(&Packet) -> bool,
    ) -> (Packet, Vec<Packet>) {
        eventually(what, || {
            self.listen();
            let at = self.heard.iter().position(&wanted)?;
            let before = self.heard.drain(..at).collect();
            Some((self.heard.remove(0), before))
        })
    }

    /// Returns everything that was heard until now.
    pub(crate) fn all(&mut self) -> Vec<Packet> {
        self.listen();
        std::mem::take(&mut self.heard)
    }

    fn listen(&mut self) {
        let mut buffer = vec![0; 70_000];
        loop {
            match self.socket.receive(&mut buffer) {
                Ok(length) if length > 14 => self.heard.extend(Packet::read(&buffer[14..length])),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Returns whether the packet is what every host with an address says of itself: neighbour
/// discovery, group membership.
pub(crate) fn is_chatter(packet: &Packet) -> bool {
    packet.destination.is_multicast()
        || (packet.protocol == ICMPV6 && matches!(packet.payload.first(), Some(130..=137 | 143)))
}

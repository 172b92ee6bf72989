//! Why a packet or a call was refused.

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $help:literal;)*) => {
        /// Why a packet of a container was not passed on.
        ///
        /// The numbers index [`crate::Counters::drops`] and travel in [`crate::Event`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum DropReason {
            $($(#[$doc])* $variant = $number,)*
        }

        impl DropReason {
            /// Every reason, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name used as a label in metrics and logs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns one sentence for the person who reads the log.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }

            /// Returns the reason with this number.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    /// The source is not an address of the node.
    SourceAddress = 0, "source_address", "the source is not an address of this node";
    /// The source port is not the container's.
    SourcePort = 1, "source_port", "the source port does not belong to the container";
    /// Neither TCP, UDP nor ICMP.
    Protocol = 2, "protocol", "only TCP, UDP and ICMP leave a container";
    /// An ICMP type that a host behind this data plane does not send.
    IcmpType = 3, "icmp_type", "this ICMP type does not leave a container";
    /// An ICMP error about a packet that was not the container's.
    IcmpForeign = 4, "icmp_foreign", "the ICMP error is about a packet that the container did not receive";
    /// Multicast, broadcast or an unspecified destination.
    Multicast = 5, "multicast", "multicast and broadcast do not leave a container";
    /// A loopback address on the wire.
    Loopback = 6, "loopback", "a loopback address does not leave a container";
    /// A header that is cut short or contradicts itself.
    Malformed = 7, "malformed", "a header is cut short or contradicts itself";
    /// A first fragment without its port numbers.
    FragmentTiny = 8, "fragment_tiny", "the first fragment is too short to hold the port numbers";
    /// A later fragment whose first was never seen.
    FragmentUnknown = 9, "fragment_unknown", "the first fragment of this packet was not seen before it";
    /// IPv4 options, or an IPv6 routing header: both can steer a packet past its destination.
    Options = 10, "ip_options", "IPv4 options and IPv6 routing headers do not leave a container";
    /// More IPv6 extension headers than are looked through, or one that is not known.
    ExtensionHeader = 11, "extension_header", "the IPv6 extension headers are too many or of an unknown kind";
    /// The node's routing table has no unicast route to the destination.
    NoRoute = 12, "no_route", "the node has no unicast route to the destination";
    /// The route leaves by an interface that is not one of the uplinks.
    NotUplink = 13, "not_uplink", "the node's route leaves by an interface that is not an uplink";
    /// Larger than the MTU of the interface that the route leaves by.
    TooBig = 14, "too_big", "the packet is larger than the MTU of the uplink";
    /// No echo identifier of the container's is free for this destination.
    EchoBusy = 15, "echo_busy", "too many pings of one destination at once";
    /// Not an IP packet, or one in a VLAN.
    NotIp = 16, "not_ip", "only IP without a VLAN tag leaves a container";
    /// The destination port belongs to a container whose link is gone.
    TargetGone = 17, "target_gone", "the container that owns the destination port has no link";
    /// From the wire, with a source address of this node's own.
    Martian = 18, "martian", "it came from the wire with a source address of this node";
    /// The kernel could not rewrite a header.
    Rewrite = 19, "rewrite", "the kernel could not rewrite the packet";
}

impl DropReason {
    /// The number of reasons.
    pub const COUNT: usize = Self::ALL.len();
}

const _: () = assert!(DropReason::COUNT == 20);

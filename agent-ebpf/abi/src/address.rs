//! IP addresses as map keys.

/// An IPv4 or IPv6 address in network byte order; IPv4 is mapped (`::ffff:a.b.c.d`).
///
/// One key type for both families keeps one map and one code path.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [u32; 4]);

const _: () = assert!(size_of::<Address>() == 16);

impl Address {
    /// The third word of a mapped IPv4 address.
    pub const V4_PREFIX: u32 = 0x0000_ffff_u32.to_be();

    /// Returns the mapped form of an IPv4 address given as its four bytes lie in memory.
    #[inline(always)]
    pub const fn from_v4(word: u32) -> Self {
        Self([0, 0, Self::V4_PREFIX, word])
    }

    /// Returns whether both are one address. Word by word: the derived comparison may become a call
    /// of `bcmp`, which the kernel side does not have.
    #[inline(always)]
    pub const fn same(&self, other: &Self) -> bool {
        self.0[0] == other.0[0]
            && self.0[1] == other.0[1]
            && self.0[2] == other.0[2]
            && self.0[3] == other.0[3]
    }

    /// Returns whether no address is set.
    #[inline(always)]
    pub const fn is_unset(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0 && self.0[3] == 0
    }

    /// Returns whether this is a mapped IPv4 address.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == Self::V4_PREFIX
    }

    /// Returns whether this is 127.0.0.0/8 (also mapped) or ::1.
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        if self.0[0] != 0 || self.0[1] != 0 {
            return false;
        }
        if self.0[2] == Self::V4_PREFIX {
            return u32::from_be(self.0[3]) >> 24 == 127;
        }
        self.0[2] == 0 && self.0[3] == 1_u32.to_be()
    }

    /// Returns whether this is the unspecified address of either family.
    #[inline(always)]
    pub const fn is_unspecified(&self) -> bool {
        self.0[0] == 0
            && self.0[1] == 0
            && (self.0[2] == 0 || self.0[2] == Self::V4_PREFIX)
            && self.0[3] == 0
    }
}

#[cfg(feature = "user")]
mod user {
    use std::net::{IpAddr, Ipv6Addr};

    use super::Address;

    // SAFETY: `repr(C)`, four words without padding, every bit pattern is valid.
    unsafe impl aya::Pod for Address {}

    impl From<IpAddr> for Address {
        fn from(address: IpAddr) -> Self {
            let v6 = match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            let bytes = v6.octets();
            let word =
                |i: usize| u32::from_ne_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
            Self([word(0), word(4), word(8), word(12)])
        }
    }

    impl From<Address> for IpAddr {
        fn from(address: Address) -> Self {
            let mut bytes = [0; 16];
            for (chunk, word) in bytes.chunks_exact_mut(4).zip(address.0) {
                chunk.copy_from_slice(&word.to_ne_bytes());
            }
            let v6 = Ipv6Addr::from(bytes);
            v6.to_ipv4_mapped().map_or(Self::V6(v6), Self::V4)
        }
    }
}

//! What the node's firewall does that the data plane goes past.
//!
//! Redirected packets see neither nftables nor iptables nor conntrack of the node, in either
//! direction; and ports that the node translates need not listen, so nothing but the rules tells of
//! them. This reads the chains over netlink, which `nft` and `iptables-nft` share; the older
//! iptables only tells which tables it has.

use std::fs;
use std::io;
use std::path::Path;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

// include/uapi/linux/netfilter/nfnetlink.h and nf_tables.h
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_USE: u16 = 6;
const NFTA_CHAIN_TYPE: u16 = 7;
/// `NF_DROP`: what no rule lets through is dropped.
const POLICY_DROP: u32 = 0;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;
/// The two upper bits of an attribute's type say how it is encoded.
const TYPE_MASK: u16 = 0x3fff;

/// One chain that packets run through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) table: String,
    pub(crate) name: String,
    /// Called by the kernel for every packet at some hook.
    pub(crate) is_hooked: bool,
    /// Rewrites addresses or ports.
    pub(crate) is_nat: bool,
    /// Drops what none of its rules lets through.
    pub(crate) is_closed: bool,
    /// How many rules it has, or rules that jump to it.
    pub(crate) uses: u32,
}

impl Chain {
    /// Returns whether it may do something to packets by itself.
    pub(crate) fn is_in_force(&self) -> bool {
        self.is_hooked && (self.uses > 0 || self.is_closed)
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Firewall {
    pub(crate) chains: Vec<Chain>,
    /// The tables of the older iptables, whose rules cannot be read from here.
    pub(crate) legacy_tables: Vec<String>,
}

/// Says that the kernel did not tell.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the chains of nftables")]
pub(crate) struct FirewallError(#[source] io::Error);

/// Reads the firewall of the calling thread's network namespace. One without rules is empty, as is
/// one of a kernel without nftables.
pub(crate) fn read() -> Result<Firewall, FirewallError> {
    let mut legacy_tables = Vec::new();
    for file in ["ip_tables_names", "ip6_tables_names"] {
        // Without the module there is no such file.
        let path = Path::new("/proc/thread-self/net").join(file);
        let names = fs::read_to_string(path).unwrap_or_default();
        legacy_tables.extend(names.lines().map(str::to_owned));
    }
    legacy_tables.sort_unstable();
    legacy_tables.dedup();
    let chains = match dump_chains() {
        Ok(chains) => chains,
        Err(error) if error.raw_os_error() == Some(nix::libc::EPROTONOSUPPORT) => Vec::new(),
        // The subsystem is not there.
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Vec::new(),
        Err(error) => return Err(FirewallError(error)),
    };
    Ok(Firewall {
        chains,
        legacy_tables,
    })
}

fn dump_chains() -> io::Result<Vec<Chain>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&question(), 0)?;
    let mut chains = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        match decode(&bytes, &mut chains)? {
            Answer::More => {}
            Answer::Done => return Ok(chains),
        }
    }
}

fn question() -> Vec<u8> {
    let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN;
    let length = u32::try_from(HEADER + FAMILY_HEADER).expect("twenty bytes");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    // Every family, version 0, resource 0.
    bytes.extend([0; FAMILY_HEADER]);
    bytes
}

/// Whether the kernel has more to say.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    More,
    Done,
}

/// Reads the messages of one datagram.
fn decode(mut bytes: &[u8], chains: &mut Vec<Chain>) -> io::Result<Answer> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "an answer that is cut short");
    while bytes.len() >= HEADER {
        let length = word(bytes, 0).and_then(|length| usize::try_from(length).ok());
        let length = length
            .filter(|l| (HEADER..=bytes.len()).contains(l))
            .ok_or_else(broken)?;
        let (message, rest) = bytes.split_at(length);
        bytes = rest
            .get(length.next_multiple_of(4) - length..)
            .unwrap_or_default();
        match half(message, 4).ok_or_else(broken)? {
            NLMSG_DONE => return Ok(Answer::Done),
            NLMSG_ERROR => {
                let code = word(message, HEADER).ok_or_else(broken)?.cast_signed();
                return if code == 0 {
                    Ok(Answer::Done)
                } else {
                    Err(io::Error::from_raw_os_error(code.saturating_neg()))
                };
            }
            kind if kind == NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN => {
                let attributes = message.get(HEADER + FAMILY_HEADER..).ok_or_else(broken)?;
                chains.push(decode_chain(attributes));
            }
            _ => {}
        }
    }
    Ok(Answer::More)
}

fn decode_chain(mut bytes: &[u8]) -> Chain {
    let mut chain = Chain {
        table: String::new(),
        name: String::new(),
        is_hooked: false,
        is_nat: false,
        is_closed: false,
        uses: 0,
    };
    while let (Some(length), Some(kind)) = (half(bytes, 0), half(bytes, 2)) {
        let length = usize::from(length);
        let Some(value) = bytes.get(4..length) else {
            break;
        };
        match kind & TYPE_MASK {
            NFTA_CHAIN_TABLE => chain.table = text(value),
            NFTA_CHAIN_NAME => chain.name = text(value),
            NFTA_CHAIN_HOOK => chain.is_hooked = true,
            NFTA_CHAIN_TYPE => chain.is_nat = text(value) == "nat",
            // Numbers of nftables are in network byte order.
            NFTA_CHAIN_POLICY => {
                chain.is_closed = word(value, 0).map(u32::from_be) == Some(POLICY_DROP);
            }
            NFTA_CHAIN_USE => chain.uses = word(value, 0).map_or(0, u32::from_be),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    chain
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_chain_is_read_from_the_kernels_answer() {
        let mut payload = vec![0; FAMILY_HEADER];
        payload.extend(attribute(NFTA_CHAIN_TABLE, b"nat\0"));
        payload.extend(attribute(NFTA_CHAIN_NAME, b"PREROUTING\0"));
        payload.extend(attribute(NFTA_CHAIN_HOOK | 0x8000, &[]));
        payload.extend(attribute(NFTA_CHAIN_TYPE, b"nat\0"));
        payload.extend(attribute(NFTA_CHAIN_POLICY, &0_u32.to_be_bytes()));
        payload.extend(attribute(NFTA_CHAIN_USE, &7_u32.to_be_bytes()));
        let mut bytes = message(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN, &payload);
        bytes.extend(message(NLMSG_DONE, &[0; 4]));
        let mut chains = Vec::new();
        assert_eq!(decode(&bytes, &mut chains).unwrap(), Answer::Done);
        assert_eq!(
            chains,
            [Chain {
                table: "nat".to_owned(),
                name: "PREROUTING".to_owned(),
                is_hooked: true,
                is_nat: true,
                is_closed: true,
                uses: 7
            }]
        );
    }

    #[test]
    fn an_error_of_the_kernel_is_an_error() {
        let bytes = message(NLMSG_ERROR, &(-1_i32).to_ne_bytes());
        let error = decode(&bytes, &mut Vec::new()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(1));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            let mut chains = Vec::new();
            drop(decode(bytes, &mut chains));
            decode_chain(bytes);
        });
    }
}

//! What this node's kernel and network can and cannot do for the data plane.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use aya::programs::{ProgramType, SchedClassifier, TcAttachType};
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported};
use weir_resources::{PortRange, PortSet};
use weir_sys::netlink::Netlink;
use weir_sys::netns;

use super::bandwidth::find_wire;
use super::clsact;
use super::features::Features;
use super::firewall::{self, Firewall};
use super::host::is_bpffs;
use super::namespace::{self, eth0_of};
use super::node::{self, NodePlan};
use super::observe;
use crate::config::{AttachMode, BandwidthConfig, NetworkConfig};
use crate::container::{ContainerId, chain};
use crate::doctor::{Check, Feature};

const UPLINKS: Feature = Feature::new("uplinks", "leading from containers to the outside and back");

const FIREWALL: Feature = Feature::new(
    "firewall",
    "knowing which rules of the node packets of containers do not pass",
);
const TRANSLATED: Feature = Feature::new(
    "translated ports",
    "knowing whether a port that is free may be somebody's all the same",
);
const KUBERNETES: Feature = Feature::new(
    "Kubernetes NodePorts",
    "keeping containers from the ports that kube-proxy gives to services",
);

/// The ports that Kubernetes gives to services unless it is told otherwise.
const NODE_PORTS: &str = "30000-32767";

/// Checks everything that the data plane uses, without changing the node.
pub fn checks(config: &NetworkConfig, bandwidth: &BandwidthConfig) -> Vec<Check> {
    let features = Features::probe();
    let mut checks = vec![
        bpffs(&config.pin_directory),
        jit(),
        program(
            Feature::new(
                "programs on packets",
                "giving each packet to the container that owns its port, and stopping those that lie",
            ),
            ProgramType::SchedClassifier,
            "nothing can be isolated",
        ),
        program(
            Feature::new(
                "programs on bind and connect",
                "refusing ports of others, and leading the node's 127.0.0.1 and ::1 to containers",
            ),
            ProgramType::CgroupSockAddr,
            "ports cannot be refused, and 127.0.0.1 does not reach containers",
        ),
        program(
            Feature::new(
                "programs on TCP",
                "measuring round trips, and counting connections and retransmits",
            ),
            ProgramType::SockOps,
            "no round-trip times, retransmits and connections are counted",
        ),
        helper(
            Feature::new("redirect to a peer", "giving packets to containers"),
            ProgramType::SchedClassifier,
            BpfHelper::BPF_FUNC_redirect_peer,
            "packets cannot be given to containers; it came with 5.10",
        ),
        helper(
            Feature::new(
                "redirect to a neighbour",
                "sending packets of containers to their next hop",
            ),
            ProgramType::SchedClassifier,
            BpfHelper::BPF_FUNC_redirect_neigh,
            "packets cannot leave containers; it came with 5.10",
        ),
        helper(
            Feature::new(
                "namespace cookies",
                "knowing whose a socket is by a number that its container cannot change",
            ),
            ProgramType::SockOps,
            BpfHelper::BPF_FUNC_get_netns_cookie,
            "the data plane cannot be loaded; they came with 5.15",
        ),
        ring_buffer(),
        tcx(config.attach, &features),
        set_retval(&features),
        veth(),
        queues(&features),
    ];
    match node_plan(config) {
        Ok(plan) => {
            checks.extend(uplinks(&plan));
            checks.push(foreign_programs(&plan));
            checks.push(wire(&plan, bandwidth));
        }
        Err(error) => checks.push(UPLINKS.missing(
            error,
            "nothing is known of the node's network; run it as root",
        )),
    }
    checks.extend(firewall_checks(config));
    checks
}

/// Returns what the operator should know of the firewall: at start it goes into the log.
pub(crate) fn firewall_checks(config: &NetworkConfig) -> Vec<Check> {
    match firewall::read() {
        Ok(firewall) => {
            let pools = config.container_ports.union(&config.ephemeral_ports);
            judge_firewall(&firewall, &pools)
        }
        Err(error) => vec![FIREWALL.degraded(
            chain(&error),
            "rules that containers' packets do not pass, and translated ports, are not known",
        )],
    }
}

fn judge_firewall(firewall: &Firewall, pools: &PortSet) -> Vec<Check> {
    let hooked: Vec<String> = firewall
        .chains
        .iter()
        .filter(|chain| chain.is_in_force())
        .map(|chain| format!("{} {}", chain.table, chain.name))
        .collect();
    let mut checks = Vec::new();
    if hooked.is_empty() && firewall.legacy_tables.is_empty() {
        checks.push(FIREWALL.ok("no rules"));
    } else {
        let mut found = hooked;
        found.extend(
            firewall
                .legacy_tables
                .iter()
                .map(|table| format!("iptables {table}")),
        );
        checks.push(FIREWALL.degraded(
            format!("rules in {}", found.join(", ")),
            "packets of containers pass none of them, in neither direction; filter on another machine, or run such software with --network host",
        ));
    }
    let translating: Vec<&str> = firewall
        .chains
        .iter()
        .filter(|chain| chain.is_in_force() && chain.is_nat)
        .map(|chain| chain.name.as_str())
        .chain(
            firewall
                .legacy_tables
                .iter()
                .filter(|t| *t == "nat")
                .map(String::as_str),
        )
        .collect();
    if !translating.is_empty() {
        checks.push(TRANSLATED.degraded(
            format!("NAT rules in {}", translating.join(", ")),
            "a port that is translated need not listen, so it can be given to a container; keep such ports out of network.container_ports and network.ephemeral_ports",
        ));
    }
    let kubernetes = firewall
        .chains
        .iter()
        .any(|chain| chain.name.starts_with("KUBE-"));
    let node_ports: PortSet = NODE_PORTS.parse().expect("a constant that a test reads");
    let overlap = pools.intersect(&node_ports);
    if kubernetes && !overlap.is_empty() {
        checks.push(KUBERNETES.degraded(
            format!("the pools hold {overlap}"),
            "kube-proxy gives these ports to services; move the pools out of 30000-32767",
        ));
    }
    checks
}

fn bpffs(pins: &Path) -> Check {
    const BPFFS: Feature = Feature::new(
        "bpffs",
        "keeping programs, tables and counters in force while no agent runs",
    );
    let nearest = pins
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or_else(|| Path::new("/"));
    if is_bpffs(nearest) {
        BPFFS.ok(format!("{} is on it", pins.display()))
    } else if pins.starts_with("/sys/fs/bpf") {
        BPFFS.ok("not mounted; the agent mounts it on /sys/fs/bpf")
    } else {
        BPFFS.missing(
            format!("{} is not on one", pins.display()),
            "programs would end with the agent; mount one there, or set network.pin_directory",
        )
    }
}

fn jit() -> Check {
    const JIT: Feature = Feature::new("BPF JIT", "making machine code of programs");
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable") {
        Ok(value) if value.trim() == "0" => JIT.degraded(
            "off",
            "programs are interpreted, several times slower; set net.core.bpf_jit_enable=1",
        ),
        // Where the file is not there, the JIT is built in and always on.
        Ok(_) | Err(_) => JIT.ok("on"),
    }
}

fn program(feature: Feature, kind: ProgramType, lost: &'static str) -> Check {
    match is_program_supported(kind) {
        Ok(true) => feature.ok("there"),
        Ok(false) => feature.missing("the kernel has none", lost),
        Err(error) => feature.missing(chain(&error), lost),
    }
}

fn helper(feature: Feature, kind: ProgramType, helper: BpfHelper, lost: &'static str) -> Check {
    match is_helper_supported(kind, helper) {
        Ok(true) => feature.ok("there"),
        Ok(false) => feature.missing("the kernel has none", lost),
        Err(error) => feature.missing(chain(&error), lost),
    }
}

fn ring_buffer() -> Check {
    const RING: Feature = Feature::new(
        "ring buffer",
        "bringing rare events, such as drops, into the agent's log",
    );
    match is_map_supported(aya::maps::MapType::RingBuf) {
        Ok(true) => RING.ok("there"),
        Ok(false) | Err(_) => RING.missing(
            "the kernel has none",
            "the data plane cannot be loaded; it came with 5.8",
        ),
    }
}

fn tcx(mode: AttachMode, features: &Features) -> Check {
    const TCX: Feature = Feature::new(
        "tcx",
        "attaching programs to interfaces by links, which can be pinned and replaced",
    );
    match (features.tcx, mode) {
        (true, AttachMode::Clsact) => TCX.ok("there, and network.attach asks for clsact"),
        (true, _) => TCX.ok("there"),
        (false, AttachMode::Tcx) => TCX.missing(
            "the kernel has none, and network.attach asks for it",
            "the agent does not start; it came with 6.6: use \"auto\"",
        ),
        (false, _) => TCX.degraded(
            "the kernel has none; it came with 6.6",
            "programs are attached as filters of a clsact qdisc: the same isolation; other programs there come before or after by their priority",
        ),
    }
}

fn set_retval(features: &Features) -> Check {
    const ERRORS: Feature = Feature::new(
        "error numbers at bind",
        "telling a program why its bind is refused: EACCES or EADDRINUSE",
    );
    if features.set_retval {
        ERRORS.ok("there")
    } else {
        ERRORS.degraded(
            "the kernel has none; they came with 6.1",
            "a refused bind fails with EPERM instead of EACCES or EADDRINUSE",
        )
    }
}

fn queues(features: &Features) -> Check {
    const QUEUES: Feature = Feature::new(
        "queues with classes",
        "holding containers to their rates, and letting short packets past long queues",
    );
    match &features.queues {
        Ok(()) => QUEUES.ok("HTB"),
        Err(reason) => QUEUES.degraded(
            reason.clone(),
            "no rate can be held: containers that ask for one are refused; the kernel needs NET_SCH_HTB, or `modprobe sch_htb`",
        ),
    }
}

/// Says what the wire carries, which every promise to a container is taken from.
fn wire(plan: &NodePlan, config: &BandwidthConfig) -> Check {
    const WIRE: Feature = Feature::new(
        "rate of the uplinks",
        "promising each container a part of what the node can send",
    );
    let find = || find_wire(&mut Netlink::open()?, &plan.uplinks, config);
    match find() {
        Ok(Ok(wire)) => WIRE.ok(format!("{}, of which the node keeps {}", wire.rate, wire.node_min)),
        Ok(Err(reason)) => WIRE.degraded(
            reason,
            "no container can be promised a minimum, and the wire is not divided among them; ceilings hold all the same",
        ),
        Err(error) => WIRE.degraded(chain(&error), "what the uplinks carry is not known"),
    }
}

/// Makes a container's namespace in another namespace of its own: the node sees nothing of it.
fn veth() -> Check {
    const VETH: Feature = Feature::new(
        "namespaces and veth",
        "giving an isolated container a network of its own and a link to the node",
    );
    let container = ContainerId::from_random(0);
    let tried = netns::create(|| {
        let node = netns::current().map_err(|error| error.to_string())?;
        let ephemeral = PortRange::new(1024, 2047).map_err(|error| error.to_string())?;
        let inside = node::plan(&node::NodeView::default(), &[]).inside;
        namespace::create(&container, eth0_of(0), node.as_fd(), ephemeral, &inside)
            .map(drop)
            .map_err(|error| chain(&error))
    });
    let result = match tried {
        Ok((_, result)) => result,
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => VETH.ok("made one"),
        Err(error) => VETH.missing(error,
            "isolated containers cannot be made; the kernel needs NET_NS, VETH and IP_MULTIPLE_TABLES, and the agent root",
        ),
    }
}

fn node_plan(config: &NetworkConfig) -> Result<NodePlan, String> {
    let read = || observe::observe(&mut Netlink::open()?);
    let view = read().map_err(|error| chain(&error))?;
    Ok(node::plan(&view, &config.uplinks))
}

fn uplinks(plan: &NodePlan) -> Vec<Check> {
    let mut checks = Vec::new();
    if plan.uplinks.is_empty() {
        checks.push(UPLINKS.degraded("none",
            "containers reach each other and the node only; an uplink is an Ethernet interface that is up and has a global address",
        ));
    } else {
        let names: Vec<String> = plan
            .uplinks
            .values()
            .map(|uplink| format!("{} (MTU {})", uplink.name, uplink.mtu))
            .collect();
        let addresses: Vec<String> = plan
            .inside
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        checks.push(UPLINKS.ok(format!(
            "{}; addresses {}",
            names.join(", "),
            addresses.join(", ")
        )));
    }
    checks.extend(plan.refused.iter().map(|refused| {
        UPLINKS.degraded(
            refused.to_string(),
            "containers do not reach what the node reaches through it",
        )
    }));
    checks
}

/// Looks for programs of others on the uplinks: they see packets before or after Weir does.
fn foreign_programs(plan: &NodePlan) -> Check {
    const OTHERS: Feature = Feature::new(
        "other programs on the uplinks",
        "knowing who else sees or takes packets there",
    );
    let mut found = Vec::new();
    for (&index, uplink) in &plan.uplinks {
        if let Ok(mut netlink) = Netlink::open()
            && clsact::has_foreign_filters(&mut netlink, index).unwrap_or(false)
        {
            found.push(format!("filters of tc on {}", uplink.name));
        }
        for (hook, kind) in [
            ("ingress", TcAttachType::Ingress),
            ("egress", TcAttachType::Egress),
        ] {
            // A kernel without tcx has none of these.
            let Ok((_, programs)) = SchedClassifier::query_tcx(&uplink.name, kind) else {
                continue;
            };
            for program in programs {
                let name = program.name_as_str().unwrap_or("unnamed").to_owned();
                if name != "uplink_in" {
                    found.push(format!("{name} on {} {hook}", uplink.name));
                }
            }
        }
    }
    if found.is_empty() {
        OTHERS.ok("none")
    } else {
        OTHERS.degraded(found.join(", "),
            "packets for containers pass those that are attached before Weir's, and none that come after",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::firewall::Chain;
    use super::*;
    use crate::doctor::Status;

    fn a_chain(name: &str, is_nat: bool) -> Chain {
        Chain {
            table: "t".to_owned(),
            name: name.to_owned(),
            is_hooked: true,
            is_nat,
            is_closed: false,
            uses: 1,
        }
    }

    fn judge(chains: Vec<Chain>, legacy: &[&str], pools: &str) -> Vec<Check> {
        let legacy_tables = legacy.iter().map(|&table| table.to_owned()).collect();
        judge_firewall(
            &Firewall {
                chains,
                legacy_tables,
            },
            &pools.parse().unwrap(),
        )
    }

    #[test]
    fn a_node_without_rules_is_fine() {
        let checks = judge(Vec::new(), &[], "31000-31999");
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].status, Status::Ok);
    }

    #[test]
    fn rules_that_packets_do_not_pass_are_named() {
        let checks = judge(vec![a_chain("input", false)], &["filter"], "31000-31999");
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].status, Status::Degraded);
        assert!(
            checks[0].detail.contains("t input") && checks[0].detail.contains("iptables filter")
        );
    }

    #[test]
    fn a_chain_that_drops_by_its_policy_needs_no_rule() {
        let empty = |is_closed| Chain {
            is_closed,
            uses: 0,
            ..a_chain("input", false)
        };
        assert_eq!(
            judge(vec![empty(false)], &[], "31000")[0].status,
            Status::Ok
        );
        let checks = judge(vec![empty(true)], &[], "31000");
        assert_eq!(checks[0].status, Status::Degraded);
    }

    #[test]
    fn node_ports_of_kubernetes_in_the_pools_are_named() {
        let chains = vec![a_chain("PREROUTING", true), a_chain("KUBE-NODEPORTS", true)];
        let checks = judge(chains, &[], "31000-31999,40000-41000");
        let overlap = checks
            .iter()
            .find(|check| check.name == "Kubernetes NodePorts")
            .unwrap();
        assert!(overlap.detail.contains("31000-31999"), "{}", overlap.detail);
        assert!(!overlap.detail.contains("40000"));
        assert!(checks.iter().any(|check| check.name == "translated ports"));
    }
}

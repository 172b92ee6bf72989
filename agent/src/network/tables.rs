//! The maps of the data plane, as the agent reads and writes them.
//!
//! All are opened by their pins, so that what is read is what the programs use, whoever loaded
//! them.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use aya::maps::{
    Array, ArrayOfMaps, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues,
};
use aya::sys::SyscallError;
use aya::util::nr_cpus;
use weir_abi::{
    Address, Container, Counters, FLOW_SETS, FlowSet, LAYOUT_VERSION, Lane, LaneCounters,
    LaneState, Node, NodeCounters, OWNER_NONE, RttHistogram, SLOTS_MAX, TICK_SHIFT, Uplink,
};
use weir_sys::bpf::{self, MappedArray, remove_inner_map};

use crate::telemetry::QueueStatistics;

// Flags of an update, of include/uapi/linux/bpf.h.
const BPF_ANY: u64 = 0;
const BPF_NOEXIST: u64 = 1;

/// How often an entry is asked for that the kernel has no memory for at once. It keeps a stock of such memory, fills it up
/// behind our back, and refuses while it is empty: 6.1, on a machine with other work, does so now and then.
const SHORT_TRIES_MAX: u32 = 100;

/// How long it has for that before it is asked again.
const SHORT_PAUSE: Duration = Duration::from_millis(2);

/// The number of ports there are.
const PORTS: u32 = 65536;

/// Says which map could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error("cannot use map {map}")]
    Map {
        map: &'static str,
        #[source]
        source: MapError,
    },
    #[error("cannot map {map} into memory")]
    Mapping {
        map: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(
        "the pinned maps have layout {found}, this agent has layout {LAYOUT_VERSION}: stop all containers and run `weir-agent cleanup`, or run the agent that wrote them"
    )]
    Layout { found: u32 },
}

/// The tables that the agent writes. Owned by the network task.
pub(crate) struct Tables {
    node: Array<MapData, Node>,
    ports: MappedArray,
    containers: Array<MapData, Container>,
    veths: HashMap<MapData, u32, u32>,
    namespaces: HashMap<MapData, u64, u32>,
    cgroups: HashMap<MapData, u64, u32>,
    addresses: HashMap<MapData, Address, u32>,
    uplinks: HashMap<MapData, u32, Uplink>,
    counters: PerCpuArray<MapData, Counters>,
    rtts: PerCpuHashMap<MapData, u32, RttHistogram>,
    lanes: Array<MapData, Lane>,
    lane_states: Array<MapData, LaneState>,
    lane_counters: Array<MapData, LaneCounters>,
    flows: ArrayOfMaps<MapData, Array<MapData, FlowSet>>,
    /// The same map: what is taken out of it is taken by its descriptor.
    flows_fd: OwnedFd,
}

/// Which of a container's packets a lane is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Those that it sends.
    Out = 0,
    /// Those that it receives.
    In = 1,
}

impl Way {
    pub(crate) const ALL: [Self; 2] = [Self::Out, Self::In];

    const fn lane(self, slot: u32) -> u32 {
        slot * 2 + self as u32
    }
}

fn open(directory: &Path, name: &'static str) -> Result<MapData, TableError> {
    MapData::from_pin(directory.join(name)).map_err(|source| TableError::Map { map: name, source })
}

macro_rules! typed {
    ($directory:expr, $name:literal, $kind:ident) => {
        Map::$kind(open($directory, $name)?)
            .try_into()
            .map_err(|source| TableError::Map { map: $name, source })?
    };
}

impl Tables {
    /// Opens the maps that are pinned in a directory.
    pub(crate) fn open(directory: &Path) -> Result<Self, TableError> {
        let ports = open(directory, "PORTS")?;
        let ports = MappedArray::map(ports.fd(), PORTS).map_err(|source| TableError::Mapping {
            map: "PORTS",
            source,
        })?;
        let flows_fd =
            bpf::open_pin(&directory.join("FLOWS")).map_err(|source| TableError::Mapping {
                map: "FLOWS",
                source,
            })?;
        let tables = Self {
            flows_fd,
            node: typed!(directory, "NODE", Array),
            ports,
            containers: typed!(directory, "CONTAINERS", Array),
            veths: typed!(directory, "VETHS", HashMap),
            namespaces: typed!(directory, "NAMESPACES", HashMap),
            cgroups: typed!(directory, "CGROUPS", HashMap),
            addresses: typed!(directory, "ADDRESSES", HashMap),
            uplinks: typed!(directory, "UPLINKS", HashMap),
            counters: typed!(directory, "COUNTERS", PerCpuArray),
            rtts: typed!(directory, "RTTS", PerCpuHashMap),
            lanes: typed!(directory, "LANES", Array),
            lane_states: typed!(directory, "LANE_STATES", Array),
            lane_counters: typed!(directory, "LANE_COUNTERS", Array),
            flows: typed!(directory, "FLOWS", ArrayOfMaps),
        };
        let found = tables.node()?.layout_version;
        // Zero is a map that was just created.
        if found != 0 && found != LAYOUT_VERSION {
            return Err(TableError::Layout { found });
        }
        Ok(tables)
    }

    /// Returns what the programs know of the node.
    pub(crate) fn node(&self) -> Result<Node, TableError> {
        self.node.get(&0, 0).map_err(|source| TableError::Map {
            map: "NODE",
            source,
        })
    }

    /// Tells the programs about the node.
    pub(crate) fn set_node(&mut self, node: Node) -> Result<(), TableError> {
        self.node.set(0, node, 0).map_err(|source| TableError::Map {
            map: "NODE",
            source,
        })
    }

    /// Returns the owner of a port: slot plus one, or [`OWNER_NONE`].
    pub(crate) fn owner(&self, port: u16) -> u32 {
        self.ports.get(u32::from(port))
    }

    /// Gives a port to a container.
    pub(crate) fn give_port(&self, port: u16, slot: u32) {
        self.ports.set(u32::from(port), slot + 1);
    }

    /// Takes a port from whoever has it.
    pub(crate) fn free_port(&self, port: u16) {
        self.ports.set(u32::from(port), OWNER_NONE);
    }

    /// Returns a container as the programs know it.
    pub(crate) fn container(&self, slot: u32) -> Result<Container, TableError> {
        self.containers
            .get(&slot, 0)
            .map_err(|source| TableError::Map {
                map: "CONTAINERS",
                source,
            })
    }

    /// Tells the programs about a container, or that a slot is free.
    pub(crate) fn set_container(&mut self, slot: u32, to: Container) -> Result<(), TableError> {
        self.containers
            .set(slot, to, 0)
            .map_err(|source| TableError::Map {
                map: "CONTAINERS",
                source,
            })
    }

    /// Sets all counters of a slot to zero: a new container begins at nothing.
    pub(crate) fn reset_counters(&mut self, slot: u32) -> Result<(), TableError> {
        let cpus = nr_cpus().map_err(|(_, source)| TableError::Mapping {
            map: "COUNTERS",
            source,
        })?;
        let zero = |_| Counters::default();
        let zeros =
            PerCpuValues::try_from((0..cpus).map(zero).collect::<Vec<_>>()).map_err(|source| {
                TableError::Mapping {
                    map: "COUNTERS",
                    source,
                }
            })?;
        self.counters
            .set(slot, zeros, 0)
            .map_err(|source| TableError::Map {
                map: "COUNTERS",
                source,
            })?;
        self.insert_histogram(slot, BPF_ANY)
    }

    /// Makes sure that there is a histogram for a slot; one that is there stays as it is.
    pub(crate) fn ensure_histogram(&mut self, slot: u32) -> Result<(), TableError> {
        match self.insert_histogram(slot, BPF_NOEXIST) {
            Err(TableError::Map {
                source: MapError::SyscallError(error),
                ..
            }) if error.io_error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn insert_histogram(&mut self, slot: u32, flags: u64) -> Result<(), TableError> {
        let mapping = |source| TableError::Mapping {
            map: "RTTS",
            source,
        };
        let cpus = nr_cpus().map_err(|(_, source)| mapping(source))?;
        while_memory_is_short(|| {
            let empties =
                PerCpuValues::try_from(vec![RttHistogram::default(); cpus]).map_err(mapping)?;
            self.rtts
                .insert(slot, empties, flags)
                .map_err(|source| TableError::Map {
                    map: "RTTS",
                    source,
                })
        })
    }

    /// Gives back the memory of a slot's histogram.
    pub(crate) fn drop_histogram(&mut self, slot: u32) -> Result<(), TableError> {
        absent_is_fine(self.rtts.remove(&slot), "RTTS")
    }

    /// Returns why this kernel takes no tables of flows, without which nothing is sorted.
    ///
    /// Tried on the last lane, whose slot is given out last.
    pub(crate) fn try_flows(&mut self) -> Result<(), String> {
        let (last, way) = (SLOTS_MAX - 1, Way::In);
        let index = way.lane(last);
        if self.flows.get(&index, 0).is_ok() {
            return Ok(());
        }
        let mut put = || -> Result<(), MapError> { self.flows.set(index, &new_flows()?, 0) };
        if let Err(error) = put() {
            return Err(format!(
                "this kernel takes no tables of flows ({error}); newer ones do"
            ));
        }
        remove_inner_map(self.flows_fd.as_fd(), index).map_err(|error| error.to_string())
    }

    /// Tells the programs what one lane is held to. A lane that is sorted gets a table of its flows, one that is not gives it back.
    pub(crate) fn set_lane(&mut self, slot: u32, way: Way, to: Lane) -> Result<(), TableError> {
        let index = way.lane(slot);
        let failed = |map| move |source| TableError::Map { map, source };
        if to.is_sorted() && self.flows.get(&index, 0).is_err() {
            let flows = new_flows().map_err(failed("FLOWS"))?;
            self.flows.set(index, &flows, 0).map_err(failed("FLOWS"))?;
        }
        self.lanes.set(index, to, 0).map_err(failed("LANES"))?;
        if !to.is_sorted() {
            let outer = self.flows_fd.as_fd();
            remove_inner_map(outer, index).map_err(|source| TableError::Mapping {
                map: "FLOWS",
                source,
            })?;
        }
        Ok(())
    }

    /// Lets the lanes of a new container begin at nothing.
    pub(crate) fn reset_lanes(&mut self, slot: u32) -> Result<(), TableError> {
        let failed = |map| move |source| TableError::Map { map, source };
        for way in Way::ALL {
            let index = way.lane(slot);
            self.set_lane(slot, way, Lane::default())?;
            self.lane_states
                .set(index, LaneState::default(), 0)
                .map_err(failed("LANE_STATES"))?;
            self.lane_counters
                .set(index, LaneCounters::default(), 0)
                .map_err(failed("LANE_COUNTERS"))?;
        }
        Ok(())
    }

    /// Joins the host's end of a link to a slot.
    pub(crate) fn set_veth(&mut self, ifindex: u32, slot: u32) -> Result<(), TableError> {
        self.veths
            .insert(ifindex, slot, 0)
            .map_err(|source| TableError::Map {
                map: "VETHS",
                source,
            })
    }

    /// Joins a network namespace to a slot.
    pub(crate) fn set_namespace(&mut self, cookie: u64, slot: u32) -> Result<(), TableError> {
        self.namespaces
            .insert(cookie, slot, 0)
            .map_err(|source| TableError::Map {
                map: "NAMESPACES",
                source,
            })
    }

    /// Joins a cgroup to the slot of a container in host mode.
    pub(crate) fn set_cgroup(&mut self, id: u64, slot: u32) -> Result<(), TableError> {
        self.cgroups
            .insert(id, slot, 0)
            .map_err(|source| TableError::Map {
                map: "CGROUPS",
                source,
            })
    }

    /// Removes every key that leads to one of the slots for which `goes` is true.
    pub(crate) fn remove_keys(&mut self, goes: impl Fn(u32) -> bool) -> Result<(), TableError> {
        remove_values(&mut self.veths, "VETHS", |&slot| goes(slot))?;
        remove_values(&mut self.namespaces, "NAMESPACES", |&slot| goes(slot))?;
        remove_values(&mut self.cgroups, "CGROUPS", |&slot| goes(slot))
    }

    /// Makes the node's addresses these.
    pub(crate) fn set_addresses(&mut self, wanted: &[Address]) -> Result<(), TableError> {
        for address in wanted {
            self.addresses
                .insert(address, 1, 0)
                .map_err(|source| TableError::Map {
                    map: "ADDRESSES",
                    source,
                })?;
        }
        remove_unwanted(&mut self.addresses, "ADDRESSES", |key| wanted.contains(key))
    }

    /// Makes the uplinks these.
    pub(crate) fn set_uplinks(&mut self, wanted: &[(u32, Uplink)]) -> Result<(), TableError> {
        for (index, uplink) in wanted {
            self.uplinks
                .insert(index, uplink, 0)
                .map_err(|source| TableError::Map {
                    map: "UPLINKS",
                    source,
                })?;
        }
        remove_unwanted(&mut self.uplinks, "UPLINKS", |key| {
            wanted.iter().any(|(index, _)| index == key)
        })
    }
}

/// Returns a table of flows without any, as [`Tables::flows`] takes it.
fn new_flows() -> Result<Array<MapData, FlowSet>, MapError> {
    let bytes = u32::try_from(size_of::<FlowSet>()).expect("a cache line");
    let made = bpf::create_array(bytes, FLOW_SETS).map_err(|io_error| SyscallError {
        call: "bpf_map_create",
        io_error,
    })?;
    Map::Array(MapData::from_fd(made)?).try_into()
}

fn absent_is_fine(result: Result<(), MapError>, map: &'static str) -> Result<(), TableError> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        Err(source) => Err(TableError::Map { map, source }),
    }
}

fn remove_unwanted<K: aya::Pod, V: aya::Pod>(
    table: &mut HashMap<MapData, K, V>,
    map: &'static str,
    wanted: impl Fn(&K) -> bool,
) -> Result<(), TableError> {
    let keys: Vec<K> = table
        .keys()
        .collect::<Result<_, _>>()
        .map_err(|source| TableError::Map { map, source })?;
    for key in keys.iter().filter(|key| !wanted(key)) {
        absent_is_fine(table.remove(key), map)?;
    }
    Ok(())
}

fn remove_values<K: aya::Pod>(
    table: &mut HashMap<MapData, K, u32>,
    map: &'static str,
    goes: impl Fn(&u32) -> bool,
) -> Result<(), TableError> {
    let entries: Vec<(K, u32)> = table
        .iter()
        .collect::<Result<_, _>>()
        .map_err(|source| TableError::Map { map, source })?;
    for (key, _) in entries.iter().filter(|(_, slot)| goes(slot)) {
        absent_is_fine(table.remove(key), map)?;
    }
    Ok(())
}

/// The counters, for whoever wants to read them.
pub(crate) struct CounterTables {
    counters: PerCpuArray<MapData, Counters>,
    rtts: PerCpuHashMap<MapData, u32, RttHistogram>,
    node: PerCpuArray<MapData, NodeCounters>,
    lanes: Array<MapData, Lane>,
    lane_states: Array<MapData, LaneState>,
    lane_counters: Array<MapData, LaneCounters>,
    /// The values of all CPUs are read into one buffer each time; this keeps a thousand scraped
    /// containers from doing so at once.
    one_reader: Mutex<()>,
}

impl CounterTables {
    /// Opens the counters that are pinned in a directory.
    pub(crate) fn open(directory: &Path) -> Result<Self, TableError> {
        Ok(Self {
            counters: typed!(directory, "COUNTERS", PerCpuArray),
            rtts: typed!(directory, "RTTS", PerCpuHashMap),
            node: typed!(directory, "NODE_COUNTERS", PerCpuArray),
            lanes: typed!(directory, "LANES", Array),
            lane_states: typed!(directory, "LANE_STATES", Array),
            lane_counters: typed!(directory, "LANE_COUNTERS", Array),
            one_reader: Mutex::new(()),
        })
    }

    /// Returns what was counted for a slot, on all CPUs together.
    pub(crate) fn counters(&self, slot: u32) -> Result<Counters, TableError> {
        debug_assert!(slot < SLOTS_MAX);
        let _reader = self
            .one_reader
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let values = self
            .counters
            .get(&slot, 0)
            .map_err(|source| TableError::Map {
                map: "COUNTERS",
                source,
            })?;
        let mut sum = Counters::default();
        values.iter().for_each(|value| sum.merge(value));
        Ok(sum)
    }

    /// Returns the round-trip times of a slot; empty where there are none.
    pub(crate) fn round_trips(&self, slot: u32) -> Result<RttHistogram, TableError> {
        let _reader = self
            .one_reader
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut sum = RttHistogram::default();
        match self.rtts.get(&slot, 0) {
            Ok(values) => values.iter().for_each(|value| sum.merge(value)),
            Err(MapError::KeyNotFound) => {}
            Err(source) => {
                return Err(TableError::Map {
                    map: "RTTS",
                    source,
                });
            }
        }
        Ok(sum)
    }

    /// Returns what passed one way through a slot's queue; nothing where it has none.
    pub(crate) fn lane(&self, slot: u32, way: Way) -> Result<Option<QueueStatistics>, TableError> {
        let index = way.lane(slot);
        let failed = |map| move |source| TableError::Map { map, source };
        let lane = self.lanes.get(&index, 0).map_err(failed("LANES"))?;
        if !lane.is_sorted() {
            return Ok(None);
        }
        let state = self.lane_states.get(&index, 0);
        let counters = self.lane_counters.get(&index, 0);
        let full = state.map_err(failed("LANE_STATES"))?.full;
        Ok(Some(QueueStatistics {
            counters: counters.map_err(failed("LANE_COUNTERS"))?,
            full: Duration::from_nanos(full << TICK_SHIFT),
        }))
    }

    /// Returns what was counted for the node.
    pub(crate) fn node(&self) -> Result<NodeCounters, TableError> {
        let values = self.node.get(&0, 0).map_err(|source| TableError::Map {
            map: "NODE_COUNTERS",
            source,
        })?;
        let mut sum = NodeCounters::default();
        values.iter().for_each(|value| sum.merge(value));
        Ok(sum)
    }
}

/// Calls `update` again, after a pause, as long as the kernel has no memory for it and there are tries left.
fn while_memory_is_short(
    mut update: impl FnMut() -> Result<(), TableError>,
) -> Result<(), TableError> {
    for _ in 1..SHORT_TRIES_MAX {
        match update() {
            Err(TableError::Map {
                source: MapError::SyscallError(error),
                ..
            }) if error.io_error.kind() == io::ErrorKind::OutOfMemory => thread::sleep(SHORT_PAUSE),
            result => return result,
        }
    }
    update()
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    /// Answers with these errors, one after the other, and then with success; counts the calls.
    fn tried(errors: &[Errno]) -> (u32, Result<(), TableError>) {
        let mut calls = 0;
        let mut errors = errors.iter();
        let result = while_memory_is_short(|| {
            calls += 1;
            errors.next().map_or(Ok(()), |error| {
                Err(TableError::Map {
                    map: "RTTS",
                    source: MapError::SyscallError(SyscallError {
                        call: "bpf_map_update_elem",
                        io_error: (*error).into(),
                    }),
                })
            })
        });
        (calls, result)
    }

    #[test]
    fn a_shortage_of_memory_passes_and_other_errors_do_not() {
        let (calls, result) = tried(&[Errno::ENOMEM, Errno::ENOMEM]);
        assert_eq!(calls, 3);
        result.unwrap();
        let (calls, result) = tried(&[Errno::ENOMEM, Errno::EEXIST]);
        assert_eq!(calls, 2);
        result.unwrap_err();
        let (calls, result) = tried(&[Errno::ENOMEM; 1000]);
        assert_eq!(calls, SHORT_TRIES_MAX);
        result.unwrap_err();
    }
}

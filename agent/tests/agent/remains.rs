//! Holds what the kernel and the disk have against what the daemon lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use aya::maps::{Array, Map, MapData};
use weir_agent::container::ContainerView;
use weir_executor::spec::NetworkMode;

use crate::node::{DEADLINE, Node, eventually};

impl Node {
    /// Waits until there is exactly what belongs to the containers that the daemon lists: cgroups,
    /// processes, links, pins, entries of the tables, directories, descriptors of the daemon.
    ///
    /// What ends takes a moment: a link goes with its namespace, which the kernel takes down later.
    pub(crate) fn assert_exact(&self) {
        let mut last = Vec::new();
        let end = std::time::Instant::now() + DEADLINE;
        while std::time::Instant::now() < end {
            last = self.complaints();
            if last.is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{}: {}", self.name, last.join("\n"));
    }

    fn complaints(&self) -> Vec<String> {
        let all = self.containers(true);
        let live: Vec<&ContainerView> = all.iter().filter(|view| view.state.is_live()).collect();
        let isolated = || {
            live.iter()
                .filter(|view| view.network == NetworkMode::Isolated)
        };
        let hosted = || live.iter().filter(|view| view.network == NetworkMode::Host);
        let ids = |views: &[&ContainerView]| -> BTreeSet<String> {
            views.iter().map(|view| view.id.to_string()).collect()
        };
        let mut complaints = Vec::new();
        let mut compare = |what: &str, is: BTreeSet<String>, should: BTreeSet<String>| {
            if is != should {
                complaints.push(format!(
                    "{what}: there are {is:?}, there should be {should:?}"
                ));
            }
        };
        compare("cgroups", subdirectories(&self.cgroup()), ids(&live));
        compare("cgroups with processes", self.populated(), ids(&live));
        // What was cut off before it had a directory is on record without one.
        let directories = subdirectories(&self.state().join("containers"));
        let known = all.iter().map(|view| view.id.to_string());
        let known = known.filter(|id| directories.contains(id)).collect();
        compare("directories", directories, known);
        compare("links", self.container_links(), {
            isolated().map(|view| format!("we{}", view.id)).collect()
        });
        let mut pins = BTreeSet::new();
        for view in hosted() {
            pins.extend(["host_rx", "host_tx"].map(|program| format!("{program}-{}", view.slot)));
        }
        // With clsact the filter is the link's own, and there is nothing to pin.
        if !self.is_clsact() {
            pins.extend(isolated().map(|view| format!("container-{}", view.slot)));
        }
        compare("pins", self.container_pins(), pins);
        let words = |owners: BTreeMap<u16, u32>| -> BTreeSet<String> {
            owners
                .iter()
                .map(|(port, owner)| format!("{port}:{owner}"))
                .collect()
        };
        compare(
            "ports in the table",
            words(self.owners()),
            words(owned(&live)),
        );
        compare(
            "namespaces held by the daemon",
            [self.namespaces_held().to_string()].into(),
            [isolated().count().to_string()].into(),
        );
        complaints
    }

    /// Returns whether programs are attached as filters, which are not pinned.
    fn is_clsact(&self) -> bool {
        !self.all_pins().contains("loopback")
    }

    /// Returns the ids of containers whose cgroups have processes in them.
    fn populated(&self) -> BTreeSet<String> {
        let below = format!("/{}/", self.name);
        let mut found = BTreeSet::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let cgroups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
            let own = cgroups
                .lines()
                .find_map(|line| line.strip_prefix("0::")?.strip_prefix(&below));
            found.extend(
                own.and_then(|path| path.split('/').next())
                    .map(str::to_owned),
            );
        }
        found
    }

    /// Returns the names of the host's ends of containers' links.
    pub(crate) fn container_links(&self) -> BTreeSet<String> {
        let text = self.on_node(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
        let names = text.lines().filter_map(|line| line.split_once(':'));
        names
            .map(|(name, _)| name.trim().to_owned())
            .filter(|name| name.starts_with("we"))
            .collect()
    }

    /// Returns the names of all pinned links.
    pub(crate) fn all_pins(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for version in fs::read_dir(self.pins()).into_iter().flatten().flatten() {
            for link in fs::read_dir(version.path().join("links"))
                .unwrap()
                .flatten()
            {
                found.insert(link.file_name().to_string_lossy().into_owned());
            }
        }
        found
    }

    /// Returns the pinned links that are of one container.
    fn container_pins(&self) -> BTreeSet<String> {
        let prefixes = ["container-", "host_rx-", "host_tx-"];
        let is_container = |pin: &String| prefixes.iter().any(|prefix| pin.starts_with(prefix));
        self.all_pins().into_iter().filter(is_container).collect()
    }

    /// Returns who owns which port according to the table in the kernel: slots, counted from one.
    pub(crate) fn owners(&self) -> BTreeMap<u16, u32> {
        let version = fs::read_dir(self.pins())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let data = MapData::from_pin(version.join("maps/PORTS")).unwrap();
        let ports: Array<MapData, u32> = Map::Array(data).try_into().unwrap();
        let owner = |port: u16| Some((port, ports.get(&u32::from(port), 0).unwrap()));
        (0..=u16::MAX)
            .filter_map(owner)
            .filter(|(_, owner)| *owner != 0)
            .collect()
    }

    /// Returns how many network namespaces the daemon holds, less its own.
    fn namespaces_held(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.daemon_pid());
        let targets = fs::read_dir(directory).unwrap().flatten();
        let held: BTreeSet<String> = targets
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .map(|target| target.display().to_string())
            .filter(|target| target.starts_with("net:["))
            .collect();
        let own = fs::read_link(format!("/proc/{}/ns/net", self.daemon_pid())).unwrap();
        held.iter()
            .filter(|target| Path::new(target) != own)
            .count()
    }

    /// Waits until every port of the pool, and every block, can be had: nothing was leaked, and
    /// what was freed has rested.
    pub(crate) fn assert_pool_is_whole(&self, pool: &str, blocks: usize) {
        let sleep = ["sleep", "1000"];
        eventually(&format!("all of {pool} can be had"), || {
            let said = self.exec(&["--name", "whole", "--ports", pool, "--detach"], &sleep);
            assert!(matches!(said.code, 0 | 2), "{said:?}");
            (said.code == 0).then_some(())
        });
        for number in 1..blocks {
            eventually(&format!("block {number} can be had"), || {
                let said = self.exec(&["--name", &format!("block-{number}"), "--detach"], &sleep);
                assert!(matches!(said.code, 0 | 2), "{said:?}");
                (said.code == 0).then_some(())
            });
        }
        self.exec(&["--name", "one-too-many", "--detach"], &sleep)
            .refused();
        self.assert_exact();
        self.kill_all();
        self.assert_exact();
    }
}

/// Returns who should own which port: slots, counted from one as in the table.
fn owned(live: &[&ContainerView]) -> BTreeMap<u16, u32> {
    let mut owners = BTreeMap::new();
    for view in live {
        let block = view.ephemeral.into_iter().flat_map(|block| block.iter());
        for port in view.ports.iter().chain(block) {
            let before = owners.insert(port, view.slot.index() + 1);
            assert_eq!(before, None, "{port} is listed twice");
        }
    }
    owners
}

fn subdirectories(path: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

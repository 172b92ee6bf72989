//! What somebody wants, as operations on what they are offered.

use weir_protocol::{Operation, TaskKey, TaskSpec};
use weir_resources::{Resource, Resources};

use super::Chance;
use super::moves::Wish;
use crate::make;
use crate::world::Fw;

impl Chance {
    /// Makes operations of wishes, from what is offered.
    pub(super) fn fulfil(&mut self, fw: Fw, pool: &Resources, wishes: &[Wish]) -> Vec<Operation> {
        let own = &self.world.frameworks[fw.0];
        let (role, by) = (own.info.role.to_string(), own.principal);
        let mut operations = Vec::new();
        for wish in wishes {
            let id = self.fresh("o");
            let operation = match wish {
                Wish::Launch {
                    tasks,
                    cpus,
                    isolated,
                } => {
                    let mut specs = Vec::new();
                    for _ in 0..*tasks {
                        let held = some_cpus(pool, *cpus);
                        specs.push(self.task(fw, &held, *isolated));
                    }
                    make::launch(&id, specs)
                }
                Wish::LaunchAll => {
                    let held = pool.filter(|entry| entry.kind() == pool.as_slice()[0].kind());
                    let task = self.task(fw, &held, false);
                    make::launch(&id, vec![task])
                }
                Wish::Reserve { cpus, disk } => {
                    make::reserve(&id, some_reserved(*cpus, *disk, &role, by))
                }
                Wish::Unreserve => make::unreserve(&id, dynamic(pool)),
                Wish::Create { id: name, size } => {
                    let data = make::volume(&format!("v{name}"), *size, &role, by);
                    make::create(&id, data)
                }
                Wish::Destroy => make::destroy(&id, pool.volumes()),
            };
            operations.push(operation);
        }
        operations
    }

    fn task(&mut self, fw: Fw, held: &Resources, isolated: bool) -> TaskSpec {
        let id = self.fresh("t");
        let key = TaskKey {
            framework: self.world.id(fw),
            task: make::task_id(&id),
        };
        self.memories[fw.0].tasks.insert(key);
        if isolated {
            make::isolated(&id, held)
        } else {
            make::task(&id, held)
        }
    }
}

/// Returns so many cpus of whatever kind and reservation the pool has.
fn some_cpus(pool: &Resources, cpus: u64) -> Resources {
    let wanted = make::resources(&format!("cpus:{cpus}"));
    let value = wanted.as_slice()[0].value().clone();
    let entry = pool.get("cpus").first().cloned();
    let held = entry.and_then(|entry| {
        let mut parts = entry.into_parts();
        parts.value = value;
        Resource::from_parts(parts).ok()
    });
    held.map_or(wanted, Resources::from)
}

pub(super) fn some_reserved(cpus: u64, disk: u64, role: &str, by: &str) -> Resources {
    let texts = [("cpus", cpus), ("disk", disk)].into_iter();
    let texts = texts.filter(|(_, amount)| *amount > 0);
    let texts: Vec<String> = texts
        .map(|(name, amount)| format!("{name}:{amount}"))
        .collect();
    if texts.is_empty() {
        return Resources::new();
    }
    make::reserved(&texts.join(";"), role, by)
}

/// Returns what is dynamically reserved and no volume.
pub(super) fn dynamic(resources: &Resources) -> Resources {
    resources.filter(|entry| entry.reservation().is_dynamic() && entry.volume().is_none())
}

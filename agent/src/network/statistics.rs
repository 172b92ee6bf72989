//! What telemetry needs of the data plane.

use weir_abi::{Counters, NodeCounters, RttHistogram};

use super::handle::NetworkHandle;
use crate::container::{NetworkFault, Slot};
use crate::telemetry::{self, FollowStatistics, NetworkStatistics, Queues, WireStatistics};

impl NetworkStatistics for NetworkHandle {
    fn counters(&self, slot: Slot) -> Result<Counters, NetworkFault> {
        Self::counters(self, slot)
    }

    fn rtt(&self, slot: Slot) -> Result<RttHistogram, NetworkFault> {
        self.round_trips(slot)
    }

    fn queues(&self, slot: Slot) -> Result<Queues, NetworkFault> {
        Self::queues(self, slot)
    }

    fn wire(&self) -> Result<WireStatistics, NetworkFault> {
        Self::wire(self)
    }

    fn node_counters(&self) -> Result<NodeCounters, NetworkFault> {
        Self::node_counters(self)
    }

    fn programs(&self) -> Result<Vec<telemetry::ProgramStatistics>, NetworkFault> {
        let programs =
            self.program_statistics()
                .into_iter()
                .map(|program| telemetry::ProgramStatistics {
                    name: program.name,
                    run_time_ns: program.run_time_ns,
                    run_count: program.run_count,
                });
        Ok(programs.collect())
    }

    fn follow(&self) -> FollowStatistics {
        let followed = self.followed();
        FollowStatistics {
            changes: followed.changes,
            took: followed.took,
            longest: followed.longest,
        }
    }
}

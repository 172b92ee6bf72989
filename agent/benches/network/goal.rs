//! What was to be reached, and whether it was.

use crate::bulk::{Bulk, Route};
use crate::flood::{Costs, Direction};
use crate::life::{COMPANY, Containers};
use crate::path::{RANGES_MAX, Subject};
use crate::scrape::Scrapes;
use crate::table::Table;

/// How much dearer a packet may be at the most ranges than at one.
const GROWTH_MAX: f64 = 1.05;
/// How many times dearer Mesos' way has to be at the most ranges.
const ADVANTAGE_MIN: f64 = 3.0;
const BULK_MIN: f64 = 0.95;
const START_MS: f64 = 25.0;
const AGENT_MEBIBYTES: f64 = 30.0;
const SCRAPE_MS: f64 = 100.0;
const SCRAPE_PERCENT: f64 = 1.0;

/// Judges what was measured; what was not is left out.
pub(crate) struct Goals(Table);

impl Goals {
    pub(crate) fn new() -> Self {
        Self(Table::new(
            "What was to be reached",
            "Costs of a packet are compared round by round, all else by medians. Where Mesos' way has many filters, the packet is \
             the last one's; see the table for the one in the middle.",
            &["goal", "measured", "reached"],
        ))
    }

    fn judge(&mut self, goal: String, measured: String, is_met: bool) {
        let verdict = if is_met { "yes" } else { "**NO**" };
        self.0.push(vec![goal, measured, verdict.to_owned()]);
    }

    pub(crate) fn judge_costs(&mut self, costs: &Costs) {
        for direction in Direction::BOTH {
            let way = direction.name();
            let (first, most) = (Subject::weir(1), Subject::weir(RANGES_MAX));
            let growth = costs.times(most, first, direction);
            self.judge(
                format!("{way}: a packet at 1,000 ranges costs what it costs at one, to 5 %"),
                format!("{:+.1} %", (growth - 1.0) * 100.0),
                growth <= GROWTH_MAX,
            );
            let advantage = costs.times(Subject::filters(RANGES_MAX), most, direction);
            self.judge(
                format!("{way}: 3 times cheaper than Mesos' way at 1,000 ranges"),
                format!("{advantage:.2} times"),
                advantage >= ADVANTAGE_MIN,
            );
            let price = costs.times(first, Subject::filters(1), direction);
            self.judge(
                format!("{way}: not dearer than Mesos' way at one range"),
                format!("{:+.1} %", (price - 1.0) * 100.0),
                price <= 1.0,
            );
        }
    }

    pub(crate) fn judge_bulk(&mut self, bulk: &Bulk) {
        for route in Route::ALL {
            let share = bulk.share(route);
            self.judge(
                format!("{}: bulk at least 0.95 of plain routing", route.name()),
                format!("{share:.2}"),
                share >= BULK_MIN,
            );
        }
    }

    pub(crate) fn judge_containers(&mut self, containers: &Containers) {
        for company in [0, COMPANY] {
            let start = containers.start(company);
            self.judge(
                format!("a container starts within 25 ms (p50), beside {company} others"),
                format!("{start:.1} ms"),
                start < START_MS,
            );
        }
        let memory = containers.memory();
        self.judge(
            format!("the agent needs less than 30 MiB with {COMPANY} containers"),
            format!("{memory:.1} MiB"),
            memory < AGENT_MEBIBYTES,
        );
    }

    pub(crate) fn judge_scrapes(&mut self, scrapes: &Scrapes) {
        let containers = scrapes.containers();
        self.judge(
            format!("a scrape of {containers} containers takes less than 100 ms (p50)"),
            format!("{:.1} ms", scrapes.taken()),
            scrapes.taken() < SCRAPE_MS,
        );
        self.judge(
            format!("scraped every 15 s with {containers} containers, the agent needs less than 1 % of a CPU"),
            format!("{:.2} %", scrapes.load()),
            scrapes.load() < SCRAPE_PERCENT,
        );
    }

    pub(crate) fn into_table(self) -> Table {
        self.0
    }
}

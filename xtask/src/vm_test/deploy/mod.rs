//! One story on each kernel: the packages, on a stock Debian with systemd.
//!
//! 1. `dist` builds the packages, or they are given; [`payload`] puts them on a disk with the story.
//! 2. [`disk`] makes the Debian.
//! 3. The guest boots it, and its one unit that is not Debian's runs `story/begin.sh`. The story itself
//!    is `story/story.py`: steps with names, of which each is checked and the first failure is the end.
//! 4. [`verdict`] reads what it wrote. Only a story that came to its end is a pass.

mod disk;
mod payload;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use self::disk::Disk;
use self::verdict::Verdict;
use super::guest::{Accelerator, Emulator, Left};
use super::matrix::{Kernel, Matrix};
use super::record::{self, Table};
use super::verdict::word as last_word;
use super::{Arguments, Bench, console, insist, keep_to_oneself, word};
use crate::dist;
use crate::interrupt::Interrupt;

/// How long a stock Debian may take until its last unit is up. Emulated, it is a minute on a quiet
/// machine and three on a busy one.
const BOOT_MAX: Duration = Duration::from_secs(600);

/// Tells the story on the kernels that are asked for, and fails if one does not come to its end.
pub(super) fn run(arguments: &Arguments, matrix: &Matrix, interrupt: &Interrupt) -> Result<()> {
    let packages = match &arguments.packages {
        Some(directory) => dist::found(directory)?,
        None => dist::packages()?,
    };
    let kernels = matrix.select(arguments.kernel.as_deref())?;
    let bench = Bench::prepare(matrix, &kernels)?;
    let payload = payload::pack(&bench.work, &packages.files)?;
    let mut verdicts = Vec::new();
    let mut rows = BTreeMap::new();
    let mut accelerator = None;
    for kernel in kernels {
        let disk = bench.disk(kernel)?;
        let accelerator = match accelerator {
            Some(known) => known,
            None if Path::new("/dev/kvm").exists() => {
                let image = bench.image(kernel, matrix)?;
                *accelerator.insert(bench.choose(&image, interrupt)?)
            }
            None => *accelerator.insert(Accelerator::Tcg),
        };
        println!(
            "vm-test: the story on kernel {} ({})",
            kernel.release,
            word(accelerator)
        );
        let deadline = Duration::from_secs(arguments.minutes.saturating_mul(60));
        let left = insist(|| boot(&bench, accelerator, &disk, &payload, deadline, interrupt))?;
        let verdict = verdict::judge(kernel, &left);
        report(arguments, &left, &verdict);
        bench.keep(&format!("deploy-{}", kernel.name), &left)?;
        let cells = format!("{} | {}", verdict.steps.len(), packages.revision);
        let row = Table::Story.row(kernel, &cells, last_word(&verdict.problems));
        rows.insert(kernel.name.clone(), row);
        verdicts.push(verdict);
    }
    if arguments.write {
        record::support(matrix, Table::Story, &rows)?;
    }
    print!("\n{}", verdict::table(&verdicts));
    bench.close(verdicts.iter().map(|verdict| &verdict.problems))
}

impl Bench {
    /// Returns the disk of a kernel, made now if there is none. Two that made it in one place would take it from under each other.
    fn disk(&self, kernel: &Kernel) -> Result<Disk> {
        let _kept = keep_to_oneself(&self.below)?;
        disk::disk(&self.mirror, &self.below, kernel)
    }
}

fn boot(
    bench: &Bench,
    accelerator: Accelerator,
    disk: &Disk,
    payload: &Path,
    deadline: Duration,
    interrupt: &Interrupt,
) -> Result<Left> {
    let mut qemu = bench.emulator.command(accelerator);
    // What a guest writes to its disk lasts as long as QEMU, through reboots.
    qemu.env("TMPDIR", &bench.work);
    for (disk, how) in [
        (disk.root.as_path(), "snapshot=on"),
        (payload, "readonly=on"),
    ] {
        let drive = format!("file={},if=virtio,format=raw,{how}", disk.display());
        qemu.args(["-drive", &drive]);
    }
    // A wire with nobody at its other end: the story needs nothing from outside.
    qemu.args(["-netdev", "user,id=wire,restrict=on"]);
    qemu.args(["-device", "virtio-net-pci,netdev=wire,romfile="]);
    qemu.arg("-kernel").arg(&disk.kernel);
    qemu.arg("-initrd").arg(&disk.initrd);
    qemu.args([
        "-append",
        "console=ttyS0 root=/dev/vda rw loglevel=5 panic=-1 mitigations=off nokaslr \
         cryptomgr.notests tsc=reliable",
    ]);
    Emulator::attend(qemu, &bench.work, BOOT_MAX, deadline, interrupt)
}

fn report(arguments: &Arguments, left: &Left, verdict: &Verdict) {
    for step in &verdict.steps {
        println!("  {step}");
    }
    if arguments.show_output || !verdict.problems.is_empty() {
        println!("{}", left.output);
        for line in console::tail(&left.console) {
            println!("  kernel| {line}");
        }
    }
    for problem in &verdict.problems {
        println!("  problem: {problem}");
    }
}

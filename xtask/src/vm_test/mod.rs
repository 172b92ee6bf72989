//! The integration tests on other kernels than this machine's, each in a guest of QEMU.
//!
//! 1. [`matrix`] reads `ci/kernels.toml`: kernels, packages with checksums, and what must be found.
//! 2. [`mirror`] fetches what is not there yet, [`image`] makes of it what a guest boots. Both keep
//!    what they made by its content, below `target/vm`; nothing is installed.
//! 3. [`payload`] has cargo build the tests, and packs them with a script that runs them.
//! 4. [`guest`] boots one guest at a time, and ends it at a deadline.
//! 5. [`deploy`] is another lane: the packages on a stock Debian.
//! 6. [`record`] has what the last runs came to, and holds the next against it.
//! 7. [`smoke`] is what `cargo xtask test` runs of it: a few tests on every kernel. What a machine lacks for
//!    that is a [`lack`].
//! 8. [`own`] is the kernel of this machine, which counts as one more.
//! 9. [`console`] and [`verdict`] read what it left. A pass is only what says that it passed: that
//!    QEMU ended well says nothing.

mod archive;
mod console;
mod deploy;
mod guest;
mod image;
mod lack;
mod matrix;
mod mirror;
mod own;
mod payload;
mod record;
mod smoke;
mod verdict;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::archive::Archive;
use self::guest::{Accelerator, Emulator, End, Left};
use self::image::Image;
pub(crate) use self::lack::lacks_guests;
use self::matrix::{FILE, Kernel, Matrix};
use self::mirror::Mirror;
pub(crate) use self::own::{judge as judge_own, record as record_own};
use self::record::{Table, Verified};
pub(crate) use self::smoke::{Came, smoke};
use self::verdict::Verdict;
use crate::interrupt::Interrupt;
use crate::tree;

/// On which kernels what is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run on this kernel of ci/kernels.toml only, by its name (6.12)
    #[arg(long)]
    kernel: Option<String>,
    /// Run only tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Run only this test binary (network)
    #[arg(long)]
    test: Option<String>,
    /// Run only the tests that `smoke` in ci/kernels.toml names, as `cargo xtask test` does
    #[arg(long, conflicts_with_all = ["filter", "deploy"])]
    smoke: bool,
    /// Run the tests of `timing` in ci/kernels.toml, in guests whose clock counts their instructions
    #[arg(long, conflicts_with_all = ["smoke", "deploy", "write"])]
    timing: bool,
    /// Tell the packages' story on a stock Debian, and run no test binaries
    #[arg(long, conflicts_with_all = ["filter", "test"])]
    deploy: bool,
    /// With --deploy: take the packages that `cargo xtask dist` put into this directory, and do not build them
    #[arg(long, requires = "deploy", value_name = "DIRECTORY")]
    packages: Option<PathBuf>,
    /// Kill a guest that has not ended after so many minutes
    #[arg(long, default_value_t = 45)]
    minutes: u64,
    /// Show everything that the guests write, not only what went wrong
    #[arg(long)]
    show_output: bool,
    /// Keep what came of it in ci/support.md, and what the verifiers said in ci/verified.toml; of a run with --filter,
    /// --test or --smoke only the latter
    #[arg(long)]
    write: bool,
}

/// Runs the matrix, and fails if one kernel has a problem.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut matrix = Matrix::read()?;
    lack::machine(&matrix)?;
    if arguments.smoke {
        matrix.reduce();
    }
    if arguments.timing {
        matrix.tests = mem::take(&mut matrix.timing);
    }
    if let Some(test) = &arguments.test {
        matrix.tests.retain(|suite| suite.test == *test);
        if matrix.tests.is_empty() {
            bail!("there is no test binary `{test}` in {FILE}");
        }
    }
    let interrupt = Interrupt::hold()?;
    if arguments.deploy {
        return deploy::run(arguments, &matrix, &interrupt);
    }
    let started = Instant::now();
    // What is built now: while the guests run, somebody may go on working.
    let revision = tree::revision();
    let verified = Verified::read()?;
    let mut rows = BTreeMap::new();
    let kernels = matrix.select(arguments.kernel.as_deref())?;
    let bench = Bench::prepare(&matrix, &kernels)?;
    if arguments.timing {
        bench.accelerator.get_or_init(|| Accelerator::Counted);
    }
    let payload = bench.pack(&matrix, arguments.filter.as_deref())?;
    println!(
        "vm-test: prepared in {:.0} s",
        started.elapsed().as_secs_f64()
    );

    let mut verdicts = Vec::new();
    let deadline = Duration::from_secs(arguments.minutes.saturating_mul(60));
    for kernel in kernels {
        let (left, mut verdict) = bench.examine(kernel, &matrix, &payload, deadline, &interrupt)?;
        if !arguments.write {
            let grown = verified.judge(&kernel.name, &verdict.verified);
            verdict.problems.extend(grown);
        }
        if arguments.is_whole() || arguments.smoke {
            verdict.demand_all(&matrix.tests, &left.output);
        }
        report(arguments.show_output, &left, &verdict);
        rows.insert(kernel.name.clone(), row(kernel, &verdict, &revision));
        verdicts.push(verdict);
    }
    if arguments.write {
        let said = verdicts.iter();
        record::verified(said.map(|verdict| (verdict.kernel.as_str(), &verdict.verified)))?;
        if arguments.is_whole() {
            record::support(&matrix, Table::Tests, &rows)?;
        }
    }
    print!("\n{}", verdict::table(&verdicts));
    bench.close(verdicts.iter().map(|verdict| &verdict.problems))?;
    if verdicts.iter().all(|verdict| verdict.passed == 0) {
        bail!("no test has that in its name");
    }
    Ok(())
}

impl Arguments {
    /// Returns whether all tests run on the kernels that are asked for.
    const fn is_whole(&self) -> bool {
        self.filter.is_none() && self.test.is_none() && !self.smoke && !self.timing
    }
}

/// Returns what is kept of one kernel.
fn row(kernel: &Kernel, verdict: &Verdict, revision: &str) -> String {
    let Verdict {
        passed,
        failed,
        skipped,
        ..
    } = verdict;
    record::row_of_tests(
        kernel,
        (*passed, *failed, *skipped),
        revision,
        verdict::word(&verdict.problems),
    )
}

/// Boots a guest, and once more if it never came up.
fn insist(mut boot: impl FnMut() -> Result<Left>) -> Result<Left> {
    let left = boot()?;
    if left.boot.is_some() {
        return Ok(left);
    }
    println!("  it never came up and is tried once more; its last words:");
    show_tail(&left);
    boot()
}

/// What is the same for all kernels, ready to be used.
struct Bench {
    below: PathBuf,
    work: PathBuf,
    mirror: Mirror,
    emulator: Emulator,
    /// Found out with the first guest.
    accelerator: OnceCell<Accelerator>,
    /// Held as long as `work` is used.
    _lock: File,
}

impl Bench {
    /// Gets what all guests need, and the packages of these kernels.
    fn prepare(matrix: &Matrix, kernels: &[&Kernel]) -> Result<Self> {
        Self::prepare_at(&below().join("work"), matrix, kernels)
    }

    /// Likewise, with what is made for one run at `work`.
    fn prepare_at(work: &Path, matrix: &Matrix, kernels: &[&Kernel]) -> Result<Self> {
        let (below, work) = (below(), work.to_owned());
        for path in [&work, &below.join("logs")] {
            fs::create_dir_all(path)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        let lock = lock(&work)?;
        let mirror = Mirror::new(&below);
        let kept = keep_to_oneself(&below)?;
        let wanted: Vec<_> = matrix
            .emulator
            .iter()
            .chain(&matrix.userland)
            .chain(kernels.iter().flat_map(|kernel| &kernel.packages))
            .collect();
        mirror.fetch(&matrix.suites, &wanted)?;
        let root = below.join("emulator");
        // By the checksums: another emulator is unpacked anew.
        let sums: String = matrix
            .emulator
            .iter()
            .map(|one| format!("{}\n", one.sha256))
            .collect();
        let stamp = root.join("packages.txt");
        if !fs::read_to_string(&stamp).is_ok_and(|found| found == sums) {
            if root.exists() {
                fs::remove_dir_all(&root)
                    .with_context(|| format!("cannot remove {}", root.display()))?;
            }
            fs::create_dir_all(&root)
                .with_context(|| format!("cannot create {}", root.display()))?;
            for package in &matrix.emulator {
                mirror.unpack(package, &root)?;
            }
            fs::write(&stamp, sums).with_context(|| format!("cannot write {}", stamp.display()))?;
        }
        drop(kept);
        Ok(Self {
            emulator: Emulator::new(&root),
            below,
            work,
            mirror,
            accelerator: OnceCell::new(),
            _lock: lock,
        })
    }

    /// Builds the tests, and puts them into an archive.
    fn pack(&self, matrix: &Matrix, filter: Option<&str>) -> Result<PathBuf> {
        let programs = payload::build(&matrix.tests)?;
        let payload = self.work.join("payload.cpio");
        payload::pack(&payload, &self.work, &matrix.tests, &programs, filter)?;
        Ok(payload)
    }

    /// Runs the tests on a kernel, keeps what the guest wrote, and judges it.
    fn examine(
        &self,
        kernel: &Kernel,
        matrix: &Matrix,
        payload: &Path,
        deadline: Duration,
        interrupt: &Interrupt,
    ) -> Result<(Left, Verdict)> {
        let image = self.image(kernel, matrix)?;
        let accelerator = match self.accelerator.get() {
            Some(known) => *known,
            None => {
                let chosen = self.choose(&image, interrupt)?;
                *self.accelerator.get_or_init(|| chosen)
            }
        };
        println!("vm-test: kernel {} ({})", kernel.release, word(accelerator));
        let left = insist(|| self.boot(accelerator, &image, payload, deadline, interrupt))?;
        self.keep(&kernel.name, &left)?;
        let verdict = verdict::judge(kernel, &matrix.tests, &left);
        Ok((left, verdict))
    }

    /// Returns the image of a kernel, fetched and made now if there is none.
    fn image(&self, kernel: &Kernel, matrix: &Matrix) -> Result<Image> {
        let _kept = keep_to_oneself(&self.below)?;
        let packages: Vec<_> = kernel.packages.iter().collect();
        self.mirror.fetch(&matrix.suites, &packages)?;
        image::image(&self.mirror, &self.below, kernel, &matrix.userland)
    }

    fn choose(&self, image: &Image, interrupt: &Interrupt) -> Result<Accelerator> {
        // The first process alone: it finds no work, and ends.
        let idle = self.work.join("idle.cpio");
        let mut archive = Archive::create(&idle)?;
        archive.file(Path::new("/init"), 0o755, payload::INIT.as_bytes())?;
        archive.finish()?;
        let archive = self.join(image, &idle)?;
        self.emulator
            .choose(&image.kernel, &archive, &self.work, interrupt)
    }

    fn boot(
        &self,
        accelerator: Accelerator,
        image: &Image,
        payload: &Path,
        deadline: Duration,
        interrupt: &Interrupt,
    ) -> Result<Left> {
        let archive = self.join(image, payload)?;
        self.emulator.run(
            accelerator,
            &image.kernel,
            &archive,
            &self.work,
            deadline,
            interrupt,
        )
    }

    /// Puts two archives behind each other, which to a kernel is one.
    fn join(&self, image: &Image, more: &Path) -> Result<PathBuf> {
        let path = self.work.join("initrd");
        let show = || format!("cannot write {}", path.display());
        let mut whole = File::create(&path).with_context(show)?;
        for part in [image.archive.as_path(), more] {
            let mut part =
                File::open(part).with_context(|| format!("cannot read {}", part.display()))?;
            io::copy(&mut part, &mut whole).with_context(show)?;
        }
        Ok(path)
    }

    /// Keeps what a guest wrote, for whoever wants to read all of it.
    fn keep(&self, guest: &str, left: &Left) -> Result<()> {
        for (name, content) in [("console", &left.console), ("output", &left.output)] {
            let path = self.logs().join(format!("{guest}-{name}.log"));
            fs::write(&path, content)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn logs(&self) -> PathBuf {
        self.below.join("logs")
    }

    /// Says where the logs are, and fails if one guest has a problem.
    fn close<'a>(&self, guests: impl ExactSizeIterator<Item = &'a Vec<String>>) -> Result<()> {
        println!("logs: {}", self.logs().display());
        let all = guests.len();
        let failed = guests.filter(|problems| !problems.is_empty()).count();
        if failed > 0 {
            bail!("{failed} of {all} kernels have problems: see above");
        }
        Ok(())
    }
}

/// Returns where everything is that guests are made of.
fn below() -> PathBuf {
    tree::target().join("vm")
}

/// Waits until nobody else fetches packages or makes images of them, and keeps others from it.
fn keep_to_oneself(below: &Path) -> Result<File> {
    let path = below.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Takes the directory for one run: two would write over each other's archives.
fn lock(work: &Path) -> Result<File> {
    let path = work.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another run uses {}; wait for its end, or set CARGO_TARGET_DIR to another directory",
            work.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn report(show_output: bool, left: &Left, verdict: &Verdict) {
    if show_output || verdict.failed > 0 {
        println!("{}", left.output);
    }
    match left.end {
        End::Own if left.output.contains("weir-vm: done") => {}
        End::Own | End::NeverReady | End::Deadline => show_tail(left),
    }
    for problem in &verdict.problems {
        println!("  problem: {problem}");
    }
}

fn show_tail(left: &Left) {
    for (name, text) in [
        ("output", &left.output),
        ("kernel", &left.console),
        ("qemu", &left.complaint),
    ] {
        for line in console::tail(text) {
            println!("  {name}| {line}");
        }
    }
}

fn word(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "with KVM",
        Accelerator::Tcg => "emulated: no KVM that works",
        Accelerator::Counted => "emulated, with a clock of instructions",
    }
}

//! Boots one guest, waits for its end or for the deadline, and brings back what it wrote.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::payload::MARK;
use crate::command::command;
use crate::interrupt::Interrupt;

/// How often it is looked whether the guest has ended.
const GLANCE: Duration = Duration::from_millis(100);

/// How long a guest may take until its first process speaks. Emulated it takes three seconds on a
/// quiet machine.
const BOOT_MAX: Duration = Duration::from_secs(120);

/// Likewise, for one that has a single processor and counts.
const BOOT_COUNTED_MAX: Duration = Duration::from_secs(360);

/// How long a guest with hardware's help may take to show that it works.
const TRIAL_MAX: Duration = Duration::from_secs(20);

/// The memory of a guest: the archive of half a gigabyte is in it twice while it is unpacked.
const MEMORY: &str = "2G";

/// How large a guest's disk is. Nothing is on it, and nothing of it is kept.
const DISK_BYTES: u64 = 16 << 20;

/// What executes a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The processor itself.
    Kvm,
    /// QEMU, translating them.
    Tcg,
    /// QEMU, counting them, too: eight nanoseconds each is what the guest's clock goes by, whatever else this machine does
    /// meanwhile. One processor, and some 125 million instructions a second.
    Counted,
}

/// How a guest came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It ended itself, or QEMU did.
    Own,
    /// It did not even begin.
    NeverReady,
    /// It was killed at the deadline.
    Deadline,
}

/// What a guest left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) end: End,
    /// What its first process and the tests wrote.
    pub(super) output: String,
    /// The kernel's own log.
    pub(super) console: String,
    /// What QEMU complained of.
    pub(super) complaint: String,
    /// From the start until the first process spoke.
    pub(super) boot: Option<Duration>,
    pub(super) whole: Duration,
}

/// The emulator, unpacked.
pub(super) struct Emulator {
    root: PathBuf,
}

impl Emulator {
    /// Takes that below `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Returns the emulator with a machine that has neither disk nor network.
    pub(super) fn command(&self, accelerator: Accelerator) -> Command {
        let mut qemu = command(self.root.join("usr/bin/qemu-system-x86_64"));
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
            .map(|path| self.root.join(path).display().to_string());
        qemu.env("LD_LIBRARY_PATH", libraries.join(":"));
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            qemu.arg("-L").arg(self.root.join(data));
        }
        qemu.args(["-nodefaults", "-no-user-config"]);
        qemu.args(["-display", "none", "-machine", "pc", "-m", MEMORY]);
        let (processors, accelerator, model) = match accelerator {
            Accelerator::Kvm => ("2", "kvm", "host"),
            Accelerator::Tcg => ("2", "tcg,thread=multi", "max"),
            Accelerator::Counted => {
                // Time in which a guest has nothing to do passes at once.
                qemu.args(["-icount", "shift=3,sleep=off"]);
                ("1", "tcg,thread=single", "max")
            }
        };
        qemu.args(["-smp", processors, "-accel", accelerator, "-cpu", model]);
        qemu
    }

    /// Boots `kernel` with `archive` and an empty disk, and waits until it has ended.
    pub(super) fn run(
        &self,
        accelerator: Accelerator,
        kernel: &Path,
        archive: &Path,
        work: &Path,
        deadline: Duration,
        interrupt: &Interrupt,
    ) -> Result<Left> {
        let mut qemu = self.command(accelerator);
        qemu.arg("-no-reboot").arg("-kernel").arg(kernel);
        qemu.arg("-initrd").arg(archive);
        let disk = work.join("disk");
        File::create(&disk)
            .and_then(|file| file.set_len(DISK_BYTES))
            .with_context(|| format!("cannot make {}", disk.display()))?;
        let drive = format!("file={},if=virtio,format=raw", disk.display());
        qemu.args(["-drive", &drive]);
        // Warnings are of level 4, and those of the kernel about itself must be seen.
        let (told, boot_max) = match accelerator {
            Accelerator::Kvm | Accelerator::Tcg => ("", BOOT_MAX),
            Accelerator::Counted => (" weir.clock=counted", BOOT_COUNTED_MAX),
        };
        qemu.arg("-append").arg(format!(
            "console=ttyS0 loglevel=5 panic=-1 rdinit=/init mitigations=off nokaslr \
             cryptomgr.notests tsc=reliable{told}"
        ));
        Self::attend(qemu, work, boot_max, deadline, interrupt)
    }

    /// Starts a guest with two serial lines, for its kernel's log and for its output, and waits until
    /// it has ended.
    pub(super) fn attend(
        mut qemu: Command,
        work: &Path,
        boot_max: Duration,
        deadline: Duration,
        interrupt: &Interrupt,
    ) -> Result<Left> {
        let [console, output, complaint] =
            ["console", "output", "qemu"].map(|name| work.join(format!("{name}.log")));
        for path in [&console, &output, &complaint] {
            fs::write(path, "").with_context(|| format!("cannot write {}", path.display()))?;
        }
        let errors = OpenOptions::new()
            .append(true)
            .open(&complaint)
            .with_context(|| format!("cannot write {}", complaint.display()))?;
        let mut child = qemu
            .args(["-serial", &format!("file:{}", console.display())])
            .args(["-serial", &format!("file:{}", output.display())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .process_group(0)
            .spawn()
            .context("cannot run qemu")?;
        let started = Instant::now();
        let waited = wait(&mut child, started, &output, boot_max, deadline, interrupt);
        // Whatever came: nothing is left running.
        child.kill().ok();
        child.wait().context("cannot wait for qemu")?;
        let (end, boot) = waited?;
        Ok(Left {
            end,
            output: text(&output)?,
            console: text(&console)?,
            complaint: text(&complaint)?,
            boot,
            whole: started.elapsed(),
        })
    }

    /// Finds out by a boot which accelerator works: that there is a device says nothing.
    pub(super) fn choose(
        &self,
        kernel: &Path,
        archive: &Path,
        work: &Path,
        interrupt: &Interrupt,
    ) -> Result<Accelerator> {
        if OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_err()
        {
            return Ok(Accelerator::Tcg);
        }
        let left = self.run(
            Accelerator::Kvm,
            kernel,
            archive,
            work,
            TRIAL_MAX,
            interrupt,
        )?;
        if left.end == End::Own && left.output.contains(&format!("{MARK}done")) {
            return Ok(Accelerator::Kvm);
        }
        Ok(Accelerator::Tcg)
    }
}

fn wait(
    child: &mut Child,
    started: Instant,
    output: &Path,
    boot_max: Duration,
    deadline: Duration,
    interrupt: &Interrupt,
) -> Result<(End, Option<Duration>)> {
    let mut boot = None;
    loop {
        if child.try_wait().context("cannot wait for qemu")?.is_some() {
            return Ok((End::Own, boot));
        }
        interrupt.pause(GLANCE)?;
        if boot.is_none() && fs::metadata(output).is_ok_and(|metadata| metadata.len() > 0) {
            boot = Some(started.elapsed());
        }
        if started.elapsed() > deadline {
            return Ok((End::Deadline, boot));
        }
        if boot.is_none() && started.elapsed() > boot_max {
            return Ok((End::NeverReady, None));
        }
    }
}

/// Reads a log, in which there may be anything.
fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::super::archive::Archive;
    use super::super::lack::Lack;
    use super::super::matrix::{Kernel, Matrix};
    use super::super::{Bench, console, payload, verdict};
    use super::*;

    /// A guest has two gigabytes and both processors: one after the other.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// Far beyond what an emulated guest needs to come up and to end itself on a busy machine.
    const LONG: Duration = Duration::from_secs(600);

    /// Loads a module whose first instructions were replaced by a read from address 0. A signature that does not fit is
    /// refused, and none is not.
    const BROKEN_MODULE: &str = r#"
python3 - <<'END'
import lzma, struct, subprocess
path = subprocess.run(['modinfo', '-n', 'dummy'], capture_output=True, text=True).stdout.strip()
code = bytearray(lzma.open(path).read() if path.endswith('.xz') else open(path, 'rb').read())
sections, = struct.unpack_from('<Q', code, 40)
size, count, names = struct.unpack_from('<HHH', code, 58)
headers = [struct.unpack_from('<IIQQQQ', code, sections + size * index) for index in range(count)]
for name, _, _, _, start, length in headers:
    begin = headers[names][4] + name
    if code[begin:code.index(0, begin)] == b'.init.text':
        at = max(code.find(b'\xf3\x0f\x1e\xfa', start, start + length), start)
        code[at:at + 4] = b'\x31\xc0\x8b\x00'
open('/tmp/broken.ko', 'wb').write(code.replace(b'~Module signature appended~\n', b''))
END
insmod /tmp/broken.ko
"#;

    /// A guest that is told what to do, and how it is judged.
    struct Guest {
        bench: Bench,
        matrix: Matrix,
        interrupt: Interrupt,
        _work: tempfile::TempDir,
    }

    impl Guest {
        /// Prepares one, or says for the test why there can be none.
        fn new(test: &str) -> Option<Self> {
            let work = tempfile::tempdir().unwrap();
            let matrix = Matrix::read().unwrap();
            let prepared = super::super::lack::machine(&matrix)
                .and_then(|()| Bench::prepare_at(work.path(), &matrix, &[Self::kernel(&matrix)]));
            match prepared {
                Ok(bench) => Some(Self {
                    bench,
                    matrix,
                    interrupt: Interrupt::hold().unwrap(),
                    _work: work,
                }),
                Err(error) => {
                    let lack = error.downcast::<Lack>().unwrap();
                    eprintln!("weir-skip: {test}: {lack}");
                    None
                }
            }
        }

        fn kernel(matrix: &Matrix) -> &Kernel {
            matrix.select(Some("6.12")).unwrap()[0]
        }

        /// Boots it, has it run `job`, and returns what it left.
        fn run(&self, job: &str, deadline: Duration) -> Left {
            let path = self.bench.work.join("job.cpio");
            let mut archive = Archive::create(&path).unwrap();
            let init = payload::INIT.as_bytes();
            archive.file(Path::new("/init"), 0o755, init).unwrap();
            archive.directory(Path::new("/weir")).unwrap();
            archive
                .file(Path::new("/weir/job"), 0o644, job.as_bytes())
                .unwrap();
            archive.finish().unwrap();
            let kernel = Self::kernel(&self.matrix);
            let image = self.bench.image(kernel, &self.matrix).unwrap();
            let boot = |accelerator| {
                let bench = &self.bench;
                bench.boot(accelerator, &image, &path, deadline, &self.interrupt)
            };
            boot(self.bench.choose(&image, &self.interrupt).unwrap()).unwrap()
        }

        fn problems(&self, left: &Left) -> Vec<String> {
            let kernel = Self::kernel(&self.matrix);
            verdict::judge(kernel, &self.matrix.tests, left).problems
        }
    }

    fn says(problems: &[String], word: &str) -> bool {
        problems.iter().any(|problem| problem.contains(word))
    }

    #[test]
    fn a_guest_that_hangs_is_ended_and_its_last_words_are_there() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(guest) = Guest::new("a_guest_that_hangs_is_ended_and_its_last_words_are_there")
        else {
            return;
        };
        // How long it takes to come up depends on the machine: what matters is that the end comes after the last words.
        let left = [30, 120, 480]
            .into_iter()
            .map(|seconds| {
                let job = "echo these are the last words\nsleep 1000000\n";
                guest.run(job, Duration::from_secs(seconds))
            })
            .find(|left| left.output.contains("last words"))
            .unwrap();
        assert_eq!(left.end, End::Deadline);
        assert!(left.boot.is_some());
        assert_eq!(
            console::tail(&left.output).last(),
            Some(&"these are the last words")
        );
        let problems = guest.problems(&left);
        assert!(says(&problems, "before the deadline"), "{problems:?}");
    }

    #[test]
    fn a_guest_whose_kernel_gives_up_has_not_passed() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(guest) = Guest::new("a_guest_whose_kernel_gives_up_has_not_passed") else {
            return;
        };
        let left = guest.run("echo c >/proc/sysrq-trigger\nsleep 1000000\n", LONG);
        // QEMU ends as after a good run.
        assert_eq!(left.end, End::Own);
        let problems = guest.problems(&left);
        assert!(
            says(&problems, "kernel: ") && says(&problems, "Kernel panic"),
            "{problems:?}"
        );
        assert!(says(&problems, "ended after 0 of"), "{problems:?}");
    }

    #[test]
    fn a_guest_whose_kernel_found_a_fault_and_went_on_has_not_passed() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let test = "a_guest_whose_kernel_found_a_fault_and_went_on_has_not_passed";
        let Some(guest) = Guest::new(test) else {
            return;
        };
        let left = guest.run(BROKEN_MODULE, LONG);
        assert_eq!(left.end, End::Own);
        assert!(
            left.output.contains(&format!("{MARK}done")),
            "{}",
            left.output
        );
        let problems = guest.problems(&left);
        for word in ["NULL pointer dereference", "Oops"] {
            assert!(
                says(&problems, word),
                "{word}: {problems:?}\n{}\n{}",
                left.output,
                left.console
            );
        }
    }
}

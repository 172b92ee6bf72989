//! Boots one guest, waits for its end or for the deadline, and brings back what it wrote.

use std::fs::{self, OpenOptions};
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

/// How long a guest with hardware's help may take to show that it works.
const TRIAL_MAX: Duration = Duration::from_secs(20);

/// The memory of a guest: the archive of half a gigabyte is in it twice while it is unpacked.
const MEMORY: &str = "2G";

/// What executes a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The processor itself.
    Kvm,
    /// QEMU, translating them.
    Tcg,
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
        qemu.args([
            "-display", "none", "-machine", "pc", "-m", MEMORY, "-smp", "2",
        ]);
        match accelerator {
            Accelerator::Kvm => qemu.args(["-accel", "kvm", "-cpu", "host"]),
            Accelerator::Tcg => qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max"]),
        };
        qemu
    }

    /// Boots `kernel` with `archive`, and waits until it has ended.
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
        // Warnings are of level 4, and those of the kernel about itself must be seen.
        qemu.args([
            "-append",
            "console=ttyS0 loglevel=5 panic=-1 rdinit=/init mitigations=off nokaslr \
             cryptomgr.notests tsc=reliable",
        ]);
        Self::attend(qemu, work, BOOT_MAX, deadline, interrupt)
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

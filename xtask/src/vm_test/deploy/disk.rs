//! Makes the disk of a guest: a stock Debian with systemd, by mmdebstrap.
//!
//! A disk is kept by what went into it, as far as this machine decides it: what Debian's mirror has of
//! a release changes with every point release, and a disk that is kept does not. Whoever wants a newer
//! one removes `target/vm/disks`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::super::image::{key, take_kernel};
use super::super::matrix::Kernel;
use super::super::mirror::Mirror;
use crate::command::{command, find, read};

const SETUP: &str = include_str!("setup.sh");

/// What the story calls beside Weir.
const PROGRAMS: &str = "systemd,systemd-sysv,dbus,udev,kmod,initramfs-tools,iproute2,procps,curl,python3,prometheus,ca-certificates";

/// How large the file system is; in the file there is only what is used of it.
const SIZE: &str = "3G";

/// What a guest boots from.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
    pub(super) root: PathBuf,
}

/// Returns the disk with a kernel, made now if there is none.
pub(super) fn disk(mirror: &Mirror, below: &Path, kernel: &Kernel) -> Result<Disk> {
    let release = debian(kernel);
    let sums: String = kernel
        .packages
        .iter()
        .map(|package| format!("{}\n", package.sha256))
        .collect();
    let key = key(&format!("{release}\n{PROGRAMS}\n{SIZE}\n{sums}{SETUP}"))?;
    let directory = below.join("disks");
    let at = |what: &str| directory.join(format!("{}-{key}.{what}", kernel.name));
    let disk = Disk {
        kernel: at("vmlinuz"),
        initrd: at("initrd"),
        root: at("ext4"),
    };
    // The root is put there last.
    if disk.root.exists() {
        return Ok(disk);
    }
    for program in ["mmdebstrap", "mkfs.ext4"] {
        if find(program).is_none() {
            bail!(
                "{program} makes the disk, and is not on this machine; `cargo xtask setup` installs it"
            );
        }
    }
    println!(
        "vm-test: making a disk with {release} and kernel {}",
        kernel.name
    );
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let root = directory.join("unfinished");
    remove(&root)?;
    unpack(mirror, kernel, release, &directory, &root)?;
    take_kernel(&root, kernel, &disk.kernel)?;
    let initrd = root.join(format!("boot/initrd.img-{}", kernel.release));
    fs::copy(&initrd, &disk.initrd).with_context(|| format!("cannot copy {}", initrd.display()))?;
    let unfinished = directory.join("unfinished.ext4");
    if unfinished.exists() {
        fs::remove_file(&unfinished)
            .with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    let mut make = command("mkfs.ext4");
    make.args(["-q", "-L", "story", "-d"]);
    read(make.arg(&root).arg(&unfinished).arg(SIZE))?;
    remove(&root)?;
    fs::rename(&unfinished, &disk.root)
        .with_context(|| format!("cannot keep {}", disk.root.display()))?;
    Ok(disk)
}

/// Has mmdebstrap make a root with everything in it.
fn unpack(
    mirror: &Mirror,
    kernel: &Kernel,
    release: &str,
    directory: &Path,
    root: &Path,
) -> Result<()> {
    let setup = directory.join("setup.sh");
    fs::write(&setup, SETUP).with_context(|| format!("cannot write {}", setup.display()))?;
    let mut hooks = Vec::new();
    for (number, package) in kernel.packages.iter().enumerate() {
        let name = format!("kernel-{number}.deb");
        let copy = directory.join(&name);
        fs::copy(mirror.path(package), &copy)
            .with_context(|| format!("cannot copy {}", package.name))?;
        hooks.push(format!("copy-in {} /tmp", copy.display()));
    }
    let is_backport = kernel
        .packages
        .iter()
        .any(|package| package.version.contains("~bpo"));
    let backports = format!("{release}-backports");
    let suite = if is_backport { &backports } else { release };
    hooks.push(format!(
        "sh {} \"$1\" {} {suite}",
        setup.display(),
        kernel.release
    ));
    let address = mirror.address()?;
    let mut make = command("mmdebstrap");
    make.args(["--mode=root", "--variant=important"])
        .arg(format!("--include={PROGRAMS}"))
        .args(["--aptopt=APT::Install-Recommends \"false\""]);
    for hook in hooks {
        make.arg(format!("--customize-hook={hook}"));
    }
    make.arg(release).arg(root);
    make.arg(format!("deb {address} {release} main"));
    if is_backport {
        make.arg(format!("deb {address} {backports} main"));
    }
    read(&mut make).map(drop)
}

/// Returns the release of Debian whose kernel it is, or for which it was built.
fn debian(kernel: &Kernel) -> &'static str {
    if kernel.release.contains("+deb13") {
        "trixie"
    } else {
        "bookworm"
    }
}

fn remove(root: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    Ok(())
}

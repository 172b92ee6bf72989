//! Makes what a guest boots from packages: a kernel, and an archive with user land and modules.
//!
//! An image is kept by the checksums of what went into it, so it is made once.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use super::archive::Archive;
use super::matrix::{Kernel, Package};
use super::mirror::Mirror;
use crate::command::{command, read};

/// Counted up when the same packages are made into something else.
const RECIPE: u32 = 2;

/// The modules that a guest may load: a network, a disk, and what these lean on.
const MODULES: [&str; 8] = [
    "net",
    "lib",
    "crypto",
    "arch",
    "drivers/block",
    "drivers/net",
    "drivers/virtio",
    "fs/overlayfs",
];

/// What of a package no guest looks at.
const UNUSED: [&str; 4] = ["usr/share", "boot", "usr/lib/modules", "usr/include"];

/// What a guest boots.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) kernel: PathBuf,
    pub(super) archive: PathBuf,
}

/// Returns the image of a kernel, made now if there is none.
pub(super) fn image(
    mirror: &Mirror,
    below: &Path,
    kernel: &Kernel,
    userland: &[Package],
) -> Result<Image> {
    let key = key(&recipe(kernel, userland))?;
    let directory = below.join("images");
    let image = Image {
        kernel: directory.join(format!("{}-{key}.vmlinuz", kernel.name)),
        archive: directory.join(format!("{}-{key}.cpio", kernel.name)),
    };
    // The archive is put there last.
    if image.archive.exists() {
        return Ok(image);
    }
    println!("vm-test: making the image of kernel {}", kernel.name);
    let root = below.join("root");
    for path in [&root, &directory] {
        if *path == root && root.exists() {
            fs::remove_dir_all(path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    for package in kernel.packages.iter().chain(userland) {
        mirror.unpack(package, &root)?;
    }
    take_kernel(&root, kernel, &image.kernel)?;
    take_modules(&root, &kernel.release)?;
    for unused in UNUSED {
        let path = root.join(unused);
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    read(
        command("chroot")
            .arg(&root)
            .args(["/sbin/depmod", "-a", &kernel.release]),
    )?;
    let unfinished = directory.join("unfinished");
    let mut archive = Archive::create(&unfinished)?;
    archive.tree(&root, Path::new("/"))?;
    archive.finish()?;
    fs::rename(&unfinished, &image.archive)
        .with_context(|| format!("cannot keep {}", image.archive.display()))?;
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    Ok(image)
}

/// Returns everything that an image depends on, as text.
fn recipe(kernel: &Kernel, userland: &[Package]) -> String {
    let sums: Vec<&str> = kernel
        .packages
        .iter()
        .chain(userland)
        .map(|package| package.sha256.as_str())
        .collect();
    format!("{RECIPE} {} {}\n", kernel.release, sums.join(" "))
}

pub(super) fn key(recipe: &str) -> Result<String> {
    let mut child = command("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run sha256sum")?;
    let mut input = child.stdin.take().context("sha256sum has no input")?;
    input
        .write_all(recipe.as_bytes())
        .context("cannot write to sha256sum")?;
    drop(input);
    let output = child
        .wait_with_output()
        .context("cannot wait for sha256sum")?;
    let sum = String::from_utf8_lossy(&output.stdout);
    sum.get(..16)
        .map(str::to_owned)
        .context("sha256sum said nothing")
}

/// Copies the kernel; it is in one of two places, as Debian changed its mind with 7.0.
pub(super) fn take_kernel(root: &Path, kernel: &Kernel, target: &Path) -> Result<()> {
    let release = &kernel.release;
    let places = [
        root.join(format!("boot/vmlinuz-{release}")),
        root.join(format!("usr/lib/modules/{release}/vmlinuz")),
    ];
    let Some(found) = places.iter().find(|path| path.is_file()) else {
        bail!(
            "no package of kernel {} brings a vmlinuz for {release}; \
             from 7.0 on it is in linux-binary-{release}",
            kernel.name
        );
    };
    fs::copy(found, target)
        .map(drop)
        .with_context(|| format!("cannot copy {}", found.display()))
}

/// Moves the modules that are wanted to where they are looked for; again one of two places.
fn take_modules(root: &Path, release: &str) -> Result<()> {
    let target = root.join("lib/modules").join(release);
    let whole = root.join("whole");
    let show = || format!("cannot take the modules of {release}");
    let source = [target.clone(), root.join("usr/lib/modules").join(release)]
        .into_iter()
        .find(|path| path.join("kernel").is_dir())
        .with_context(|| format!("no package brings the modules of {release}"))?;
    fs::rename(source, &whole).with_context(show)?;
    fs::create_dir_all(target.join("kernel")).with_context(show)?;
    for folder in MODULES {
        let (from, to) = (
            whole.join("kernel").join(folder),
            target.join("kernel").join(folder),
        );
        if from.is_dir() {
            fs::create_dir_all(to.parent().unwrap_or(&target)).with_context(show)?;
            fs::rename(from, to).with_context(show)?;
        }
    }
    for list in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        if whole.join(list).is_file() {
            fs::rename(whole.join(list), target.join(list)).with_context(show)?;
        }
    }
    fs::remove_dir_all(whole).with_context(show)
}

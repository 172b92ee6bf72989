//! The second disk of a guest: the packages in two versions, and the story.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command::{command, read};

/// What is told, file by file.
const STORY: [(&str, &str); 9] = [
    ("begin.sh", include_str!("story/begin.sh")),
    ("story.py", include_str!("story/story.py")),
    ("told.py", include_str!("story/told.py")),
    ("load.py", include_str!("story/load.py")),
    ("coming.py", include_str!("story/coming.py")),
    ("living.py", include_str!("story/living.py")),
    ("watching.py", include_str!("story/watching.py")),
    ("hardening.py", include_str!("story/hardening.py")),
    ("going.py", include_str!("story/going.py")),
];

/// What is tried in a unit.
const ATTEMPTS: (&str, &str) = ("attempts.py", include_str!("story/attempts.py"));

/// What a later version has behind its number.
const LATER: &str = "+later";

/// A disk is read in sectors, and an archive ends anywhere.
const SECTOR: u64 = 512;

/// Packs the disk, and returns where it is.
pub(super) fn pack(work: &Path, packages: &[PathBuf]) -> Result<PathBuf> {
    let folder = work.join("deploy");
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let (old, new) = (folder.join("old"), folder.join("new"));
    for path in [&old, &new] {
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    for (name, text) in STORY.into_iter().chain([ATTEMPTS]) {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for package in packages {
        let name = package.file_name().context("a package has no name")?;
        fs::copy(package, old.join(name))
            .with_context(|| format!("cannot copy {}", package.display()))?;
        let unpacked = folder.join("unpacked");
        later(package, &unpacked, &new.join(name))?;
    }
    let disk = work.join("deploy.tar");
    read(
        command("tar")
            .args([
                "--create",
                "--owner=0",
                "--group=0",
                "--exclude=./unpacked",
                "--file",
            ])
            .arg(&disk)
            .arg("--directory")
            .arg(&folder)
            .arg("."),
    )?;
    let show = || format!("cannot fill up {}", disk.display());
    let file = File::options().write(true).open(&disk).with_context(show)?;
    let length = file.metadata().with_context(show)?.len();
    file.set_len(length.next_multiple_of(SECTOR))
        .with_context(show)?;
    Ok(disk)
}

/// Makes a package of a later version, of which only the configuration is another: what is tried is the upgrade.
fn later(package: &Path, unpacked: &Path, target: &Path) -> Result<()> {
    if unpacked.exists() {
        fs::remove_dir_all(unpacked)
            .with_context(|| format!("cannot remove {}", unpacked.display()))?;
    }
    read(
        command("dpkg-deb")
            .arg("--raw-extract")
            .arg(package)
            .arg(unpacked),
    )?;
    let control = unpacked.join("DEBIAN/control");
    let text = fs::read_to_string(&control)
        .with_context(|| format!("cannot read {}", control.display()))?;
    let changed = versioned(&text).with_context(|| format!("in {}", control.display()))?;
    fs::write(&control, changed).with_context(|| format!("cannot write {}", control.display()))?;
    for entry in fs::read_dir(unpacked.join("etc/weir"))
        .with_context(|| format!("cannot list {}/etc/weir", unpacked.display()))?
    {
        let path = entry.context("cannot list etc/weir")?.path();
        let show = || format!("cannot add to {}", path.display());
        let mut file = File::options()
            .append(true)
            .open(&path)
            .with_context(show)?;
        file.write_all(b"\n# A later version says more.\n")
            .with_context(show)?;
    }
    // Packed quickly: nobody carries it anywhere.
    read(
        command("dpkg-deb")
            .args(["--root-owner-group", "-Zgzip", "-z1", "--build"])
            .arg(unpacked)
            .arg(target),
    )
    .map(drop)
}

/// Returns the description of a package with a later version in it.
fn versioned(control: &str) -> Result<String> {
    let line = control
        .lines()
        .find(|line| line.starts_with("Version: "))
        .context("there is no line `Version: `")?;
    Ok(control.replacen(line, &format!("{line}{LATER}"), 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    #[test]
    fn only_the_version_becomes_another() {
        let control = "Package: weir\nVersion: 1.0-1\nDepends: other (= 1.0-1)\n";
        assert_eq!(
            versioned(control).unwrap(),
            "Package: weir\nVersion: 1.0-1+later\nDepends: other (= 1.0-1)\n"
        );
        assert!(versioned("Package: weir\n").is_err());
    }

    /// What the story tries of a unit is told before it is packed, not by a guest an hour later.
    #[test]
    fn every_directive_of_the_units_is_known_to_the_story() {
        const TOLD: &str = "import hardening, pathlib
files = {path.name: path.read_text() for path in pathlib.Path('..').glob('*/dist/*.service')}
hardening.read = lambda path: files[path.rsplit('/', 1)[1]]
for unit in hardening.UNITS:
    found = hardening.directives(unit)
    assert found, unit
    for key, _ in found:
        known = key in hardening.NO_ATTEMPT or hardening.attempts_of(unit, key)
        assert known, f'{unit}: no attempt shows that {key}= holds'";
        let told = tree::root().join("xtask/src/vm_test/deploy/story");
        let ended = command("python3")
            .args(["-c", TOLD])
            .current_dir(tree::root().join("xtask"))
            .env("PYTHONPATH", told)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{said}");
    }

    #[test]
    fn the_scripts_of_the_packages_are_understood_by_a_shell() {
        let scripts = ["agent", "scheduler"].map(|package| {
            ["postinst", "prerm", "postrm"].map(|script| format!("{package}/dist/debian/{script}"))
        });
        for script in scripts.iter().flatten() {
            let path = tree::root().join(script);
            let ended = command("sh").arg("-n").arg(path).output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "{script}: {said}");
        }
    }
}

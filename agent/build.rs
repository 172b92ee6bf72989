//! Builds the eBPF programs with the toolchain that builds the agent, and puts the object where
//! `network/programs.rs` includes it from.
//!
//! The target has no compiled `core`, so it is built from source: that is unstable, and
//! `RUSTC_BOOTSTRAP` lets the pinned stable compiler do it, which spares a second toolchain.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "the programs are built by another cargo"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let programs = here.join("../agent-ebpf");
    for part in ["src", "Cargo.toml", "abi/src", "abi/Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", programs.join(part).display());
    }

    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let endian = match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "eb",
        _ => "el",
    };
    let target = format!("bpf{endian}-unknown-none");
    // A directory of its own: the outer build holds the lock of the other one.
    let target_directory = out.join("bpf");

    let mut build = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    build
        .current_dir(&programs)
        .args([
            "build",
            "--package",
            "agent-ebpf",
            "--bin",
            "weir-network",
            "--release",
        ])
        .args(["-Z", "build-std=core", "--target", &target, "--target-dir"])
        .arg(&target_directory)
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            [
                format!("--cfg=bpf_target_arch=\"{architecture}\"").as_str(),
                "-Cdebuginfo=2",
                // Atomic operations that return a value, and 32-bit registers: kernel 5.12.
                "-Ctarget-cpu=v3",
                "-Clink-arg=--btf",
            ]
            .map(str::to_owned)
            .into_iter()
            .chain(short_paths(&programs))
            .collect::<Vec<_>>()
            .join("\x1f"),
        );
    // Clippy's and the outer build's settings are not for this target.
    for variable in [
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "CARGO_BUILD_TARGET",
        "RUSTFLAGS",
    ] {
        build.env_remove(variable);
    }
    let output = build
        .output()
        .unwrap_or_else(|error| panic!("cannot start cargo: {error}"));
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!(
            "the eBPF programs do not build (`cargo xtask setup` installs bpf-linker and rust-src):\n{said}"
        );
    }
    let object = target_directory.join(&target).join("release/weir-network");
    fs::copy(&object, out.join("weir-network"))
        .unwrap_or_else(|error| panic!("cannot copy {}: {error}", object.display()));
}

/// Names source files alike wherever they are built: the names are in the programs, and the same
/// sources are to give the same bytes.
fn short_paths(programs: &Path) -> Vec<String> {
    let workspace = programs
        .canonicalize()
        .ok()
        .and_then(|programs| programs.parent().map(Path::to_owned))
        .expect("it is a folder of the workspace");
    let mut known = vec![(workspace, "/weir")];
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    known.extend(home.map(|home| (home, "/cargo")));
    let compiler = env::var_os("RUSTC").expect("cargo sets it");
    let asked = Command::new(compiler).args(["--print", "sysroot"]).output();
    if let Ok(answer) = asked
        && let Ok(path) = String::from_utf8(answer.stdout)
    {
        known.push((PathBuf::from(path.trim()), "/rust"));
    }
    known
        .iter()
        .map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()))
        .collect()
}

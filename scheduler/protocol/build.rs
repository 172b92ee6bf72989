//! Makes Rust of the schema. protox reads it, so that nobody has to install protoc.
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;

/// Every file of the schema: [`weir_protocol::wire`] is made of all of them.
const FILES: [&str; 6] = [
    "weir/v1/resources.proto",
    "weir/v1/session.proto",
    "weir/v1/task.proto",
    "weir/v1/framework.proto",
    "weir/v1/agent.proto",
    "weir/v1/operator.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [root])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}

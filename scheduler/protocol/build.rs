//! Makes Rust of the schema. protox reads it, so that nobody has to install protoc.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use protox::prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

const PACKAGE: &str = "weir.v1.";

/// Every file of the schema: `weir_protocol::wire` is made of all of them.
const FILES: [&str; 6] = [
    "weir/v1/resources.proto",
    "weir/v1/session.proto",
    "weir/v1/task.proto",
    "weir/v1/framework.proto",
    "weir/v1/agent.proto",
    "weir/v1/operator.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [root])?;
    let pool = DescriptorPool::from_file_descriptor_set(descriptors.clone())?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("shapes.rs"), shapes(&pool)?)?;
    prost_build::Config::new()
        .enable_type_names()
        .compile_fds(descriptors)?;
    Ok(())
}

/// Returns a table of which messages stand in which, in the order of their names, for
/// `weir_protocol::burden`.
fn shapes(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut messages: Vec<MessageDescriptor> = pool.all_messages().collect();
    messages.sort_by(|one, next| one.full_name().cmp(next.full_name()));
    let mut table = String::from("&[\n");
    for message in &messages {
        let (name, path) = (message.full_name(), path(message));
        write!(
            table,
            "Shape {{ name: {name:?}, bytes: size_of::<crate::wire::{path}>(), inner: &["
        )?;
        for field in message.fields() {
            if let Kind::Message(inner) = field.kind() {
                let index = messages
                    .iter()
                    .position(|other| *other == inner)
                    .ok_or_else(|| format!("{} is of no message here", field.full_name()))?;
                write!(table, "({}, {index}), ", field.number())?;
            }
        }
        table.push_str("] },\n");
    }
    table.push(']');
    Ok(table)
}

/// Returns the path of a message's type in Rust: `agent_call::Register`.
fn path(message: &MessageDescriptor) -> String {
    let name = message.full_name().trim_start_matches(PACKAGE);
    let mut parts: Vec<String> = name.split('.').map(str::to_owned).collect();
    let last = parts.pop().unwrap_or_default();
    let mut path = String::new();
    for part in parts {
        for (index, letter) in part.char_indices() {
            if letter.is_ascii_uppercase() && index > 0 {
                path.push('_');
            }
            path.push(letter.to_ascii_lowercase());
        }
        path.push_str("::");
    }
    path + &last
}

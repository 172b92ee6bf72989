//! The schema of version 1 changes by addition only.
//!
//! `proto/weir/v1.lock` has a line for every field and every enum value that was ever in it. A line
//! that the schema no longer bears out would break a peer that was built with it, and fails. A line
//! that is missing is an addition, and fails too until it is accepted, so that nobody adds to the wire
//! without noticing: run the test with `WEIR_ACCEPT_SCHEMA=1` and commit the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

use crate::samples;

const PACKAGE: &str = "weir.v1.";

/// What a line of the lock says: on the left what it is about, on the right what must not change.
type Lock = BTreeMap<String, String>;

pub(crate) fn schema() -> DescriptorPool {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let mut files: Vec<PathBuf> = fs::read_dir(format!("{root}/weir/v1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let set = protox::compile(files, [root]).unwrap();
    DescriptorPool::from_file_descriptor_set(set).unwrap()
}

fn short(name: &str) -> &str {
    name.strip_prefix(PACKAGE).unwrap_or(name)
}

/// Returns what a peer relies on: number, label, type, and the oneof it excludes others in.
fn shape(field: &FieldDescriptor) -> String {
    let label = if field.is_list() { "repeated " } else { "" };
    let kind = field.kind();
    let kind = match (kind.as_message(), kind.as_enum()) {
        (Some(message), _) => format!("message {}", short(message.full_name())),
        (_, Some(values)) => format!("enum {}", short(values.full_name())),
        (None, None) => format!("{kind:?}").to_lowercase(),
    };
    let oneof = match field.containing_oneof() {
        Some(oneof) if oneof.name().starts_with('_') => " optional".to_owned(),
        Some(oneof) => format!(" in {}", oneof.name()),
        None => String::new(),
    };
    format!("{} {label}{kind}{oneof}", field.number())
}

fn lock_of(schema: &DescriptorPool) -> Lock {
    let mut lock = Lock::new();
    for message in schema.all_messages() {
        for field in message.fields() {
            lock.insert(short(field.full_name()).to_owned(), shape(&field));
        }
    }
    for values in schema.all_enums() {
        for value in values.values() {
            let name = format!("{}.{}", short(values.full_name()), value.name());
            lock.insert(name, format!("{} value", value.number()));
        }
    }
    lock
}

fn print(lock: &Lock) -> String {
    lock.iter()
        .map(|(name, shape)| format!("{name} = {shape}\n"))
        .collect()
}

fn parse(text: &str) -> Lock {
    text.lines()
        .map(|line| {
            let (name, shape) = line.split_once(" = ").expect("each line is `name = shape`");
            (name.to_owned(), shape.to_owned())
        })
        .collect()
}

/// Returns what a peer that was built with `locked` would stumble over in `now`.
fn incompatible(locked: &Lock, now: &Lock) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, shape) in locked {
        match now.get(name) {
            Some(current) if current == shape => {}
            Some(current) => {
                complaints.push(format!("`{name}` was `{shape}` and is now `{current}`"));
            }
            None => complaints.push(format!("`{name} = {shape}` is gone")),
        }
    }
    complaints
}

fn added(locked: &Lock, now: &Lock) -> Vec<String> {
    let new = now.iter().filter(|(name, _)| !locked.contains_key(*name));
    new.map(|(name, shape)| format!("`{name} = {shape}`"))
        .collect()
}

#[test]
fn the_schema_changes_by_addition_only() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/weir/v1.lock");
    let now = lock_of(&schema());
    let locked = parse(&fs::read_to_string(path).unwrap_or_default());

    let broken = incompatible(&locked, &now);
    assert!(
        broken.is_empty(),
        "peers of version 1 would misread this schema:\n  {}\nAdd a new field or value under a new \
         number instead, and leave the old one where it is.",
        broken.join("\n  ")
    );
    if std::env::var_os("WEIR_ACCEPT_SCHEMA").is_some() {
        fs::write(path, print(&now)).unwrap();
        return;
    }
    let new = added(&locked, &now);
    assert!(
        new.is_empty(),
        "new in the schema:\n  {}\nThis is compatible. To accept it, run this test with \
         WEIR_ACCEPT_SCHEMA=1 and commit v1.lock; a new message also wants a sample in tests/samples.",
        new.join("\n  ")
    );
}

#[test]
fn an_incompatible_change_is_found() {
    let locked = parse("A.a = 1 uint64\nA.b = 2 repeated string\nE.X = 1 value\n");
    let with = |change: &dyn Fn(&mut Lock)| {
        let mut now = locked.clone();
        change(&mut now);
        incompatible(&locked, &now)
    };
    let set = |name: &str, shape: &str| {
        with(&|now| {
            now.insert(name.to_owned(), shape.to_owned());
        })
    };
    assert_eq!(set("A.c", "3 uint64"), [""; 0], "an addition");
    assert_eq!(
        set("A.a", "1 uint32"),
        ["`A.a` was `1 uint64` and is now `1 uint32`"]
    );
    assert_eq!(set("A.a", "4 uint64").len(), 1, "renumbered");
    assert_eq!(set("A.b", "2 string").len(), 1, "no longer a list");
    assert_eq!(
        set("A.a", "1 uint64 in call").len(),
        1,
        "now excludes others"
    );
    assert_eq!(set("E.X", "2 value").len(), 1, "a value renumbered");
    let removed = with(&|now| {
        now.remove("A.b");
    });
    assert_eq!(removed, ["`A.b = 2 repeated string` is gone"]);
}

#[test]
fn no_number_is_used_twice_in_the_lock() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/weir/v1.lock");
    let locked = parse(&fs::read_to_string(path).unwrap());
    let mut seen = BTreeSet::new();
    for (name, shape) in &locked {
        let (parent, _) = name.rsplit_once('.').unwrap();
        let number = shape.split(' ').next().unwrap();
        assert!(seen.insert((parent, number)), "{name} = {shape}");
    }
}

/// Returns the fields of the oneof that makes a message an envelope.
pub(crate) fn kinds(envelope: &MessageDescriptor) -> Vec<String> {
    let fields = envelope.fields().filter(|field| {
        let oneof = field.containing_oneof();
        oneof.is_some_and(|oneof| !oneof.name().starts_with('_'))
    });
    fields.map(|field| field.name().to_owned()).collect()
}

#[test]
fn there_is_a_golden_sample_of_every_kind_of_message() {
    let schema = schema();
    let samples: Vec<String> = samples::all().into_iter().map(|(name, _)| name).collect();
    for envelope in samples::ENVELOPES {
        let message = schema
            .get_message_by_name(&format!("{PACKAGE}{envelope}"))
            .unwrap();
        for kind in kinds(&message) {
            let name = format!("{envelope}.{kind}");
            let variant = format!("{name}-");
            assert!(
                samples
                    .iter()
                    .any(|own| *own == name || own.starts_with(&variant)),
                "no sample of {name}"
            );
        }
    }
}

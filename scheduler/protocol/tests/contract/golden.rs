//! Bytes of version 1, one file for every kind of message, as they were sent once.
//!
//! Whoever spoke version 1 then must be understood now, and must understand what is sent now. So a
//! file here is never changed: if a test fails, the code is wrong. A new kind of message gets a new
//! file: run the tests with `WEIR_RECORD=1`, and look at what was written before it is committed.

use std::fs;
use std::path::PathBuf;

use crate::samples::{self, Message};

fn file(name: &str) -> PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1");
    PathBuf::from(directory).join(format!("{name}.bin"))
}

#[test]
fn every_message_is_encoded_as_it_always_was() {
    for (name, message) in samples::all() {
        let path = file(&name);
        let frame = message.encode();
        if std::env::var_os("WEIR_RECORD").is_some() && !path.exists() {
            fs::write(&path, &frame).unwrap();
        }
        let recorded = fs::read(&path).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; if the message is new, run with WEIR_RECORD=1",
                path.display()
            )
        });
        assert!(
            frame == recorded,
            "{name} is no longer encoded as a peer of version 1 sent it:\n  now {frame:02x?}\n then \
             {recorded:02x?}"
        );
    }
}

#[test]
fn every_recorded_message_is_still_understood() {
    for (name, message) in samples::all() {
        let recorded = fs::read(file(&name)).unwrap();
        let payload = &recorded[weir_protocol::frame::LENGTH_BYTES..];
        let understood = Message::decode(message.envelope(), payload);
        assert_eq!(understood, Ok(message), "{name}");
    }
}

#[test]
fn nothing_that_was_recorded_is_left_out() {
    let directory = file("x").parent().unwrap().to_owned();
    let known: Vec<PathBuf> = samples::all().iter().map(|(name, _)| file(name)).collect();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        assert!(
            known.contains(&path),
            "{} was recorded once; its message must stay among the samples",
            path.display()
        );
    }
}

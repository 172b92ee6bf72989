//! `scheduler/docs/protocol.md` and the schema say the same.

use std::fs;
use std::path::Path;

use protox::prost_reflect::{DescriptorPool, EnumDescriptor};
use weir_protocol::bounds::{
    ADDRESSES_MAX, ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, CAPABILITIES_MAX, COUNT_MAX,
    CURSOR_BYTES_MAX, ESTIMATE_BYTES_MAX, FRAME_BYTES_MAX, ID_BYTES_MAX, LINE_BYTES_MAX,
    NOTE_BYTES_MAX, NOTES_MAX, OFFER_IDS_MAX, OFFERS_MAX, OPERATIONS_MAX, OWN_BYTES_MAX, OWN_MAX,
    PAGE_MAX, PARTS_MAX, PATH_BYTES_MAX, PORT_BLOCKS_MAX, RECONCILE_MAX, REGISTRATION_BYTES_MAX,
    RESOURCES_BYTES_MAX, RESOURCES_MAX, SET_BYTES_MAX, SET_MAX, TASK_BYTES_MAX,
    TASKS_PER_AGENT_MAX, TASKS_PER_CALL_MAX, TASKS_PER_LAUNCH_MAX, UNIX_MS_MAX, URL_BYTES_MAX,
    WORD_BYTES_MAX, WORDS_MAX,
};
use weir_protocol::{ErrorCode, Filters, TaskState, wire};

use crate::schema::{kinds, schema};

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

/// The files that a framework author reads; the rest is told by its kinds of messages alone.
const FOR_FRAMEWORKS: [&str; 4] = ["resources", "session", "task", "framework"];

fn is_for_frameworks(file: &str) -> bool {
    FOR_FRAMEWORKS
        .iter()
        .any(|name| file == format!("weir/v1/{name}.proto"))
}

/// Returns the row of a table that begins with `` `first` ``.
fn row(first: &str) -> Vec<&'static str> {
    let start = format!("| `{first}` |");
    let line = DOCUMENT
        .lines()
        .find(|line| line.starts_with(&start))
        .unwrap_or_else(|| panic!("no table has a row for {first}"));
    line.split('|').map(str::trim).collect()
}

fn values(values: &EnumDescriptor) -> Vec<String> {
    let named = values.values().filter(|value| value.number() != 0);
    named.map(|value| value.name().to_owned()).collect()
}

fn enumeration(schema: &DescriptorPool, name: &str) -> EnumDescriptor {
    schema.get_enum_by_name(&format!("weir.v1.{name}")).unwrap()
}

#[test]
fn every_call_event_and_answer_is_told() {
    let schema = schema();
    for envelope in crate::samples::ENVELOPES {
        let message = schema
            .get_message_by_name(&format!("weir.v1.{envelope}"))
            .unwrap();
        assert!(DOCUMENT.contains(&format!("`{envelope}`")), "{envelope}");
        for kind in kinds(&message) {
            let name = kind.to_uppercase();
            // The greeting is told by the names of its fields.
            let told = DOCUMENT.contains(&name) || DOCUMENT.contains(&format!("`{kind}`"));
            assert!(told, "{envelope}: {name}");
        }
    }
}

#[test]
fn every_field_that_a_framework_meets_is_told() {
    for message in schema().all_messages() {
        // Only agents have sets with versions.
        let is_agents = message.name() == "ResourceSet";
        if is_agents || !is_for_frameworks(message.parent_file().name()) {
            continue;
        }
        for field in message.fields() {
            assert!(
                DOCUMENT.contains(&format!("`{}`", field.name())),
                "field {}",
                field.full_name()
            );
        }
    }
}

#[test]
fn every_enum_value_that_a_framework_meets_is_told() {
    for enumeration in schema().all_enums() {
        if is_for_frameworks(enumeration.parent_file().name()) {
            for value in values(&enumeration) {
                assert!(DOCUMENT.contains(&format!("`{value}`")), "{value}");
            }
        }
    }
}

/// Returns what the code has for an error that the schema names so.
fn code(name: &str) -> ErrorCode {
    let number = wire::ErrorCode::from_str_name(name).unwrap();
    let failure = wire::Failure {
        code: number.into(),
        reason: String::new(),
        remedy: String::new(),
    };
    weir_protocol::Failure::try_from(failure).unwrap().code
}

#[test]
fn whether_to_try_again_is_told_as_the_code_says() {
    for name in values(&enumeration(&schema(), "ErrorCode")) {
        let code = code(&name);
        let told = match row(&name)[2] {
            "yes" => true,
            "no" => false,
            other => panic!("{name}: {other}"),
        };
        assert_eq!(told, code.is_retryable(), "{name}");
    }
}

/// Returns all that is in the sources below a folder, but for what takes failures apart.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let reads_them = path.ends_with("src/failure") || path.ends_with("src/cli");
        if path.is_dir() && !reads_them {
            all.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    all
}

#[test]
fn codes_that_nobody_sends_are_told_to_be_reserved() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let senders = ["src", "../src", "../../agent/src"];
    let senders: Vec<String> = senders.map(|from| sources(&root.join(from))).into();
    for name in values(&enumeration(&schema(), "ErrorCode")) {
        let sent = format!("ErrorCode::{:?}", code(&name));
        let is_sent = senders.iter().any(|source| {
            let mut behind = source.split(&sent).skip(1);
            behind.any(|behind| !behind.starts_with(char::is_alphanumeric))
        });
        let is_reserved = row(&name)[3].starts_with("reserved, never sent");
        assert_ne!(is_sent, is_reserved, "{name}");
    }
}

#[test]
fn terminal_states_are_told_as_the_code_says() {
    for state in TaskState::ALL {
        let told = row(state.as_str())[2] == "yes";
        assert_eq!(told, state.is_terminal(), "{state}");
    }
}

/// Returns a number as people write it: `1,048,576`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[test]
fn bounds_and_defaults_are_told_as_the_code_says() {
    let (_, bounds) = DOCUMENT.split_once("## Bounds").unwrap();
    for bound in [
        FRAME_BYTES_MAX,
        OFFER_IDS_MAX,
        OPERATIONS_MAX,
        TASKS_PER_LAUNCH_MAX,
        RECONCILE_MAX,
        TASK_BYTES_MAX,
        WORDS_MAX,
        WORD_BYTES_MAX,
        PATH_BYTES_MAX,
        RESOURCES_MAX,
        RESOURCES_BYTES_MAX,
        PARTS_MAX,
        SET_MAX,
        SET_BYTES_MAX,
        ID_BYTES_MAX,
        LINE_BYTES_MAX,
        weir_resources::volume::CONTAINER_PATH_BYTES_MAX,
        weir_resources::labels::LABELS_MAX,
        URL_BYTES_MAX,
        NOTE_BYTES_MAX,
        CAPABILITIES_MAX,
        OFFERS_MAX,
        NOTES_MAX,
        ADDRESSES_MAX,
        ATTRIBUTES_MAX,
        ATTRIBUTES_BYTES_MAX,
        OWN_MAX,
        OWN_BYTES_MAX,
        ESTIMATE_BYTES_MAX,
        usize::try_from(PORT_BLOCKS_MAX).unwrap(),
        TASKS_PER_CALL_MAX,
        usize::try_from(TASKS_PER_AGENT_MAX).unwrap(),
        REGISTRATION_BYTES_MAX,
        PAGE_MAX,
        CURSOR_BYTES_MAX,
        weir_protocol::burden::BURDEN_MAX,
        usize::try_from(UNIX_MS_MAX).unwrap(),
        usize::try_from(COUNT_MAX).unwrap(),
    ] {
        assert!(bounds.contains(&grouped(bound)), "{bound}");
    }
    let default = |millis: u64| grouped(usize::try_from(millis).unwrap());
    let refuse = default(Filters::default().refuse.0);
    assert!(DOCUMENT.contains(&format!("Absent: {refuse}. 0: for as short")));
    let grace = default(weir_protocol::task::KILL_GRACE_DEFAULT.0);
    assert_eq!(row("kill_grace_ms")[2], grace);
}

//! What a newer peer may say: fields that this version does not know are skipped, wherever they
//! stand; calls and enum values that it does not know are refused by name.

use prost::Message as _;
use protox::prost_reflect::MessageDescriptor;
use weir_protocol::envelope::RefusalCause;
use weir_protocol::frame::LENGTH_BYTES;
use weir_protocol::{ErrorCode, FrameworkCall, FrameworkEvent, Numbered, Problem, decode, wire};

use crate::samples::{self, Message};
use crate::schema::schema;

fn read_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Returns a message with unknown fields of every wire type in it and in every message inside it.
fn with_unknown_fields(message: &MessageDescriptor, mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let tag = read_varint(&mut bytes);
        write_varint(tag, &mut out);
        match tag & 7 {
            0 => write_varint(read_varint(&mut bytes), &mut out),
            2 => {
                let length = usize::try_from(read_varint(&mut bytes)).unwrap();
                let (content, rest) = bytes.split_at(length);
                bytes = rest;
                let number = u32::try_from(tag >> 3).unwrap();
                let kind = message.get_field(number).unwrap().kind();
                let content = match kind.as_message() {
                    Some(inner) => with_unknown_fields(inner, content),
                    None => content.to_owned(),
                };
                write_varint(content.len().try_into().unwrap(), &mut out);
                out.extend(content);
            }
            other => panic!("the schema has no field of wire type {other}"),
        }
    }
    // Field 1000 as a varint, 1001 as 64 bits, 1002 as bytes, 1003 as 32 bits.
    for (number, wire_type, content) in [
        (1000, 0, b"\x07".as_slice()),
        (1001, 1, b"\x01\x02\x03\x04\x05\x06\x07\x08"),
        (1002, 2, b"\x03new"),
        (1003, 5, b"\x01\x02\x03\x04"),
    ] {
        write_varint(number << 3 | wire_type, &mut out);
        out.extend_from_slice(content);
    }
    out
}

#[test]
fn fields_of_a_newer_peer_are_skipped_wherever_they_stand() {
    let schema = schema();
    for (name, message) in samples::all() {
        let envelope = message.envelope();
        let frame = message.clone().encode();
        let descriptor = schema
            .get_message_by_name(&format!("weir.v1.{envelope}"))
            .unwrap();
        let newer = with_unknown_fields(&descriptor, &frame[LENGTH_BYTES..]);
        assert_eq!(Message::decode(envelope, &newer), Ok(message), "{name}");
    }
}

#[test]
fn a_call_of_a_newer_peer_is_refused_by_its_id() {
    // A call with id 5 in field 99, which no version has.
    let refusal =
        decode::<Numbered<FrameworkCall>>(b"\x08\x05\x9a\x06\x00").expect_err("nobody knows it");
    assert_eq!(refusal.call.unwrap().0.get(), 5);
    assert!(matches!(refusal.cause, RefusalCause::Nothing { .. }));
    assert_eq!(refusal.failure().code, ErrorCode::UnknownCall);
    assert_eq!(
        refusal.to_string(),
        "the message holds no call that this version knows"
    );
}

#[test]
fn an_enum_value_of_a_newer_peer_is_refused_with_its_number() {
    let event = wire::FrameworkEvent {
        event: Some(wire::framework_event::Event::Update(
            wire::framework_event::Update {
                status: Some(wire::TaskStatus {
                    state: 4711,
                    ..samples::status().into()
                }),
            },
        )),
    };
    let refusal = decode::<FrameworkEvent>(&event.encode_to_vec()).unwrap_err();
    let RefusalCause::Invalid(invalid) = &refusal.cause else {
        panic!("{refusal}");
    };
    assert_eq!(
        invalid.problem(),
        &Problem::UnknownNumber {
            what: "TaskState",
            number: 4711
        }
    );
    assert_eq!(
        refusal.to_string(),
        "field `update.status.state`: 4711 is no TaskState of this version"
    );
}

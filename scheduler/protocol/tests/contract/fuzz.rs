//! Any bytes are frames or an error, and any frame is a message or an error; never a panic, and
//! never another message than it says.
//!
//! `cargo test` runs each for a bounded number of inputs; `agent/docs/fuzzing.md` says how to run
//! them for as long as one likes.

use weir_protocol::bounds::FRAME_BYTES_MAX;
use weir_protocol::frame::LENGTH_BYTES;
use weir_protocol::{FrameDecoder, FrameError};

use crate::samples::{self, ENVELOPES, Message};

/// Reads frames out of `chunks` until they are used up or wrong.
fn frames<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
    let mut decoder = FrameDecoder::new();
    let mut frames = Vec::new();
    for mut chunk in chunks {
        loop {
            match decoder.decode(&mut chunk) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => {
                    assert!(chunk.is_empty(), "all is taken before more is asked for");
                    break;
                }
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    let end = decoder.finish();
    (frames, end)
}

#[test]
fn any_bytes_are_frames_or_an_error_however_they_are_cut() {
    bolero::check!()
        .with_type::<(Vec<u8>, Vec<Vec<u8>>, u8)>()
        .with_iterations(2000)
        .for_each(|(noise, contents, step)| {
            let step = usize::from(*step) + 1;
            // Whole frames, then noise.
            let mut bytes = Vec::new();
            for content in contents {
                bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
                bytes.extend(content);
            }
            bytes.extend(noise);
            let (whole, end) = frames([bytes.as_slice()].into_iter());
            assert_eq!(frames(bytes.chunks(step)), (whole.clone(), end));
            assert!(whole.starts_with(contents));

            let taken: usize = whole.iter().map(|frame| LENGTH_BYTES + frame.len()).sum();
            let rest = bytes.len() - taken;
            match end {
                Ok(()) => assert_eq!(rest, 0),
                Err(FrameError::CutLength { received }) => assert_eq!(rest, received),
                Err(FrameError::CutPayload {
                    received,
                    announced,
                }) => {
                    assert_eq!(rest, LENGTH_BYTES + received);
                    assert!(received < announced && announced <= FRAME_BYTES_MAX);
                }
                Err(FrameError::TooLong { announced }) => {
                    assert!(announced > FRAME_BYTES_MAX && rest >= LENGTH_BYTES);
                }
            }
        });
}

/// Checks what is read of a payload as a message of each conversation.
fn check(payload: &[u8]) {
    for envelope in ENVELOPES {
        match Message::decode(envelope, payload) {
            Err(refusal) => {
                let failure = refusal.failure();
                assert!(!failure.reason.is_empty() && !failure.remedy.is_empty());
            }
            Ok(message) => {
                let frame = message.clone().encode();
                let again = Message::decode(envelope, &frame[LENGTH_BYTES..]);
                assert_eq!(again.as_ref(), Ok(&message));
                // Equality of volumes leaves out how they are used; the bytes do not.
                assert_eq!(again.map(Message::encode), Ok(frame));
            }
        }
    }
}

#[test]
fn any_bytes_are_a_message_or_an_error() {
    bolero::check!()
        .with_iterations(5000)
        .for_each(|bytes: &[u8]| check(bytes));
}

#[test]
fn any_change_to_a_message_is_another_message_or_an_error() {
    let payloads: Vec<Vec<u8>> = samples::all()
        .into_iter()
        .map(|(_, message)| message.encode().split_off(LENGTH_BYTES))
        .collect();
    bolero::check!()
        .with_type::<(u8, Vec<(u16, u8, u8)>)>()
        .with_iterations(5000)
        .for_each(|(which, changes)| {
            let mut payload = payloads[usize::from(*which) % payloads.len()].clone();
            for (place, change, value) in changes {
                let place = usize::from(*place) % (payload.len() + 1);
                match change % 4 {
                    0 => payload.insert(place, *value),
                    1 => payload.truncate(place),
                    _ if place == payload.len() => payload.push(*value),
                    2 => payload[place] ^= 1 << (value % 8),
                    _ => payload[place] = *value,
                }
            }
            check(&payload);
        });
}

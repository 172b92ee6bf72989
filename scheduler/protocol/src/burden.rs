//! How much memory a message takes, known before it is made.
//!
//! A frame is bounded, but two bytes of it can be a message with nothing in it, which takes hundreds
//! in memory: a frame of those would take two hundred times its length. So the messages in a frame
//! are counted first, by going through its bytes with a table of which message stands in which; that
//! allocates nothing, and takes a small part of the time that decoding does.
//!
//! Only the messages themselves are counted. Their texts and numbers take no more than a dozen times
//! their bytes.

use prost::{DecodeError, Message, Name};

/// The most bytes that the messages of one frame take in memory: thirty-two times the longest frame.
///
/// Within the other bounds the most is a frame of the shortest resources there are, one letter and one
/// digit each, at not quite twenty times.
pub const BURDEN_MAX: usize = 32 * 1024 * 1024;

/// A message of the schema.
struct Shape {
    name: &'static str,
    /// Its size in memory.
    bytes: usize,
    /// The numbers of the fields that hold messages, and the places of those in the table.
    inner: &'static [(u32, usize)],
}

/// Every message, in the order of their names.
static SHAPES: &[Shape] = include!(concat!(env!("OUT_DIR"), "/shapes.rs"));

/// Says why a frame is not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BurdenError {
    /// The bytes are no message of protobuf.
    #[error("the frame holds no message: {0}")]
    NotProtobuf(DecodeError),
    /// It would take too much memory.
    #[error(
        "the {bytes} bytes of the frame hold so many messages that they take more than {BURDEN_MAX} bytes of memory"
    )]
    TooMuch {
        /// The length of the frame.
        bytes: usize,
    },
    /// It has a group, which proto3 does not have.
    #[error("the frame holds a group, as proto3 has none")]
    Group,
}

/// Decodes a message after its burden was found to be within bounds.
pub fn decode_bounded<M: Message + Default + Name>(payload: &[u8]) -> Result<M, BurdenError> {
    check::<M>(payload)?;
    M::decode(payload).map_err(BurdenError::NotProtobuf)
}

/// Returns nothing if decoding takes a bounded amount of memory.
///
/// Bytes that are no protobuf pass: to decode them fails where this stopped to look.
pub fn check<M: Name>(payload: &[u8]) -> Result<(), BurdenError> {
    let name = M::full_name();
    let Ok(root) = SHAPES.binary_search_by(|shape| shape.name.cmp(name.as_str())) else {
        // Not of this schema.
        return Ok(());
    };
    let mut left = BURDEN_MAX;
    match take(root, payload, &mut left) {
        Ok(()) | Err(Stop::Malformed) => Ok(()),
        Err(Stop::Group) => Err(BurdenError::Group),
        Err(Stop::TooMuch) => Err(BurdenError::TooMuch {
            bytes: payload.len(),
        }),
    }
}

/// Why counting ends before the end.
enum Stop {
    Malformed,
    Group,
    TooMuch,
}

/// Takes a message and all that stand in it off what is left.
///
/// The schema has no message that can stand in itself, so this is as deep as the schema.
fn take(index: usize, mut bytes: &[u8], left: &mut usize) -> Result<(), Stop> {
    let shape = SHAPES.get(index).ok_or(Stop::Malformed)?;
    *left = left.checked_sub(shape.bytes).ok_or(Stop::TooMuch)?;
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        match tag & 7 {
            0 => {
                varint(&mut bytes)?;
            }
            1 => {
                split(&mut bytes, 8)?;
            }
            2 => {
                let content = varint(&mut bytes)?;
                let content = split(&mut bytes, content)?;
                let inner = shape
                    .inner
                    .iter()
                    .find(|(number, _)| u64::from(*number) == tag >> 3);
                if let Some((_, inner)) = inner {
                    take(*inner, content, left)?;
                }
            }
            3 => return Err(Stop::Group),
            5 => {
                split(&mut bytes, 4)?;
            }
            _ => return Err(Stop::Malformed),
        }
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Stop> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Stop::Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Stop::Malformed)
}

fn split<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], Stop> {
    let length = usize::try_from(length).map_err(|_too_long| Stop::Malformed)?;
    let (content, rest) = bytes.split_at_checked(length).ok_or(Stop::Malformed)?;
    *bytes = rest;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::FRAME_BYTES_MAX;
    use crate::wire;

    #[test]
    fn the_table_is_in_order_and_no_message_stands_in_itself() {
        assert!(SHAPES.is_sorted_by_key(|shape| shape.name));
        fn depth(index: usize) -> usize {
            let inner = SHAPES[index].inner.iter().map(|(_, inner)| depth(*inner));
            1 + inner.max().unwrap_or(0)
        }
        let deepest = (0..SHAPES.len()).map(depth).max();
        assert!(deepest <= Some(10), "{deepest:?}");
        let envelope = wire::FrameworkCall::full_name();
        assert!(SHAPES.iter().any(|shape| shape.name == envelope));
    }

    /// Returns a TASKS call with as many empty tasks as a frame can hold.
    fn empty_tasks() -> Vec<u8> {
        let tasks = wire::agent_call::Tasks {
            tasks: vec![wire::AgentTask::default(); FRAME_BYTES_MAX / 2 - 8],
        };
        let call = wire::AgentCall {
            call_id: 1,
            call: Some(wire::agent_call::Call::Tasks(tasks)),
        };
        call.encode_to_vec()
    }

    #[test]
    fn a_frame_of_nothing_many_times_is_refused_before_it_is_made() {
        let payload = empty_tasks();
        assert!(payload.len() <= FRAME_BYTES_MAX);
        assert_eq!(
            check::<wire::AgentCall>(&payload),
            Err(BurdenError::TooMuch {
                bytes: payload.len()
            })
        );
    }

    #[test]
    fn a_group_hides_nothing() {
        // Field 500 as a group, then what would be too much.
        let mut payload = b"\xa3\x1f\xa4\x1f".to_vec();
        payload.extend(empty_tasks());
        assert_eq!(check::<wire::AgentCall>(&payload), Err(BurdenError::Group));
    }

    #[test]
    fn what_is_no_protobuf_is_left_to_the_decoder() {
        for payload in [b"\xff".as_slice(), b"\x0a\x05ab", b"\x0e", &[0xff; 11]] {
            assert_eq!(check::<wire::AgentCall>(payload), Ok(()));
            let error = decode_bounded::<wire::AgentCall>(payload).unwrap_err();
            assert!(matches!(error, BurdenError::NotProtobuf(_)), "{error}");
        }
    }
}

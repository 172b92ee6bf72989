//! Frames: how messages are parted on a stream.
//!
//! ```text
//! +---------------------------+----------------------+
//! | length, 4 bytes,          | so many bytes of one |
//! | the highest first         | protobuf message     |
//! +---------------------------+----------------------+
//! ```
//!
//! A length above [`FRAME_BYTES_MAX`] is refused before anything is kept of what follows. There is
//! nothing between two frames and no way to find the next one after an error: the stream is over.

use prost::Message;

use crate::bounds::FRAME_BYTES_MAX;

/// The bytes of a length.
pub const LENGTH_BYTES: usize = 4;

/// How much of a frame is expected before it is there: a length is only a claim.
const FIRST_BYTES: usize = 4096;

/// Says why bytes are no frames, or a message fits none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More bytes than the bound.
    #[error("a frame of {announced} bytes, and at most {FRAME_BYTES_MAX} are taken")]
    TooLong {
        /// The length that was announced, or that a message has.
        announced: usize,
    },
    /// The stream ended inside the length of a frame.
    #[error("the stream ends after {received} of the {LENGTH_BYTES} bytes of a length")]
    CutLength {
        /// How many there are.
        received: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ends after {received} of the {announced} bytes of a frame")]
    CutPayload {
        /// How many there are.
        received: usize,
        /// How many there should be.
        announced: usize,
    },
}

impl FrameError {
    /// Returns what to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => {
                "say it in several messages; if the number is absurd, the peer does not speak this \
                 protocol"
            }
            Self::CutLength { .. } | Self::CutPayload { .. } => {
                "connect again; whole frames were taken, this one was not"
            }
        }
    }
}

/// Cuts a stream of bytes into frames.
///
/// It holds the bytes of one frame at most, however many it is given.
#[derive(Debug)]
pub struct FrameDecoder(State);

#[derive(Debug)]
enum State {
    /// Between two frames, or inside a length.
    Length {
        bytes: [u8; LENGTH_BYTES],
        received: usize,
    },
    /// Inside a frame.
    Payload { announced: usize, payload: Vec<u8> },
    /// After a length that was refused: whatever follows means nothing.
    Refused { announced: usize },
}

impl State {
    const BETWEEN: Self = Self::Length {
        bytes: [0; LENGTH_BYTES],
        received: 0,
    };
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self(State::BETWEEN)
    }
}

impl FrameDecoder {
    /// Returns a decoder for the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes off the front of `input` until a frame is whole, and returns what is in it, or
    /// `None` when all were taken and more are needed.
    ///
    /// After an error it gives the same error for ever.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        loop {
            match &mut self.0 {
                State::Length { bytes, received } => {
                    let taken = take(input, LENGTH_BYTES - *received);
                    bytes[*received..*received + taken.len()].copy_from_slice(taken);
                    *received += taken.len();
                    if *received < LENGTH_BYTES {
                        return Ok(None);
                    }
                    // A length that this machine cannot even count is too long as well.
                    let announced =
                        usize::try_from(u32::from_be_bytes(*bytes)).unwrap_or(usize::MAX);
                    self.0 = if announced > FRAME_BYTES_MAX {
                        State::Refused { announced }
                    } else {
                        State::Payload {
                            announced,
                            payload: Vec::with_capacity(announced.min(FIRST_BYTES)),
                        }
                    };
                }
                State::Payload { announced, payload } => {
                    payload.extend_from_slice(take(input, *announced - payload.len()));
                    if payload.len() < *announced {
                        return Ok(None);
                    }
                    let payload = std::mem::take(payload);
                    self.0 = State::BETWEEN;
                    return Ok(Some(payload));
                }
                State::Refused { announced } => {
                    return Err(FrameError::TooLong {
                        announced: *announced,
                    });
                }
            }
        }
    }

    /// Returns nothing if the stream may end here: between two frames.
    pub fn finish(&self) -> Result<(), FrameError> {
        match &self.0 {
            State::Length { received: 0, .. } => Ok(()),
            State::Length { received, .. } => Err(FrameError::CutLength {
                received: *received,
            }),
            State::Payload { announced, payload } => Err(FrameError::CutPayload {
                received: payload.len(),
                announced: *announced,
            }),
            State::Refused { announced } => Err(FrameError::TooLong {
                announced: *announced,
            }),
        }
    }
}

/// Takes at most `most` bytes off the front of `input`.
fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}

/// Appends one frame with `message` to `out`, or nothing if it does not fit one.
pub fn encode_frame(message: &impl Message, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let length = message.encoded_len();
    let announced = match u32::try_from(length) {
        Ok(announced) if length <= FRAME_BYTES_MAX => announced,
        Ok(_) | Err(_) => return Err(FrameError::TooLong { announced: length }),
    };
    out.reserve(LENGTH_BYTES + length);
    out.extend_from_slice(&announced.to_be_bytes());
    message.encode_raw(out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn hello(software: &str) -> wire::Hello {
        wire::Hello {
            protocol_min: 1,
            protocol_max: 1,
            capabilities: Vec::new(),
            software: software.to_owned(),
        }
    }

    #[test]
    fn a_frame_is_its_length_and_its_message() {
        let mut bytes = Vec::new();
        encode_frame(&hello("x"), &mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0\0\x07\x08\x01\x10\x01\x22\x01x");
    }

    #[test]
    fn frames_come_out_whole_however_their_bytes_came() {
        let mut bytes = Vec::new();
        for software in ["a", "", "bcd"] {
            encode_frame(&hello(software), &mut bytes).unwrap();
        }
        for step in 1..=bytes.len() {
            let mut decoder = FrameDecoder::new();
            let mut frames = Vec::new();
            for mut chunk in bytes.chunks(step) {
                while let Some(frame) = decoder.decode(&mut chunk).unwrap() {
                    frames.push(wire::Hello::decode(frame.as_slice()).unwrap());
                }
                assert!(chunk.is_empty());
            }
            assert_eq!(frames, [hello("a"), hello(""), hello("bcd")]);
            assert_eq!(decoder.finish(), Ok(()));
        }
    }

    #[test]
    fn a_length_is_refused_before_it_is_believed() {
        let mut decoder = FrameDecoder::new();
        let mut input = b"\x00\x10\x00\x01rest".as_slice();
        let error = decoder.decode(&mut input).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a frame of 1048577 bytes, and at most 1048576 are taken"
        );
        assert_eq!(input, b"rest", "nothing more was taken");
        assert_eq!(
            decoder.decode(&mut input),
            Err(error),
            "and nothing ever is"
        );
        assert_eq!(decoder.finish(), Err(error));
    }

    #[test]
    fn a_claim_costs_no_memory() {
        let mut decoder = FrameDecoder::new();
        assert_eq!(
            decoder.decode(&mut b"\x00\x10\x00\x00".as_slice()),
            Ok(None)
        );
        let State::Payload { payload, .. } = &decoder.0 else {
            panic!("{decoder:?}");
        };
        assert!(payload.capacity() <= FIRST_BYTES);
    }

    #[test]
    fn a_stream_that_is_cut_says_where() {
        let cut = |bytes: &[u8]| {
            let mut decoder = FrameDecoder::new();
            assert_eq!(decoder.decode(&mut { bytes }), Ok(None));
            decoder.finish().unwrap_err().to_string()
        };
        assert_eq!(
            cut(b"\0\0"),
            "the stream ends after 2 of the 4 bytes of a length"
        );
        assert_eq!(
            cut(b"\0\0\0\x09abc"),
            "the stream ends after 3 of the 9 bytes of a frame"
        );
    }

    #[test]
    fn a_message_that_fits_no_frame_leaves_nothing_behind() {
        let mut bytes = b"before".to_vec();
        let error = encode_frame(&hello(&"x".repeat(FRAME_BYTES_MAX)), &mut bytes).unwrap_err();
        assert!(matches!(error, FrameError::TooLong { .. }), "{error}");
        assert_eq!(bytes, b"before");
    }
}

//! What holds for every message.

use proptest::collection::vec;
use proptest::prelude::*;
use weir_protocol::frame::LENGTH_BYTES;
use weir_protocol::{FrameDecoder, FrameworkEvent, Note, Offer, OfferId, TaskId, check_size, pack};

use crate::arbitrary::{self, Dice};
use crate::samples::{self, Message, resources};

#[test]
fn offers_beyond_one_frame_come_in_several() {
    let ids = (0..3_000).map(OfferId::from_bits);
    let offers: Vec<Offer> = ids
        .map(|id| Offer {
            id,
            ..samples::offer()
        })
        .collect();
    let mut heard = Vec::new();
    for event in FrameworkEvent::offers(offers.clone()) {
        let frame = Message::FrameworkEvent(event).encode();
        let Ok(Message::FrameworkEvent(FrameworkEvent::Offers(portion))) =
            Message::decode("FrameworkEvent", &frame[LENGTH_BYTES..])
        else {
            panic!("an event of offers is one");
        };
        heard.extend(portion);
    }
    assert!(heard == offers);
}

proptest! {
    #[test]
    fn what_is_said_is_what_is_heard(bytes in vec(any::<u8>(), 0..2048)) {
        let message = arbitrary::message(&mut Dice::new(&bytes));
        let envelope = message.envelope();
        let frame = message.clone().encode();
        let heard = Message::decode(envelope, &frame[LENGTH_BYTES..]);
        prop_assert_eq!(heard.as_ref(), Ok(&message));
        // Equality of volumes leaves out how they are used; the bytes do not.
        prop_assert_eq!(heard.map(Message::encode), Ok(frame));
    }

    #[test]
    fn messages_in_a_row_come_out_in_that_row(
        rolls in vec(vec(any::<u8>(), 0..256), 0..8),
        step in 1_usize..600,
    ) {
        let messages: Vec<Message> =
            rolls.iter().map(|bytes| arbitrary::message(&mut Dice::new(bytes))).collect();
        let stream: Vec<u8> = messages.iter().cloned().flat_map(Message::encode).collect();
        let mut decoder = FrameDecoder::new();
        let mut heard = Vec::new();
        for mut chunk in stream.chunks(step) {
            while let Some(payload) = decoder.decode(&mut chunk).unwrap() {
                let envelope = messages[heard.len()].envelope();
                heard.push(Message::decode(envelope, &payload).unwrap());
            }
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(heard, messages);
    }

    #[test]
    fn no_bytes_make_an_id_that_is_not_its_text(bits in any::<u128>(), text in "\\PC{0,40}") {
        let id = OfferId::from_bits(bits);
        prop_assert_eq!(id.to_string().parse::<OfferId>(), Ok(id));
        if let Ok(id) = text.parse::<OfferId>() {
            prop_assert_eq!(id.to_string(), text.clone());
        }
        if let Ok(id) = TaskId::new(&text) {
            prop_assert_eq!(id.as_str(), text.as_str());
            // One component of a path, one word of a shell, one cell of a table.
            prop_assert!(!text.contains(['/', '\\', ' ', '\'', '"', '$', '*', '\0']));
            prop_assert!(!text.starts_with(['.', '-']));
        }
    }

    #[test]
    fn a_cut_note_is_a_note_and_begins_as_the_text(text in "[aé日\\n]{0,3000}") {
        let note = Note::cut(&text);
        prop_assert!(Note::new(note.as_str()).is_ok());
        match Note::new(&text) {
            Ok(whole) => prop_assert_eq!(note, whole),
            Err(_) => prop_assert!(text.starts_with(note.as_str().trim_end_matches('…'))),
        }
    }

    #[test]
    fn portions_are_the_list_cut_where_it_must_be(
        sizes in vec(0_usize..50, 0..40),
        count_max in 1_usize..6,
        bytes_max in 1_usize..200,
    ) {
        let portions = pack(sizes.clone(), count_max, bytes_max, |size| *size);
        prop_assert_eq!(portions.concat(), sizes);
        for portion in &portions {
            prop_assert!((1..=count_max).contains(&portion.len()));
            let bytes: usize = portion.iter().sum();
            prop_assert!(portion.len() == 1 || bytes <= bytes_max);
        }
    }

    #[test]
    fn what_is_in_bounds_is_taken_as_a_list(pieces in vec((0_u64..60_000, 0_u64..40), 0..500)) {
        let mut next = 0;
        let ranges = pieces.iter().map(|(gap, length)| {
            let first = next + gap + 2;
            next = first + length;
            format!("{first}-{next}")
        });
        let ranges: Vec<String> = ranges.collect();
        prop_assume!(!ranges.is_empty());
        let ports = resources(&format!("ports:[{}]", ranges.join(", ")));
        prop_assert_eq!(check_size(&ports), Ok(()));
    }
}

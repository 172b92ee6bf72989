//! Any text is either a port set or an error; never a panic, never another set than it says.
//!
//! `cargo test` runs it for a second; `agent/docs/fuzzing.md` says how to run it for as long as one
//! likes.
#![forbid(unsafe_code)]

use weir_resources::{PortRange, PortSet};

#[test]
fn any_text_is_a_set_that_reads_back_or_an_error() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        parse(text);
        // Random bytes are rarely digits: the same bytes as an alphabet of what matters.
        let likely: String = bytes
            .iter()
            .map(|byte| char::from(b"0123456789-,[] 65535"[usize::from(*byte) % 20]))
            .collect();
        parse(&likely);
    });
}

fn parse(text: &str) {
    match text.parse::<PortSet>() {
        Ok(set) => {
            assert_eq!(set.to_string().parse::<PortSet>().as_ref(), Ok(&set));
            // Whatever number stands in the text is in the set.
            for number in text.split(|character: char| !character.is_ascii_digit()) {
                if let Ok(port) = number.parse::<u16>() {
                    assert!(set.contains(port), "{port} of {text:?} is lost");
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(range) = text.parse::<PortRange>() {
        assert_eq!(text.parse::<PortSet>(), Ok(PortSet::from(range)));
    }
}

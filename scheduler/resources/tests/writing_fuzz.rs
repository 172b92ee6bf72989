//! Any text is what it says or an error that says where; never a panic, never something else.
//!
//! `cargo test` runs these for a second; `agent/docs/fuzzing.md` says how to run them for as long as
//! one likes.
#![forbid(unsafe_code)]

use weir_resources::{Amount, Attributes, JsonError, Resources};

/// What texts are made of: most of them begin as if they were right.
const PIECES: &[&str] = &[
    "cpus",
    "mem",
    "disk",
    "ports",
    "zones",
    "a",
    "db",
    "*",
    "-",
    ".",
    "..",
    "REV",
    "{REV}",
    "rw",
    "ro",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ";",
    ",",
    "=",
    "\"",
    "\\",
    " ",
    "0",
    "1",
    "4",
    "0.5",
    ".0005",
    "18446744073709551615",
    "18446744073709551616",
    "18446744073709551.615",
    "1-5",
    "5-1",
    "é",
    "\n",
    "\u{202e}",
    "cpus:4;",
    "disk(db)[id:path:rw]:10",
    "cpus(db, alice, {k=v}):1",
    "ports:[1-5, 7-7]",
    "zones:{a, \"b c\"}",
];

/// What JSON is made of.
const JSON_PIECES: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\u0061",
    "\\ud83d",
    "\\",
    " ",
    "\n",
    "0",
    "1",
    "0.5",
    "-1",
    "1e3",
    "1.0005",
    "18446744073709551.615",
    "\"name\":\"cpus\"",
    "\"type\":\"SCALAR\"",
    "\"type\":\"RANGES\"",
    "\"scalar\":{\"value\":1}",
    "\"ranges\":{\"range\":[{\"begin\":1,\"end\":5}]}",
    "\"set\":{\"item\":[\"a\"]}",
    "\"role\":\"db\"",
    "\"revocable\":{}",
    "\"reservations\":[]",
    "true",
    "é",
    "{\"name\":\"cpus\",\"type\":\"SCALAR\",\"scalar\":{\"value\":1}}",
];

#[test]
fn any_text_is_resources_that_read_back_or_an_error_in_the_text() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for text in texts(bytes, PIECES) {
            match text.parse::<Resources>() {
                Ok(resources) => {
                    let again = resources.to_string();
                    assert_eq!(again.parse::<Resources>().as_ref(), Ok(&resources));
                    assert_eq!(Resources::from_json(&resources.to_json()), Ok(resources));
                }
                Err(error) => {
                    let characters = text.chars().count();
                    assert!((1..=characters + 1).contains(&error.position()), "{error}");
                    assert!(!error.to_string().chars().any(char::is_control), "{error}");
                }
            }
        }
    });
}

#[test]
fn any_json_is_resources_that_read_back_or_an_error_in_the_text() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for text in texts(bytes, JSON_PIECES) {
            match Resources::from_json(&text) {
                Ok(resources) => {
                    assert!(
                        serde_json::from_str::<serde_json::Value>(&text).is_ok(),
                        "{text}"
                    );
                    assert_eq!(Resources::from_json(&resources.to_json()), Ok(resources));
                }
                Err(error) => is_in(&text, &error),
            }
        }
    });
}

/// What is accepted, and damaged a little, is read as what it says or refused in the right place.
#[test]
fn damaged_json_is_resources_or_an_error_in_the_text() {
    const WHOLE: &str = concat!(
        r#"[{"name":"disk","type":"SCALAR","scalar":{"value":10.5},"reservations":[{"type":"DYNAMIC","#,
        r#""role":"db","principal":"alice","labels":{"labels":[{"key":"k","value":"v"}]}}],"#,
        r#""disk":{"persistence":{"id":"i"},"volume":{"container_path":"p","mode":"RO"}}},"#,
        r#"{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":5}]},"revocable":{}},"#,
        r#"{"name":"zones","type":"SET","set":{"item":["a","\u0062"]},"role":"db"}]"#
    );
    assert!(Resources::from_json(WHOLE).is_ok());
    bolero::check!()
        .with_type::<(u16, u16, u8)>()
        .for_each(|(at, until, byte)| {
            let mut bytes = WHOLE.as_bytes().to_vec();
            let at = usize::from(*at) % bytes.len();
            let until = at + usize::from(*until) % 8.min(bytes.len() - at);
            bytes.splice(at..until, [*byte]);
            let text = String::from_utf8_lossy(&bytes);
            match Resources::from_json(&text) {
                Ok(resources) => {
                    assert!(
                        serde_json::from_str::<serde_json::Value>(&text).is_ok(),
                        "{text}"
                    );
                    assert_eq!(Resources::from_json(&resources.to_json()), Ok(resources));
                }
                Err(error) => is_in(&text, &error),
            }
        });
}

#[test]
fn any_text_is_attributes_that_read_back_or_an_error_in_the_text() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for text in texts(bytes, PIECES) {
            match text.parse::<Attributes>() {
                Ok(attributes) => {
                    assert_eq!(attributes.to_string().parse::<Attributes>(), Ok(attributes));
                }
                Err(error) => {
                    let characters = text.chars().count();
                    assert!((1..=characters + 1).contains(&error.position()), "{error}");
                }
            }
        }
    });
}

#[test]
fn any_text_is_an_exact_amount_or_an_error_in_the_text() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for text in texts(
            bytes,
            &[
                "0",
                "1",
                "9",
                "00",
                "184467440737095516",
                ".",
                "-",
                "e",
                " ",
                "é",
            ],
        ) {
            match text.parse::<Amount>() {
                // Nothing but needless zeros at the end is lost.
                Ok(amount) => {
                    let point = text.contains('.');
                    let needed = if point {
                        text.trim_end_matches('0').trim_end_matches('.')
                    } else {
                        text.as_str()
                    };
                    assert_eq!(amount.to_string(), needed);
                }
                Err(error) => {
                    let characters = text.chars().count();
                    assert!((1..=characters + 1).contains(&error.position), "{error}");
                }
            }
        }
    });
}

/// Returns the bytes as a text, if they are one, and as a choice of pieces.
fn texts(bytes: &[u8], pieces: &[&str]) -> Vec<String> {
    let made = bytes
        .iter()
        .map(|byte| pieces[usize::from(*byte) % pieces.len()])
        .collect();
    let plain = std::str::from_utf8(bytes).ok().map(str::to_owned);
    plain.into_iter().chain([made]).collect()
}

fn is_in(text: &str, error: &JsonError) {
    let line = text
        .split('\n')
        .nth(error.line - 1)
        .expect("a line of the text");
    let characters = line.chars().count();
    assert!(
        (1..=characters + 1).contains(&error.column),
        "{error}: {text}"
    );
    assert!(!error.to_string().chars().any(char::is_control), "{error}");
}

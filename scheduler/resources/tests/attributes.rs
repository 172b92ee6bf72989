//! The text of attributes.
#![forbid(unsafe_code)]

use proptest::prelude::*;
use weir_resources::{
    Amount, Attribute, AttributeName, AttributeText, AttributeValue, Attributes, Range, Ranges,
};

fn read(text: &str) -> String {
    text.parse::<Attributes>()
        .unwrap_or_else(|error| panic!("{text:?}: {error}"))
        .to_string()
}

fn refusal(text: &str) -> String {
    match text.parse::<Attributes>() {
        Ok(attributes) => panic!("{text:?} is read as {attributes}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn amounts_ranges_and_texts_are_read() {
    assert_eq!(
        read("rack:r7;cores:16;vlans:[100-120,7-7];os:\"Debian 12\";kernel:6.1.0;spare:0"),
        "cores:16; kernel:6.1.0; os:\"Debian 12\"; rack:r7; spare:0; vlans:[7-7, 100-120]"
    );
    assert_eq!(read(""), "");
}

#[test]
fn a_text_of_digits_keeps_its_quotes() {
    assert_eq!(read("zip:\"01234\";b:\"1.5\""), "b:\"1.5\"; zip:\"01234\"");
    let attributes: Attributes = "a:1.5; b:\"1.5\"".parse().unwrap();
    assert_eq!(
        attributes.get("a"),
        Some(&AttributeValue::Scalar(Amount::from_thousandths(1500)))
    );
    assert_eq!(
        attributes.get("b"),
        Some(&AttributeValue::Text("1.5".parse().unwrap()))
    );
    assert_eq!(attributes.get("c"), None);
}

#[test]
fn what_mesos_aborts_on_is_an_error_that_says_where() {
    for (text, message) in [
        (
            "rack",
            "expected `:` at position 5, found the end of the text",
        ),
        (
            "rack:",
            "expected an amount, `[` or a text at position 6, found the end of the text",
        ),
        (
            "rack:r7;zones:{a,b}",
            "expected an amount, `[` or a text at position 15, found `{`",
        ),
        (
            "os:Debian 12",
            "expected `;` or the end at position 11, found `1`",
        ),
        (
            "zip:01234",
            "at position 5: the amount has a leading zero; write it without",
        ),
        (
            "cores:1.2345",
            "at position 12: a fourth decimal; an amount has three at most",
        ),
        (
            "vlans:[5]",
            "expected `-` and the last number of the range at position 9, found `]`",
        ),
        (
            "vlans:[]",
            "at position 1: there is nothing in attribute `vlans`: no range is named; leave it out",
        ),
        ("b:1;a:1;b:2", "at position 9: attribute `b` is there twice"),
        ("a b:1", "expected `:` at position 3, found `b`"),
    ] {
        assert_eq!(refusal(text), message, "for {text:?}");
    }
}

#[test]
fn attributes_are_their_text_in_json() {
    let attributes: Attributes = serde_json::from_str(r#""rack:r7""#).unwrap();
    assert_eq!(serde_json::to_string(&attributes).unwrap(), r#""rack:r7""#);
    let error = serde_json::from_str::<Attributes>(r#""rack""#).unwrap_err();
    assert!(error.to_string().contains("position 5"), "{error}");
}

fn value() -> impl Strategy<Value = AttributeValue> {
    let text = prop_oneof!["[0-9.]{1,6}", "[a-z \"\\\\:;,={}()\\[\\]é-]{1,8}"];
    prop_oneof![
        any::<u64>().prop_map(|amount| AttributeValue::Scalar(Amount::from_thousandths(amount))),
        (any::<u64>(), any::<u64>()).prop_map(|(a, b)| {
            let range = Range::new(a.min(b), a.max(b)).expect("not backwards");
            AttributeValue::Ranges(Ranges::from(range))
        }),
        text.prop_map(|text| AttributeValue::Text(AttributeText::new(text).expect("visible"))),
    ]
}

proptest! {
    #[test]
    fn the_text_of_attributes_reads_back(
        values in prop::collection::btree_map("[a-z][a-z0-9._/-]{0,5}", value(), 0..6)
    ) {
        let attributes = Attributes::new(values.into_iter().map(|(name, value)| {
            Attribute::new(AttributeName::new(name).expect("letters"), value).expect("not empty")
        }))
        .expect("each name once");
        prop_assert_eq!(attributes.to_string().parse::<Attributes>(), Ok(attributes));
    }
}

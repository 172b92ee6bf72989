//! Text and JSON: what is written reads back.

use proptest::prelude::*;
use weir_resources::{Amount, Resource, Resources, Value};

use crate::strategy::{resource, resources};

proptest! {
    #[test]
    fn the_text_of_resources_reads_back(a in resources()) {
        let text = a.to_string();
        let read: Resources = text.parse().expect("its own text");
        prop_assert_eq!(&read, &a);
        // The text holds what equality leaves out: how a container uses a volume.
        prop_assert_eq!(read.to_string(), text);
    }

    #[test]
    fn the_json_of_resources_reads_back(a in resources()) {
        let json = a.to_json();
        let read = Resources::from_json(&json).expect("its own JSON");
        prop_assert_eq!(&read, &a);
        prop_assert_eq!(read.to_json(), json.as_str());
        prop_assert_eq!(read.to_string(), a.to_string());
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    }

    #[test]
    fn serde_takes_the_text(a in resources()) {
        let json = serde_json::to_string(&a).expect("a text");
        prop_assert_eq!(serde_json::from_str::<Resources>(&json).expect("its own text"), a);
    }

    #[test]
    fn the_text_of_a_resource_and_its_value_reads_back(a in resource()) {
        prop_assert_eq!(a.to_string().parse::<Resource>(), Ok(a.clone()));
        prop_assert_eq!(&a.value().to_string().parse::<Value>().expect("its own text"), a.value());
    }

    #[test]
    fn the_text_of_an_amount_reads_back(thousandths in any::<u64>()) {
        let amount = Amount::from_thousandths(thousandths);
        prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
        let json = serde_json::to_string(&amount).expect("a text");
        prop_assert_eq!(serde_json::from_str::<Amount>(&json).expect("its own text"), amount);
    }
}

#[test]
fn an_amount_in_json_is_a_text_or_a_whole_number() {
    let read = |json: &str| serde_json::from_str::<Amount>(json);
    assert_eq!(read("4").unwrap(), Amount::from_whole(4).unwrap());
    assert_eq!(read("\"0.5\"").unwrap(), Amount::from_thousandths(500));
    assert_eq!(serde_json::to_string(&read("4").unwrap()).unwrap(), "\"4\"");
    for json in ["0.5", "-1", "18446744073709552", "\"0.5 \"", "null"] {
        assert!(read(json).is_err(), "{json}");
    }
}

//! How long offers are on the wire at most, without making them: so that most need not be measured.

use weir_protocol::Offer;
use weir_protocol::bounds::{LIST_BYTES_MAX, OFFERS_MAX};
use weir_resources::{AttributeValue, Attributes, Labels, Ranges, Reservation, Resource, Value};

/// The tags and lengths of a message with all that stands around it.
const AROUND: usize = 32;

/// A number with its tag.
const NUMBER: usize = 12;

/// An address as text, of either family.
const ADDRESS: usize = 45 + AROUND;

/// An id that Weir makes.
const ID: usize = 26 + AROUND;

/// Returns whether offers certainly fit one frame.
pub(super) fn fit_one_frame(offers: &[Offer]) -> bool {
    offers.len() <= OFFERS_MAX && offers.iter().map(offer).sum::<usize>() <= LIST_BYTES_MAX
}

fn offer(offer: &Offer) -> usize {
    offer.resources.iter().map(resource).sum::<usize>()
        + attributes(&offer.attributes)
        + offer.addresses.len() * ADDRESS
        + text(offer.agent_name.as_str())
        + text(offer.hostname.as_str())
        + 2 * ID
        + 3 * NUMBER
        + AROUND
}

fn resource(resource: &Resource) -> usize {
    let value = match resource.value() {
        Value::Scalar(_) => NUMBER,
        Value::Ranges(own) => ranges(own),
        Value::Set(items) => items.items().iter().map(|item| text(item.as_str())).sum(),
    };
    let reservation = match resource.reservation() {
        Reservation::Unreserved => 0,
        Reservation::Static(role) => text(role.as_str()),
        Reservation::Dynamic {
            role,
            principal,
            labels: own,
        } => text(role.as_str()) + text(principal.as_str()) + labels(own),
    };
    let volume = resource.volume().map_or(0, |volume| {
        text(volume.id.as_str()) + text(volume.container_path.as_str()) + NUMBER
    });
    text(resource.name().as_str()) + value + reservation + volume + 2 * AROUND
}

fn ranges(ranges: &Ranges) -> usize {
    ranges.ranges().len() * (2 * NUMBER + AROUND) + AROUND
}

fn labels(labels: &Labels) -> usize {
    let pairs = labels.as_slice().iter();
    pairs
        .map(|(key, value)| text(key.as_str()) + text(value.as_str()) + AROUND)
        .sum()
}

fn attributes(attributes: &Attributes) -> usize {
    let sizes = attributes.iter().map(|attribute| {
        let value = match attribute.value() {
            AttributeValue::Scalar(_) => NUMBER,
            AttributeValue::Ranges(own) => ranges(own),
            AttributeValue::Text(value) => text(value.as_str()),
        };
        text(attribute.name().as_str()) + value + AROUND
    });
    sizes.sum()
}

const fn text(text: &str) -> usize {
    text.len() + AROUND
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_protocol::{AgentId, FrameworkEvent, Millis, OfferId, VolumeSizes, encode};
    use weir_resources::{Attribute, Kind, Resources};

    use super::*;

    fn made(index: u128, resources: &Resources, attributes: &Attributes) -> Offer {
        Offer {
            id: OfferId::from_bits(u128::MAX - index),
            agent: AgentId::from_bits(u128::MAX),
            agent_name: "a-node-of-the-cluster".parse().expect("a name"),
            hostname: "a.node.example".parse().expect("a line"),
            addresses: Arc::new(["2001:db8::1".parse().expect("an address"); 4]),
            attributes: attributes.clone(),
            resources: resources.clone(),
            kind: Kind::Regular,
            expires_after: Some(Millis(u64::MAX)),
            volume_sizes: VolumeSizes::Accounted,
        }
    }

    #[test]
    fn what_is_thought_to_fit_one_frame_does_and_is_no_longer_than_thought() {
        let (name, value) = ("rack".parse(), "r17".parse());
        let value = AttributeValue::Text(value.expect("a text"));
        let rack = Attribute::new(name.expect("a name"), value).expect("an attribute");
        let none = Attributes::default();
        let some = Attributes::new([rack]).expect("one attribute");
        for (text, attributes) in [
            ("cpus:4;mem:1024", &none),
            ("cpus(db):0.001;mem:18446744073709551;disk(db):7", &some),
            ("ports:[1-2,4-5,7-7,31000-32000];racks:{a,bb,ccc}", &some),
        ] {
            let resources: Resources = text.parse().expect("resources");
            for count in [1, 3, 100] {
                let offers: Vec<Offer> = (0..count)
                    .map(|index| made(index, &resources, attributes))
                    .collect();
                let thought: usize = offers.iter().map(offer).sum();
                assert!(fit_one_frame(&offers));
                let mut frame = Vec::new();
                let event = FrameworkEvent::Offers(offers);
                encode(event, &mut frame).expect("it fits");
                assert!(frame.len() <= thought + AROUND, "{text}: {}", frame.len());
            }
        }
    }
}

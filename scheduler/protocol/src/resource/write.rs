//! To the wire.

use std::net::IpAddr;

use weir_resources::{
    AttributeValue, Attributes, ItemSet, Kind, Labels, Ranges, Reservation, Resource, Resources,
    Value, Volume,
};

use super::estimate::Estimate;
use super::port_blocks::PortBlocks;
use super::set::ResourceSet;
use crate::invalid::Enumeration;
use crate::wire;

/// Returns the list of the resources.
pub(crate) fn resource_list(resources: &Resources) -> Vec<wire::Resource> {
    resources.iter().map(wire::Resource::from).collect()
}

impl From<&Resource> for wire::Resource {
    fn from(resource: &Resource) -> Self {
        Self {
            name: resource.name().as_str().to_owned(),
            value: Some(match resource.value() {
                Value::Scalar(amount) => {
                    wire::resource::Value::ScalarThousandths(amount.thousandths())
                }
                Value::Ranges(list) => wire::resource::Value::Ranges(ranges(list)),
                Value::Set(set) => wire::resource::Value::Set(items(set)),
            }),
            reservation: match resource.reservation() {
                Reservation::Unreserved => None,
                Reservation::Static(role) => Some(wire::resource::Reservation::StaticReservation(
                    wire::StaticReservation {
                        role: role.as_str().to_owned(),
                    },
                )),
                Reservation::Dynamic {
                    role,
                    principal,
                    labels,
                } => Some(wire::resource::Reservation::DynamicReservation(
                    wire::DynamicReservation {
                        role: role.as_str().to_owned(),
                        principal: principal.as_str().to_owned(),
                        labels: label_list(labels),
                    },
                )),
            },
            volume: resource.volume().map(wire::Volume::from),
            revocable: match resource.kind() {
                Kind::Regular => false,
                Kind::Revocable => true,
            },
        }
    }
}

impl From<&Volume> for wire::Volume {
    fn from(volume: &Volume) -> Self {
        Self {
            id: volume.id.as_str().to_owned(),
            container_path: volume.container_path.as_str().to_owned(),
            mode: volume.mode.number(),
        }
    }
}

fn ranges(ranges: &Ranges) -> wire::Ranges {
    let range = |range: &weir_resources::Range| wire::Range {
        first: range.first(),
        last: range.last(),
    };
    wire::Ranges {
        ranges: ranges.ranges().iter().map(range).collect(),
    }
}

fn items(set: &ItemSet) -> wire::Set {
    let items = set.items().iter();
    wire::Set {
        items: items.map(|item| item.as_str().to_owned()).collect(),
    }
}

/// Returns the list of the labels.
pub(crate) fn label_list(labels: &Labels) -> Vec<wire::Label> {
    let label =
        |(key, value): &(weir_resources::LabelKey, weir_resources::LabelValue)| wire::Label {
            key: key.as_str().to_owned(),
            value: value.as_str().to_owned(),
        };
    labels.as_slice().iter().map(label).collect()
}

/// Returns the list of the attributes.
pub(crate) fn attribute_list(attributes: &Attributes) -> Vec<wire::Attribute> {
    let attribute = |attribute: &weir_resources::Attribute| wire::Attribute {
        name: attribute.name().as_str().to_owned(),
        value: Some(match attribute.value() {
            AttributeValue::Scalar(amount) => {
                wire::attribute::Value::ScalarThousandths(amount.thousandths())
            }
            AttributeValue::Ranges(list) => wire::attribute::Value::Ranges(ranges(list)),
            AttributeValue::Text(text) => wire::attribute::Value::Text(text.as_str().to_owned()),
        }),
    };
    attributes.iter().map(attribute).collect()
}

/// Returns the list of the addresses.
pub(crate) fn address_texts(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().map(IpAddr::to_string).collect()
}

impl From<&ResourceSet> for wire::ResourceSet {
    fn from(set: &ResourceSet) -> Self {
        Self {
            version: set.version().0,
            resources: resource_list(set.resources()),
        }
    }
}

impl From<&Estimate> for wire::Estimate {
    fn from(estimate: &Estimate) -> Self {
        Self {
            version: estimate.version(),
            ttl_ms: estimate.ttl().0,
            resources: resource_list(estimate.resources()),
        }
    }
}

impl From<PortBlocks> for wire::PortBlocks {
    fn from(blocks: PortBlocks) -> Self {
        let PortBlocks {
            version,
            free,
            held,
        } = blocks;
        Self {
            version,
            free,
            held,
        }
    }
}

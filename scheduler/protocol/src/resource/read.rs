//! From the wire.

use std::net::IpAddr;
use std::sync::Arc;

use prost::Message;
use weir_resources::{
    Amount, Attribute, AttributeName, AttributeText, AttributeValue, Attributes, ContainerPath,
    Item, ItemSet, Kind, LabelKey, LabelValue, Labels, Principal, Range, Ranges, Reservation,
    Resource, ResourceName, ResourceOperation, ResourceParts, Resources, Role, Value, Volume,
    VolumeId, VolumeMode,
};

use super::estimate::Estimate;
use super::port_blocks::PortBlocks;
use super::set::{ResourceSet, SetVersion, VolumeSizes};
use crate::bounds::{
    ADDRESSES_MAX, ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, COUNT_MAX, DURATION_MS_MAX,
    ESTIMATE_BYTES_MAX, OWN_BYTES_MAX, OWN_MAX, PARTS_MAX, PORT_BLOCKS_MAX, RESOURCES_BYTES_MAX,
    RESOURCES_MAX, SET_BYTES_MAX, SET_MAX,
};
use crate::invalid::{At, Enumeration, Invalid, Problem, each, enumeration, required, within};
use crate::time::Millis;
use crate::wire;

enumeration! {
    VolumeMode, VolumeMode, Unspecified { ReadWrite = Rw, ReadOnly = Ro }
}

enumeration! {
    VolumeSizes, VolumeSizes, Unspecified { Enforced = Enforced, Accounted = Accounted }
}

/// Returns the resources of a list, which may be none.
pub(crate) fn resources(list: Vec<wire::Resource>) -> Result<Resources, Invalid> {
    resources_within(list, RESOURCES_MAX, RESOURCES_BYTES_MAX)
}

fn resources_within(
    list: Vec<wire::Resource>,
    entries_max: usize,
    bytes_max: usize,
) -> Result<Resources, Invalid> {
    short(&list, bytes_max)?;
    let entries = each(list, entries_max, Resource::try_from)?;
    Ok(Resources::collect(entries)?)
}

/// Returns nothing if the entries of a list are at most `max` bytes together.
fn short(list: &[impl Message], max: usize) -> Result<(), Problem> {
    let bytes = list.iter().map(Message::encoded_len).sum();
    if bytes > max {
        return Err(Problem::TooLong { bytes, max });
    }
    Ok(())
}

/// Returns the resources of a list of what a node has by itself: unreserved or statically reserved.
pub(crate) fn own_resources(list: Vec<wire::Resource>) -> Result<Resources, Invalid> {
    let resources = resources_within(list, OWN_MAX, OWN_BYTES_MAX)?;
    let other = |entry: &&Resource| entry.is_checkpointed() || entry.kind() == Kind::Revocable;
    match resources.iter().find(other) {
        None => Ok(resources),
        Some(resource) => Err(Invalid::from(Problem::NotOwn {
            resource: resource.clone(),
        })),
    }
}

impl TryFrom<wire::Resource> for Resource {
    type Error = Invalid;

    fn try_from(wire: wire::Resource) -> Result<Self, Invalid> {
        let wire::Resource {
            name,
            value,
            reservation,
            volume,
            revocable,
        } = wire;
        let value = match required(value).at("value")? {
            wire::resource::Value::ScalarThousandths(thousandths) => {
                Value::Scalar(Amount::from_thousandths(thousandths))
            }
            wire::resource::Value::Ranges(list) => Value::Ranges(ranges(list).at("ranges")?),
            wire::resource::Value::Set(set) => Value::Set(items(set).at("set")?),
        };
        let reservation = match reservation {
            None => Reservation::Unreserved,
            Some(wire::resource::Reservation::StaticReservation(reservation)) => {
                let role = Role::new(reservation.role)
                    .at("role")
                    .at("static_reservation")?;
                Reservation::Static(role)
            }
            Some(wire::resource::Reservation::DynamicReservation(reservation)) => {
                dynamic(reservation).at("dynamic_reservation")?
            }
        };
        let parts = ResourceParts {
            name: ResourceName::new(name).at("name")?,
            value,
            reservation,
            volume: volume.map(Volume::try_from).transpose().at("volume")?,
            kind: if revocable {
                Kind::Revocable
            } else {
                Kind::Regular
            },
        };
        Ok(Self::from_parts(parts)?)
    }
}

fn ranges(list: wire::Ranges) -> Result<Ranges, Invalid> {
    let ranges = each(list.ranges, PARTS_MAX, |range| {
        Range::new(range.first, range.last)
    });
    Ok(Ranges::disjoint(ranges.at("ranges")?)?)
}

fn items(set: wire::Set) -> Result<ItemSet, Invalid> {
    let items = each(set.items, PARTS_MAX, Item::new);
    Ok(ItemSet::distinct(items.at("items")?)?)
}

fn dynamic(wire: wire::DynamicReservation) -> Result<Reservation, Invalid> {
    Ok(Reservation::Dynamic {
        role: Role::new(wire.role).at("role")?,
        principal: Principal::new(wire.principal).at("principal")?,
        labels: labels(wire.labels).at("labels")?,
    })
}

impl TryFrom<wire::Volume> for Volume {
    type Error = Invalid;

    fn try_from(wire: wire::Volume) -> Result<Self, Invalid> {
        Ok(Self {
            id: VolumeId::new(wire.id).at("id")?,
            container_path: ContainerPath::new(wire.container_path).at("container_path")?,
            mode: VolumeMode::from_number(wire.mode).at("mode")?,
        })
    }
}

/// Returns the labels of a list.
pub(crate) fn labels(list: Vec<wire::Label>) -> Result<Labels, Invalid> {
    let labels = each(list, weir_resources::labels::LABELS_MAX, |label| {
        let key = LabelKey::new(label.key).at("key")?;
        let value = LabelValue::new(label.value).at("value")?;
        Ok::<_, Invalid>((key, value))
    })?;
    Ok(Labels::new(labels)?)
}

/// Returns the attributes of a list.
pub(crate) fn attributes(list: Vec<wire::Attribute>) -> Result<Attributes, Invalid> {
    short(&list, ATTRIBUTES_BYTES_MAX)?;
    let attributes = each(list, ATTRIBUTES_MAX, |attribute| {
        let name = AttributeName::new(attribute.name).at("name")?;
        let value = match required(attribute.value).at("value")? {
            wire::attribute::Value::ScalarThousandths(thousandths) => {
                AttributeValue::Scalar(Amount::from_thousandths(thousandths))
            }
            wire::attribute::Value::Ranges(list) => {
                AttributeValue::Ranges(ranges(list).at("ranges")?)
            }
            wire::attribute::Value::Text(text) => {
                AttributeValue::Text(AttributeText::new(text).at("text")?)
            }
        };
        Attribute::new(name, value).map_err(Invalid::from)
    })?;
    Ok(Attributes::new(attributes)?)
}

/// Returns the addresses of a list.
pub(crate) fn addresses(list: Vec<String>) -> Result<Arc<[IpAddr]>, Invalid> {
    let addresses = each(list, ADDRESSES_MAX, |text| {
        text.parse::<IpAddr>()
            .map_err(|_parse| Problem::Address { text })
    })?;
    Ok(addresses.into())
}

impl TryFrom<wire::ResourceSet> for ResourceSet {
    type Error = Invalid;

    fn try_from(wire: wire::ResourceSet) -> Result<Self, Invalid> {
        let version = within(wire.version, 0, COUNT_MAX).at("version")?;
        let resources = resources_within(wire.resources, SET_MAX, SET_BYTES_MAX);
        let resources = resources.at("resources")?;
        Self::new(SetVersion(version), resources).at("resources")
    }
}

impl TryFrom<wire::Estimate> for Estimate {
    type Error = Invalid;

    fn try_from(wire: wire::Estimate) -> Result<Self, Invalid> {
        let version = within(wire.version, 0, COUNT_MAX).at("version")?;
        let ttl = within(wire.ttl_ms, 1, DURATION_MS_MAX).at("ttl_ms")?;
        let resources = resources_within(wire.resources, OWN_MAX, ESTIMATE_BYTES_MAX);
        let resources = resources.at("resources")?;
        Self::new(version, Millis(ttl), resources).at("resources")
    }
}

impl TryFrom<wire::PortBlocks> for PortBlocks {
    type Error = Invalid;

    fn try_from(wire: wire::PortBlocks) -> Result<Self, Invalid> {
        let wire::PortBlocks {
            version,
            free,
            held,
        } = wire;
        let max = u64::from(PORT_BLOCKS_MAX);
        within(free.into(), 0, max).at("free")?;
        within(held.into(), 0, max).at("held")?;
        Ok(Self {
            version: within(version, 0, COUNT_MAX).at("version")?,
            free,
            held,
        })
    }
}

/// Returns the operation that RESERVE asks for.
pub(crate) fn reserve(wire: wire::Reserve) -> Result<ResourceOperation, Invalid> {
    let named = resources(wire.resources).at("resources")?;
    Ok(ResourceOperation::Reserve(named))
}

/// Returns the operation that UNRESERVE asks for.
pub(crate) fn unreserve(wire: wire::Unreserve) -> Result<ResourceOperation, Invalid> {
    let named = resources(wire.resources).at("resources")?;
    Ok(ResourceOperation::Unreserve(named))
}

/// Returns the operation that CREATE asks for.
pub(crate) fn create(wire: wire::CreateVolumes) -> Result<ResourceOperation, Invalid> {
    let named = resources(wire.volumes).at("volumes")?;
    Ok(ResourceOperation::Create(named))
}

/// Returns the operation that DESTROY asks for.
pub(crate) fn destroy(wire: wire::DestroyVolumes) -> Result<ResourceOperation, Invalid> {
    let named = resources(wire.volumes).at("volumes")?;
    Ok(ResourceOperation::Destroy(named))
}

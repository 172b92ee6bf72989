//! What has to be changed in a namespace. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::network::node::{InsideRoute, InsideView, Prefix};

/// One change of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    SetMtu(u32),
    AddAddress(IpAddr),
    RemoveAddress(IpAddr),
    /// The way to one of the node's own addresses.
    AddNear(IpAddr),
    RemoveNear(IpAddr),
    AddRoute(InsideRoute),
    RemoveRoute(InsideRoute),
}

/// Returns the steps from one view of a namespace to another.
///
/// New addresses come before the routes that prefer them, and old ones go last, so that there is
/// no moment in which the container cannot send.
pub(super) fn plan(old: &InsideView, new: &InsideView) -> Vec<Step> {
    let mut steps = Vec::new();
    if old.mtu != new.mtu {
        steps.push(Step::SetMtu(new.mtu));
    }
    for &address in new.addresses.difference(&old.addresses) {
        steps.push(Step::AddAddress(address));
        steps.push(Step::AddNear(address));
    }
    // A changed route replaces the one to the same prefix.
    let kept: BTreeSet<Prefix> = new.routes.iter().map(|route| route.prefix).collect();
    steps.extend(
        new.routes
            .difference(&old.routes)
            .map(|&route| Step::AddRoute(route)),
    );
    steps.extend(
        old.routes
            .iter()
            .filter(|route| !kept.contains(&route.prefix))
            .map(|&route| Step::RemoveRoute(route)),
    );
    for &address in old.addresses.difference(&new.addresses) {
        steps.push(Step::RemoveNear(address));
        steps.push(Step::RemoveAddress(address));
    }
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn apply(view: &mut InsideView, step: Step) {
        match step {
            Step::SetMtu(mtu) => view.mtu = mtu,
            Step::AddAddress(address) => assert!(view.addresses.insert(address)),
            Step::RemoveAddress(address) => assert!(view.addresses.remove(&address)),
            Step::AddNear(_) | Step::RemoveNear(_) => {}
            Step::AddRoute(route) => {
                assert!(
                    view.addresses.contains(&route.source),
                    "the source comes first"
                );
                view.routes.retain(|kept| kept.prefix != route.prefix);
                view.routes.insert(route);
            }
            Step::RemoveRoute(route) => assert!(view.routes.remove(&route)),
        }
    }

    fn a_view() -> impl Strategy<Value = InsideView> {
        let addresses =
            prop::collection::btree_set((1_u8..6).prop_map(|n| IpAddr::from([10, 0, 0, n])), 1..5);
        let routes = prop::collection::btree_map(
            0_u8..4,
            (
                any::<prop::sample::Index>(),
                prop::option::of(1280_u32..1500),
            ),
            0..4,
        );
        (addresses, routes, 1400_u32..1502).prop_map(|(addresses, routes, mtu)| {
            let list: Vec<IpAddr> = addresses.iter().copied().collect();
            let routes = routes
                .into_iter()
                .map(|(n, (index, mtu))| InsideRoute {
                    prefix: if n == 0 {
                        Prefix {
                            length: 0,
                            address: IpAddr::from([0, 0, 0, 0]),
                        }
                    } else {
                        Prefix {
                            length: 24,
                            address: IpAddr::from([172, 16, n, 0]),
                        }
                    },
                    source: *index.get(&list),
                    mtu,
                })
                .collect();
            InsideView {
                mtu,
                addresses,
                routes,
            }
        })
    }

    proptest! {
        #[test]
        fn the_steps_lead_from_any_view_to_any_other(mut old in a_view(), new in a_view()) {
            for step in plan(&old.clone(), &new) {
                apply(&mut old, step);
            }
            prop_assert_eq!(old, new);
        }

        #[test]
        fn a_view_that_is_reached_needs_no_step(view in a_view()) {
            prop_assert!(plan(&view, &view).is_empty());
        }
    }
}

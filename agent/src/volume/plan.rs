//! Which steps make the directories as an order wants them: pure, from what there is.

use std::collections::{BTreeMap, BTreeSet};

use weir_resources::Role;

use super::error::VolumeError;
use super::execute::VolumePlaces;
use crate::session::{VolumeName, VolumeOrder};

/// What there is of the volumes of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Observed {
    /// The directories that there are.
    pub(super) there: BTreeMap<VolumeName, Content>,
    /// Those that were moved aside.
    pub(super) aside: BTreeSet<VolumeName>,
}

/// What is in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Nothing,
    Something,
}

/// One thing to do, one effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Makes the directory of a role's volumes, if it is not there.
    MakeRole { role: Role },
    /// Makes the directory of a volume.
    Make { volume: VolumeName },
    /// Removes the directory of a volume, which is empty.
    RemoveEmpty { volume: VolumeName },
    /// Makes the directory of a role's volumes that are moved aside, if it is not there.
    MakeRoleAside { role: Role },
    /// Moves the directory of a volume aside.
    MoveAside { volume: VolumeName },
    /// Moves it back.
    MoveBack { volume: VolumeName },
    /// Flushes what was made in, and taken from, the directory of a role.
    Flush { role: Role },
    /// The same for what is aside.
    FlushAside { role: Role },
    /// Flushes the directory of all roles.
    FlushRoles,
}

/// Returns the steps that carry out an order.
///
/// Some of them may have been taken before a crash. The flushes come last: what is reported as done is on
/// the disk.
pub(super) fn plan(
    order: VolumeOrder,
    volumes: &[VolumeName],
    observed: &Observed,
    places: &VolumePlaces,
) -> Result<Vec<Step>, VolumeError> {
    let mut steps = Vec::new();
    for volume in volumes {
        let role = volume.role.clone();
        let volume = volume.clone();
        match (order, observed.there.get(&volume)) {
            (VolumeOrder::Make, None) => {
                steps.push(Step::MakeRole { role });
                steps.push(Step::Make { volume });
            }
            // A crash left it; whoever it belonged to, it begins anew.
            (VolumeOrder::Make, Some(Content::Nothing)) => {
                steps.push(Step::RemoveEmpty {
                    volume: volume.clone(),
                });
                steps.push(Step::Make { volume });
            }
            (VolumeOrder::Make, Some(Content::Something)) => {
                let path = places.volume(&volume);
                return Err(VolumeError::Occupied { volume, path });
            }
            (VolumeOrder::Remove, Some(_)) if observed.aside.contains(&volume) => {
                let path = places.aside(&volume);
                return Err(VolumeError::Leaving { volume, path });
            }
            (VolumeOrder::Remove, Some(Content::Nothing | Content::Something)) => {
                steps.push(Step::MakeRoleAside { role });
                steps.push(Step::MoveAside { volume });
            }
            // Moved before a crash; or somebody deleted it by hand, and there is nothing to move.
            (VolumeOrder::Remove, None) => {}
        }
    }
    steps.extend(flushes(volumes, order == VolumeOrder::Remove));
    Ok(steps)
}

/// Returns the steps that undo what was done of an order that cannot be carried out.
pub(super) fn plan_undo(
    order: VolumeOrder,
    volumes: &[VolumeName],
    observed: &Observed,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for volume in volumes {
        let volume = volume.clone();
        match (order, observed.there.get(&volume)) {
            (VolumeOrder::Make, Some(Content::Nothing)) => steps.push(Step::RemoveEmpty { volume }),
            // It was there before, or is not there.
            (VolumeOrder::Make, Some(Content::Something) | None) => {}
            (VolumeOrder::Remove, None) if observed.aside.contains(&volume) => {
                steps.push(Step::MoveBack { volume });
            }
            (VolumeOrder::Remove, Some(_) | None) => {}
        }
    }
    steps.extend(flushes(volumes, order == VolumeOrder::Remove));
    steps
}

/// Returns the flushes of the directories that volumes are in.
fn flushes(volumes: &[VolumeName], is_aside: bool) -> Vec<Step> {
    let roles: BTreeSet<&Role> = volumes.iter().map(|volume| &volume.role).collect();
    let mut steps = Vec::new();
    for role in roles {
        // First where it is now: a volume is in two places rather than in none.
        if is_aside {
            steps.push(Step::FlushAside { role: role.clone() });
        }
        steps.push(Step::Flush { role: role.clone() });
    }
    steps.push(Step::FlushRoles);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(id: &str) -> VolumeName {
        VolumeName {
            role: Role::new("db").unwrap(),
            id: weir_resources::VolumeId::new(id).unwrap(),
        }
    }

    fn places() -> VolumePlaces {
        VolumePlaces::new("/state".as_ref())
    }

    fn observed(there: &[(&str, Content)], aside: &[&str]) -> Observed {
        Observed {
            there: there
                .iter()
                .map(|(id, content)| (volume(id), *content))
                .collect(),
            aside: aside.iter().map(|id| volume(id)).collect(),
        }
    }

    fn without_flushes(steps: Vec<Step>) -> Vec<Step> {
        let mut steps = steps;
        steps.retain(|step| {
            !matches!(
                step,
                Step::Flush { .. } | Step::FlushAside { .. } | Step::FlushRoles
            )
        });
        steps
    }

    #[test]
    fn what_holds_something_is_nobodys_new_volume() {
        let observed = observed(&[("a", Content::Something)], &[]);
        let error = plan(VolumeOrder::Make, &[volume("a")], &observed, &places()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "volume `a` of role `db` cannot be made: /state/volumes/roles/db/a holds something that belongs to no volume"
        );
    }

    #[test]
    fn what_was_done_before_a_crash_is_not_done_again() {
        let seen = observed(&[("b", Content::Something)], &["a"]);
        let steps = plan(
            VolumeOrder::Remove,
            &[volume("a"), volume("b")],
            &seen,
            &places(),
        )
        .unwrap();
        assert_eq!(
            without_flushes(steps),
            [
                Step::MakeRoleAside {
                    role: Role::new("db").unwrap()
                },
                Step::MoveAside {
                    volume: volume("b")
                }
            ]
        );
    }

    #[test]
    fn an_order_that_fails_is_undone_and_takes_nothing_that_was_there() {
        let seen = observed(&[("a", Content::Nothing), ("b", Content::Something)], &[]);
        let both = [volume("a"), volume("b")];
        assert_eq!(
            without_flushes(plan_undo(VolumeOrder::Make, &both, &seen)),
            [Step::RemoveEmpty {
                volume: volume("a")
            }]
        );
        let seen = observed(&[("b", Content::Something)], &["a"]);
        assert_eq!(
            without_flushes(plan_undo(VolumeOrder::Remove, &both, &seen)),
            [Step::MoveBack {
                volume: volume("a")
            }]
        );
    }
}

//! What is left of resources, and who has to give something up for the others to fit.
//!
//! An agent may have less than is held there: its estimate shrinks, or its configuration. So these are
//! differences that never fail.

use weir_resources::{Resource, ResourceParts, Resources, Value};

/// Returns what is left of `own` without what of `taken` is in it.
pub(super) fn without(own: &Resources, taken: &Resources) -> Resources {
    if own.is_empty() || taken.is_empty() {
        return own.clone();
    }
    if let Ok(rest) = own.checked_sub(taken) {
        return rest;
    }
    let rest = own.iter().filter_map(|own| {
        let same = taken.get(own.name().as_str()).iter().find(|taken| {
            taken.kind() == own.kind()
                && taken.volume() == own.volume()
                && taken.reservation() == own.reservation()
        });
        match same {
            None => Some(own.clone()),
            Some(taken) => rest_of(own, taken),
        }
    });
    Resources::collect(rest).expect("a part of what an agent has is in order")
}

fn rest_of(own: &Resource, taken: &Resource) -> Option<Resource> {
    let value = match (own.value(), taken.value()) {
        // A volume is held as a whole.
        (Value::Scalar(_), Value::Scalar(_)) if own.volume().is_some() => return None,
        (Value::Scalar(own), Value::Scalar(taken)) => Value::Scalar(own.checked_sub(*taken)?),
        (Value::Ranges(own), Value::Ranges(taken)) => Value::Ranges(own.subtract(taken)),
        (Value::Set(own), Value::Set(taken)) => Value::Set(own.subtract(taken)),
        // The agent made something else of the name: what is held has no part in it.
        (Value::Scalar(_) | Value::Ranges(_) | Value::Set(_), _) => return Some(own.clone()),
    };
    // None if nothing is left of it.
    Resource::from_parts(ResourceParts {
        value,
        ..own.clone().into_parts()
    })
    .ok()
}

/// Returns what is left of `total` without what each of the holders has of it.
pub(super) fn free<'a>(
    total: &Resources,
    holders: impl IntoIterator<Item = &'a Resources>,
) -> Resources {
    holders
        .into_iter()
        .fold(total.clone(), |rest, held| without(&rest, held))
}

/// Returns which of the holders, the eldest first, have to give up what they hold for the others to fit
/// into `total`; the youngest first.
///
/// Only those are chosen that hold something of which there is too little, and none that could stay
/// beside all who do.
pub(super) fn plan_giving_up(total: &Resources, holders: &[Resources]) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut staying: Vec<bool> = vec![true; holders.len()];
    for index in (0..holders.len()).rev() {
        let short = shortage(total, holders, &staying);
        if short.is_empty() {
            break;
        }
        // Who holds nothing of what is short would give it up for nothing.
        if without(&short, &holders[index]) != short {
            staying[index] = false;
            chosen.push(index);
        }
    }
    // The eldest that were chosen had to go for the sake of those before them, and some of the younger
    // may fit into what they leave.
    let mut spared = Vec::new();
    for &index in chosen.iter().rev() {
        staying[index] = true;
        if shortage(total, holders, &staying).is_empty() {
            spared.push(index);
        } else {
            staying[index] = false;
        }
    }
    chosen.retain(|index| !spared.contains(index));
    chosen
}

/// Returns what those who stay hold beyond the total.
fn shortage(total: &Resources, holders: &[Resources], staying: &[bool]) -> Resources {
    let mut rest = total.clone();
    let mut short = Resources::new();
    for (held, stays) in holders.iter().zip(staying) {
        if *stays {
            let beyond = without(held, &rest);
            rest = without(&rest, held);
            // What cannot be counted together is short all the same: the first of it stands for it.
            short = short.checked_add(&beyond).unwrap_or(short);
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(text: &str) -> Resources {
        let resources: Resources = text.parse().expect("resources");
        resources.to_revocable().expect("nothing is reserved")
    }

    fn giving_up(total: &str, holders: &[&str]) -> Vec<usize> {
        let holders: Vec<Resources> = holders.iter().map(|text| resources(text)).collect();
        plan_giving_up(&resources(total), &holders)
    }

    #[test]
    fn nobody_gives_up_what_fits() {
        assert_eq!(giving_up("cpus:4", &["cpus:1", "cpus:3"]), [0_usize; 0]);
        assert_eq!(giving_up("cpus:4", &[]), [0_usize; 0]);
    }

    #[test]
    fn the_youngest_gives_up_first() {
        assert_eq!(giving_up("cpus:2", &["cpus:1", "cpus:1", "cpus:1"]), [2]);
        assert_eq!(giving_up("cpus:1", &["cpus:1", "cpus:1", "cpus:1"]), [2, 1]);
    }

    #[test]
    fn who_holds_nothing_of_what_is_short_keeps_it() {
        assert_eq!(
            giving_up("cpus:1;mem:64", &["cpus:2", "mem:32", "mem:32"]),
            [0]
        );
    }

    #[test]
    fn nobody_gives_up_what_fits_beside_those_who_stay() {
        // The third fits once the second is gone.
        assert_eq!(giving_up("cpus:4", &["cpus:3", "cpus:2", "cpus:1"]), [1]);
    }

    #[test]
    fn all_give_up_when_nothing_is_left() {
        assert_eq!(giving_up("", &["cpus:1", "mem:1"]), [1, 0]);
    }

    #[test]
    fn numbers_are_short_as_well() {
        assert_eq!(
            giving_up("ports:[1-10]", &["ports:[1-5]", "ports:[6-12]"]),
            [1]
        );
    }
}

//! Capabilities: the parts that root's power is divided into, and giving them up.

use std::fmt;
use std::io;

pub use caps::Capability;
use caps::{CapSet, CapsHashSet};

use nix::errno::Errno;

use crate::user::UserError;

/// Reads a name as in `NET_RAW`, in either case, with or without `CAP_`.
pub fn parse(name: &str) -> Result<Capability, CapabilityError> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") {
        upper
    } else {
        format!("CAP_{upper}")
    };
    full.parse().map_err(
        |_unknown: caps::errors::CapsError| CapabilityError::Unknown {
            name: name.to_owned(),
        },
    )
}

/// Returns the name in the form that [`parse`] documents.
pub fn name(capability: Capability) -> String {
    capability.to_string().trim_start_matches("CAP_").to_owned()
}

/// Leaves the calling thread and all that it will ever execute with `kept` and nothing else, as the user given.
///
/// Afterwards the permitted, effective, inheritable, ambient and bounding sets are exactly `kept`. To be called by
/// a process of one thread, as root.
pub fn become_user_with(
    uid: u32,
    gid: u32,
    groups: &[u32],
    kept: &[Capability],
) -> Result<(), CapabilityError> {
    let kept_set: CapsHashSet = kept.iter().copied().collect();
    let fail = |step: Step| move |source| CapabilityError::Change { step, source };
    // The bounding set first: dropping from it takes CAP_SETPCAP, which the user no longer has.
    limit_bounding(&kept_set).map_err(|source| CapabilityError::Bounding { source })?;
    // Otherwise the change of user would clear what is to be kept.
    nix::sys::prctl::set_keepcaps(true).map_err(|errno| CapabilityError::Keep {
        source: errno.into(),
    })?;
    crate::user::become_user(uid, gid, groups)
        .map_err(|source| CapabilityError::User { source })?;
    nix::sys::prctl::set_keepcaps(false).map_err(|errno| CapabilityError::Keep {
        source: errno.into(),
    })?;
    // Effective before permitted, which must contain it; inheritable before ambient, likewise.
    caps::set(None, CapSet::Effective, &kept_set).map_err(fail(Step::Effective))?;
    caps::set(None, CapSet::Inheritable, &kept_set).map_err(fail(Step::Inheritable))?;
    caps::set(None, CapSet::Ambient, &kept_set).map_err(fail(Step::Ambient))?;
    caps::set(None, CapSet::Permitted, &kept_set).map_err(fail(Step::Permitted))
}

/// Drops every capability but `kept` from the bounding set, those that only a newer kernel knows as well.
fn limit_bounding(kept: &CapsHashSet) -> io::Result<()> {
    let kept: u64 = kept.iter().map(|capability| capability.bitmask()).sum();
    for number in (0..u64::BITS).filter(|number| kept & (1 << number) == 0) {
        // SAFETY: the call takes integers.
        let result =
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
        match Errno::result(result) {
            Ok(_) => {}
            // From here on the kernel knows none.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Which set could not be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What is in force.
    Effective,
    /// What an exec passes on to privileged files.
    Inheritable,
    /// What an exec passes on to any file.
    Ambient,
    /// What can be put in force.
    Permitted,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Effective => "effective",
            Self::Inheritable => "inheritable",
            Self::Ambient => "ambient",
            Self::Permitted => "permitted",
        })
    }
}

/// Why capabilities are not as asked.
#[derive(Debug, thiserror::Error)]
pub enum CapabilityError {
    /// There is none of that name.
    #[error("there is no capability {name:?}: names are as in `NET_RAW`")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The kernel refuses a change.
    #[error(
        "cannot change the {step} capabilities: does this process itself have those that it is to pass on?"
    )]
    Change {
        /// Which set.
        step: Step,
        /// The kernel's answer.
        source: caps::errors::CapsError,
    },
    /// The kernel lets more be gained than was granted.
    #[error("cannot limit the capabilities that can ever be gained: that takes CAP_SETPCAP")]
    Bounding {
        /// The system's answer.
        source: io::Error,
    },
    /// They would be lost with the change of user.
    #[error("cannot keep capabilities over a change of user")]
    Keep {
        /// The system's answer.
        source: io::Error,
    },
    /// The user stays.
    #[error("cannot give up root")]
    User {
        /// Why not.
        source: UserError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_form_and_printed_in_one() {
        for text in ["NET_RAW", "net_raw", "CAP_NET_RAW", "cap_net_raw"] {
            assert_eq!(parse(text).unwrap(), Capability::CAP_NET_RAW);
        }
        assert_eq!(name(Capability::CAP_NET_BIND_SERVICE), "NET_BIND_SERVICE");
        assert!(
            parse("EVERYTHING")
                .unwrap_err()
                .to_string()
                .contains("EVERYTHING")
        );
        assert!(parse("").is_err());
    }

    #[test]
    fn whatever_is_read_prints_to_a_name_that_reads_back() {
        let check = |text: &str| match parse(text) {
            Ok(capability) => {
                let printed = name(capability);
                assert_eq!(parse(&printed).unwrap(), capability);
                let upper = text.to_ascii_uppercase();
                assert_eq!(printed, upper.strip_prefix("CAP_").unwrap_or(&upper));
            }
            Err(error) => assert!(error.to_string().contains(&format!("{text:?}")), "{error}"),
        };
        let all: Vec<Capability> = caps::all().into_iter().collect();
        bolero::check!()
            .with_type::<(String, u8, u8, u64)>()
            .with_iterations(2000)
            .for_each(|(text, which, prefix, capitals)| {
                check(text);
                let capability = all[usize::from(*which) % all.len()];
                let prefix = ["", "CAP_", "CAP_CAP_", "C"][usize::from(prefix % 4)];
                let likely: String = format!("{prefix}{}", name(capability))
                    .char_indices()
                    .map(|(index, letter)| match capitals >> (index % 64) & 1 {
                        0 => letter.to_ascii_lowercase(),
                        _ => letter,
                    })
                    .collect();
                check(&likely);
                assert_eq!(
                    parse(&likely).is_ok(),
                    matches!(prefix, "" | "CAP_"),
                    "{likely}"
                );
            });
    }
}

//! Users: who a task runs as, found by name or number, and becoming that user.

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, getgrouplist, setgroups, setresgid, setresuid};

/// A user that exists, or one given by numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name; the number where the node knows no name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
}

/// Finds `name`, `uid`, `name:group`, `uid:gid` or any mixture.
///
/// A number needs no entry in the node's user database if a group is given as well. A group that is given takes
/// the place of the user's own and of its supplementary ones.
pub fn look_up(text: &str) -> Result<User, UserError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let fail = |source: Errno| UserError::Database {
        text: text.to_owned(),
        source: source.into(),
    };
    let gid = match group {
        None => None,
        Some(group) => match group.parse() {
            Ok(gid) => Some(gid),
            Err(_name) => {
                let entry = Group::from_name(group).map_err(fail)?;
                Some(
                    entry
                        .ok_or_else(|| UserError::NoGroup {
                            group: group.to_owned(),
                        })?
                        .gid
                        .as_raw(),
                )
            }
        },
    };
    let entry = match user.parse() {
        Ok(uid) => nix::unistd::User::from_uid(Uid::from_raw(uid)).map_err(fail)?,
        Err(_name) => nix::unistd::User::from_name(user).map_err(fail)?,
    };
    match (entry, user.parse::<u32>(), gid) {
        (Some(entry), _, Some(gid)) => Ok(User {
            name: entry.name,
            uid: entry.uid.as_raw(),
            gid,
            groups: vec![],
        }),
        (Some(entry), _, None) => {
            let name = CString::new(entry.name.as_str()).map_err(|_nul| fail(Errno::EINVAL))?;
            let groups = getgrouplist(&name, entry.gid).map_err(fail)?;
            let groups = groups
                .into_iter()
                .filter(|gid| *gid != entry.gid)
                .map(Gid::as_raw)
                .collect();
            Ok(User {
                name: entry.name,
                uid: entry.uid.as_raw(),
                gid: entry.gid.as_raw(),
                groups,
            })
        }
        (None, Ok(uid), Some(gid)) => Ok(User {
            name: uid.to_string(),
            uid,
            gid,
            groups: vec![],
        }),
        (None, Ok(uid), None) => Err(UserError::NoGroupFor { uid }),
        (None, Err(_), _) => Err(UserError::NoUser {
            user: user.to_owned(),
        }),
    }
}

/// Makes the calling process that user's, real, effective and saved. There is no way back.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), UserError> {
    // setresuid(2) takes the highest number for "no change": the process would stay root, and say that it is not.
    if uid == u32::MAX || gid == u32::MAX {
        return Err(UserError::Become {
            uid,
            gid,
            source: Errno::EINVAL.into(),
        });
    }
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    // Groups first: a plain user may not change them.
    let attempt = || -> nix::Result<()> {
        setgroups(&groups)?;
        setresgid(group, group, group)?;
        setresuid(user, user, user)
    };
    attempt().map_err(|errno| UserError::Become {
        uid,
        gid,
        source: errno.into(),
    })
}

/// Why there is no such user, or why this process cannot become it.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The node does not know the user.
    #[error("there is no user {user:?} on this node: create it, or give numbers as `1000:1000`")]
    NoUser {
        /// The name given.
        user: String,
    },
    /// The node does not know the group.
    #[error("there is no group {group:?} on this node: create it, or give its number")]
    NoGroup {
        /// The name given.
        group: String,
    },
    /// A number that the node has no entry for.
    #[error("this node knows no group for the user {uid}: give one, as in `{uid}:{uid}`")]
    NoGroupFor {
        /// The number given.
        uid: u32,
    },
    /// The user database fails.
    #[error("cannot look up {text:?} in the user database: does `getent passwd` work?")]
    Database {
        /// What was looked for.
        text: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The process stays who it is.
    #[error("cannot become user {uid} of group {gid}: that takes root")]
    Become {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
        /// The system's answer.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_in_every_form() {
        let root = User {
            name: "root".into(),
            uid: 0,
            gid: 0,
            groups: vec![],
        };
        assert_eq!(look_up("root").unwrap(), root);
        assert_eq!(look_up("0").unwrap(), root);
        assert_eq!(look_up("root:root").unwrap(), root);
        assert_eq!(look_up("0:7").unwrap(), User { gid: 7, ..root });
        let unknown = User {
            name: "60123".into(),
            uid: 60123,
            gid: 60124,
            groups: vec![],
        };
        assert_eq!(look_up("60123:60124").unwrap(), unknown);
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert!(
            matches!(look_up("no-such-user"), Err(UserError::NoUser { user }) if user == "no-such-user")
        );
        assert!(
            matches!(look_up("root:no-such-group"), Err(UserError::NoGroup { group }) if group == "no-such-group")
        );
        assert!(matches!(
            look_up("60123"),
            Err(UserError::NoGroupFor { uid: 60123 })
        ));
        assert!(look_up("").is_err());
        assert!(look_up("-1:0").is_err());
    }

    #[test]
    fn numbers_are_that_user_and_any_text_is_one_or_an_error() {
        const PIECES: [&str; 8] = ["root", ":", "0", "1", "60123", "-", "+", "\0"];
        bolero::check!()
            .with_type::<(u32, u32, Vec<u8>, String)>()
            .with_iterations(300)
            .for_each(|(uid, gid, choices, text)| {
                let user = look_up(&format!("{uid}:{gid}")).unwrap();
                assert_eq!((user.uid, user.gid), (*uid, *gid));
                assert!(user.groups.is_empty());
                let pieces = choices.iter().take(4);
                let likely: String = pieces.map(|b| PIECES[usize::from(b % 8)]).collect();
                for text in [text, &likely] {
                    // What is found is found again by its numbers.
                    if let Ok(found) = look_up(text) {
                        let again = look_up(&format!("{}:{}", found.uid, found.gid)).unwrap();
                        assert_eq!(again.name, found.name, "{text:?}");
                    }
                }
            });
    }

    #[test]
    fn nobody_becomes_the_number_that_means_no_change() {
        for (uid, gid) in [(u32::MAX, 1), (1, u32::MAX)] {
            assert!(matches!(
                become_user(uid, gid, &[]),
                Err(UserError::Become { .. })
            ));
        }
    }
}

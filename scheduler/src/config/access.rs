//! `[access]`: who may do what, by the principal in the certificate.
//!
//! Rules allow, and none takes away what another allows. Whoever is named by a rule may do what the
//! rules that name it allow, and nothing else; whoever is named by none may do what `otherwise` says.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use weir_protocol::Line;
use weir_resources::{Principal, Role};

/// How "any" is written, as in Mesos.
const ANY: &str = "*";

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// What counts for whom no rule names.
    pub otherwise: Otherwise,
    /// Rules for frameworks.
    pub frameworks: Vec<FrameworkRule>,
    /// Rules for operators.
    pub operators: Vec<OperatorRule>,
}

/// What counts for a principal that no rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// Whoever has a certificate may do everything.
    Allow,
    /// Nothing.
    Refuse,
}

/// What some frameworks may do.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameworkRule {
    /// Which frameworks.
    pub principals: Subject<Principal>,
    /// The roles that the rest is about.
    pub roles: Subject<Role>,
    /// Whether they may reserve, and take back what they have reserved.
    #[serde(default)]
    pub reserve: bool,
    /// Whether they may create volumes.
    #[serde(default)]
    pub create: bool,
    /// Whether they may destroy volumes, with what is on them.
    #[serde(default)]
    pub destroy: bool,
    /// As whom they may run tasks, beside whom the agent chooses.
    #[serde(default)]
    pub users: Users,
}

/// What some operators may do.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorRule {
    /// Which operators.
    pub principals: Subject<Principal>,
    /// The roles that the rest is about.
    #[serde(default)]
    pub roles: Subject<Role>,
    /// What they may do.
    pub powers: BTreeSet<Power>,
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// See what there is.
    List,
    /// Reserve for a role.
    Reserve,
    /// Take back what was reserved for a role, by whomever.
    Unreserve,
    /// Create volumes of a role.
    Create,
    /// Destroy volumes of a role.
    Destroy,
    /// Set the weight of a role.
    SetWeight,
    /// Drain agents.
    Drain,
    /// Remove agents.
    Remove,
    /// Kill tasks of a role.
    Kill,
    /// Tear down frameworks of a role.
    Teardown,
}

/// Some of many: named, or any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Subject<T> {
    /// Any of them: `["*"]`.
    #[default]
    Any,
    /// These.
    These(BTreeSet<T>),
}

/// As whom tasks may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// As anybody, root included: `["*"]`.
    Any,
    /// As these.
    These(BTreeSet<String>),
}

impl AccessConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &["otherwise", "frameworks", "operators"];
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self {
            // A certificate of the cluster's own authority is what lets anybody in; rules are for
            // clusters that are shared.
            otherwise: Otherwise::Allow,
            frameworks: Vec::new(),
            operators: Vec::new(),
        }
    }
}

impl<T: Ord> Subject<T> {
    /// Returns whether `one` is among them.
    pub fn includes(&self, one: &T) -> bool {
        match self {
            Self::Any => true,
            Self::These(these) => these.contains(one),
        }
    }
}

impl Users {
    /// Returns whether tasks may run as `user`.
    ///
    /// Whom the agent chooses is its administrator's choice, and always allowed.
    pub fn include(&self, user: Option<&Line>) -> bool {
        match (self, user) {
            (Self::Any, _) | (Self::These(_), None) => true,
            (Self::These(these), Some(user)) => these.contains(user.as_str()),
        }
    }
}

impl Default for Users {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl<'de, T: Ord + std::str::FromStr<Err: fmt::Display>> Deserialize<'de> for Subject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(texts) = any_or(deserializer)? else {
            return Ok(Self::Any);
        };
        let parse = |text: String| text.parse().map_err(D::Error::custom);
        let these: BTreeSet<T> = texts.into_iter().map(parse).collect::<Result<_, _>>()?;
        if these.is_empty() {
            return Err(D::Error::custom(
                "an empty list is about nobody; name some, or write [\"*\"] for any",
            ));
        }
        Ok(Self::These(these))
    }
}

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(texts) = any_or(deserializer)? else {
            return Ok(Self::Any);
        };
        let check =
            |text: String| match Line::<{ weir_protocol::bounds::LINE_BYTES_MAX }>::new(&text) {
                Ok(_) => Ok(text),
                Err(error) => Err(D::Error::custom(format_args!(
                    "{text:?} is not a user: {error}"
                ))),
            };
        Ok(Self::These(
            texts.into_iter().map(check).collect::<Result<_, _>>()?,
        ))
    }
}

/// Reads a list of texts, or `None` for `["*"]`.
fn any_or<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if !texts.iter().any(|text| text == ANY) {
        return Ok(Some(texts));
    }
    if texts.len() > 1 {
        return Err(D::Error::custom(
            "\"*\" beside other names says the same as \"*\" alone; write one or the other",
        ));
    }
    Ok(None)
}

//! What can be wrong with the fields of a message.

use std::fmt;

use weir_resources::{
    AddError, AttributeError, ItemTwice, LabelsError, RangeError, RangesOverlap, Resource,
    ResourceError, WordError,
};

use crate::hello::NoVersions;
use crate::id::IdError;
use crate::resource::{EstimateError, ResourceSetError};
use crate::task::CommandError;
use crate::text::TextError;

/// Says which field of a message is wrong, what stands in it, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The innermost first.
    path: Vec<Segment>,
    problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    Field(&'static str),
    Index(usize),
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A field that must be there.
    #[error("it is missing")]
    Missing,
    /// A list that must name something.
    #[error("it is empty")]
    Empty,
    /// An enum's number that this version does not have.
    #[error("{number} is no {what} of this version")]
    UnknownNumber {
        /// The enum.
        what: &'static str,
        /// The number.
        number: i32,
    },
    /// A number outside its bounds.
    #[error("{value} is not within {min} to {max}")]
    OutOfRange {
        /// The number.
        value: u64,
        /// The lowest that is taken.
        min: u64,
        /// The highest that is taken.
        max: u64,
    },
    /// More entries than the bound.
    #[error("{count} entries are too many; at most {max}")]
    TooMany {
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// More bytes than the bound.
    #[error("{bytes} bytes on the wire are too many; at most {max}")]
    TooLong {
        /// How many.
        bytes: usize,
        /// How many there may be.
        max: usize,
    },
    /// A field that means something only beside another.
    #[error("it is there without `{other}`")]
    Alone {
        /// The field that is missing.
        other: &'static str,
    },
    /// Two fields that must say the same.
    #[error("it is `{here}`, and `{other}` is `{there}`")]
    Disagree {
        /// What stands here.
        here: String,
        /// The other field.
        other: &'static str,
        /// What stands there.
        there: String,
    },
    /// No address of a node.
    #[error("{text:?} is no IPv4 or IPv6 address")]
    Address {
        /// What it is.
        text: String,
    },
    /// A resource in an offer of the other kind.
    #[error("`{resource}` is not of the kind of the offer")]
    OtherKind {
        /// The resource.
        resource: Resource,
    },
    /// A resource in a total that no node has by itself.
    #[error("`{resource}` is not unreserved or statically reserved, as a node's total is")]
    NotOwn {
        /// The resource.
        resource: Resource,
    },
    /// A text that is none.
    #[error(transparent)]
    Text(#[from] TextError),
    /// An id that is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The name of a role, a principal, a volume or a resource that is none.
    #[error(transparent)]
    Word(#[from] WordError),
    /// A resource that is none.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// Resources that no node can have together.
    #[error(transparent)]
    Together(#[from] AddError),
    /// A range that runs backwards.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Ranges that overlap.
    #[error(transparent)]
    Overlap(#[from] RangesOverlap),
    /// An item that is there twice.
    #[error(transparent)]
    ItemTwice(#[from] ItemTwice),
    /// Labels that are none.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// Attributes that are none.
    #[error(transparent)]
    Attributes(#[from] AttributeError),
    /// A command that cannot be run anywhere.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A set that is none.
    #[error(transparent)]
    Set(#[from] ResourceSetError),
    /// An estimate that is none.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
    /// A range of versions that is none.
    #[error(transparent)]
    Versions(#[from] NoVersions),
}

impl Invalid {
    /// Returns where it is, in the words of the schema: `accept.operations[2].launch.tasks[0].name`.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for segment in self.path.iter().rev() {
            match segment {
                Segment::Field(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
                Segment::Index(index) => {
                    path.push('[');
                    path.push_str(&index.to_string());
                    path.push(']');
                }
            }
        }
        path
    }

    /// Returns what is wrong.
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Returns what to do about it.
    pub const fn remedy(&self) -> &'static str {
        match &self.problem {
            Problem::Missing | Problem::Alone { .. } => "set the field",
            Problem::Empty => "name at least one",
            Problem::UnknownNumber { .. } => {
                "use the numbers of the protocol version that was agreed on; the greeting says which"
            }
            Problem::OutOfRange { .. } => "keep to the bounds, and check the unit: times are in ms",
            Problem::TooMany { .. } | Problem::TooLong { .. } => "say it in several calls",
            Problem::Disagree { .. } => "say the same in both fields",
            Problem::Address { .. } => "write the address as `192.0.2.7` or `2001:db8::7`",
            Problem::OtherKind { .. } => {
                "offer regular and revocable resources apart from each other"
            }
            Problem::NotOwn { .. } => {
                "name what operations have made in the checkpointed set, and what is lent in the \
                 estimate"
            }
            Problem::Text(_) => "shorten the text, or leave the character out",
            Problem::Id(_) => "use the id as it was given",
            Problem::Word(_) => "use another name",
            Problem::Resource(_) | Problem::Together(_) => {
                "name each resource as the offer or the listing does"
            }
            Problem::Range(_) | Problem::Overlap(_) | Problem::ItemTwice(_) => {
                "name each number and each item once, the lower end of a range first"
            }
            Problem::Labels(_) | Problem::Attributes(_) => "use each name once",
            Problem::Command(_) => "change the command",
            Problem::Set(error) => error.remedy(),
            Problem::Estimate(_) => "lend revocable resources, for a time above zero",
            Problem::Versions(_) => "name the lowest version first; versions count from 1",
        }
    }

    fn within(mut self, segment: Segment) -> Self {
        self.path.push(segment);
        self
    }
}

impl<P: Into<Problem>> From<P> for Invalid {
    fn from(problem: P) -> Self {
        Self {
            path: Vec::new(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, problem } = self;
        if path.is_empty() {
            write!(f, "{problem}")
        } else {
            write!(f, "field `{}`: {problem}", self.path())
        }
    }
}

impl std::error::Error for Invalid {}

/// Says in which field an error arose.
pub(crate) trait At<T> {
    /// Puts the name of a field before the path.
    fn at(self, field: &'static str) -> Result<T, Invalid>;
}

impl<T, E: Into<Invalid>> At<T> for Result<T, E> {
    fn at(self, field: &'static str) -> Result<T, Invalid> {
        self.map_err(|error| error.into().within(Segment::Field(field)))
    }
}

/// Returns what is there.
pub(crate) fn required<T>(value: Option<T>) -> Result<T, Problem> {
    value.ok_or(Problem::Missing)
}

/// Converts what is there.
pub(crate) fn optional<T, U, E>(
    value: Option<T>,
    convert: impl FnOnce(T) -> Result<U, E>,
) -> Result<Option<U>, E> {
    value.map(convert).transpose()
}

/// Returns `value` if it is within its bounds.
pub(crate) fn within(value: u64, min: u64, max: u64) -> Result<u64, Problem> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(Problem::OutOfRange { value, min, max })
    }
}

/// Converts every entry of a list of at most `max`.
pub(crate) fn each<T, U, E: Into<Invalid>>(
    items: Vec<T>,
    max: usize,
    mut convert: impl FnMut(T) -> Result<U, E>,
) -> Result<Vec<U>, Invalid> {
    if items.len() > max {
        return Err(Problem::TooMany {
            count: items.len(),
            max,
        }
        .into());
    }
    let entry =
        |(index, item)| convert(item).map_err(|error| error.into().within(Segment::Index(index)));
    items.into_iter().enumerate().map(entry).collect()
}

/// Converts every entry of a list of at least one and at most `max`.
pub(crate) fn each_of_some<T, U, E: Into<Invalid>>(
    items: Vec<T>,
    max: usize,
    convert: impl FnMut(T) -> Result<U, E>,
) -> Result<Vec<U>, Invalid> {
    if items.is_empty() {
        return Err(Problem::Empty.into());
    }
    each(items, max, convert)
}

/// An enum that is a number on the wire.
pub(crate) trait Enumeration: Sized {
    /// Returns the value of a number; 0 is a field that is missing.
    fn from_number(number: i32) -> Result<Self, Problem>;

    /// Returns the number.
    fn number(self) -> i32;

    /// Returns the value of a number, or `None` for 0.
    fn from_number_or_none(number: i32) -> Result<Option<Self>, Problem> {
        match number {
            0 => Ok(None),
            number => Self::from_number(number).map(Some),
        }
    }
}

/// Pairs the variants of an enum with those on the wire; both matches are exhaustive.
macro_rules! enumeration {
    ($own:ty, $wire:ident, $unspecified:ident { $($variant:ident = $wired:ident),+ $(,)? }) => {
        impl $crate::invalid::Enumeration for $own {
            fn from_number(number: i32) -> Result<Self, $crate::invalid::Problem> {
                match $crate::wire::$wire::try_from(number) {
                    Ok($crate::wire::$wire::$unspecified) => Err($crate::invalid::Problem::Missing),
                    $(Ok($crate::wire::$wire::$wired) => Ok(Self::$variant),)+
                    Err(_unknown) => Err($crate::invalid::Problem::UnknownNumber {
                        what: stringify!($wire),
                        number,
                    }),
                }
            }

            fn number(self) -> i32 {
                match self {
                    $(Self::$variant => $crate::wire::$wire::$wired.into(),)+
                }
            }
        }
    };
}

pub(crate) use enumeration;

//! Single words that mean something.

use std::str::FromStr;

use weir_protocol::operator::Weight;
use weir_protocol::{IdError, TaskId, TaskKey};
use weir_resources::Amount;

use super::TaskReference;

/// What a task is called: a word that its id begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskName(TaskId);

/// The longest name in bytes: a task id holds it with a random part behind.
const NAME_BYTES_MAX: usize = 64;

impl TaskName {
    /// Returns the name that a program suggests: its last component, as far as it can be a name.
    pub(crate) fn of_program(program: &str) -> Self {
        let file = program.rsplit('/').next().unwrap_or_default();
        let mut name: String = file
            .chars()
            .filter(|character| character.is_ascii_alphanumeric() || "-_".contains(*character))
            .take(NAME_BYTES_MAX)
            .collect();
        while name.starts_with(['-', '_']) {
            name.remove(0);
        }
        Self(TaskId::new(&name).unwrap_or_else(|_nothing_left| {
            TaskId::new("task").expect("it is a word of four letters")
        }))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for TaskName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() > NAME_BYTES_MAX {
            return Err(IdError::TooLong {
                what: "the name of a task",
                length: text.len(),
                max: NAME_BYTES_MAX,
            });
        }
        TaskId::new(text).map(Self)
    }
}

pub(super) fn parse_task(text: &str) -> Result<TaskReference, String> {
    let task = |id| TaskId::new(id).map_err(|error| error.to_string());
    match text.split_once('/') {
        None => task(text).map(TaskReference::Id),
        Some((framework, id)) => {
            let framework = framework
                .parse()
                .map_err(|error: IdError| error.to_string())?;
            Ok(TaskReference::Whole(TaskKey {
                framework,
                task: task(id)?,
            }))
        }
    }
}

pub(super) fn parse_weight(text: &str) -> Result<Weight, String> {
    let amount: Amount = text.parse().map_err(|error| format!("{error}"))?;
    Weight::new(amount).ok_or_else(|| "a weight is above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_program_suggests_a_name() {
        let name = |program| TaskName::of_program(program).as_str().to_owned();
        assert_eq!(name("./server"), "server");
        assert_eq!(name("/usr/bin/python3.12"), "python312");
        assert_eq!(name("-x"), "x");
        assert_eq!(name("/"), "task");
        assert_eq!(name("ä"), "task");
        assert_eq!(name(&"x".repeat(300)).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn a_task_is_named_with_its_framework_or_without() {
        assert_eq!(
            parse_task("web.1"),
            Ok(TaskReference::Id(TaskId::new("web.1").unwrap()))
        );
        let whole = parse_task("aaaaaaaaaaaaaaaaaaaaaaaaab/web.1").unwrap();
        assert!(matches!(whole, TaskReference::Whole(_)));
        assert!(parse_task("f/web.1").unwrap_err().contains("framework id"));
        assert!(parse_task("a b").is_err());
    }

    #[test]
    fn a_weight_is_above_nothing() {
        assert_eq!(parse_weight("2.5").unwrap().to_string(), "2.5");
        assert!(parse_weight("0").unwrap_err().contains("above 0"));
        assert!(parse_weight("-1").is_err());
    }
}

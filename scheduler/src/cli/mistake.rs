//! What was typed makes no sense: what is wrong with it, and what would do.

use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _};

use super::args::Cli;
use super::exit::Failure;

/// Returns what to say of words that make no command, or nothing if what was asked for is help.
///
/// Pure. `words` are all that were typed, without the program's name.
pub(crate) fn failure_of(error: &clap::Error, words: &[String]) -> Option<Failure> {
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    (!is_help).then(|| Failure::usage(said_of(error), remedy_for(words)))
}

/// Returns what clap says, without its own hint at the help.
fn said_of(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text
        .split_once("\n\nFor more information")
        .map_or(text, |(said, _)| said);
    text.trim_end().to_owned()
}

/// Returns the first example of the command that was begun, and where to read on.
fn remedy_for(words: &[String]) -> String {
    let mut root = Cli::command();
    root.build();
    let mut command = &root;
    let mut name = "weir".to_owned();
    for word in words.iter().take_while(|word| *word != "--") {
        if let Some(next) = command.find_subcommand(word) {
            command = next;
            name = format!("{name} {}", next.get_name());
        }
    }
    match first_example(command) {
        Some(example) => format!("{example}\n     (`{name} --help` shows all there is)"),
        None => format!("`{name} --help` shows all there is"),
    }
}

fn first_example(command: &Command) -> Option<String> {
    let help = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())?
        .to_string();
    let (_, examples) = help.split_once("Examples:\n")?;
    // What stands behind three blanks explains.
    let example = examples.lines().next()?.trim_start().split("   ").next()?;
    Some(example.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::exit::Exit;

    fn lines(words: &str) -> String {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let typed = ["weir".to_owned()].into_iter().chain(words.clone());
        let error = Cli::try_parse_from(typed).unwrap_err();
        let failure = failure_of(&error, &words).unwrap();
        assert_eq!(failure.exit, Exit::Usage);
        failure.lines()
    }

    #[test]
    fn what_would_do_is_shown() {
        assert_eq!(
            lines("weight db 0"),
            "weir: invalid value '0' for '<WEIGHT>': a weight is above 0\n\
             try: weir weight db 2.5\n     (`weir weight --help` shows all there is)"
        );
        assert_eq!(
            lines("volume create --agent n1 --role db --size 1 a/b")
                .lines()
                .nth(1),
            Some("try: weir volume create --agent n1 --role db --size 10240 pgdata")
        );
        assert_eq!(
            lines("agentz").lines().last(),
            Some("     (`weir --help` shows all there is)")
        );
    }

    #[test]
    fn a_command_behind_two_dashes_is_the_tasks() {
        let said = lines("run --cpus x -- agents");
        assert!(said.contains("weir run --help"), "{said}");
    }

    #[test]
    fn help_is_no_mistake() {
        for words in [vec!["weir", "--help"], vec!["weir"], vec!["weir", "-V"]] {
            let error = Cli::try_parse_from(words).unwrap_err();
            assert!(failure_of(&error, &[]).is_none());
        }
    }
}

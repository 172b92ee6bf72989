//! The help is what was reviewed, and complete.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;

use super::*;

/// Set to write the files anew instead of comparing.
const REWRITE: &str = "WEIR_REWRITE_GOLDEN";

/// Every command that people are shown, with the words before it, the groups of commands too.
fn commands() -> Vec<(String, clap::Command)> {
    fn walk(path: &str, command: &clap::Command, found: &mut Vec<(String, clap::Command)>) {
        found.push((path.to_owned(), command.clone()));
        let shown = command.get_subcommands().filter(|next| !next.is_hide_set());
        for next in shown {
            walk(&format!("{path}-{}", next.get_name()), next, found);
        }
    }
    let mut root = Cli::command();
    root.build();
    let mut found = Vec::new();
    walk("weir", &root, &mut found);
    found
}

#[test]
fn the_words_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_is_what_was_reviewed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let mut pages = Vec::new();
    for (name, mut command) in commands() {
        let page = command.render_long_help().to_string();
        let path = directory.join(format!("{name}.txt"));
        if std::env::var_os(REWRITE).is_some() {
            fs::create_dir_all(&directory).unwrap();
            fs::write(&path, &page).unwrap();
        }
        let reviewed = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            page, reviewed,
            "the help of {name} has changed; if that is meant, run this test with {REWRITE}=1"
        );
        pages.push(format!("{name}.txt"));
    }
    for entry in fs::read_dir(&directory).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        assert!(pages.contains(&file), "{file} is the help of no command");
    }
}

#[test]
fn every_command_shows_examples_that_are_commands() {
    for (name, command) in commands() {
        let long = command
            .get_after_long_help()
            .or_else(|| command.get_after_help());
        let text = long.map(ToString::to_string).unwrap_or_default();
        let (_, examples) = text
            .split_once("Examples:\n")
            .unwrap_or_else(|| panic!("{name} has no examples"));
        let words = name.replace("weir-remove-agent", "weir remove-agent");
        let words = if words.contains(' ') {
            words
        } else {
            words.replace('-', " ")
        };
        assert!(examples.contains(&words), "{name} has no example of itself");
        for line in examples.lines().filter(|line| line.starts_with("  weir ")) {
            let line = line.split([';', '|', '>', '"']).next().unwrap_or_default();
            // What stands behind two blanks explains; quotes are the shell's.
            let line = line.trim_start().split("   ").next().unwrap_or_default();
            if line.contains('\'') {
                continue;
            }
            let parsed = Cli::try_parse_from(line.split_whitespace());
            let incomplete = line.ends_with("kill ");
            assert!(parsed.is_ok() || incomplete, "{line}: {:?}", parsed.err());
        }
    }
}

#[test]
fn options_of_the_connection_may_stand_anywhere() {
    for words in [
        ["weir", "--scheduler", "a:1", "agents"],
        ["weir", "agents", "--scheduler", "a:1"],
    ] {
        let cli = Cli::try_parse_from(words).unwrap();
        assert_eq!(cli.connection.scheduler.as_deref(), Some("a:1"));
    }
}

#[test]
fn what_makes_no_sense_is_refused_where_it_stands() {
    for (words, said) in [
        ("weir reserve --agent n1 --role db cpus:-1", "position"),
        ("weir reserve --agent n1 cpus:1", "--role"),
        ("weir weight db 0", "above 0"),
        ("weir kill a/b", "framework id"),
        ("weir run", "ARGV"),
        ("weir run --json -- true", "--detach"),
        ("weir run --grace 5 -- true", "no duration"),
        ("weir certs revoke agent", "<NAME>"),
        ("weir certs revoke", "<KIND>"),
        ("weir certs issue robot r1", "kind of peer"),
        ("weir certs issue agent n1 --days 0", "number of days"),
        ("weir certs init --bare --agent n1", "cannot be used"),
    ] {
        let error = Cli::try_parse_from(words.split(' '))
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{words}: {error}");
    }
}

//! The last results of each benchmark, in `ci/benchmarks.md`, between marks of its own.

use std::fs;
use std::io;

use anyhow::{Context as _, Result};

use crate::command::{command, read};
use crate::tree;

const FILE: &str = "ci/benchmarks.md";

const HEAD: &str = "# What Weir costs

Written by `cargo xtask bench`, one section a benchmark. Numbers depend on the machine: compare those of one run with each
other, and ratios with those of another.
";

/// Puts the tables of a benchmark where its last ones are, with what they were measured on.
pub(super) fn write(benchmark: &str, command_line: &str, tables: &str) -> Result<()> {
    let path = tree::root().join(FILE);
    let file = match fs::read_to_string(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => HEAD.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {FILE}")),
    };
    let section = format!(
        "## {benchmark}\n\n{}\n{tables}",
        circumstances(command_line)?
    );
    fs::write(&path, replace(&file, benchmark, &section)?)
        .with_context(|| format!("cannot write {FILE}"))?;
    println!("kept in {FILE}");
    Ok(())
}

/// Returns the file with the section between the marks of a benchmark, at the end where it has none.
fn replace(file: &str, benchmark: &str, section: &str) -> Result<String> {
    let (begin, end) = (
        format!("<!-- begin {benchmark} -->"),
        format!("<!-- end {benchmark} -->"),
    );
    let section = format!("{begin}\n{}\n{end}\n", section.trim_end());
    let Some((before, rest)) = file.split_once(&begin) else {
        return Ok(format!("{}\n\n{section}", file.trim_end()));
    };
    let (_, after) = rest.split_once(&end).with_context(|| {
        format!("{FILE} has `{begin}` and no `{end}`: write it where the tables end")
    })?;
    Ok(format!(
        "{before}{section}{}",
        after.strip_prefix('\n').unwrap_or(after)
    ))
}

/// Returns what one has to know to compare.
fn circumstances(command_line: &str) -> Result<String> {
    let date = read(command("date").args(["--utc", "--iso-8601=minutes"]))?;
    let kernel = read(command("uname").args(["--kernel-release", "--machine"]))?;
    let processors = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    let memory = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let kibibytes: u64 = value(&memory, "MemTotal")
        .and_then(|text| text.trim_end_matches(" kB").parse().ok())
        .context("/proc/meminfo has no MemTotal")?;
    let count = processors
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    Ok(format!(
        "| | |
| --- | --- |
| command | `{command_line}` |
| when | {date} |
| revision | {revision} |
| machine | {count} × {model}, {gibibytes} GiB |
| kernel | {kernel} |
",
        date = date.trim(),
        revision = tree::revision(),
        model = value(&processors, "model name").unwrap_or("an unnamed processor"),
        gibibytes = (kibibytes + 512 * 1024) / (1024 * 1024),
        kernel = kernel.trim(),
    ))
}

/// Returns the value of the first line `name : value`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_put_at_the_end_and_then_replaced_where_it_is() {
        let one = replace("# head\n", "one", "first").unwrap();
        assert_eq!(
            one,
            "# head\n\n<!-- begin one -->\nfirst\n<!-- end one -->\n"
        );
        let two = replace(&one, "two", "other\n").unwrap();
        let again = replace(&two, "one", "second\n\n").unwrap();
        assert_eq!(
            again,
            "# head\n\n<!-- begin one -->\nsecond\n<!-- end one -->\n\n<!-- begin two -->\nother\n<!-- end two -->\n"
        );
        assert_eq!(replace(&again, "one", "second").unwrap(), again);
    }

    #[test]
    fn a_section_without_an_end_is_left_alone() {
        assert!(replace("<!-- begin one -->\nprecious\n", "one", "new").is_err());
    }

    #[test]
    fn values_are_found_by_their_whole_name() {
        assert_eq!(
            value("model\t: 1\nmodel name\t: AMD EPYC\n", "model name"),
            Some("AMD EPYC")
        );
        assert_eq!(value("MemTotal:  100 kB\n", "MemTotal"), Some("100 kB"));
        assert_eq!(value("", "x"), None);
    }
}

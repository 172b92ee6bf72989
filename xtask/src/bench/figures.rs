//! Figures that benchmarks say line by line, over several rounds.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// What one line says.
#[derive(Deserialize)]
struct Line {
    name: String,
    value: f64,
}

/// By name, a figure of each round.
#[derive(Debug, Default)]
pub(super) struct Figures(BTreeMap<String, Vec<f64>>);

impl Figures {
    /// Takes the lines of one run.
    pub(super) fn read(&mut self, output: &str) -> Result<()> {
        for line in output.lines().filter(|line| line.starts_with('{')) {
            let Line { name, value } = serde_json::from_str(line)
                .with_context(|| format!("the benchmark said `{line}`"))?;
            self.0.entry(name).or_default().push(value);
        }
        Ok(())
    }

    /// Returns the middle one of a figure.
    pub(super) fn median(&self, name: &str) -> Result<f64> {
        let mut values = self.rounds(name)?.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        Ok(values[(values.len() - 1) / 2])
    }

    /// Returns the median of a figure as a table has it, with the least and the most in brackets.
    pub(super) fn text(&self, name: &str, digits: usize) -> Result<String> {
        let values = self.rounds(name)?;
        let (least, most) = values
            .iter()
            .fold((f64::MAX, f64::MIN), |(least, most), &value| {
                (least.min(value), most.max(value))
            });
        let median = number(self.median(name)?, digits);
        Ok(match values.len() {
            1 => median,
            _ => format!(
                "{median} ({}–{})",
                number(least, digits),
                number(most, digits)
            ),
        })
    }

    fn rounds(&self, name: &str) -> Result<&[f64]> {
        let values = self.0.get(name).filter(|values| !values.is_empty());
        Ok(values.with_context(|| format!("no benchmark has said `{name}`"))?)
    }
}

/// Returns a number with commas among its thousands.
pub(super) fn number(value: f64, digits: usize) -> String {
    let plain = format!("{value:.digits$}");
    let (whole, rest) = plain
        .find('.')
        .map_or((&plain[..], ""), |point| plain.split_at(point));
    let (sign, whole) = match whole.strip_prefix('-') {
        Some(whole) => ("-", whole),
        None => ("", whole),
    };
    let mut text = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// Writes a table in Markdown, its columns as wide as they must be.
pub(super) fn table(title: &str, about: &str, rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = format!("### {title}\n\n{about}\n\n");
    for (index, row) in rows.iter().enumerate() {
        for (cell, &width) in row.iter().zip(&widths) {
            text += &format!("| {cell:width$} ");
        }
        text += "|\n";
        if index == 0 {
            for &width in &widths {
                text += &format!("| {:-<width$} ", "");
            }
            text += "|\n";
        }
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_gathered_by_name_and_other_lines_passed_over() {
        let mut figures = Figures::default();
        for value in ["3.5", "1", "2000"] {
            let line =
                format!("warming up\n{{\"name\":\"a\",\"value\":{value},\"unit\":\"ms\"}}\n");
            figures.read(&line).unwrap();
        }
        assert_eq!(figures.median("a").unwrap(), 3.5);
        assert_eq!(figures.text("a", 1).unwrap(), "3.5 (1.0–2,000.0)");
        assert!(figures.median("b").is_err());
        assert!(figures.read("{\"name\":1}").is_err());
    }

    #[test]
    fn thousands_are_parted() {
        assert_eq!(number(327_418.4, 0), "327,418");
        assert_eq!(number(999.0, 0), "999");
        assert_eq!(number(-1_234.56, 1), "-1,234.6");
    }
}

//! Debian's changelogs, as far as a package is dated and numbered by them.

use anyhow::{Context as _, Result};

/// The newest entry (deb-changelog(5)).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Newest<'a> {
    pub(super) package: &'a str,
    pub(super) version: &'a str,
    /// As of RFC 5322.
    pub(super) date: &'a str,
}

/// Returns the newest entry of a changelog.
pub(super) fn newest(text: &str) -> Result<Newest<'_>> {
    let (package, rest) = text
        .lines()
        .next()
        .and_then(|heading| heading.split_once(" ("))
        .context("the first line is not `package (version) distribution; urgency=...`")?;
    let (version, _) = rest
        .split_once(')')
        .context("the version in the first line has no end")?;
    let date = text
        .lines()
        .find_map(|line| line.strip_prefix(" -- "))
        .and_then(|trailer| trailer.split_once(">  "))
        .map(|(_, date)| date.trim())
        .context("no line ` -- name <address>  date` ends the first entry")?;
    Ok(Newest {
        package,
        version,
        date,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entry_names_package_version_and_date() {
        let text = "weir (2.0) unstable; urgency=medium\n\n  * News.\n\n \
                    -- A B <a@b>  Mon, 23 Nov 2026 00:00:00 +0000\n\n\
                    weir (1.0) unstable; urgency=low\n\n -- A B <a@b>  Sun, 01 Nov 2026 00:00:00 +0000\n";
        assert_eq!(
            newest(text).unwrap(),
            Newest {
                package: "weir",
                version: "2.0",
                date: "Mon, 23 Nov 2026 00:00:00 +0000",
            }
        );
    }

    #[test]
    fn what_is_no_changelog_is_refused() {
        for text in [
            "",
            "weir 2.0\n",
            "weir (2.0\n",
            "weir (2.0) unstable; urgency=low\n",
        ] {
            assert!(newest(text).is_err(), "{text:?}");
        }
    }
}

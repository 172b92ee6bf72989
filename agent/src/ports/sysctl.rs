//! The text of the kernel's port sysctls, under `/proc/sys/net/ipv4/` for both address families.

use std::borrow::Cow;

use weir_resources::{PortParseError, PortRange, PortRangeError, PortSet};

/// Says why the text of a sysctl is not what the kernel prints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SysctlTextError {
    /// Not two numbers.
    #[error("ip_local_port_range holds `{text}`, not two ports")]
    NotTwoPorts {
        /// What it holds.
        text: String,
    },
    /// Two numbers that are no range.
    #[error("ip_local_port_range holds `{text}`: {reason}")]
    NoRange {
        /// What it holds.
        text: String,
        /// What is wrong with it.
        reason: PortRangeError,
    },
    /// A list that cannot be read.
    #[error("ip_local_reserved_ports cannot be read: {reason}")]
    Reserved {
        /// What is wrong with it.
        reason: PortParseError,
    },
}

/// Reads `ip_local_port_range`: two numbers with white space between them.
pub fn parse_local_port_range(text: &str) -> Result<PortRange, SysctlTextError> {
    let text = text.trim();
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u16>);
    let (Some(Ok(first)), Some(Ok(last)), None) = (numbers.next(), numbers.next(), numbers.next())
    else {
        return Err(SysctlTextError::NotTwoPorts {
            text: text.to_owned(),
        });
    };
    PortRange::new(first, last).map_err(|reason| SysctlTextError::NoRange {
        text: text.to_owned(),
        reason,
    })
}

/// The content of `ip_local_reserved_ports`: what the kernel does not choose by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedPorts {
    /// As it was read, to be written back as it was found.
    text: String,
    ports: PortSet,
}

impl ReservedPorts {
    /// The longest text that the kernel takes in one write: `proc_do_large_bitmap` stops reading at
    /// a page less one byte, and what comes after would be lost without an error.
    pub const TEXT_BYTES_MAX: usize = 4095;

    /// Reads what the kernel prints.
    pub fn parse(text: &str) -> Result<Self, SysctlTextError> {
        let text = text.trim();
        // The kernel's bitmap has a bit for port 0, which reserves nothing: it is kept in the text
        // to be restored, and is not a port of the set.
        // As many characters take its place, so that errors name positions of this text.
        let ports = match text.split_once(',') {
            None if text == "0" => Cow::Borrowed(""),
            Some(("0", rest)) => Cow::Owned(format!("  {rest}")),
            None | Some(_) => match text.strip_prefix("0-") {
                Some(rest) => Cow::Owned(format!("1-{rest}")),
                None => Cow::Borrowed(text),
            },
        };
        let ports = ports.parse();
        match ports {
            Ok(ports) => Ok(Self {
                text: text.to_owned(),
                ports,
            }),
            Err(reason) => Err(SysctlTextError::Reserved { reason }),
        }
    }

    /// Returns the text as it was read: what to write to restore it.
    ///
    /// For no ports it is empty, and the kernel takes no empty write: a line feed alone clears the
    /// list.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the ports that are reserved.
    pub fn ports(&self) -> &PortSet {
        &self.ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_the_kernel_is_read() {
        let range = parse_local_port_range("32768\t60999\n").unwrap();
        assert_eq!(range.to_string(), "32768-60999");
        for (text, message) in [
            ("", "ip_local_port_range holds ``, not two ports"),
            ("1 2 3", "ip_local_port_range holds `1 2 3`, not two ports"),
            (
                "1 70000",
                "ip_local_port_range holds `1 70000`, not two ports",
            ),
            (
                "9\t8\n",
                "ip_local_port_range holds `9\t8`: range 9-8 runs backwards; write 8-9",
            ),
        ] {
            let error = parse_local_port_range(text).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn reserved_ports_are_read_and_kept_as_they_were() {
        for (text, ports) in [
            ("\n", ""),
            ("8080,9148\n", "8080,9148"),
            ("30720-32767\n", "30720-32767"),
            ("0\n", ""),
            ("0,8080\n", "8080"),
            ("0-5,8080\n", "1-5,8080"),
        ] {
            let reserved = ReservedPorts::parse(text).unwrap();
            assert_eq!(reserved.ports().to_string(), ports, "for {text:?}");
            assert_eq!(reserved.text(), text.trim());
        }
        assert_eq!(
            ReservedPorts::parse("80;81").unwrap_err().to_string(),
            "ip_local_reserved_ports cannot be read: \
             expected `,`, `-` or the end at position 3, found `;`"
        );
    }

    #[test]
    fn what_the_kernel_prints_is_read_as_it_is_meant() {
        bolero::check!()
            .with_type::<(Vec<(u16, u8)>, [u16; 2])>()
            .with_iterations(1000)
            .for_each(|(starts, ends)| {
                // Ascending with gaps, port 0 perhaps among them: proc_do_large_bitmap() in kernel/sysctl.c.
                let mut printed = Vec::new();
                let mut ports = std::collections::BTreeSet::new();
                let mut starts = starts.clone();
                starts.sort_unstable();
                let mut free = 0_u32;
                for (start, length) in starts {
                    let (first, last) =
                        (u32::from(start), u32::from(start) + u32::from(length % 8));
                    if first < free || last > 65535 {
                        continue;
                    }
                    printed.push(if first == last {
                        first.to_string()
                    } else {
                        format!("{first}-{last}")
                    });
                    ports.extend(first.max(1)..=last);
                    free = last + 2;
                }
                let text = printed.join(",") + "\n";
                let reserved = ReservedPorts::parse(&text).unwrap();
                assert_eq!(reserved.text(), text.trim());
                let read = reserved.ports().iter().map(u32::from);
                assert!(read.eq(ports.iter().copied()), "{text:?}");

                let [first, last] = *ends;
                match parse_local_port_range(&format!("{first}\t{last}\n")) {
                    Ok(range) => assert_eq!((range.first(), range.last()), (first, last)),
                    Err(error) => assert!(first == 0 || last < first, "{error}"),
                }
            });
    }

    #[test]
    fn any_text_is_ports_or_an_error_with_a_place_in_it() {
        const PIECES: [&str; 10] = ["0", "0,", "0-", ",", "-", "1", "65535", "80", " ", "x"];
        bolero::check!()
            .with_type::<(String, Vec<u8>)>()
            .with_iterations(2000)
            .for_each(|(text, choices)| {
                let pieces = choices.iter().take(8).map(|b| PIECES[usize::from(b % 10)]);
                let likely: String = pieces.collect();
                for text in [text, &likely] {
                    match ReservedPorts::parse(text) {
                        Ok(reserved) => {
                            // What is written to restore it reads back.
                            assert_eq!(
                                ReservedPorts::parse(reserved.text()).as_ref(),
                                Ok(&reserved)
                            );
                            for number in text.split(|c: char| !c.is_ascii_digit()) {
                                if let Ok(port @ 1..) = number.parse() {
                                    assert!(reserved.ports().contains(port), "{text:?}");
                                }
                            }
                        }
                        Err(SysctlTextError::Reserved { reason }) => {
                            assert_is_in(text.trim(), &reason);
                        }
                        Err(other) => panic!("{other} is of another file"),
                    }
                    drop(parse_local_port_range(text));
                }
            });
    }

    fn assert_is_in(text: &str, reason: &PortParseError) {
        use weir_resources::PortParseError::{LeadingZero, Range, TooLarge, Unexpected};
        let (Unexpected { position, .. }
        | TooLarge { position, .. }
        | LeadingZero { position, .. }
        | Range { position, .. }) = reason;
        let place = text.chars().nth(position - 1);
        match reason {
            Unexpected { .. } => {
                let found = place.map_or_else(
                    || "the end of the text".to_owned(),
                    |character| format!("`{}`", character.escape_debug()),
                );
                assert!(reason.to_string().ends_with(&found), "{reason} in {text:?}");
            }
            TooLarge { .. } | LeadingZero { .. } | Range { .. } => {
                assert!(
                    place.is_some_and(|c| c.is_ascii_digit()),
                    "{reason} in {text:?}"
                );
            }
        }
    }
}

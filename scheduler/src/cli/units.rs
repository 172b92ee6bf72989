//! Quantities as people say them.

use weir_protocol::{Millis, UnixMs};
use weir_resources::{Amount, ResourceName, Resources};

/// The units above MiB, in which memory and disk are counted.
const BINARY: [&str; 4] = ["M", "G", "T", "P"];

/// Returns so many MiB in the largest unit of which there are ten, or exactly so many.
pub(crate) fn mebibytes(amount: Amount) -> String {
    let (mut whole, mut unit) = (amount.whole(), 0);
    if whole == 0 {
        return if amount.is_zero() {
            "0".to_owned()
        } else {
            format!("{amount}M")
        };
    }
    while unit + 1 < BINARY.len() && (whole.is_multiple_of(1024) || whole >= 10 * 1024) {
        whole /= 1024;
        unit += 1;
    }
    format!("{whole}{}", BINARY[unit])
}

/// Returns a part and the whole of it.
pub(crate) fn of(part: &str, whole: &str) -> String {
    format!("{part}/{whole}")
}

/// Returns what is used of a scalar, and how much there is.
pub(crate) fn used_of(used: &Resources, total: &Resources, name: &ResourceName) -> String {
    let text = |resources: &Resources| scalar(name, resources.amount(name.as_str()));
    of(&text(used), &text(total))
}

/// Returns an amount in the unit of its name.
pub(crate) fn scalar(name: &ResourceName, amount: Amount) -> String {
    if *name == ResourceName::MEM || *name == ResourceName::DISK {
        mebibytes(amount)
    } else {
        amount.to_string()
    }
}

/// Returns the time between two moments in its largest unit.
pub(crate) fn age(since: UnixMs, now: UnixMs) -> String {
    let seconds = now.0.saturating_sub(since.0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Returns the moment by this host's clock.
pub(crate) fn now() -> UnixMs {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Reads a duration: a number with ms, s, m, h or d.
pub(crate) fn parse_millis(text: &str) -> Result<Millis, String> {
    let wanted = || format!("`{text}` is no duration; write 500ms, 30s, 5m, 2h or 7d");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wanted()),
    };
    let number: u64 = number.parse().map_err(|_not_a_number| wanted())?;
    match number.checked_mul(factor) {
        Some(millis) if millis <= weir_protocol::bounds::DURATION_MS_MAX => Ok(Millis(millis)),
        Some(_) | None => Err(format!("`{text}` is longer than a year")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_even_ones_exact() {
        let text = |whole: u64| mebibytes(Amount::from_whole(whole).unwrap());
        assert_eq!(text(0), "0");
        assert_eq!(text(512), "512M");
        assert_eq!(text(1024), "1G");
        assert_eq!(text(1500), "1500M");
        assert_eq!(text(102_400), "100G");
        assert_eq!(text(16_385), "16G");
        assert_eq!(text(1024 * 1024), "1T");
        assert_eq!(mebibytes(Amount::from_thousandths(500)), "0.5M");
        assert_eq!(mebibytes(Amount::MAX), "17179869P");
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(parse_millis("500ms"), Ok(Millis(500)));
        assert_eq!(parse_millis("0s"), Ok(Millis(0)));
        assert_eq!(parse_millis("2h"), Ok(Millis(7_200_000)));
        for wrong in ["", "5", "s", "-1s", "1.5s", "1w", "1 s"] {
            assert!(
                parse_millis(wrong).unwrap_err().contains("no duration"),
                "{wrong}"
            );
        }
        assert!(parse_millis("366d").unwrap_err().contains("a year"));
        assert!(parse_millis("99999999999999999999d").is_err());
        assert!(parse_millis("18446744073709551615d").is_err());
    }

    #[test]
    fn ages_are_in_their_largest_unit() {
        assert_eq!(age(UnixMs(0), UnixMs(61_000)), "1m");
        assert_eq!(age(UnixMs(5), UnixMs(0)), "0s");
        assert_eq!(age(UnixMs(0), UnixMs(3 * 86_400_000)), "3d");
    }
}

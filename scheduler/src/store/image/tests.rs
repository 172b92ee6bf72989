//! Rows and their bytes.

use crate::ledger::Row;
use crate::store::image;
use crate::store::samples::row;

fn decode(row: &Row, bytes: &[u8]) -> Result<Row, String> {
    match row {
        Row::Agent(_) => image::agent(bytes),
        Row::RemovedAgent(_) => image::removed_agent(bytes),
        Row::Framework(_) => image::framework(bytes),
        Row::EndedFramework(_) => image::ended_framework(bytes),
        Row::Task(_) => image::task(bytes),
        Row::Errand(_) => image::errand(bytes),
        Row::Answer(_) => image::answer(bytes),
        Row::Weight { .. } => image::weight(bytes),
    }
}

#[test]
fn every_row_reads_back() {
    for kind in 0..9 {
        for (number, version) in [(0, 0), (1, 1), (2, 2), (3, 5)] {
            let row = row(kind, number, version);
            assert_eq!(decode(&row, &image::encode(&row)), Ok(row));
        }
    }
}

/// The bytes of former versions are in databases, so these stay. Lines are added for what is new.
#[test]
fn the_bytes_of_rows_of_every_kind_are_what_they_were() {
    let golden = include_str!("rows.txt").lines();
    let golden = golden.filter(|line| !line.starts_with('#'));
    let mut now = Vec::new();
    for kind in 0..9 {
        // Of each variant that a row of the kind has.
        for (number, version) in [(1, 0), (2, 1), (3, 2)] {
            let row = row(kind, number, version);
            let bytes = image::encode(&row);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            now.push((format!("{kind} {number} {version} {hex}"), row, bytes));
        }
    }
    let written: Vec<&str> = now.iter().map(|(line, ..)| line.as_str()).collect();
    assert_eq!(
        golden.collect::<Vec<_>>(),
        written,
        "\n{}",
        written.join("\n")
    );
    for (_, row, bytes) in &now {
        assert_eq!(decode(row, bytes).as_ref(), Ok(row));
    }
}

#[test]
fn any_bytes_are_a_row_or_an_error_that_says_what_is_wrong() {
    let samples: Vec<(Row, Vec<u8>)> = (0..9)
        .map(|kind| row(kind, 2, 2))
        .map(|row| (row.clone(), image::encode(&row)))
        .collect();
    bolero::check!()
        .with_type::<(u8, u16, u8, Vec<u8>)>()
        .with_iterations(3000)
        .for_each(|(kind, at, xor, bytes)| {
            let (row, good) = &samples[usize::from(*kind) % samples.len()];
            let mut damaged = good.clone();
            let at = usize::from(*at) % damaged.len();
            damaged[at] ^= xor;
            for bytes in [&damaged, bytes, &good[..at].to_vec()] {
                if let Err(what) = decode(row, bytes) {
                    assert!(!what.is_empty());
                }
            }
        });
}

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

/// The bytes of former versions are in databases, so these stay.
#[test]
fn the_bytes_of_a_row_are_what_they_were() {
    let hex = |row: &Row| -> String {
        image::encode(row)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect()
    };
    assert_eq!(hex(&row(8, 1, 1)), "0a06726f6c652d311002");
    assert_eq!(
        hex(&row(1, 1, 5)),
        "0a1a616161616161616161616161616161616161616161616161616212026e3118052218697420776173\
         20617761790a666f7220746f6f206c6f6e67"
    );
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

//! Long lists are cut into portions that fit a frame each.

/// Returns `items` in portions, in their order: each of at most `count_max` entries, and of at most
/// `bytes_max` bytes unless it is a single entry.
pub fn pack<T>(
    items: Vec<T>,
    count_max: usize,
    bytes_max: usize,
    bytes: impl Fn(&T) -> usize,
) -> Vec<Vec<T>> {
    let mut portions: Vec<Vec<T>> = Vec::new();
    let mut filled = 0;
    for item in items {
        // With the tag and the length that stand before each entry.
        let size = bytes(&item) + ENTRY_OVERHEAD;
        match portions.last_mut() {
            Some(portion) if portion.len() < count_max && filled + size <= bytes_max => {
                portion.push(item);
                filled += size;
            }
            Some(_) | None => {
                portions.push(vec![item]);
                filled = size;
            }
        }
    }
    portions
}

/// The most bytes of a tag and a length before an entry of a list: a field below 16, and a length
/// below 2^28.
const ENTRY_OVERHEAD: usize = 1 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_keep_the_order_and_both_bounds() {
        let sizes = |portions: Vec<Vec<usize>>| portions;
        assert_eq!(
            sizes(pack(vec![10, 10, 10, 10], 3, 1000, |size| *size)),
            [vec![10, 10, 10], vec![10]]
        );
        assert_eq!(
            sizes(pack(vec![10, 10, 10], 100, 30, |size| *size)),
            [vec![10, 10], vec![10]]
        );
        assert!(pack(Vec::<usize>::new(), 3, 30, |size| *size).is_empty());
    }

    #[test]
    fn an_entry_beyond_the_bound_is_alone() {
        assert_eq!(
            pack(vec![1, 100, 1], 10, 30, |size| *size),
            [vec![1], vec![100], vec![1]]
        );
    }
}

//! Choices, made by bytes.

/// Reads choices off bytes; when they are used up every choice is the first.
#[derive(Debug)]
pub(crate) struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// Returns a number from `min` to `max`, often one of the two.
    pub(crate) fn number(&mut self, min: u64, max: u64) -> u64 {
        match self.byte() % 4 {
            0 => min,
            1 => max,
            2 => min + u64::from(self.byte()).min(max - min),
            _ => {
                let bytes = [(); 8].map(|()| self.byte());
                let span = u128::from(max - min) + 1;
                let offset = u128::from(u64::from_le_bytes(bytes)) % span;
                min + u64::try_from(offset).unwrap()
            }
        }
    }

    pub(crate) fn number_u32(&mut self, min: u32, max: u32) -> u32 {
        u32::try_from(self.number(min.into(), max.into())).unwrap()
    }

    pub(crate) fn bits(&mut self) -> u128 {
        u128::from(self.number(0, u64::MAX)) << 64 | u128::from(self.number(0, u64::MAX))
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    pub(crate) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flip().then(|| make(self))
    }

    /// Returns none to three of something.
    pub(crate) fn list<T>(&mut self, make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        self.at_least(0, make)
    }

    /// Returns one to four of something.
    pub(crate) fn some<T>(&mut self, make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        self.at_least(1, make)
    }

    fn at_least<T>(&mut self, least: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = least + self.below(4);
        (0..count).map(|_| make(self)).collect()
    }
}

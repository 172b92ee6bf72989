//! Slabs: things called by small numbers, which are given again when the things are gone.

/// Things called by small numbers.
///
/// Agents, frameworks and roles have long names outside; inside they are numbers, so that sets of them
/// are bits and finding one is an index.
#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Puts a thing in, and returns what it is called from now on.
    pub(super) fn insert(&mut self, thing: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self.slots[index as usize] = Some(thing);
            return index;
        }
        let index = u32::try_from(self.slots.len())
            .expect("four billion agents or frameworks do not fit into memory");
        self.slots.push(Some(thing));
        index
    }

    /// Takes a thing out; its number may be given again.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let thing = self.slots.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(thing)
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    /// Returns the bound of all numbers given so far.
    pub(super) fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("numbers are given below this")
    }

    /// Goes through all things in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    /// Returns a thing that is there; numbers of things that are gone are a bug of the caller.
    fn index(&self, index: u32) -> &T {
        self.get(index)
            .expect("the number is that of a thing in the slab")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index)
            .expect("the number is that of a thing in the slab")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_again() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!(slab.remove(a), Some("a"));
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.get(a), None);
        assert_eq!(slab.insert("c"), a);
        assert_eq!(slab[b], "b");
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(0, &"c"), (1, &"b")]);
    }
}

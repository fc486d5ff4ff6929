//! Names that are known beforehand, found by one look.
//!
//! The names come from contracts, so nobody can choose them to collide; a plain hash does, and it
//! is a fraction of the cost of a keyed one.

/// What each of some names stands for.
#[derive(Debug)]
pub(super) struct Names<T> {
    /// Places in `entries`, at the hash of their names or behind it.
    slots: Box<[u32]>,
    entries: Box<[(Box<str>, T)]>,
}

/// Nothing has this place.
const EMPTY: u32 = u32::MAX;

impl<T: Copy> Names<T> {
    /// Of several entries of a name the first counts.
    pub(super) fn new(named: impl IntoIterator<Item = (impl Into<Box<str>>, T)>) -> Self {
        let named: Vec<(Box<str>, T)> =
            named.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let room = (named.len() * 2).next_power_of_two().max(2);
        let mut names = Self { slots: vec![EMPTY; room].into(), entries: Box::default() };
        let mut entries: Vec<(Box<str>, T)> = Vec::with_capacity(named.len());
        for (name, value) in named {
            let mut at = names.first(&name);
            let place = loop {
                match names.slots.get(at).copied() {
                    Some(EMPTY) => break u32::try_from(entries.len()).ok(),
                    Some(taken)
                        if entries.get(taken as usize).map(|entry| &*entry.0) == Some(&*name) =>
                    {
                        break None;
                    }
                    _ => at = names.next(at),
                }
            };
            if let (Some(place), Some(slot)) =
                (place.filter(|place| *place != EMPTY), names.slots.get_mut(at))
            {
                *slot = place;
                entries.push((name, value));
            }
        }
        names.entries = entries.into();
        names
    }

    /// What a name stands for.
    #[inline]
    pub(super) fn get(&self, name: &str) -> Option<T> {
        let mut at = self.first(name);
        loop {
            let (known, value) = self.entries.get(*self.slots.get(at)? as usize)?;
            if same(known.as_bytes(), name.as_bytes()) {
                return Some(*value);
            }
            at = self.next(at);
        }
    }

    /// What the first name stands for that differs in the case of its letters alone.
    pub(super) fn get_ignoring_case(&self, name: &str) -> Option<T> {
        let entry = self.entries.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        entry.map(|(_, value)| *value)
    }

    #[inline]
    fn first(&self, name: &str) -> usize {
        hash(name.as_bytes()) as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

/// Half of the slots are empty, so a few steps find a name or that it is not there. Eight bytes are taken at
/// once, the last of them for the second time where they are not a multiple of eight.
#[inline]
fn hash(name: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(MIX);
    let words = name.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    step(words.fold(name.len() as u64, step), last(name)) >> 32
}

/// The last eight bytes as a number; all of them, and which, where there are less.
#[inline]
fn last(name: &[u8]) -> u64 {
    if let Some(last) = name.last_chunk::<8>() {
        return u64::from_le_bytes(*last);
    }
    if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first))
            | (u64::from(u32::from_le_bytes(*last)) << 32);
    }
    let byte = |at: usize| u64::from(name.get(at).copied().unwrap_or_default());
    byte(0) | (byte(name.len() / 2) << 8) | (byte(name.len().saturating_sub(1)) << 16)
}

/// Whether names are equal. Most are short: a call of `memcmp` would take longer.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    let words = || one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0);
    one.len() == other.len() && last(one) == last(other) && words().all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_one_byte_are_told_apart() {
        for length in 0..40 {
            let name = vec![b'a'; length];
            assert!(same(&name, &name));
            assert!(!same(&name, &vec![b'a'; length + 1]));
            for place in 0..length {
                let mut other = name.clone();
                other.iter_mut().skip(place).take(1).for_each(|byte| *byte = b'b');
                assert!(!same(&name, &other), "{place} of {length}");
            }
        }
    }

    #[test]
    fn names_are_found_and_the_first_of_equal_ones_counts() {
        let many: Vec<String> = (0..3000).map(|number| format!("field_number_{number}")).collect();
        let names = Names::new(many.iter().enumerate().map(|(place, name)| (name.clone(), place)));
        for (place, name) in many.iter().enumerate() {
            assert_eq!(names.get(name), Some(place), "{name}");
        }
        assert_eq!(names.get("field_number_3000"), None);
        assert_eq!(names.get("FIELD_NUMBER_7"), None);
        assert_eq!(names.get_ignoring_case("FIELD_NUMBER_7"), Some(7));
        assert_eq!(Names::new([("a", 1), ("a", 2)]).get("a"), Some(1));
        assert_eq!(Names::<u8>::new(Vec::<(String, u8)>::new()).get(""), None);
    }
}

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
            if **known == *name {
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

/// Half of the slots are empty, so a few steps find a name or that it is not there.
#[inline]
fn hash(name: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let (mut rest, mut hash) = (name, name.len() as u64);
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(MIX);
        rest = after;
    }
    let mut last = 0;
    for byte in rest {
        last = last << 8 | u64::from(*byte);
    }
    hash = (hash.rotate_left(5) ^ last).wrapping_mul(MIX);
    hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! A map that is read on every call and hardly ever grows: readers take no lock, who adds copies it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

/// Values by their keys, each made when it is first asked for, and kept for ever. For keys of which there
/// are few, such as services or methods.
pub(crate) struct Grown<K, V> {
    known: ArcSwap<HashMap<K, V>>,
    /// Held by who adds.
    adding: Mutex<()>,
}

impl<K, V> Default for Grown<K, V> {
    fn default() -> Self {
        Self { known: ArcSwap::from_pointee(HashMap::new()), adding: Mutex::default() }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Grown<K, V> {
    /// The value of a key, which `make` makes at most once.
    pub(crate) fn get<Q>(&self, key: &Q, make: impl FnOnce() -> V) -> V
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.known.load().get(key) {
            return value.clone();
        }
        let _turn = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = HashMap::clone(&self.known.load());
        // Somebody else may have added it meanwhile.
        if let Some(value) = known.get(key) {
            return value.clone();
        }
        let value = make();
        known.insert(key.to_owned(), value.clone());
        self.known.store(Arc::new(known));
        value
    }

    /// All that there are.
    pub(crate) fn all(&self) -> Arc<HashMap<K, V>> {
        self.known.load_full()
    }
}

impl<K, V> fmt::Debug for Grown<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Grown")
            .field("known", &self.known.load().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn what_many_threads_ask_for_is_made_once_and_stays() {
        let (grown, made) = (Grown::<String, usize>::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for number in 0..100 {
                        let make = || {
                            made.fetch_add(1, Ordering::SeqCst);
                            number
                        };
                        assert_eq!(grown.get(number.to_string().as_str(), make), number);
                    }
                });
            }
        });
        assert_eq!((made.load(Ordering::SeqCst), grown.all().len()), (100, 100));
    }

    #[test]
    fn a_reader_waits_for_nobody_who_adds() {
        let grown = Grown::<String, usize>::default();
        grown.get("known", || 1);
        grown.get("new", || grown.get("known", || 2));
        assert_eq!(grown.all()["new"], 1, "read while one was added");
    }
}

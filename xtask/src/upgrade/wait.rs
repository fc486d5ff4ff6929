//! Waiting, which Ctrl-C ends: so that what is on the servers is removed all the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

/// How often something is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on a signal to end ends the next wait.
pub(super) fn listen() -> anyhow::Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// A moment; an error if somebody wants this to end.
pub(super) fn pause() -> anyhow::Result<()> {
    let is_over = INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed));
    ensure!(!is_over, "interrupted");
    std::thread::sleep(INTERVAL);
    Ok(())
}

/// Looks until there is nothing to object to; what was objected last is the error.
pub(super) fn until(
    patience: Duration,
    mut objection: impl FnMut() -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let Some(objection) = objection()? else { return Ok(()) };
        if Instant::now() > deadline {
            bail!("{objection}, after {} s", patience.as_secs());
        }
        pause()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_objection_is_told() {
        let mut looks = 0;
        until(Duration::from_secs(10), || {
            looks += 1;
            Ok((looks < 3).then(|| "too early".to_owned()))
        })
        .unwrap();
        assert_eq!(looks, 3);
        let refused = until(Duration::ZERO, || Ok(Some("2 events wait".to_owned()))).unwrap_err();
        assert_eq!(refused.to_string(), "2 events wait, after 0 s");
    }
}

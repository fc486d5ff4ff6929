//! The machine below the run: what makes calls wait that neither version is to blame for.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::mesh::SERVICES;

/// Where Linux counts for how long processes have waited for a resource.
const PRESSURE: &str = "/proc/pressure";

/// The resources, and how a sentence calls them.
const RESOURCES: [(&str, &str); 3] = [("io", "the disk"), ("cpu", "a core"), ("memory", "memory")];

/// Has the disk done with what was built: what was written is flushed, and programs are in memory.
///
/// Otherwise databases wait with each commit until gigabytes of a build are written, and until programs
/// of a hundred megabytes are read, which on a slow disk is longer than a call may take.
pub(super) fn settle(folders: &[PathBuf]) {
    rustix::fs::sync();
    let read = |mut program: File| io::copy(&mut program, &mut io::sink());
    for folder in folders {
        for service in &SERVICES {
            // Why one cannot be read says whoever wants to run it.
            let _ = File::open(folder.join(service.binary)).and_then(read);
        }
    }
}

/// For how long processes of the machine have waited for each resource, since it was started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waited([Duration; RESOURCES.len()]);

impl Waited {
    /// Until now; nothing where the kernel does not count.
    pub(super) fn now() -> Self {
        let read = |resource: &str| std::fs::read_to_string(format!("{PRESSURE}/{resource}"));
        Self(RESOURCES.map(|(resource, _)| total(&read(resource).unwrap_or_default())))
    }

    /// Of this, what came after an earlier look.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index].saturating_sub(earlier.0[index])))
    }
}

impl fmt::Display for Waited {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("meanwhile somebody on this machine waited ")?;
        for (index, ((_, name), waited)) in RESOURCES.iter().zip(self.0).enumerate() {
            let between = ["", ", ", " and "][index];
            write!(formatter, "{between}{:.1} s for {name}", waited.as_secs_f64())?;
        }
        Ok(())
    }
}

/// `total` of the line `some`, which counts microseconds in which at least one process waited.
fn total(text: &str) -> Duration {
    let some = text.lines().find_map(|line| line.strip_prefix("some "));
    let total = some.and_then(|fields| fields.split(' ').find_map(|it| it.strip_prefix("total=")));
    Duration::from_micros(total.and_then(|it| it.parse().ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_waited_since_is_told_in_seconds() {
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(total(text), Duration::from_millis(2_500));
        assert_eq!(total(""), Duration::ZERO);
        let seconds = |each: [u64; 3]| Waited(each.map(Duration::from_secs));
        assert_eq!(
            seconds([14, 3, 0]).since(seconds([2, 3, 0])).to_string(),
            "meanwhile somebody on this machine waited 12.0 s for the disk, 0.0 s for a core and 0.0 s \
             for memory"
        );
    }
}

//! What the process spends its processor time on, as a profile for `pprof`.
//!
//! The crate `pprof` samples; the file format is written here, for its own writers bring a second prost or
//! a second protobuf library for the sake of six messages.

mod format;

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use pprof::{ProfilerGuard, ProfilerGuardBuilder, UnresolvedReport};
use prost::Message as _;

use format::{Function, Line, Location, Mapping, Profile, Sample, ValueType};

/// Samples for each second of processor time; no divisor of what programs do each 10 ms.
const HERTZ: i32 = 99;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Unwinding in these may wait for a lock that the interrupted code holds.
const NOT_UNWOUND: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// The function that takes a sample. It and what is above it are no part of the program.
const SAMPLER: &str = "perf_signal_handler";

/// Whether a profile is being taken: there is one timer in a process.
static TAKING: AtomicBool = AtomicBool::new(false);

/// The turn to take a profile, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Turn(());

impl Turn {
    /// `None` while another profile is taken.
    pub(crate) fn take() -> Option<Self> {
        let free = TAKING.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed);
        free.is_ok().then_some(Self(()))
    }

    /// Samples for so long, and returns a gzipped profile. Dropped, it ends at once.
    ///
    /// # Errors
    /// When the system does not let the process be sampled.
    pub(crate) async fn profile(self, lasting: Duration) -> anyhow::Result<Vec<u8>> {
        // The first time it reads what the binary says of its symbols, which takes a while of one core.
        let begin = move || anyhow::Ok(Sampling { guard: start()?, _turn: self });
        let sampling = tokio::task::spawn_blocking(begin).await??;
        tokio::time::sleep(lasting).await;
        // So does looking symbols up.
        tokio::task::spawn_blocking(move || sampling.finish()).await?
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TAKING.store(false, Ordering::Release);
    }
}

/// Samples until it is dropped, and only then gives its turn away.
struct Sampling {
    guard: ProfilerGuard<'static>,
    _turn: Turn,
}

impl Sampling {
    fn finish(self) -> anyhow::Result<Vec<u8>> {
        let report = self.guard.report().build_unresolved().context("the samples are lost")?;
        let mut file = GzEncoder::new(Vec::new(), Compression::default());
        file.write_all(&profile_of(&report).encode_to_vec())?;
        Ok(file.finish()?)
    }
}

fn start() -> anyhow::Result<ProfilerGuard<'static>> {
    let sampler = ProfilerGuardBuilder::default().frequency(HERTZ).blocklist(&NOT_UNWOUND);
    sampler.build().context("the process cannot be sampled")
}

fn profile_of(report: &UnresolvedReport) -> Profile {
    let mut writer = Writer::default();
    let period = NANOS_PER_SECOND / i64::from(HERTZ);
    for (stack, count) in &report.data {
        let addresses = stack.frames.iter().map(|frame| frame.ip() as u64);
        let mut locations: Vec<u64> = addresses.map(|address| writer.location(address)).collect();
        // What stands above the sampler is its own work, and below it is the system's way back.
        let sampler = locations.iter().position(|id| writer.samplers.contains(id));
        locations.drain(..sampler.map_or(0, |sampler| (sampler + 2).min(locations.len())));
        let count = i64::try_from(*count).unwrap_or_default();
        let value = vec![count, count.saturating_mul(period)];
        writer.samples.push(Sample { location_id: locations, value });
    }
    let begun = report.timing.start_time.duration_since(UNIX_EPOCH).unwrap_or_default();
    writer.finish(nanos(begun), nanos(report.timing.duration), period)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Collects what a profile is made of, each thing once.
#[derive(Default)]
struct Writer {
    strings: HashMap<String, i64>,
    samples: Vec<Sample>,
    locations: Vec<Location>,
    functions: Vec<Function>,
    location_ids: HashMap<u64, u64>,
    function_ids: HashMap<(i64, i64), u64>,
    /// The locations that are in the sampler itself.
    samplers: HashSet<u64>,
}

impl Writer {
    /// The id of an address, with the functions that are there: more than one where some are inlined.
    fn location(&mut self, address: u64) -> u64 {
        if let Some(id) = self.location_ids.get(&address) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        let mut lines = Vec::new();
        // The address is that of the return: the call stands before it.
        let call = address.saturating_sub(1) as *mut std::ffi::c_void;
        backtrace::resolve(call, |symbol| {
            let Some(name) = symbol.name() else { return };
            let name = format!("{name:#}");
            if name.ends_with(SAMPLER) {
                self.samplers.insert(id);
            }
            let file = symbol.filename().map(|file| file.to_string_lossy().into_owned());
            let line = i64::from(symbol.lineno().unwrap_or_default());
            let function_id = self.function(name, file.unwrap_or_default());
            lines.push(Line { function_id, line });
        });
        self.locations.push(Location { id, mapping_id: 0, address, line: lines });
        self.location_ids.insert(address, id);
        id
    }

    fn function(&mut self, name: String, file: String) -> u64 {
        let (name, filename) = (self.string(name), self.string(file));
        let next = self.functions.len() as u64 + 1;
        let id = *self.function_ids.entry((name, filename)).or_insert(next);
        if id == next {
            self.functions.push(Function { id, name, system_name: name, filename });
        }
        id
    }

    /// Its place in the table of strings, of which the first is empty.
    fn string(&mut self, text: impl Into<String>) -> i64 {
        if self.strings.is_empty() {
            self.strings.insert(String::new(), 0);
        }
        let next = i64::try_from(self.strings.len()).unwrap_or(i64::MAX);
        *self.strings.entry(text.into()).or_insert(next)
    }

    fn finish(mut self, time_nanos: i64, duration_nanos: i64, period: i64) -> Profile {
        let mut kind = |name: &str, unit: &str| ValueType {
            r#type: self.string(name),
            unit: self.string(unit),
        };
        let sample_type = vec![kind("samples", "count"), kind("cpu", "nanoseconds")];
        let period_type = Some(kind("cpu", "nanoseconds"));
        let mapping = self.mappings();
        for location in &mut self.locations {
            let holds = |mapping: &&Mapping| {
                (mapping.memory_start..mapping.memory_limit).contains(&location.address)
            };
            location.mapping_id = mapping.iter().find(holds).map_or(0, |mapping| mapping.id);
        }
        let mut strings: Vec<(String, i64)> = self.strings.into_iter().collect();
        strings.sort_by_key(|(_, place)| *place);
        Profile {
            sample_type,
            sample: self.samples,
            mapping,
            location: self.locations,
            function: self.functions,
            string_table: strings.into_iter().map(|(text, _)| text).collect(),
            time_nanos,
            duration_nanos,
            period_type,
            period,
        }
    }

    /// Which files the code came from and where it lies, so that addresses without a name can be looked up
    /// in a binary that has them.
    fn mappings(&mut self) -> Vec<Mapping> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mut mappings = Vec::new();
        for line in maps.lines() {
            let Some((range, offset, file)) = executable(line) else { continue };
            let filename = self.string(file);
            mappings.push(Mapping {
                id: mappings.len() as u64 + 1,
                memory_start: range.start,
                memory_limit: range.end,
                file_offset: offset,
                filename,
            });
        }
        mappings
    }
}

/// The addresses, the offset and the file of a line of `/proc/self/maps`, if code can run there.
fn executable(line: &str) -> Option<(Range<u64>, u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let may_run = words.next()?.contains('x');
    let offset = words.next()?;
    let file = words.nth(2).filter(|file| file.starts_with('/') && may_run)?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    Some((hex(start)?..hex(end)?, hex(offset)?, file))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use std::io::Read as _;
    use std::sync::Arc;

    use super::*;

    #[inline(never)]
    fn burn_in_the_profiled_test(done: &AtomicBool) -> u64 {
        let mut sum = 0_u64;
        while !done.load(Ordering::Relaxed) {
            sum = (0..10_000_u64).fold(sum, |sum, next| std::hint::black_box(sum ^ next));
        }
        sum
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_profile_names_who_was_at_work_and_there_is_one_at_a_time() {
        let turn = Turn::take().expect("nobody else profiles");
        assert!(Turn::take().is_none(), "its turn is taken");
        let done = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&done);
        let burning = tokio::task::spawn_blocking(move || burn_in_the_profiled_test(&until));
        let file = turn.profile(Duration::from_secs(1)).await.unwrap();
        done.store(true, Ordering::Relaxed);
        burning.await.unwrap();
        let mut message = Vec::new();
        flate2::read::GzDecoder::new(&*file).read_to_end(&mut message).unwrap();
        let profile = Profile::decode(&*message).unwrap();

        let text = |place: i64| profile.string_table[usize::try_from(place).unwrap()].as_str();
        assert_eq!(text(0), "", "so the format has it");
        assert_eq!(text(profile.sample_type[1].unit), "nanoseconds");
        let named = |name: &str| -> Vec<u64> {
            let functions = profile.function.iter().filter(|f| text(f.name).contains(name));
            let ids: Vec<u64> = functions.map(|function| function.id).collect();
            let there = |location: &&Location| {
                location.line.iter().any(|line| ids.contains(&line.function_id))
            };
            profile.location.iter().filter(there).map(|location| location.id).collect()
        };
        let (burners, samplers) = (named("burn_in_the_profiled_test"), named(SAMPLER));
        let sampled = |ids: &[u64]| -> i64 {
            let hit = |sample: &&Sample| sample.location_id.iter().any(|id| ids.contains(id));
            profile.sample.iter().filter(hit).map(|sample| sample.value[0]).sum()
        };
        assert!(sampled(&burners) > 10, "{} of {:?}", sampled(&burners), profile.sample);
        assert_eq!(sampled(&samplers), 0, "the sampler is no part of the program");
        assert!(profile.mapping.iter().any(|mapping| mapping.memory_limit > mapping.memory_start));
        assert!(Turn::take().is_some(), "the turn is free again");
    }

    #[test]
    fn only_files_with_code_are_mapped() {
        let code = "55d0-55f0 r-xp 00020000 fe:01 1234    /usr/bin/gateway";
        assert_eq!(executable(code), Some((0x55d0..0x55f0, 0x20000, "/usr/bin/gateway")));
        for other in
            ["55d0-55f0 r--p 00000000 fe:01 1234 /usr/bin/gateway", "7f-80 r-xp 0 0:0 0 [vdso]", ""]
        {
            assert_eq!(executable(other), None, "{other}");
        }
    }
}

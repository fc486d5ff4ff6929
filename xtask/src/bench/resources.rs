//! What processes use, beside what the chart gives them.

use std::fmt;

use anyhow::Context as _;
use serde_json::Value;

use crate::mesh::{SERVICES, Service};
use crate::summary::mebibytes;

/// So many reads a second a replica must serve with the CPU that it requests, on the machine that
/// measures.
const READS_PER_SECOND: f64 = 100.0;

/// The limit of memory leaves so many times what was used at most: it is there to end what leaks.
const ROOM: f64 = 2.0;

/// What one process used.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) service: &'static str,
    /// Cores that it uses while nobody calls.
    pub(super) idle_cores: f64,
    /// By the kind of call, the CPU time that it uses more for each.
    pub(super) seconds_per_call: Vec<(&'static str, f64)>,
    /// Bytes of memory at the end, and the most there ever were.
    pub(super) resident: u64,
    pub(super) peak: u64,
}

impl Measured {
    pub(super) fn of(service: &'static str) -> Self {
        Self { service, idle_cores: 0.0, seconds_per_call: Vec::new(), resident: 0, peak: 0 }
    }
}

/// A goal, and whether the chart meets it.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) is_met: bool,
    text: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<8}{}", if self.is_met { "met" } else { "missed" }, self.text)
    }
}

/// The figures, a line for each service.
pub(super) fn table(measured: &[Measured]) -> String {
    let kinds = measured.first().map_or(&[][..], |one| &one.seconds_per_call);
    let mut text = format!("{:<14}{:>10}", "SERVICE", "IDLE");
    for (kind, _) in kinds {
        text.push_str(&format!("{kind:>10}"));
    }
    text.push_str(&format!("{:>12}{:>12}\n", "RESIDENT", "PEAK"));
    for one in measured {
        text.push_str(&format!("{:<14}{:>10}", one.service, cores(one.idle_cores)));
        for (_, seconds) in &one.seconds_per_call {
            text.push_str(&format!("{:>10}", format!("{:.0} us", seconds * 1e6)));
        }
        let (resident, peak) = (mebibytes(one.resident), mebibytes(one.peak));
        text.push_str(&format!("{resident:>12}{peak:>12}\n"));
    }
    text
}

/// What the chart's values put into the settings files of services.
pub(super) fn settings(values: &Value) -> anyhow::Result<Vec<(&'static Service, String)>> {
    let stated = |service: &Service| values["services"][service.name].get("settings");
    let services = SERVICES.iter().filter_map(|service| Some((service, stated(service)?)));
    services.map(|(service, stated)| Ok((service, toml::to_string(stated)?))).collect()
}

/// Holds the chart's values against the figures.
pub(super) fn judge(measured: &[Measured], values: &Value) -> anyhow::Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for one in measured {
        let given = |path: &str| -> anyhow::Result<f64> {
            let own = values["services"][one.service]["resources"].pointer(path);
            let found = own.or_else(|| values["defaults"]["resources"].pointer(path));
            let text = found.and_then(Value::as_str);
            let quantity = text.and_then(quantity);
            quantity.with_context(|| format!("the chart gives {} no {path}", one.service))
        };
        let mut hold = |what: &str, given: f64, least: f64, show: fn(f64) -> String| {
            let text = format!(
                "{}: {what} of {}, at least {} are wanted",
                one.service,
                show(given),
                show(least)
            );
            verdicts.push(Verdict { is_met: given >= least, text });
        };
        let read = one.seconds_per_call.iter().find(|(kind, _)| *kind == "read");
        let busy = one.idle_cores + read.map_or(0.0, |(_, each)| each * READS_PER_SECOND);
        let bytes = |bytes: f64| mebibytes(bytes as u64);
        hold("a request of CPU", given("/requests/cpu")?, busy, cores);
        hold("a request of memory", given("/requests/memory")?, one.resident as f64, bytes);
        hold("a limit of memory", given("/limits/memory")?, one.peak as f64 * ROOM, bytes);
    }
    Ok(verdicts)
}

fn cores(cores: f64) -> String {
    format!("{:.0}m", cores * 1e3)
}

/// What a quantity of Kubernetes says, in cores or bytes; `None` if it is none that the chart uses.
fn quantity(text: &str) -> Option<f64> {
    let split = text.find(|character: char| character.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let unit = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &str = "
defaults:
  resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 256Mi}}
services:
  auth-svc: {settings: {auth: {password_concurrency: 3}}, resources: {requests: {cpu: 250m}}}
";

    fn values() -> Value {
        serde_yaml_ng::from_str(VALUES).unwrap()
    }

    fn measured(service: &'static str, read: f64, resident: u64, peak: u64) -> Measured {
        let seconds_per_call = vec![("read", read), ("login", 0.5)];
        let (resident, peak) = (resident << 20, peak << 20);
        Measured { service, idle_cores: 0.01, seconds_per_call, resident, peak }
    }

    fn missed(one: Measured) -> Vec<String> {
        let verdicts = judge(&[one], &values()).unwrap();
        assert_eq!(verdicts.len(), 3);
        verdicts.iter().filter(|verdict| !verdict.is_met).map(Verdict::to_string).collect()
    }

    #[test]
    fn the_chart_gives_what_was_used_and_says_what_it_does_not() {
        assert_eq!(missed(measured("auth-svc", 0.002, 60, 120)), Vec::<String>::new());
        let cpu = missed(measured("audit-svc", 0.002, 60, 120));
        assert_eq!(cpu, ["missed  audit-svc: a request of CPU of 100m, at least 210m are wanted"]);
        let memory = missed(measured("audit-svc", 0.0, 65, 129));
        assert_eq!(memory.len(), 2, "{memory:?}");
    }

    #[test]
    fn who_is_measured_has_the_settings_that_the_chart_gives() {
        let settings = settings(&values()).unwrap();
        let [(service, text)] = &settings[..] else { panic!("{settings:?}") };
        assert_eq!(service.name, "auth-svc");
        assert_eq!(text, "[auth]\npassword_concurrency = 3\n");
    }

    #[test]
    fn quantities_are_read_as_kubernetes_has_them() {
        for (text, value) in [("100m", Some(0.1)), ("2", Some(2.0)), ("1Ki", Some(1024.0))] {
            assert_eq!(quantity(text), value, "{text}");
        }
        assert_eq!(quantity("1Q"), None);
        assert_eq!(quantity("Mi"), None);
    }
}

//! Whether a Redis keeps what it is given.

use ::redis::cmd;

use super::PATIENCE;
use crate::kernel::error::Result;
use crate::kernel::redis::Redis;

/// Warns of settings of the server under which events can be lost.
pub(super) async fn warn(redis: &Redis) -> Result<()> {
    let info: String = redis.query_within(PATIENCE, &cmd("INFO")).await?;
    for warning in warnings(&info) {
        tracing::warn!(mend = warning.1, "{}", warning.0);
    }
    Ok(())
}

/// What is wrong, and the mend.
fn warnings(info: &str) -> Vec<(&'static str, &'static str)> {
    let value = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.trim().split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let mut warnings = Vec::new();
    if value("aof_enabled") == Some("0") {
        let wrong = "redis keeps events in memory only: they are lost when it restarts";
        warnings.push((wrong, "set appendonly yes"));
    }
    let may_evict = value("maxmemory_policy").is_some_and(|policy| policy.starts_with("allkeys"));
    if may_evict && value("maxmemory") != Some("0") {
        let wrong = "redis evicts events when its memory is full";
        warnings.push((wrong, "set maxmemory-policy noeviction, or volatile-ttl"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_loses_events_is_found_out() {
        let server = |aof, memory, policy| {
            let info = format!(
                "# Memory\r\nmaxmemory:{memory}\r\nmaxmemory_policy:{policy}\r\naof_enabled:{aof}\r\n"
            );
            warnings(&info).len()
        };
        assert_eq!(server(1, 0, "noeviction"), 0);
        assert_eq!(server(0, 0, "noeviction"), 1);
        assert_eq!(server(1, 1000, "volatile-ttl"), 0, "streams have no time to live");
        assert_eq!(server(0, 1000, "allkeys-lru"), 2);
    }
}

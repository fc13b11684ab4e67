//! `process.rlimits`

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::config;
use crate::error::{Failure, Result, Step};

/// The specification's `RLIM_INFINITY`.
///
/// Node's JSON cannot say it; it says the greatest number below. Nothing from here on is a limit.
const INFINITY: u64 = 1 << 63;

pub struct PlannedRlimit {
    name: String,
    resource: Resource,
    limit: Rlimit,
}

pub fn plan(rlimits: &[config::Rlimit]) -> Result<Vec<PlannedRlimit>> {
    let invalid =
        |detail: String| Failure::kind("read process.rlimits", "config-invalid").detail(detail);
    for (index, rlimit) in rlimits.iter().enumerate() {
        if rlimits[..index]
            .iter()
            .any(|other| other.kind == rlimit.kind)
        {
            return Err(invalid(format!("{} is there twice", rlimit.kind)));
        }
    }
    rlimits
        .iter()
        .map(|rlimit| {
            let resource = resource(&rlimit.kind).ok_or_else(|| invalid(rlimit.kind.clone()))?;
            let finite = |value: u64| (value < INFINITY).then_some(value);
            let limit = Rlimit {
                current: finite(rlimit.soft),
                maximum: finite(rlimit.hard),
            };
            Ok(PlannedRlimit {
                name: rlimit.kind.clone(),
                resource,
                limit,
            })
        })
        .collect()
}

/// Sets them. With `clamp`, one that may not be raised so far is lowered to what this process has, and a warning says so.
pub fn apply(rlimits: &[PlannedRlimit], clamp: bool, warnings: &mut Vec<String>) -> Result<()> {
    for PlannedRlimit {
        name,
        resource,
        limit,
    } in rlimits
    {
        match setrlimit(*resource, *limit) {
            Err(Errno::PERM) if clamp => {
                let present = getrlimit(*resource).maximum;
                let lowered = Rlimit {
                    current: least(limit.current, present),
                    maximum: least(limit.maximum, present),
                };
                setrlimit(*resource, lowered).step(format!("set {name}"))?;
                warnings.push(format!(
                    "{name}: {} lowered to {}",
                    show(limit.maximum),
                    show(lowered.maximum)
                ));
            }
            set => set.step(format!("set {name}"))?,
        }
    }
    Ok(())
}

/// `None` is unlimited.
fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn show(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".into(), |limit| limit.to_string())
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_AS" => Resource::As,
        "RLIMIT_CORE" => Resource::Core,
        "RLIMIT_CPU" => Resource::Cpu,
        "RLIMIT_DATA" => Resource::Data,
        "RLIMIT_FSIZE" => Resource::Fsize,
        "RLIMIT_LOCKS" => Resource::Locks,
        "RLIMIT_MEMLOCK" => Resource::Memlock,
        "RLIMIT_MSGQUEUE" => Resource::Msgqueue,
        "RLIMIT_NICE" => Resource::Nice,
        "RLIMIT_NOFILE" => Resource::Nofile,
        "RLIMIT_NPROC" => Resource::Nproc,
        "RLIMIT_RSS" => Resource::Rss,
        "RLIMIT_RTPRIO" => Resource::Rtprio,
        "RLIMIT_RTTIME" => Resource::Rttime,
        "RLIMIT_SIGPENDING" => Resource::Sigpending,
        "RLIMIT_STACK" => Resource::Stack,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlimited_is_above_every_number() {
        assert_eq!(least(None, Some(5)), Some(5));
        assert_eq!(least(Some(7), None), Some(7));
        assert_eq!(least(None, None), None);
        assert_eq!(least(Some(7), Some(5)), Some(5));
    }
}

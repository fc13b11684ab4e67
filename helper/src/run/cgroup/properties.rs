//! The limits once more, as properties of a systemd unit. systemd owns the files of its units, and writes them anew when a
//! unit changes or its manager is reloaded: what it has not been told would be forgotten.

use super::{CgroupPlan, Write};
use crate::systemd::{Property, Value};

const UNLIMITED: u64 = u64::MAX;

/// Files whose number is a property's.
const NUMBERS: [(&str, &str); 9] = [
    ("memory.max", "MemoryMax"),
    ("memory.high", "MemoryHigh"),
    ("memory.low", "MemoryLow"),
    ("memory.min", "MemoryMin"),
    ("memory.swap.max", "MemorySwapMax"),
    ("memory.zswap.max", "MemoryZSwapMax"),
    ("cpu.weight", "CPUWeight"),
    ("io.weight", "IOWeight"),
    ("pids.max", "TasksMax"),
];

const SETS: [(&str, &str); 2] = [
    ("cpuset.cpus", "AllowedCPUs"),
    ("cpuset.mems", "AllowedMemoryNodes"),
];

impl CgroupPlan {
    /// Those that systemd knows. Devices are not among them: a unit without rules of its own has no program of systemd's,
    /// and leaves the one that is attached here alone.
    pub fn properties(&self) -> Vec<Property> {
        self.v2_writes.iter().flat_map(properties).collect()
    }
}

fn properties(write: &Write) -> Vec<Property> {
    let found = write.ways.iter().find_map(|(file, value)| {
        if file == "cpu.max" {
            return quota(value);
        }
        if file == "cpu.idle" {
            // Zero is the weight of what only idles. One that does not has the weight that it has.
            return (value == "1").then(|| vec![number("CPUWeight", 0)]);
        }
        if let Some((_, name)) = SETS.iter().find(|(known, _)| known == file) {
            return Some(vec![Property::new(*name, Value::Bytes(bits(value)?))]);
        }
        let (_, name) = NUMBERS.iter().find(|(known, _)| known == file)?;
        Some(vec![number(name, limit(value)?)])
    });
    found.unwrap_or_default()
}

fn number(name: &str, number: u64) -> Property {
    Property::new(name, Value::Uint64(number))
}

fn limit(value: &str) -> Option<u64> {
    match value {
        "max" => Some(UNLIMITED),
        number => number.parse().ok(),
    }
}

/// `quota period`. systemd counts whole hundredths of a processor, so it is given no less than is asked for; the file
/// then has the exact number.
fn quota(value: &str) -> Option<Vec<Property>> {
    const HUNDREDTH: u64 = 10_000;
    let (quota, period) = value.split_once(' ')?;
    let period: u64 = period.parse().ok()?;
    let a_second = match limit(quota)? {
        UNLIMITED => UNLIMITED,
        quota => quota
            .saturating_mul(1_000_000)
            .checked_div(period)?
            .checked_next_multiple_of(HUNDREDTH)?,
    };
    Some(vec![
        number("CPUQuotaPeriodUSec", period),
        number("CPUQuotaPerSecUSec", a_second),
    ])
}

/// `0-2,7` as a bit for each, the least significant byte first.
fn bits(list: &str) -> Option<Vec<u8>> {
    const MOST: usize = 1 << 16;
    let mut bits = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.trim().split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        for number in first..=last {
            if bits.len() <= number / 8 {
                bits.resize(number / 8 + 1, 0);
            }
            bits[number / 8] |= 1 << (number % 8);
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::super::v2;
    use super::*;

    fn properties_of(resources: &str) -> Vec<Property> {
        let writes = v2::take(&mut serde_json::from_str(resources).unwrap()).unwrap();
        writes.iter().flat_map(properties).collect()
    }

    #[test]
    fn limits_are_properties() {
        assert_eq!(
            properties_of(r#"{"memory":{"limit":1000,"swap":-1},"pids":{"limit":5}}"#),
            [
                number("MemoryMax", 1000),
                number("MemorySwapMax", UNLIMITED),
                number("TasksMax", 5)
            ]
        );
        assert_eq!(
            properties_of(r#"{"unified":{"memory.high":"max","memory.oom.group":"1"}}"#),
            [number("MemoryHigh", UNLIMITED)]
        );
    }

    #[test]
    fn a_quota_is_no_less_than_was_asked_for() {
        assert_eq!(
            properties_of(r#"{"cpu":{"quota":33333,"period":100000}}"#),
            [
                number("CPUQuotaPeriodUSec", 100_000),
                number("CPUQuotaPerSecUSec", 340_000)
            ]
        );
        assert_eq!(
            properties_of(r#"{"cpu":{"quota":-1}}"#)[1],
            number("CPUQuotaPerSecUSec", UNLIMITED)
        );
    }

    #[test]
    fn a_list_of_processors_is_a_set_of_bits() {
        assert_eq!(bits("0-2,9"), Some(vec![0b111, 0b10]));
        for list in ["", "x", "3-1", "99999999"] {
            assert_eq!(bits(list), None, "{list}");
        }
        assert_eq!(
            properties_of(r#"{"cpu":{"cpus":"1"}}"#),
            [Property::new("AllowedCPUs", Value::Bytes(vec![2]))]
        );
    }

    #[test]
    fn a_weight_of_blocks_is_one_of_io() {
        assert_eq!(
            properties_of(r#"{"blockIO":{"weight":10}}"#),
            [number("IOWeight", 1)]
        );
    }
}

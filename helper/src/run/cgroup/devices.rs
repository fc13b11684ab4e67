//! Which devices may be used: the rules of `linux.resources.devices`, in the meaning cgroup v1 gives them.

use std::collections::BTreeMap;

use super::Write;
use crate::run::config::DeviceRule;

/// Behind the configured rules: what every container may do, as with runc. Making nodes is harmless, using them is not.
const DEFAULTS: [(&str, Option<i64>, Option<i64>, &str); 11] = [
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", Some(1), Some(3), "rwm"),
    ("c", Some(1), Some(5), "rwm"),
    ("c", Some(1), Some(7), "rwm"),
    ("c", Some(1), Some(8), "rwm"),
    ("c", Some(1), Some(9), "rwm"),
    ("c", Some(5), Some(0), "rwm"),
    ("c", Some(5), Some(2), "rwm"),
    ("c", Some(136), None, "rwm"),
    ("c", Some(5), Some(1), "rwm"),
];

pub const MKNOD: u32 = 1;
pub const READ: u32 = 2;
pub const WRITE: u32 = 4;

/// What the rules come to: one answer for all devices, and exceptions from it.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    pub allow: bool,
    /// By kind and numbers (`None`: every one), the accesses that are decided the other way.
    pub exceptions: BTreeMap<DeviceRange, u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceRange {
    pub block: bool,
    pub major: Option<u32>,
    pub minor: Option<u32>,
}

pub fn with_defaults(mut rules: Vec<DeviceRule>) -> Vec<DeviceRule> {
    rules.extend(DEFAULTS.map(|(kind, major, minor, access)| DeviceRule {
        allow: true,
        kind: kind.into(),
        major,
        minor,
        access: access.into(),
    }));
    rules
}

impl Decision {
    pub fn of(rules: &[DeviceRule]) -> Self {
        // A cgroup that was told nothing allows all.
        let mut decision = Decision {
            allow: true,
            exceptions: BTreeMap::new(),
        };
        for rule in rules {
            if rule.kind == "a" {
                decision = Decision {
                    allow: rule.allow,
                    exceptions: BTreeMap::new(),
                };
                continue;
            }
            let range = DeviceRange {
                block: rule.kind == "b",
                major: number_of(rule.major),
                minor: number_of(rule.minor),
            };
            let access = access_bits(&rule.access);
            if rule.allow != decision.allow {
                *decision.exceptions.entry(range).or_default() |= access;
            } else if let Some(excepted) = decision.exceptions.get_mut(&range) {
                *excepted &= !access;
            }
        }
        decision.exceptions.retain(|_, access| *access != 0);
        decision
    }

    /// v1 takes rules one by one: what holds for all, then each exception.
    pub fn v1_writes(&self) -> Vec<Write> {
        let (all, exception) = match self.allow {
            true => ("devices.allow", "devices.deny"),
            false => ("devices.deny", "devices.allow"),
        };
        let mut writes = vec![Write::new(all, "a")];
        writes.extend(self.exceptions.iter().map(|(range, &access)| {
            let kind = if range.block { 'b' } else { 'c' };
            let (major, minor) = (number(range.major), number(range.minor));
            Write::new(
                exception,
                format!("{kind} {major}:{minor} {}", letters(access)),
            )
        }));
        writes
    }
}

fn number(number: Option<u32>) -> String {
    number.map_or_else(|| "*".into(), |number| number.to_string())
}

fn letters(access: u32) -> String {
    [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')]
        .into_iter()
        .filter_map(|(bit, letter)| (access & bit != 0).then_some(letter))
        .collect()
}

fn number_of(number: Option<i64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

fn access_bits(access: &str) -> u32 {
    access.bytes().fold(0, |bits, letter| {
        bits | match letter {
            b'r' => READ,
            b'w' => WRITE,
            b'm' => MKNOD,
            _ => 0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<DeviceRule> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn deny_all_then_allow_one() {
        let rules = rules(
            r#"[{"allow":false},{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}]"#,
        );
        let decision = Decision::of(&rules);
        assert!(!decision.allow);
        let null = DeviceRange {
            block: false,
            major: Some(1),
            minor: Some(3),
        };
        assert_eq!(decision.exceptions, BTreeMap::from([(null, READ | WRITE)]));
        let writes = decision.v1_writes();
        assert_eq!(
            writes,
            [
                Write::new("devices.deny", "a"),
                Write::new("devices.allow", "c 1:3 rw")
            ]
        );
    }

    #[test]
    fn a_later_rule_takes_back_what_an_earlier_gave() {
        let decision = Decision::of(&rules(
            r#"[{"allow":false},
                {"allow":true,"type":"b","major":-1,"minor":-1,"access":"rwm"},
                {"allow":false,"type":"b","access":"w"}]"#,
        ));
        let all = DeviceRange {
            block: true,
            major: None,
            minor: None,
        };
        assert_eq!(decision.exceptions, BTreeMap::from([(all, READ | MKNOD)]));
    }

    #[test]
    fn allow_all_forgets_the_rest() {
        let decision = Decision::of(&rules(r#"[{"allow":false},{"allow":true}]"#));
        assert!(decision.allow && decision.exceptions.is_empty());
    }
}

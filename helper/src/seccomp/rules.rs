//! What a profile decides for one ABI: number by number, before any instruction is written.

use std::collections::BTreeMap;

use super::abi::{Abi, X32_BIT};
use super::spec::{Action, Condition, Operator, Rule, Seccomp};
use crate::error::{Failure, Result};

/// What becomes of one system call.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// `SECCOMP_RET_*` with its data.
    Always(u32),
    /// The first whose conditions all hold decides; else the profile's default.
    ByArguments(Vec<(Vec<Comparison>, u32)>),
}

/// A condition with the operand fit for the ABI.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    pub index: u32,
    pub op: Operator,
    pub mask: u64,
    pub value: u64,
    /// Whether the argument has an upper half.
    pub wide: bool,
}

/// What one ABI's numbers come to.
pub struct Decisions {
    /// Each holds from its number to the next one's; the first starts at the ABI's lowest number.
    pub ranges: Vec<(u32, Decision)>,
    /// Whether numbers above those that the profile names answer ENOSYS.
    pub bounded: bool,
}

pub const KILL_THREAD: u32 = libc::SECCOMP_RET_KILL_THREAD;

/// The decisions for every number of one ABI.
///
/// Like libseccomp: a rule without conditions beats rules with conditions for the same call, and the
/// first of them counts; a rule that repeats the default action says nothing; names that this ABI
/// does not have are passed over.
///
/// Like runc: a number above the highest one that the profile names under this ABI is a call that
/// the author of the profile did not know; it answers ENOSYS, so that a C library falls back to what
/// came before, where the default would be EPERM (which is taken for a real refusal). Profiles that
/// allow by default do not need this.
pub fn decisions(spec: &Seccomp, abi: Abi) -> Result<Decisions> {
    let default = default_decision(spec)?;
    let mut by_number: BTreeMap<u32, Decision> = BTreeMap::new();
    let mut highest = 0;
    for rule in &spec.syscalls {
        let action = value_of(rule.action, rule.errno_ret)?;
        for name in &rule.names {
            let number = abi.number(name);
            highest = highest.max(number.unwrap_or(0));
            if action == default {
                continue;
            }
            let direct = number.map(|number| (number, None));
            let multiplexed = abi.multiplexed(name).map(|(nr, call)| (nr, Some(call)));
            for (number, call) in direct.into_iter().chain(multiplexed) {
                for conditions in alternatives(rule, name, abi, call)? {
                    add(&mut by_number, number, conditions, action);
                }
            }
        }
    }
    let base = if abi == Abi::X32 { X32_BIT } else { 0 };
    let mut ranges = spread(&by_number, base, default);
    let bounded = highest > 0 && answers_enosys(spec);
    if bounded {
        ranges.push((highest + 1, Decision::Always(errno(libc::ENOSYS as u32))));
    }
    Ok(Decisions { ranges, bounded })
}

/// `SECCOMP_RET_*` for calls that no rule names.
pub fn default_decision(spec: &Seccomp) -> Result<u32> {
    value_of(spec.default_action, spec.default_errno_ret)
}

fn answers_enosys(spec: &Seccomp) -> bool {
    // A tracer is expected to deal with calls that it does not know.
    !matches!(
        spec.default_action,
        Action::Allow | Action::Log | Action::Trace
    )
}

fn add(
    by_number: &mut BTreeMap<u32, Decision>,
    number: u32,
    conditions: Vec<Comparison>,
    action: u32,
) {
    let entry = by_number
        .entry(number)
        .or_insert_with(|| Decision::ByArguments(Vec::new()));
    match entry {
        Decision::Always(_) => {}
        Decision::ByArguments(_) if conditions.is_empty() => *entry = Decision::Always(action),
        Decision::ByArguments(rules) => rules.push((conditions, action)),
    }
}

/// The sets of conditions of which one must hold. Conditions on different arguments hold together;
/// when two are on the same argument, runc makes each a rule of its own, and profiles count on it.
fn alternatives(
    rule: &Rule,
    name: &str,
    abi: Abi,
    call: Option<u64>,
) -> Result<Vec<Vec<Comparison>>> {
    let mut seen = [false; 6];
    let mut repeated = false;
    for condition in &rule.args {
        let Some(seen) = seen.get_mut(condition.index as usize) else {
            return Err(invalid(format!(
                "argument {} (a system call has 0 to 5)",
                condition.index
            )));
        };
        repeated |= std::mem::replace(seen, true);
    }
    let comparisons = rule.args.iter().map(|each| {
        let wide = abi.is_64_bit() && !is_family(name, each.index);
        comparison(each, wide)
    });
    let mut sets: Vec<Vec<Comparison>> = if repeated {
        comparisons.map(|each| vec![each]).collect()
    } else {
        vec![comparisons.collect()]
    };
    if let Some(call) = call {
        // The real first argument is out of a filter's sight, in memory: the number of the call
        // takes its place, as in libseccomp.
        for set in &mut sets {
            set.retain(|each| each.index != 0);
            set.insert(
                0,
                Comparison {
                    index: 0,
                    op: Operator::Eq,
                    mask: u32::MAX.into(),
                    value: call,
                    wide: false,
                },
            );
        }
    }
    Ok(sets)
}

/// The family of a socket, which profiles forbid one by one, and of which the kernel reads 32 bits only: compared in 64
/// bits, as libseccomp does, a forbidden one with another upper half would be allowed.
fn is_family(name: &str, index: u32) -> bool {
    index == 0 && (name == "socket" || name == "socketpair")
}

fn comparison(condition: &Condition, wide: bool) -> Comparison {
    let width = if wide { u64::MAX } else { u32::MAX.into() };
    let (mask, value) = match condition.op {
        Operator::MaskedEq => (condition.value, condition.value_two & condition.value),
        _ => (u64::MAX, condition.value),
    };
    Comparison {
        index: condition.index,
        op: condition.op,
        mask: mask & width,
        value: value & width,
        wide,
    }
}

/// Sorted ranges over all numbers.
fn spread(by_number: &BTreeMap<u32, Decision>, base: u32, default: u32) -> Vec<(u32, Decision)> {
    let default = Decision::Always(default);
    let mut ranges = vec![(base, default.clone())];
    for (&number, decision) in by_number {
        put(&mut ranges, number, decision.clone());
        put(&mut ranges, number + 1, default.clone());
    }
    ranges
}

fn put(ranges: &mut Vec<(u32, Decision)>, start: u32, decision: Decision) {
    if ranges.last().is_some_and(|last| last.0 == start) {
        ranges.pop();
    }
    ranges.push((start, decision));
}

pub fn value_of(action: Action, data: Option<u32>) -> Result<u32> {
    let data_or_eperm = data.unwrap_or(libc::EPERM as u32);
    if data_or_eperm > u32::from(u16::MAX) {
        return Err(invalid(format!("errnoRet {data_or_eperm}")));
    }
    Ok(match action {
        Action::KillThread => KILL_THREAD,
        Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        Action::Trap => libc::SECCOMP_RET_TRAP,
        Action::Errno => errno(data_or_eperm),
        Action::Trace => libc::SECCOMP_RET_TRACE | data_or_eperm,
        Action::Log => libc::SECCOMP_RET_LOG,
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
    })
}

fn errno(number: u32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number
}

pub fn invalid(detail: impl Into<String>) -> Failure {
    Failure::kind("compile the seccomp profile", "seccomp-invalid").detail(detail)
}

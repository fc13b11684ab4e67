//! From `linux.seccomp` of an OCI configuration to the BPF program that the kernel runs.
//!
//! The decision is the one of runc with libseccomp for the same profile (a test compares them, number
//! by number). A binary search over ranges of numbers that are decided alike leads to it, and
//! arguments are looked at only where the profile asks for it; without arguments the kernel can
//! answer from its own cache, as the program then depends on nothing but architecture and number.

mod abi;
mod assemble;
mod rules;
mod spec;
mod syscalls;
#[cfg(test)]
mod tests;

use libc::sock_filter;

pub use abi::Architecture;
pub use spec::{Listener, Seccomp};

use abi::{Abi, X32_BIT};
use assemble::{Label, Program, Test};
use rules::{Comparison, Decision, Decisions, KILL_THREAD, decisions, default_decision, invalid};
use spec::Operator;

use crate::error::Result;

/// `BPF_MAXINSNS`: the kernel takes no longer program.
const MAX_INSTRUCTIONS: usize = 4096;

/// Offsets in `struct seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// The filter for a machine of this architecture.
///
/// `architectures` says which ABIs beside the machine's own one may be used; a call through another
/// one ends the thread, as with libseccomp. Names of architectures that cannot occur on this machine
/// are accepted and change nothing.
pub fn compile(spec: &Seccomp, native: Architecture) -> Result<Vec<sock_filter>> {
    let allowed = |abi: &Abi| {
        *abi == native.native_abi() || spec.architectures.iter().any(|name| name == abi.oci_name())
    };
    check_names(&spec.architectures, &ARCHITECTURES, "architecture")?;

    let mut program = Program::default();
    let mut next = program.ret(KILL_THREAD);
    // Written backwards: the machine's own ABI comes last here and is asked for first.
    for abi in native.abis().iter().rev().copied().filter(allowed) {
        let mut ranges = match abi {
            // Decided together with x86-64, which has the same AUDIT_ARCH.
            Abi::X32 => continue,
            Abi::X86_64 => x86_64_and_x32(spec, allowed(&Abi::X32))?,
            _ => decisions(spec, abi)?.ranges,
        };
        ranges.dedup_by(|later, earlier| later.1 == earlier.1);
        let body = search(&mut program, &ranges, default_decision(spec)?);
        let body = program.load(NR, body);
        next = program.branch(Test::Equal, abi.audit_arch(), body, next);
    }
    program.load(ARCH, next);

    let filter = program.finish();
    if filter.len() > MAX_INSTRUCTIONS {
        return Err(invalid(format!(
            "{} instructions (at most {MAX_INSTRUCTIONS})",
            filter.len()
        )));
    }
    Ok(filter)
}

/// The flags for seccomp(2).
pub fn flags(spec: &Seccomp) -> Result<u32> {
    check_names(&spec.flags, &FLAGS.map(|flag| flag.0), "flag")?;
    Ok(FLAGS
        .iter()
        .filter(|flag| spec.flags.iter().any(|name| name == flag.0))
        .fold(0, |flags, flag| flags | flag.1))
}

/// `TSYNC` is for programs of several threads, which the process that loads the filter is not.
const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    (
        "SECCOMP_FILTER_FLAG_LOG",
        libc::SECCOMP_FILTER_FLAG_LOG as u32,
    ),
    (
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32,
    ),
    (
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32,
    ),
];

const ARCHITECTURES: [&str; 20] = [
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
];

fn check_names(given: &[String], known: &[&str], what: &str) -> Result<()> {
    match given.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(invalid(format!("unknown {what} {name}"))),
        None => Ok(()),
    }
}

/// Both ABIs of `AUDIT_ARCH_X86_64` over the whole range of numbers: bit 30 tells them apart.
fn x86_64_and_x32(spec: &Seccomp, x32: bool) -> Result<Vec<(u32, Decision)>> {
    let Decisions {
        mut ranges,
        bounded,
    } = decisions(spec, Abi::X86_64)?;
    let beyond = ranges[ranges.len() - 1].1.clone();
    ranges.extend(if x32 {
        decisions(spec, Abi::X32)?.ranges
    } else {
        vec![(X32_BIT, Decision::Always(KILL_THREAD))]
    });
    // Numbers with bit 31 but not bit 30 lie above all of x86-64's, not of x32's.
    if x32 || bounded {
        let beyond_x32 = ranges[ranges.len() - 1].1.clone();
        ranges.push((X32_BIT << 1, beyond));
        ranges.push((X32_BIT | X32_BIT << 1, beyond_x32));
    }
    if !x32 {
        // -1 is how a tracer has a call skipped: not to be taken for x32 (seccomp(2)).
        ranges.push((u32::MAX, Decision::Always(default_decision(spec)?)));
    }
    Ok(ranges)
}

/// With the number in the accumulator, finds the range that holds it.
fn search(program: &mut Program, ranges: &[(u32, Decision)], default: u32) -> Label {
    match ranges {
        [(_, Decision::Always(decision))] => program.ret(*decision),
        [(_, Decision::ByArguments(rules))] => by_arguments(program, rules, default),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let yes = search(program, upper, default);
            let no = search(program, lower, default);
            program.branch(Test::GreaterOrEqual, upper[0].0, yes, no)
        }
    }
}

fn by_arguments(program: &mut Program, rules: &[(Vec<Comparison>, u32)], default: u32) -> Label {
    let otherwise = program.ret(default);
    rules
        .iter()
        .rev()
        .fold(otherwise, |no, (conditions, decision)| {
            let yes = program.ret(*decision);
            let every = conditions.iter().rev();
            every.fold(yes, |yes, condition| compare(program, condition, yes, no))
        })
}

/// The kernel's words are 32 bits wide: the upper half decides first, where there is one.
fn compare(program: &mut Program, condition: &Comparison, yes: Label, no: Label) -> Label {
    match condition.op {
        Operator::Eq | Operator::MaskedEq => equal(program, condition, yes, no),
        Operator::Ne => equal(program, condition, no, yes),
        Operator::Gt => greater(program, condition, Test::Greater, yes, no),
        Operator::Ge => greater(program, condition, Test::GreaterOrEqual, yes, no),
        Operator::Lt => greater(program, condition, Test::GreaterOrEqual, no, yes),
        Operator::Le => greater(program, condition, Test::Greater, no, yes),
    }
}

fn equal(program: &mut Program, condition: &Comparison, yes: Label, no: Label) -> Label {
    let halves = if condition.wide { 2 } else { 1 };
    (0..halves).fold(yes, |yes, half| {
        let (mask, value) = (
            condition.mask >> (32 * half),
            condition.value >> (32 * half),
        );
        if mask as u32 == 0 {
            return yes;
        }
        let mut next = program.branch(Test::Equal, value as u32, yes, no);
        if mask as u32 != u32::MAX {
            next = program.and(mask as u32, next);
        }
        program.load(ARGS + 8 * condition.index + 4 * half, next)
    })
}

fn greater(
    program: &mut Program,
    condition: &Comparison,
    low_test: Test,
    yes: Label,
    no: Label,
) -> Label {
    let offset = ARGS + 8 * condition.index;
    let low = program.branch(low_test, condition.value as u32, yes, no);
    let low = program.load(offset, low);
    if !condition.wide {
        return low;
    }
    let high = (condition.value >> 32) as u32;
    let same = program.branch(Test::Equal, high, low, no);
    let above = program.branch(Test::Greater, high, yes, same);
    program.load(offset + 4, above)
}

//! Profiles of users: every operator, action, width and oddity.

use serde_json::{Value, json};

use super::super::abi::{Abi, Architecture};
use super::super::spec::Seccomp;
use super::super::syscalls::SYSCALLS;
use super::super::{compile, flags};
use super::interpreter::{Call, run};
use super::{ENOSYS, assert_same};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;

fn profile(value: Value) -> Seccomp {
    serde_json::from_value(value).unwrap()
}

fn decision(spec: &Seccomp, abi: Abi, name: &str, first: u64) -> u32 {
    let native = if matches!(abi, Abi::Aarch64 | Abi::Arm) {
        Architecture::Aarch64
    } else {
        Architecture::X86_64
    };
    let mut args = [0; 6];
    args[0] = first;
    let nr = abi.number(name).unwrap();
    let arch = abi.audit_arch();
    run(&compile(spec, native).unwrap(), &Call { nr, arch, args })
}

#[test]
fn every_operator_on_both_halves_of_an_argument() {
    for op in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
        for value in [
            0,
            1,
            0xFFFF_FFFF,
            0x1_0000_0000_u64,
            0x2_0000_0005,
            u64::MAX - 1,
        ] {
            for architectures in [json!([]), json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"])] {
                let spec = profile(json!({
                    "defaultAction": "SCMP_ACT_ERRNO",
                    "architectures": architectures,
                    "syscalls": [{
                        "names": ["ioctl", "mmap"],
                        "action": "SCMP_ACT_ALLOW",
                        "args": [{ "index": 1, "op": format!("SCMP_CMP_{op}"), "value": value, "valueTwo": value & 0xF0F0_F0F0_F0F0 }],
                    }],
                }));
                assert_same(&spec, Architecture::X86_64);
                assert_same(&spec, Architecture::Aarch64);
            }
        }
    }
}

#[test]
fn thirty_two_bit_abis_compare_the_lower_half() {
    let spec = profile(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"],
        "syscalls": [
            { "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "op": "SCMP_CMP_EQ", "value": 0xFFFF_FFFF_u64 }] },
            { "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 0x7E02_0000, "valueTwo": 0 }] },
            { "names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 1, "op": "SCMP_CMP_GT", "value": 9 }] },
        ],
    }));
    assert_same(&spec, Architecture::X86_64);
    assert_same(&spec, Architecture::Aarch64);
}

#[test]
fn conditions_on_different_arguments_hold_together_and_on_the_same_one_separately() {
    let spec = profile(json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [
            { "names": ["prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": [
                { "index": 0, "op": "SCMP_CMP_EQ", "value": 38 },
                { "index": 1, "op": "SCMP_CMP_NE", "value": 1 },
                { "index": 5, "op": "SCMP_CMP_LE", "value": 7 },
            ] },
            { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
                { "index": 0, "op": "SCMP_CMP_EQ", "value": 1 },
                { "index": 0, "op": "SCMP_CMP_EQ", "value": 10 },
            ] },
        ],
    }));
    assert_same(&spec, Architecture::X86_64);
    assert_same(&spec, Architecture::Aarch64);
    assert_eq!(decision(&spec, Abi::X86_64, "socket", 10), ALLOW);
    assert_eq!(
        decision(&spec, Abi::X86_64, "socket", 2),
        libc::SECCOMP_RET_KILL_PROCESS
    );
}

#[test]
fn a_rule_without_conditions_wins_wherever_it_stands() {
    let conditional = json!({ "names": ["personality"], "action": "SCMP_ACT_TRAP", "args": [{ "index": 0, "op": "SCMP_CMP_EQ", "value": 8 }] });
    let plain = json!({ "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 });
    for rules in [[&conditional, &plain], [&plain, &conditional]] {
        let spec = profile(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules }));
        assert_same(&spec, Architecture::X86_64);
    }
}

#[test]
fn every_action_and_default() {
    for default in [
        "ALLOW",
        "LOG",
        "TRACE",
        "TRAP",
        "ERRNO",
        "KILL",
        "KILL_THREAD",
        "KILL_PROCESS",
    ] {
        for errno in [Value::Null, json!(38), json!(95)] {
            let spec = profile(json!({
                "defaultAction": format!("SCMP_ACT_{default}"),
                "defaultErrnoRet": errno,
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                "syscalls": [
                    { "names": ["read"], "action": "SCMP_ACT_ALLOW" },
                    { "names": ["write"], "action": "SCMP_ACT_LOG" },
                    { "names": ["ptrace"], "action": "SCMP_ACT_TRACE", "errnoRet": 7 },
                    { "names": ["mount", "no_such_call"], "action": "SCMP_ACT_KILL_PROCESS" },
                    { "names": ["bpf"], "action": "SCMP_ACT_TRAP" },
                    { "names": ["kexec_load"], "action": "SCMP_ACT_KILL" },
                    { "names": ["keyctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 },
                ],
            }));
            assert_same(&spec, Architecture::X86_64);
        }
    }
}

#[test]
fn i386_reaches_sockets_and_ipc_by_two_ways() {
    let spec = profile(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{ "names": ["socket", "accept", "sendmmsg", "shmget", "semtimedop"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97 }],
    }));
    assert_same(&spec, Architecture::X86_64);
    assert_eq!(
        decision(&spec, Abi::I386, "socketcall", 1),
        libc::SECCOMP_RET_ERRNO | 97
    );
    assert_eq!(decision(&spec, Abi::I386, "socketcall", 2), ALLOW);
    assert_eq!(
        decision(&spec, Abi::I386, "ipc", 23),
        libc::SECCOMP_RET_ERRNO | 97
    );
}

#[test]
fn an_empty_profile_is_its_default() {
    for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"] {
        let spec = profile(
            json!({ "defaultAction": default, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"] }),
        );
        assert_same(&spec, Architecture::X86_64);
        assert_same(&spec, Architecture::Aarch64);
    }
}

#[test]
fn an_abi_that_is_not_listed_ends_the_thread() {
    let spec = profile(json!({ "defaultAction": "SCMP_ACT_ALLOW" }));
    assert_eq!(decision(&spec, Abi::X86_64, "read", 0), ALLOW);
    assert_eq!(
        decision(&spec, Abi::X32, "read", 0),
        libc::SECCOMP_RET_KILL_THREAD
    );
    assert_eq!(
        decision(&spec, Abi::I386, "read", 0),
        libc::SECCOMP_RET_KILL_THREAD
    );
}

#[test]
fn a_call_newer_than_the_profile_does_not_exist() {
    let spec = profile(
        json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "names": ["read", "openat2"], "action": "SCMP_ACT_ALLOW" }] }),
    );
    assert_eq!(decision(&spec, Abi::X86_64, "close_range", 0), EPERM);
    assert_eq!(decision(&spec, Abi::X86_64, "faccessat2", 0), ENOSYS);
}

#[test]
fn jumps_reach_across_a_program_of_thousands_of_instructions() {
    let names: Vec<&str> = SYSCALLS
        .iter()
        .map(|row| row.0)
        .filter(|name| Abi::X86_64.number(name).is_some())
        .collect();
    // A bound of its own for each call, so that no two are decided by the same instructions.
    let bound = |at: usize| 0x5_0000_0000 + 10 * at as u64;
    let every = |step: usize| -> Seccomp {
        let rules: Vec<Value> = (0..names.len())
            .step_by(step)
            .map(|at| {
                let args: Vec<Value> = (0..6)
                    .map(|index| json!({ "index": index, "op": "SCMP_CMP_GT", "value": bound(at) + index }))
                    .collect();
                json!({ "names": [names[at]], "action": "SCMP_ACT_ALLOW", "args": args })
            })
            .collect();
        profile(json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules }))
    };
    let filter = compile(&every(4), Architecture::X86_64).unwrap();
    assert!(filter.len() > 2000, "{} instructions", filter.len());
    super::interpreter::verify(&filter);
    for (at, name) in names.iter().enumerate() {
        let call = |value| Call {
            nr: Abi::X86_64.number(name).unwrap(),
            arch: Abi::X86_64.audit_arch(),
            args: [value; 6],
        };
        assert_eq!(
            run(&filter, &call(bound(at) + 6)) == ALLOW,
            at % 4 == 0,
            "{name}"
        );
        assert_ne!(run(&filter, &call(bound(at) + 5)), ALLOW, "{name}");
    }
    let error = compile(&every(1), Architecture::X86_64).unwrap_err();
    assert_eq!(error.kind, Some("seccomp-invalid"));
}

#[test]
fn what_cannot_be_compiled_is_refused() {
    let rule = |action: &str, errno: u32, index: u32| {
        profile(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
            "names": ["read"], "action": action, "errnoRet": errno, "args": [{ "index": index, "op": "SCMP_CMP_EQ", "value": 0 }],
        }] }))
    };
    for bad in [
        rule("SCMP_ACT_ERRNO", 70_000, 0),
        rule("SCMP_ACT_ERRNO", 1, 6),
        profile(json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"] })),
    ] {
        assert_eq!(
            compile(&bad, Architecture::X86_64).unwrap_err().kind,
            Some("seccomp-invalid")
        );
    }
}

#[test]
fn flags_are_those_of_the_system_call() {
    let with = |flag: &str| profile(json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": [flag] }));
    assert_eq!(flags(&with("SECCOMP_FILTER_FLAG_LOG")).unwrap(), 2);
    assert_eq!(flags(&with("SECCOMP_FILTER_FLAG_SPEC_ALLOW")).unwrap(), 4);
    assert_eq!(flags(&with("SECCOMP_FILTER_FLAG_TSYNC")).unwrap(), 0);
    assert!(flags(&with("SECCOMP_FILTER_FLAG_NO_SUCH")).is_err());
}

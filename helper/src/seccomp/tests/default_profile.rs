//! Docker's default profile, resolved here from its JSON in the simplest way, for several containers.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::super::abi::{Abi, Architecture, X32_BIT};
use super::super::spec::Seccomp;
use super::super::{compile, syscalls::SYSCALLS};
use super::interpreter::{Call, run};
use super::{assert_same, libseccomp};

const CAPABILITIES: [&[&str]; 4] = [
    &[],
    &["CAP_SYS_CHROOT"],
    &["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"],
    &[
        "CAP_SYS_ADMIN",
        "CAP_SYS_CHROOT",
        "CAP_DAC_READ_SEARCH",
        "CAP_SYS_BOOT",
        "CAP_SYS_MODULE",
        "CAP_SYS_PACCT",
        "CAP_SYS_PTRACE",
        "CAP_SYS_RAWIO",
        "CAP_SYS_TIME",
        "CAP_SYS_TTY_CONFIG",
        "CAP_SYS_NICE",
        "CAP_SYSLOG",
        "CAP_BPF",
        "CAP_PERFMON",
    ],
];

#[test]
fn decides_like_libseccomp_for_every_call() {
    for native in [Architecture::X86_64, Architecture::Aarch64] {
        let newer = newer_than_libseccomp(native);
        assert!(
            newer.len() < 40,
            "libseccomp is too old to compare with: {newer:?}"
        );
        for capabilities in CAPABILITIES {
            let mut spec = docker_default(native, capabilities);
            for rule in &mut spec.syscalls {
                rule.names.retain(|name| !newer.contains(name));
            }
            assert_same(&spec, native);
        }
    }
}

/// AF_VSOCK and, in newer profiles, AF_ALG are forbidden one by one.
#[test]
fn a_forbidden_family_is_forbidden_whatever_its_upper_half() {
    for (native, abi) in [
        (Architecture::X86_64, Abi::X86_64),
        (Architecture::Aarch64, Abi::Aarch64),
    ] {
        let spec = docker_default(native, &[]);
        let filter = compile(&spec, native).unwrap();
        let socket = |family: u64| {
            let args = [family, 1, 0, 0, 0, 0];
            let nr = abi.number("socket").unwrap();
            let arch = abi.audit_arch();
            run(&filter, &Call { nr, arch, args })
        };
        let forbidden = |family: u64| socket(family) != libc::SECCOMP_RET_ALLOW;
        assert!(!forbidden(libc::AF_INET as u64));
        assert!(!forbidden(libc::AF_INET as u64 | 1 << 32));
        for upper in [0, 1 << 32, 1 << 63, 0xFFFF_FFFF << 32] {
            assert!(forbidden(libc::AF_VSOCK as u64 | upper), "{upper:#x}");
        }
    }
}

/// Names that the installed libseccomp does not know yet under every ABI. The next test is about them.
fn newer_than_libseccomp(native: Architecture) -> BTreeSet<String> {
    let known = native
        .abis()
        .iter()
        .map(|abi| (*abi, libseccomp::names(*abi)));
    let unknown = known.flat_map(|(abi, known)| {
        SYSCALLS.iter().map(|row| row.0).filter(move |name| {
            let number = abi.number(name).map(|nr| nr & !X32_BIT);
            number.is_some_and(|nr| known.iter().all(|each| each.0 != nr))
        })
    });
    unknown.map(str::to_owned).collect::<BTreeSet<_>>()
}

#[test]
fn every_named_call_is_decided_by_its_name() {
    for native in [Architecture::X86_64, Architecture::Aarch64] {
        let spec = docker_default(native, &[]);
        let filter = compile(&spec, native).unwrap();
        for (abi, (name, _)) in native
            .abis()
            .iter()
            .flat_map(|abi| SYSCALLS.iter().map(move |row| (abi, row)))
        {
            let Some(nr) = abi.number(name) else { continue };
            let call = Call {
                nr,
                arch: abi.audit_arch(),
                args: [0; 6],
            };
            let allowed = spec
                .syscalls
                .iter()
                .any(|rule| rule.names.iter().any(|each| each == name) && rule.errno_ret.is_none());
            let is = run(&filter, &call) == libc::SECCOMP_RET_ALLOW;
            assert_eq!(is, allowed && *name != "clone3", "{name} of {abi:?}");
        }
    }
}

#[test]
fn the_program_is_small() {
    let filter = compile(
        &docker_default(Architecture::X86_64, &[]),
        Architecture::X86_64,
    )
    .unwrap();
    assert!(filter.len() < 700, "{} instructions", filter.len());
}

fn docker_default(native: Architecture, capabilities: &[&str]) -> Seccomp {
    let file = "shared/spec/moby-seccomp-default.json";
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let path = above
        .map(|directory| directory.join(file))
        .find(|path| path.exists());
    let text = std::fs::read(path.unwrap_or_else(|| panic!("there is no {file} above"))).unwrap();
    let profile: Value = serde_json::from_slice(&text).unwrap();
    let (name, arch) = match native {
        Architecture::X86_64 => ("SCMP_ARCH_X86_64", "amd64"),
        Architecture::Aarch64 => ("SCMP_ARCH_AARCH64", "arm64"),
    };
    let list = |value: &Value| -> Vec<String> {
        serde_json::from_value(value.clone()).unwrap_or_default()
    };
    let map = profile["archMap"].as_array().unwrap();
    let map = map
        .iter()
        .find(|each| each["architecture"] == name)
        .unwrap();
    let architectures = [vec![name.to_owned()], list(&map["subArchitectures"])].concat();
    let has = |name: &String| capabilities.contains(&name.as_str());
    let applies = |rule: &&Value| {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let arches = list(&includes["arches"]);
        list(&includes["caps"]).iter().all(has)
            && !list(&excludes["caps"]).iter().any(has)
            && (arches.is_empty() || arches.iter().any(|each| each == arch))
            && !list(&excludes["arches"]).iter().any(|each| each == arch)
    };
    let syscalls: Vec<&Value> = profile["syscalls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(applies)
        .collect();
    serde_json::from_value(json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": architectures,
        "syscalls": syscalls,
    }))
    .unwrap()
}

#[test]
fn i386_sockets_are_judged_by_the_i386_table() {
    let filter = compile(
        &docker_default(Architecture::X86_64, &[]),
        Architecture::X86_64,
    )
    .unwrap();
    let decide = |nr, first| {
        run(
            &filter,
            &Call {
                nr,
                arch: Abi::I386.audit_arch(),
                args: [first, 0, 0, 0, 0, 0],
            },
        )
    };
    // 359 is socket there and a hole under x86-64; 41 is socket under x86-64 and dup there.
    assert_eq!(decide(359, 2), libc::SECCOMP_RET_ALLOW);
    assert_eq!(decide(359, 38), libc::SECCOMP_RET_ERRNO | 1);
    assert_eq!(decide(41, 38), libc::SECCOMP_RET_ALLOW);
}

//! The numbers themselves, against the two other sources that a Debian has: libseccomp and the kernel's headers.

use super::super::abi::{Abi, X32_BIT};
use super::super::syscalls::SYSCALLS;
use super::libseccomp;

pub const ABIS: [Abi; 5] = [Abi::X86_64, Abi::X32, Abi::I386, Abi::Aarch64, Abi::Arm];

#[test]
fn rows_are_sorted_by_name() {
    assert!(SYSCALLS.is_sorted_by(|a, b| a.0 < b.0));
}

#[test]
fn every_number_that_libseccomp_knows_has_its_name() {
    for abi in ABIS {
        for (number, name) in libseccomp::names(abi) {
            let ours = abi.number(&name).map(|nr| nr & !X32_BIT);
            assert_eq!(ours, Some(number), "{name} of {abi:?}");
        }
    }
}

#[test]
fn the_headers_of_this_machine_agree() {
    for (abi, file) in [
        (Abi::X86_64, "unistd_64.h"),
        (Abi::X32, "unistd_x32.h"),
        (Abi::I386, "unistd_32.h"),
    ] {
        let path = format!("/usr/include/x86_64-linux-gnu/asm/{file}");
        let header = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!("{path}: {error}; install the Debian package linux-libc-dev")
        });
        let mut seen = 0;
        for line in header.lines() {
            let Some(definition) = line.strip_prefix("#define __NR_") else {
                continue;
            };
            let (name, value) = definition.split_once(' ').unwrap();
            let number = value.trim_matches(['(', ')']).rsplit(' ').next().unwrap();
            let ours = abi.number(name).map(|nr| nr & !X32_BIT);
            assert_eq!(ours, Some(number.parse().unwrap()), "{name} of {abi:?}");
            seen += 1;
        }
        assert!(seen > 300, "{path} names {seen} calls");
    }
}

//! libseccomp's opinion, through a small C program that is compiled for the test.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use libc::sock_filter;

use super::super::abi::Abi;
use super::super::rules;
use super::super::spec::{Operator, Rule, Seccomp};

/// libseccomp's tokens: its own number for x32, the audit architecture for the others.
pub fn token(abi: Abi) -> u32 {
    match abi {
        Abi::X32 => 0x4000_003E,
        _ => abi.audit_arch(),
    }
}

/// The program that runc would have libseccomp make of `spec`, for these ABIs.
pub fn compile(spec: &Seccomp, abis: &[Abi]) -> Vec<sock_filter> {
    let default = rules::default_decision(spec).unwrap();
    let mut text = String::new();
    for rule in &spec.syscalls {
        let action = rules::value_of(rule.action, rule.errno_ret).unwrap();
        if action != default {
            rule_lines(rule, action, &mut text);
        }
    }
    let mut args = vec!["filter".to_owned(), default.to_string()];
    args.extend(abis.iter().map(|abi| token(*abi).to_string()));
    let bytes = oracle(&args, &text);
    let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    (0..bytes.len() / 8)
        .map(|n| n * 8)
        .map(|at| sock_filter {
            code: half(at),
            jt: bytes[at + 2],
            jf: bytes[at + 3],
            k: u32::from(half(at + 4)) | u32::from(half(at + 6)) << 16,
        })
        .collect()
}

pub fn names(abi: Abi) -> Vec<(u32, String)> {
    let bytes = oracle(&["names".to_owned(), token(abi).to_string()], "");
    String::from_utf8(bytes)
        .unwrap()
        .lines()
        .map(|line| {
            let (number, name) = line.split_once(' ').unwrap();
            (number.parse().unwrap(), name.to_owned())
        })
        .collect()
}

fn rule_lines(rule: &Rule, action: u32, text: &mut String) {
    let conditions: Vec<String> = rule
        .args
        .iter()
        .map(|each| {
            let op = match each.op {
                Operator::Ne => 1,
                Operator::Lt => 2,
                Operator::Le => 3,
                Operator::Eq => 4,
                Operator::Ge => 5,
                Operator::Gt => 6,
                Operator::MaskedEq => 7,
            };
            format!(" {} {op} {} {}", each.index, each.value, each.value_two)
        })
        .collect();
    let repeated = (1..rule.args.len()).any(|at| {
        rule.args[..at]
            .iter()
            .any(|each| each.index == rule.args[at].index)
    });
    for name in &rule.names {
        if repeated {
            for condition in &conditions {
                text.push_str(&format!("{name} {action}{condition}\n"));
            }
        } else {
            text.push_str(&format!("{name} {action}{}\n", conditions.concat()));
        }
    }
}

fn oracle(args: &[String], input: &str) -> Vec<u8> {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, program) = PROGRAM.get_or_init(build);
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "libseccomp refused the profile");
    output.stdout
}

fn build() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("libseccomp");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libseccomp.c");
    let status = Command::new("cc")
        .args(["-o", program.to_str().unwrap(), source, "-lseccomp"])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "cannot build {source}: install the Debian packages gcc, libc6-dev and libseccomp-dev"
    );
    (directory, program)
}

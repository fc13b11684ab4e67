//! The compiler against libseccomp: the same decision for every call that a container can make.

mod default_profile;
mod interpreter;
mod libseccomp;
mod profiles;
mod table;

use libc::sock_filter;

use super::abi::{Abi, Architecture, X32_BIT};
use super::spec::{Action, Seccomp};
use interpreter::{Call, run};
use table::ABIS;

const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// What runc puts before libseccomp's program (`patchbpf`): ENOSYS above the highest number that the profile
/// names. Written here from that description, not with the compiler's tables of decisions.
struct Expected<'a> {
    spec: &'a Seccomp,
    program: Vec<sock_filter>,
    highest: Vec<(Abi, u32)>,
    /// Architecture and number of the calls whose first argument is a socket's family.
    sockets: Vec<(u32, u32)>,
}

impl<'a> Expected<'a> {
    fn new(spec: &'a Seccomp, native: Architecture) -> Self {
        let abis: Vec<Abi> = native
            .abis()
            .iter()
            .copied()
            .filter(|abi| {
                *abi == native.native_abi()
                    || spec.architectures.iter().any(|name| name == abi.oci_name())
            })
            .collect();
        let names = || spec.syscalls.iter().flat_map(|rule| &rule.names);
        let highest = |abi: Abi| names().filter_map(|name| abi.number(name)).max();
        let sockets = ABIS.iter().flat_map(|abi| {
            let numbers = ["socket", "socketpair"].map(|name| abi.number(name));
            numbers
                .into_iter()
                .flatten()
                .map(|number| (abi.audit_arch(), number))
        });
        Expected {
            spec,
            sockets: sockets.collect(),
            program: libseccomp::compile(spec, &abis),
            highest: abis
                .into_iter()
                .filter_map(|abi| Some((abi, highest(abi)?)))
                .filter(|each| each.1 > 0)
                .collect(),
        }
    }

    fn decision(&self, call: &Call) -> u32 {
        let permissive = [Action::Allow, Action::Log, Action::Trace];
        let abi = self.highest.iter().find(|(abi, _)| {
            abi.audit_arch() == call.arch
                && match abi {
                    Abi::X86_64 => call.nr & X32_BIT == 0,
                    Abi::X32 => call.nr & X32_BIT != 0,
                    _ => true,
                }
        });
        match abi {
            Some((_, highest))
                if !permissive.contains(&self.spec.default_action) && call.nr > *highest =>
            {
                ENOSYS
            }
            _ => run(&self.program, &self.with_family_as_read(call)),
        }
    }

    /// The one thing in which we differ from libseccomp: a socket's family is what the kernel takes it for.
    fn with_family_as_read(&self, call: &Call) -> Call {
        let mut call = *call;
        if self.sockets.contains(&(call.arch, call.nr)) {
            call.args[0] &= u64::from(u32::MAX);
        }
        call
    }
}

/// Numbers and arguments on both sides of everything that could be decided differently.
fn assert_same(spec: &Seccomp, native: Architecture) {
    let ours = super::compile(spec, native).unwrap();
    interpreter::verify(&ours);
    let expected = Expected::new(spec, native);
    let arguments = interesting_arguments(spec);
    let mut architectures: Vec<u32> = native.abis().iter().map(|abi| abi.audit_arch()).collect();
    architectures.dedup();
    architectures.extend([0, Abi::Aarch64.audit_arch() ^ 1, 0x8000_0015]);
    for arch in architectures {
        for nr in numbers() {
            for args in &arguments {
                let call = Call {
                    nr,
                    arch,
                    args: *args,
                };
                let (is, should) = (run(&ours, &call), expected.decision(&call));
                assert_eq!(is, should, "{is:#x} is not {should:#x} for {call:x?}");
            }
        }
    }
}

fn numbers() -> impl Iterator<Item = u32> {
    let low = (0..=600).chain([1023, 1024, 4095, 4096, 0xFFFF, 0x10000]);
    let arm = 0xF_0000..=0xF_000A;
    let plain: Vec<u32> = low.chain(arm).collect();
    let high = [0, X32_BIT, X32_BIT << 1, X32_BIT | X32_BIT << 1];
    high.into_iter()
        .flat_map(move |bits| plain.clone().into_iter().map(move |nr| nr | bits))
        .chain(high.map(|bits| bits.wrapping_sub(1)))
}

/// For each condition of the profile its operand, both neighbours, the other half and single bits of masks.
fn interesting_arguments(spec: &Seccomp) -> Vec<[u64; 6]> {
    let mut all = vec![
        [0; 6],
        [u64::MAX; 6],
        [1; 6],
        [1 << 32; 6],
        [u32::MAX.into(); 6],
    ];
    for condition in spec.syscalls.iter().flat_map(|rule| &rule.args) {
        for operand in [
            condition.value,
            condition.value_two,
            condition.value & condition.value_two,
        ] {
            let around = [operand.wrapping_sub(1), operand, operand.wrapping_add(1)];
            let flipped = [0, 7, 13, 17, 25, 29, 31, 32, 33, 63].map(|bit| operand ^ (1 << bit));
            for value in around.into_iter().chain(flipped) {
                for rest in [0, u64::MAX] {
                    let mut args = [rest; 6];
                    args[condition.index as usize] = value;
                    all.push(args);
                }
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

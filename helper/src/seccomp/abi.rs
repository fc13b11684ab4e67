//! The system call ABIs that a process can use on one machine, and their numbers.

use super::syscalls::SYSCALLS;

/// The machine that the filter is loaded on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    #[cfg_attr(target_arch = "aarch64", allow(dead_code))] // the other one serves the tests only
    X86_64,
    #[cfg_attr(target_arch = "x86_64", allow(dead_code))]
    Aarch64,
}

impl Architecture {
    /// Of this executable.
    pub const NATIVE: Architecture = if cfg!(target_arch = "aarch64") {
        Architecture::Aarch64
    } else {
        Architecture::X86_64
    };

    /// Every ABI that the kernel of such a machine may report.
    pub fn abis(self) -> &'static [Abi] {
        match self {
            Architecture::X86_64 => &[Abi::X86_64, Abi::X32, Abi::I386],
            Architecture::Aarch64 => &[Abi::Aarch64, Abi::Arm],
        }
    }

    pub fn native_abi(self) -> Abi {
        self.abis()[0]
    }
}

/// In the order of the columns of `SYSCALLS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abi {
    X86_64,
    X32,
    I386,
    Aarch64,
    Arm,
}

/// An x32 call has this bit in its number; `seccomp_data.arch` is that of x86-64 for both.
pub const X32_BIT: u32 = 0x4000_0000;

impl Abi {
    /// The name that `linux.seccomp.architectures` uses.
    pub fn oci_name(self) -> &'static str {
        match self {
            Abi::X86_64 => "SCMP_ARCH_X86_64",
            Abi::X32 => "SCMP_ARCH_X32",
            Abi::I386 => "SCMP_ARCH_X86",
            Abi::Aarch64 => "SCMP_ARCH_AARCH64",
            Abi::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// `AUDIT_ARCH_*` of linux/audit.h: the ELF machine, with bits for 64-bit and little-endian.
    pub fn audit_arch(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xC000_003E,
            Abi::I386 => 0x4000_0003,
            Abi::Aarch64 => 0xC000_00B7,
            Abi::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments are compared in full. x32 has 32-bit `long`s, and libseccomp treats it so.
    pub fn is_64_bit(self) -> bool {
        matches!(self, Abi::X86_64 | Abi::Aarch64)
    }

    /// As `seccomp_data.nr` shows it; `None` when this ABI has no such call.
    pub fn number(self, name: &str) -> Option<u32> {
        let row = SYSCALLS.binary_search_by_key(&name, |row| row.0).ok()?;
        let number = u32::try_from(SYSCALLS[row].1[self as usize]).ok()?;
        Some(match self {
            Abi::X32 => number | X32_BIT,
            _ => number,
        })
    }

    /// i386 reaches socket and System V IPC calls also through one call each, with the wanted one as
    /// the first argument (linux/net.h, linux/ipc.h).
    pub fn multiplexed(self, name: &str) -> Option<(u32, u64)> {
        if self != Abi::I386 {
            return None;
        }
        let find = |table: &[(&str, u64)]| table.iter().find(|each| each.0 == name).map(|e| e.1);
        if let Some(call) = find(&SOCKETCALL) {
            Some((self.number("socketcall")?, call))
        } else {
            Some((self.number("ipc")?, find(&IPC)?))
        }
    }
}

#[rustfmt::skip]
static SOCKETCALL: [(&str, u64); 20] = [
    ("socket", 1), ("bind", 2), ("connect", 3), ("listen", 4), ("accept", 5), ("getsockname", 6),
    ("getpeername", 7), ("socketpair", 8), ("send", 9), ("recv", 10), ("sendto", 11),
    ("recvfrom", 12), ("shutdown", 13), ("setsockopt", 14), ("getsockopt", 15), ("sendmsg", 16),
    ("recvmsg", 17), ("accept4", 18), ("recvmmsg", 19), ("sendmmsg", 20),
];

#[rustfmt::skip]
static IPC: [(&str, u64); 12] = [
    ("semop", 1), ("semget", 2), ("semctl", 3), ("semtimedop", 4), ("msgsnd", 11), ("msgrcv", 12),
    ("msgget", 13), ("msgctl", 14), ("shmat", 21), ("shmdt", 22), ("shmget", 23), ("shmctl", 24),
];

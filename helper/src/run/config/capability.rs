//! Names of capabilities to bits.

use rustix::thread::CapabilitySet;

use crate::error::{Failure, Result};

/// In the order of their numbers.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

pub fn parse_capabilities(names: &[String]) -> Result<CapabilitySet> {
    let mut set = CapabilitySet::empty();
    for name in names {
        let number = NAMES
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| {
                Failure::kind("read process.capabilities", "config-invalid").detail(name.clone())
            })?;
        set |= CapabilitySet::from_bits_retain(1 << number);
    }
    Ok(set)
}

pub fn capability_names(set: CapabilitySet) -> Vec<&'static str> {
    let held = |(number, _): &(usize, &&str)| set.bits() >> number & 1 == 1;
    let held = NAMES.iter().enumerate().filter(held);
    held.map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_the_kernels_numbers() {
        let names = ["CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE", "CAP_CHOWN"].map(String::from);
        let set =
            CapabilitySet::SYS_ADMIN | CapabilitySet::CHECKPOINT_RESTORE | CapabilitySet::CHOWN;
        assert_eq!(parse_capabilities(&names).unwrap(), set);
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        let failure = parse_capabilities(&["CAP_EVERYTHING".into()]).unwrap_err();
        assert_eq!(failure.detail.as_deref(), Some("CAP_EVERYTHING"));
    }
}

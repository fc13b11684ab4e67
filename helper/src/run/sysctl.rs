//! `linux.sysctl`

use std::collections::BTreeMap;

use super::procfs::Procfs;
use crate::error::{Failure, Result};

/// Sets them in the namespaces this process is in.
pub fn set_sysctls(procfs: &Procfs, sysctls: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in sysctls {
        procfs
            .write(&format!("sys/{}", path(name)), value.as_bytes())
            .map_err(|failure| Failure {
                step: format!("set the sysctl {name}"),
                ..failure
            })?;
    }
    Ok(())
}

/// Refuses what could name another file.
pub fn check(name: &str) -> Result<()> {
    let safe = !name.is_empty()
        && path(name)
            .split('/')
            .all(|part| !matches!(part, "" | "." | ".."));
    if safe {
        Ok(())
    } else {
        Err(Failure::kind("read linux.sysctl", "config-invalid").detail(name))
    }
}

/// Dots and slashes change places when a dot comes first, as in sysctl(8): `net/ipv4/conf/eth0.1/forwarding` and
/// `net.ipv4.conf.eth0/1.forwarding` are the same file.
fn path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(first) if name.as_bytes()[first] == b'.' => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        assert_eq!(path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(
            path("net.ipv4.conf.eth0/1.forwarding"),
            "net/ipv4/conf/eth0.1/forwarding"
        );
        assert_eq!(
            path("net/ipv4/conf/eth0.1/forwarding"),
            "net/ipv4/conf/eth0.1/forwarding"
        );
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "",
            "..",
            "net/../../1/mem",
            "/etc/passwd",
            "a..b",
            "kernel.//.x",
        ] {
            assert!(check(name).is_err(), "{name}");
        }
        assert!(check("kernel.shmmax").is_ok());
    }
}

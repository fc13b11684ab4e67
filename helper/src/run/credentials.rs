//! The user, groups, capabilities and filters the program runs with.
//!
//! The order is given by what the kernel asks for: the bounding set and the groups need capabilities that go away with
//! the user; a filter without no_new_privs needs CAP_SYS_ADMIN; and after the filter nothing may be called that a
//! profile might forbid. So capabilities are carried across the change of user (`KEEPCAPS`), and only one capset(2)
//! and the execve(2) come after the filter.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::config;
use super::listener::Agent;
use super::process::PlannedProcess;
use crate::error::{Failure, Result, Step};
use crate::seccomp::Listener;
use crate::sys;

/// Capabilities as bits.
#[derive(Debug, Clone, Copy)]
pub struct PlannedCapabilities {
    pub bounding: CapabilitySet,
    pub effective: CapabilitySet,
    pub permitted: CapabilitySet,
    pub inheritable: CapabilitySet,
    pub ambient: CapabilitySet,
}

/// A compiled filter and the flags for seccomp(2).
#[derive(Debug)]
pub struct Filter {
    pub program: Vec<libc::sock_filter>,
    pub flags: u32,
    /// Where system calls are notified.
    pub listener: Option<Listener>,
}

impl PlannedCapabilities {
    pub fn plan(capabilities: Option<&config::Capabilities>) -> Result<Self> {
        let none = config::Capabilities::default();
        let capabilities = capabilities.unwrap_or(&none);
        Ok(PlannedCapabilities {
            bounding: config::parse_capabilities(&capabilities.bounding)?,
            effective: config::parse_capabilities(&capabilities.effective)?,
            permitted: config::parse_capabilities(&capabilities.permitted)?,
            inheritable: config::parse_capabilities(&capabilities.inheritable)?,
            ambient: config::parse_capabilities(&capabilities.ambient)?,
        })
    }
}

impl PlannedCapabilities {
    /// Leaves out what this process has not got, as the specification wants it of a runtime; the names of those.
    pub fn keep_held(&mut self) -> Result<Vec<&'static str>> {
        let held = rustix::thread::capabilities(None)
            .step("read the capabilities")?
            .permitted;
        let wanted = self.bounding | self.permitted | self.inheritable;
        for set in [
            &mut self.bounding,
            &mut self.effective,
            &mut self.permitted,
            &mut self.inheritable,
            &mut self.ambient,
        ] {
            *set &= held;
        }
        Ok(config::capability_names(wanted - held))
    }
}

/// What is still to be done when the user has been assumed.
pub struct Confinement<'a> {
    filter: Option<&'a Filter>,
    no_new_privileges: bool,
    /// The sets to end with, where loading the filter takes more.
    lower: Option<CapabilitySets>,
}

/// Becomes the container's user, with its capabilities.
pub fn assume(process: &PlannedProcess) -> Result<Confinement<'_>> {
    let PlannedProcess {
        user,
        capabilities,
        no_new_privileges,
        ..
    } = process;
    let filter = process.filter.as_deref();
    let held = rustix::thread::capabilities(None).step("read the capabilities")?;
    refuse_missing(*capabilities, held.permitted)?;
    drop_bounding(capabilities.bounding)?;
    set_groups(&user.additional_gids)?;
    rustix::thread::set_keep_capabilities(true).step("keep the capabilities")?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).step("set the group")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).step("set the user")?;

    let sets = CapabilitySets {
        effective: capabilities.effective,
        permitted: capabilities.permitted,
        inheritable: capabilities.inheritable,
    };
    let needs_admin = filter.is_some() && !no_new_privileges;
    let admin = if needs_admin {
        CapabilitySet::SYS_ADMIN
    } else {
        CapabilitySet::empty()
    };
    let meanwhile = CapabilitySets {
        effective: sets.effective | admin,
        permitted: sets.permitted | admin,
        ..sets
    };
    rustix::thread::set_capabilities(None, meanwhile).step("set the capabilities")?;
    raise_ambient(capabilities.ambient)?;
    Ok(Confinement {
        filter,
        no_new_privileges: *no_new_privileges,
        lower: (meanwhile != sets).then_some(sets),
    })
}

impl Confinement<'_> {
    /// Only execve comes after it. `agent`: who gets the listener of a filter that has one.
    pub fn confine(self, agent: Option<Agent>, channel: &OwnedFd) -> Result<()> {
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).step("set no_new_privs")?;
        }
        match (self.filter, agent) {
            (Some(filter), Some(agent)) => agent.load(filter, channel.as_fd())?,
            (Some(filter), None) => sys::seccomp::load_filter(&filter.program, filter.flags)
                .step("load the seccomp filter")?,
            (None, _) => {}
        }
        match self.lower {
            Some(sets) => rustix::thread::set_capabilities(None, sets).step("set the capabilities"),
            None => Ok(()),
        }
    }
}

/// capset(2) only says EPERM; say which.
fn refuse_missing(wanted: PlannedCapabilities, held: CapabilitySet) -> Result<()> {
    let missing = (wanted.permitted | wanted.inheritable | wanted.bounding) - held;
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    Err(Failure::kind("set the capabilities", "capability-missing")
        .errno(Errno::PERM)
        .detail(names.join(" ")))
}

fn drop_bounding(keep: CapabilitySet) -> Result<()> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The first number that this kernel does not know.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno).step("drop a capability from the bounding set"),
        }
    }
    Ok(())
}

fn raise_ambient(ambient: CapabilitySet) -> Result<()> {
    rustix::thread::clear_ambient_capability_set().step("clear the ambient capabilities")?;
    for capability in ambient.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)
            .step("raise an ambient capability")?;
    }
    Ok(())
}

fn set_groups(groups: &[u32]) -> Result<()> {
    let groups: Vec<Gid> = groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // A user namespace with a single id has setgroups(2) denied for good.
        Err(Errno::PERM) if groups.is_empty() => Ok(()),
        set => set.step("set the additional groups"),
    }
}

//! Leaving and joining namespaces.

use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags};

/// Moves this process into new namespaces.
pub fn unshare(flags: UnshareFlags) -> Result<()> {
    // SAFETY: unsafe in rustix because of CLONE_FILES, which takes descriptors apart between threads; there is one
    // thread, and nothing shares its descriptors.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Joins the namespace that `fd` stands for.
pub fn join(fd: impl AsFd, kind: Option<LinkNameSpaceType>) -> Result<()> {
    rustix::thread::move_into_link_name_space(fd.as_fd(), kind)
}

/// Joins these namespaces (`CLONE_NEW*`) of the process that `pidfd` stands for, all or none.
pub fn join_process(pidfd: impl AsFd, namespaces: UnshareFlags) -> Result<()> {
    let kinds = ThreadNameSpaceType::from_bits_retain(namespaces.bits());
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), kinds)
}

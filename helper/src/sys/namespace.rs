//! Leaving and joining namespaces.

use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

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

//! mount_setattr(2), which rustix has not.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Result;

use super::process::last_errno;

#[derive(Default, Clone, Copy)]
pub struct MountAttributes {
    /// `MOUNT_ATTR_*`
    pub set: u64,
    pub clear: u64,
    /// `MS_SHARED` and its like; zero leaves it alone.
    pub propagation: u64,
    pub recursive: bool,
}

/// Changes the mount that `fd` is the root of.
pub fn mount_setattr(fd: impl AsFd, attributes: MountAttributes) -> Result<()> {
    setattr(fd.as_fd().as_raw_fd(), c"", libc::AT_EMPTY_PATH, attributes)
}

/// Shows the files of the detached mount that `fd` is the root of with the ids of a user namespace: what the file system says belongs to its
/// root belongs to the namespace's root.
pub fn map_ids(fd: impl AsFd, user_namespace: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user_namespace.as_raw_fd() as u64,
    };
    let flags = libc::AT_EMPTY_PATH | recursively(recursive);
    call(fd.as_fd().as_raw_fd(), c"", flags, &attr)
}

/// Changes the mount at the root directory of this process.
pub fn mount_setattr_root(attributes: MountAttributes) -> Result<()> {
    setattr(libc::AT_FDCWD, c"/", 0, attributes)
}

fn setattr(fd: i32, path: &CStr, flags: i32, attributes: MountAttributes) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: attributes.propagation,
        userns_fd: 0,
    };
    call(fd, path, flags | recursively(attributes.recursive), &attr)
}

fn recursively(recursive: bool) -> i32 {
    if recursive { libc::AT_RECURSIVE } else { 0 }
}

fn call(fd: i32, path: &CStr, flags: i32, attr: &libc::mount_attr) -> Result<()> {
    // SAFETY: `path` is a C string and `attr` a mount_attr of the size given; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of_val(attr),
        )
    };
    match result {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

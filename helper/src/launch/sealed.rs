//! The helper runs from a sealed copy of itself in memory.
//!
//! A process in a container that can look at one of ours (the init, a program being executed into it) can open the file
//! behind it by /proc/<pid>/exe, and as root write to it once it no longer runs: the host's own helper would be
//! replaced (CVE-2019-5736). What it finds here is a copy that nobody can write to, whatever their rights.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

use crate::error::{Result, Step};
use crate::sys;

const SEALS: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// Returns in the sealed copy only. To be called before descriptors that must survive are marked close-on-exec.
pub fn ensure_sealed() -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let executable = rustix::fs::open("/proc/self/exe", flags, Mode::empty())
        .step("open the helper's executable")?;
    if rustix::fs::fcntl_get_seals(&executable).is_ok_and(|seals| seals.contains(SEALS)) {
        let _ = rustix::thread::set_name(c"keelson-launch");
        return Ok(());
    }
    let copy = copy(&executable)?;
    let arguments = c_strings(std::env::args_os());
    let environment = c_strings(std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    }));
    let errno = sys::exec::execve_fd(copy.as_fd(), &arguments, &environment);
    Err(errno).step("execute the helper's sealed copy")
}

fn copy(executable: &OwnedFd) -> Result<OwnedFd> {
    let step = "copy the helper into memory";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match rustix::fs::memfd_create(c"keelson-helper", flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 every one is executable, and there is no word for it.
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"keelson-helper", flags),
        made => made,
    }
    .step(step)?;
    let size = rustix::fs::fstat(executable).step(step)?.st_size as u64;
    let mut offset = 0;
    while offset < size {
        let rest = usize::try_from(size - offset).unwrap_or(usize::MAX);
        if rustix::fs::sendfile(&copy, executable, Some(&mut offset), rest).step(step)? == 0 {
            break;
        }
    }
    rustix::fs::fcntl_add_seals(&copy, SEALS).step(step)?;
    Ok(copy)
}

fn c_strings(texts: impl Iterator<Item = std::ffi::OsString>) -> Vec<CString> {
    texts
        .filter_map(|text| CString::new(text.into_vec()).ok())
        .collect()
}

//! A child of this process that another one clones, which is where this one must not go: in a user namespace there is no way
//! back into the pid namespace outside.

use std::convert::Infallible;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};

use super::program::wait;
use crate::error::{Failure, Result, Step};
use crate::sys;

/// The other process goes there by `enter`, clones the child as this one's, and ends. `fail` says what an errno of theirs
/// means.
pub fn clone_by_another(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    enter: impl FnOnce() -> rustix::io::Result<()>,
    child: impl FnOnce() -> Infallible,
    fail: impl FnOnce(Errno) -> Failure,
) -> Result<(Pid, OwnedFd)> {
    let step = "clone the program";
    let (result, said) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step("make a pipe")?;
    let (_, other) = sys::process::clone(0, None, || {
        let cloned = enter().and_then(|()| sys::process::clone_sibling(flags, cgroup, child));
        let number = match cloned {
            Ok(pid) => pid.as_raw_nonzero().get(),
            Err(errno) => -errno.raw_os_error(),
        };
        let _ = rustix::io::write(&said, &number.to_ne_bytes());
        sys::process::exit(0)
    })
    .step(step)?;
    drop(said);
    wait(&other);
    let mut number = [0; 4];
    rustix::io::read(&result, &mut number).step(step)?;
    let number = i32::from_ne_bytes(number);
    if number < 0 {
        return Err(fail(Errno::from_raw_os_error(-number)));
    }
    // Nothing was said where the other was killed.
    let pid = Pid::from_raw(number).ok_or_else(|| Failure::kind(step, "killed"))?;
    // Its number is nobody else's before this process has reaped it.
    let pidfd =
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).step("open the program's process")?;
    Ok((pid, pidfd))
}

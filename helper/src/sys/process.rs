//! Making processes. The helper is single-threaded, so a child may go on running Rust code after a bare clone.

use std::convert::Infallible;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// libc has it in a type too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// clone3(2) with a pidfd, SIGCHLD at the end, and no shared memory.
///
/// `flags` are `CLONE_NEW*`; with `cgroup` the child starts in that cgroup v2 directory. The child does what `child` does
/// and never comes back here: whatever follows this call is the parent's.
pub fn clone(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> Infallible,
) -> Result<(Pid, OwnedFd)> {
    let mut pidfd: RawFd = -1;
    let mut flags = flags | libc::CLONE_PIDFD as u64;
    if cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    // SAFETY: every field of clone_args is an integer for which zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.map_or(0, |fd| fd.as_raw_fd() as u64);
    // SAFETY: `args` is a valid clone_args of the size given. Neither CLONE_VM nor a new stack is asked for, so the
    // child has its own copy of this stack; the process has one thread, so no lock is left held in the child.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    if pid == 0 {
        child();
    }
    match pid {
        -1 => Err(last_errno()),
        pid => {
            // SAFETY: the kernel has just stored a new descriptor there, owned by nobody else.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok((Pid::from_raw(pid as i32).ok_or(Errno::INVAL)?, pidfd))
        }
    }
}

/// The same for a child of this process's own parent, which gets SIGCHLD at the end as it does for this one.
pub fn clone_sibling(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> Infallible,
) -> Result<Pid> {
    // SAFETY: every field of clone_args is an integer for which zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PARENT as u64;
    if cgroup.is_some() {
        args.flags |= CLONE_INTO_CGROUP;
    }
    args.cgroup = cgroup.map_or(0, |fd| fd.as_raw_fd() as u64);
    // SAFETY: as in `clone`: a valid clone_args, no shared memory, one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    if pid == 0 {
        child();
    }
    match pid {
        -1 => Err(last_errno()),
        pid => Pid::from_raw(pid as i32).ok_or(Errno::INVAL),
    }
}

/// fork(2), for a process that is under a seccomp filter: Docker's profile answers clone3(2) with ENOSYS, so that
/// programs take the older call, whose flags a filter can read. The child never comes back here.
pub fn fork(child: impl FnOnce() -> Infallible) -> Result<Pid> {
    // SAFETY: the process has one thread, so no lock is left held in the child.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child();
    }
    match pid {
        -1 => Err(last_errno()),
        pid => Pid::from_raw(pid).ok_or(Errno::INVAL),
    }
}

/// Ends this process at once: no destructors, no flushing of what the parent had buffered.
pub fn exit(code: i32) -> ! {
    // SAFETY: _exit does not return and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

pub fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Takes ownership of an inherited descriptor; `None` when nothing is open there.
///
/// To be called once for a number, before anything else in the process could own it.
pub fn adopt(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: F_GETFD only looks.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
        return None;
    }
    // SAFETY: it is open, was inherited, and by the contract above has no other owner.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes the descriptor `fd` stand for what `to` stands for; what it stood for before is closed.
pub fn redirect(fd: &OwnedFd, to: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: both are open; `fd` goes on being an open descriptor owned by the same owner.
    match unsafe { libc::dup3(to.as_raw_fd(), fd.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Sends a signal, real-time ones included, to the process that `pidfd` stands for.
pub fn pidfd_send_signal(pidfd: &OwnedFd, signal: libc::c_int) -> Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a descriptor, numbers, and no siginfo.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            no_info,
            0,
        )
    };
    match sent {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Sends a signal, real-time ones included, to a child that has not been reaped.
pub fn kill(pid: Pid, signal: libc::c_int) -> Result<()> {
    // SAFETY: numbers only.
    match unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

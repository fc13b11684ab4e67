//! Signal dispositions, masks and signalfd.

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Result;

use super::process::last_errno;

/// Number of signals, real-time ones included.
const SIGNALS: libc::c_int = 64;

/// Every signal back to its default: what a parent left ignored would stay ignored across exec.
pub fn reset_dispositions() {
    // The kernel's struct sigaction: handler (SIG_DFL is zero), flags, restorer, mask.
    const DEFAULT: [u64; 4] = [0; 4];
    for signal in 1..=SIGNALS {
        // Asked of the kernel itself: the C library refuses the two that it keeps for its threads, which a parent may
        // have left ignored all the same. SIGKILL and SIGSTOP fail, as they may.
        // SAFETY: DEFAULT is large enough for the struct of every 64-bit architecture, and installs no handler.
        unsafe {
            let old = std::ptr::null_mut::<u64>();
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                old,
                size_of::<u64>(),
            );
        }
    }
}

/// Blocks exactly these signals.
pub fn set_mask(blocked: &[libc::c_int]) {
    let set = set_of(blocked);
    // SAFETY: a valid set; the old mask is not wanted.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()) };
}

/// A non-blocking descriptor that becomes readable when one of these (blocked) signals arrives.
pub fn signalfd(signals: &[libc::c_int]) -> Result<OwnedFd> {
    let set = set_of(signals);
    // SAFETY: a valid set; -1 asks for a new descriptor.
    match unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) } {
        -1 => Err(last_errno()),
        // SAFETY: just made, owned by nobody else.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// The number of a signal that a signalfd has; `None` when it has none.
pub fn read(signals: &OwnedFd) -> Option<libc::c_int> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    let read = rustix::io::read(signals, &mut info).ok()?;
    // Its first field, `ssi_signo`.
    let number = info.first_chunk().filter(|_| read == info.len())?;
    Some(u32::from_ne_bytes(*number) as libc::c_int)
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: sigemptyset initializes the whole set; sigaddset gets valid numbers from callers in this crate.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for &signal in signals {
            libc::sigaddset(&mut set, signal);
        }
        set
    }
}

/// Raised by what the process itself does; they cannot wait.
const SYNCHRONOUS: [libc::c_int; 7] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
];

/// Blocks every signal that comes from outside.
pub fn block_asynchronous() {
    set_mask(&asynchronous());
}

/// Waits for one of them.
pub fn wait_asynchronous() -> libc::c_int {
    let set = set_of(&asynchronous());
    loop {
        // SAFETY: a valid set; nothing but the number is wanted.
        let signal = unsafe { libc::sigwaitinfo(&set, std::ptr::null_mut()) };
        if signal > 0 {
            return signal;
        }
    }
}

fn asynchronous() -> Vec<libc::c_int> {
    (1..=SIGNALS)
        .filter(|signal| !SYNCHRONOUS.contains(signal))
        .collect()
}

//! Where a monitor is found: its socket, and the lock that says that it lives.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Result, Step};
use crate::launch::{LockFile, LockMode};

/// `sun_path` without its end.
const LONGEST_PATH: usize = 107;

pub struct Door {
    listener: OwnedFd,
    path: PathBuf,
    _lock: OwnedFd,
}

impl Door {
    /// Takes the lock, or fails with `busy`; what listened there before was a monitor that is dead.
    pub fn open(directory: &Path) -> Result<Self> {
        let lock = LockFile {
            path: directory.join("lock"),
            mode: LockMode::Exclusive,
        }
        .try_take()?;
        let path = directory.join("monitor.sock");
        match rustix::fs::unlink(&path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).step_at("remove a dead monitor's socket", &path),
        }
        Ok(Door {
            listener: listen(directory, &path)?,
            path,
            _lock: lock,
        })
    }

    /// The next connection that waits.
    pub fn accept(&self) -> Option<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::accept_with(&self.listener, flags).ok()
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// In this order: a next monitor makes a socket of its own only when it has the lock.
impl Drop for Door {
    fn drop(&mut self) {
        let _ = rustix::fs::unlink(&self.path);
    }
}

fn listen(directory: &Path, path: &Path) -> Result<OwnedFd> {
    let step = "listen for connections";
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .step(step)?;
    let handle;
    let address = if path.as_os_str().len() <= LONGEST_PATH {
        path.to_owned()
    } else {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        handle = rustix::fs::open(directory, flags, Mode::empty()).step_at(step, directory)?;
        PathBuf::from(format!("/proc/self/fd/{}/monitor.sock", handle.as_raw_fd()))
    };
    let address = SocketAddrUnix::new(&address).step_at(step, path)?;
    // The mode from the first moment on.
    let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::umask(mask);
    bound.step_at(step, path)?;
    rustix::net::listen(&socket, 128).step_at(step, path)?;
    Ok(socket)
}

//! `process.terminal`: a pseudo terminal of the container's own devpts as the program's standard streams.
//!
//! It is made by a process that is inside, so the terminal exists in the container and has a name there. /dev is the
//! image's and its processes': what is found there is used by descriptor and only after the kernel has said what it is
//! (CVE-2025-52565, CVE-2025-31133). The other side of the terminal is asked of the terminal itself, never of a name.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Uid};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, Winsize};

use super::config::{ConsoleSize, User};
use super::handover;
use super::mounts::clone_mount;
use super::root::{Root, attach};
use crate::error::{Failure, Result, Step};
use crate::protocol::Report;

const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
/// /dev/ptmx, wherever it lies.
const PTMX: (u32, u32) = (5, 2);
/// `UNIX98_PTY_SLAVE_MAJOR` and the seven after it.
const SLAVE_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

const MODES: &str = "set the terminal's modes";

/// A terminal that is to be made.
#[derive(Default, Clone, Copy)]
pub struct PlannedTerminal {
    pub size: ConsoleSize,
    /// Lines end as the program ends them: who reads has a terminal in front, or none at all.
    pub plain_lines: bool,
}

pub struct Terminal {
    /// For the parent.
    pub master: OwnedFd,
    slave: OwnedFd,
}

impl Terminal {
    /// Allocates one. `root` is the container's root, and that of this process.
    pub fn open(root: &Root, user: &User, wanted: PlannedTerminal) -> Result<Self> {
        let master = open_ptmx(root)?;
        rustix::pty::unlockpt(&master).step("unlock the terminal")?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)
            .step("open the terminal's other side")?;
        check(&slave, "the terminal", |major, _| {
            SLAVE_MAJORS.contains(&major)
        })?;
        // As login(1) does. Its group stays that of the devpts, which is tty's.
        rustix::fs::fchown(&slave, Some(Uid::from_raw(user.uid)), None)
            .step("give the terminal to the user")?;
        set_size(&master, wanted.size)?;
        if wanted.plain_lines {
            let mut modes = rustix::termios::tcgetattr(&slave).step(MODES)?;
            modes.output_modes.remove(OutputModes::ONLCR);
            rustix::termios::tcsetattr(&slave, OptionalActions::Now, &modes).step(MODES)?;
        }
        Ok(Terminal { master, slave })
    }

    /// Makes it the standard streams and the controlling terminal of this process, which leads a session.
    pub fn install(&self) -> Result<()> {
        rustix::process::ioctl_tiocsctty(&self.slave).step("take the terminal")?;
        rustix::stdio::dup2_stdin(&self.slave).step("install stdin")?;
        rustix::stdio::dup2_stdout(&self.slave).step("install stdout")?;
        rustix::stdio::dup2_stderr(&self.slave).step("install stderr")
    }

    /// Shows it as /dev/console too.
    pub fn bind_console(&self, root: &Root) -> Result<()> {
        let console = clone_mount(&self.slave, false).step("clone the terminal")?;
        let target = root.make_file("/dev/console").step("make /dev/console")?;
        let kind = rustix::fs::fstat(&target).step("inspect /dev/console")?;
        if FileType::from_raw_mode(kind.st_mode).is_dir() {
            return Err(Failure::new("make /dev/console").detail("it is a directory"));
        }
        attach(console, target).step("bind /dev/console")
    }
}

/// Of a terminal's master.
pub fn set_size(master: impl AsFd, size: ConsoleSize) -> Result<()> {
    let size = Winsize {
        ws_row: size.height,
        ws_col: size.width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(master, size).step("set the terminal's size")
}

/// Sends the report and with it the master.
pub fn send(channel: impl AsFd, report: &Report, master: BorrowedFd<'_>) -> Result<()> {
    handover::send(channel, report, master).step("hand the terminal over")
}

fn open_ptmx(root: &Root) -> Result<OwnedFd> {
    let step = "open /dev/pts/ptmx";
    let directory = root.find_without_links("/dev/pts").step(step)?;
    let devpts = rustix::fs::fstatfs(&directory).step(step)?;
    if devpts.f_type != DEVPTS_SUPER_MAGIC {
        return Err(Failure::kind(step, "terminal-unavailable")
            .detail("the container's /dev/pts is no devpts file system"));
    }
    // It is the devpts' own file: nobody can put another in its place.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = rustix::fs::openat(&directory, "ptmx", flags, Mode::empty()).step(step)?;
    check(&master, step, |major, minor| (major, minor) == PTMX)?;
    Ok(master)
}

/// Something may have been mounted over it.
fn check(fd: impl AsFd, step: &str, expected: impl Fn(u32, u32) -> bool) -> Result<()> {
    let stat = rustix::fs::fstat(&fd).step(step)?;
    let magic = rustix::fs::fstatfs(&fd).step(step)?.f_type;
    let number = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    if FileType::from_raw_mode(stat.st_mode).is_char_device()
        && magic == DEVPTS_SUPER_MAGIC
        && expected(number.0, number.1)
    {
        Ok(())
    } else {
        Err(Failure::kind(step, "terminal-unavailable")
            .detail("the container has put something else there"))
    }
}

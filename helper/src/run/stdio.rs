//! Standard streams: pipes that Node opens anew, so no byte passes through the launcher.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::pipe::PipeFlags;

use super::config::{Stdio, StreamKind};
use super::process::PlannedProcess;
use crate::error::{Failure, Result, Step};

/// Both ends of the pipe of one stream.
pub struct Pipe {
    pub read: OwnedFd,
    pub write: OwnedFd,
}

/// stdin, stdout, stderr; `None` is the null device.
pub struct Streams(pub [Option<Pipe>; 3]);

impl Streams {
    /// With a terminal there are no pipes.
    pub fn make(
        process: &PlannedProcess,
        stdio: &Stdio,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<Self> {
        if process.terminal.is_some() {
            return Ok(Streams([None, None, None]));
        }
        let make = |kind: StreamKind| match kind {
            StreamKind::Pipe => Pipe::make(uid, gid).map(Some),
            StreamKind::Null => Ok(None),
        };
        Ok(Streams([
            make(stdio.stdin)?,
            make(stdio.stdout)?,
            make(stdio.stderr)?,
        ]))
    }

    /// Node's end of each stream, by the number it has in the launcher.
    pub fn far_ends(&self) -> [Option<i32>; 3] {
        let [stdin, stdout, stderr] = &self.0;
        [
            stdin.as_ref().map(|pipe| pipe.write.as_raw_fd()),
            stdout.as_ref().map(|pipe| pipe.read.as_raw_fd()),
            stderr.as_ref().map(|pipe| pipe.read.as_raw_fd()),
        ]
    }

    /// The container's end of each stream.
    pub fn near_ends(&self) -> [Option<&OwnedFd>; 3] {
        let [stdin, stdout, stderr] = &self.0;
        [
            stdin.as_ref().map(|pipe| &pipe.read),
            stdout.as_ref().map(|pipe| &pipe.write),
            stderr.as_ref().map(|pipe| &pipe.write),
        ]
    }
}

impl Pipe {
    fn make(uid: Option<u32>, gid: Option<u32>) -> Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step("make a pipe")?;
        if let (Some(uid), Some(gid)) = (uid, gid) {
            rustix::fs::fchown(&write, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .step("give a pipe to the container's user")?;
        }
        // Reopened by name (/dev/stderr) also after the program has become another user, as web servers do, and by Node,
        // which in a user namespace is neither. Only who may look into a process that holds it comes near it by name.
        rustix::fs::fchmod(&write, Mode::from_raw_mode(0o666)).step("open up a pipe")?;
        Ok(Pipe { read, write })
    }
}

/// Makes the container's ends the standard streams of this process. Called inside the container's root: the null
/// device is the container's own, where it has one, so that nothing of the host's /dev is held.
pub fn install(streams: &Streams) -> Result<()> {
    let [stdin, stdout, stderr] = streams.near_ends();
    let null = match (stdin, stdout, stderr) {
        (Some(_), Some(_), Some(_)) => None,
        _ => Some(null_device()?),
    };
    if let Some(fd) = stdin.or(null.as_ref()) {
        rustix::stdio::dup2_stdin(fd).step("install stdin")?;
    }
    if let Some(fd) = stdout.or(null.as_ref()) {
        rustix::stdio::dup2_stdout(fd).step("install stdout")?;
    }
    if let Some(fd) = stderr.or(null.as_ref()) {
        rustix::stdio::dup2_stderr(fd).step("install stderr")?;
    }
    Ok(())
}

fn null_device() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty()).step("open /dev/null")?;
    let stat = rustix::fs::fstat(&null).step("inspect /dev/null")?;
    if FileType::from_raw_mode(stat.st_mode).is_char_device()
        && stat.st_rdev == rustix::fs::makedev(1, 3)
    {
        Ok(null)
    } else {
        Err(Failure::new("open /dev/null").detail("the container's /dev/null is something else"))
    }
}

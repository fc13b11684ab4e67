//! A container that is made ahead of its time, to the last step before its program, and waits to hear which program that is.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde::{Deserialize, Serialize};

use super::bundle;
use super::command::Command;
use super::config::{BundleFile, RootfsMount};
use super::plan::Plan;
use super::spare::{Identity, identities};
use crate::error::{Failure, Result, Step};
use crate::launch::LockFile;
use crate::protocol::{self, FrameReader};
use crate::sys;

/// The program for one that waits.
#[derive(Serialize, Deserialize)]
pub struct ProgramOrder {
    pub args: Vec<String>,
    pub env: Vec<String>,
}

/// What must still be so when it is asked for. Until then it has no locks: it is not in the way of who removes its image.
pub struct Standby {
    locks: Vec<LockFile>,
    rootfs: Vec<RootfsMount>,
    /// As they were before they were mounted.
    layers: Vec<Identity>,
    bundle: PathBuf,
}

impl Standby {
    /// Before anything is made for it.
    pub fn of(plan: &Plan) -> Result<Self> {
        Ok(Standby {
            layers: identities(&plan.extension.rootfs)?,
            locks: plan.extension.locks.clone(),
            rootfs: plan.extension.rootfs.clone(),
            bundle: plan.extension.bundle.clone(),
        })
    }

    /// Takes its locks. `standby-lost` when its layers are not those any more that have their names.
    pub fn take_locks(&self) -> Result<Vec<OwnedFd>> {
        let taken = self
            .locks
            .iter()
            .map(LockFile::try_take)
            .collect::<Result<Vec<_>>>()?;
        match identities(&self.rootfs) {
            Ok(layers) if layers == self.layers => Ok(taken),
            _ => Err(lost("its layers have changed")),
        }
    }

    /// In place of what was in them.
    pub fn rewrite(&self, files: &[BundleFile]) -> Result<()> {
        bundle::rewrite(&self.bundle, files)
    }
}

/// There is none, or not any more.
pub fn lost(detail: &str) -> Failure {
    Failure::kind("find the container made ahead", "standby-lost").detail(detail)
}

pub fn say_program(channel: &OwnedFd, order: &ProgramOrder) -> Result<()> {
    let step = "name the program";
    let bytes = protocol::encode(order);
    let mut sent = 0;
    while sent < bytes.len() {
        match rustix::net::send(
            channel,
            &bytes[sent..],
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        ) {
            Ok(length) => sent += length,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(lost("it does not listen")),
            // A child that has failed meanwhile has said why.
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(errno) => return Err(errno).step(step),
        }
    }
    Ok(())
}

/// In the child: blocks until the launcher names the program. When the launcher is gone, so is this process.
pub fn hear_program(channel: &OwnedFd) -> Result<Command> {
    let mut reader = FrameReader::default();
    let mut buffer = [0; 16 << 10];
    loop {
        match rustix::net::recv(channel, &mut buffer, RecvFlags::empty()) {
            Ok((length, _)) if length > 0 => reader.push(&buffer[..length]),
            Err(Errno::INTR) => {}
            _ => sys::process::exit(1),
        }
        if let Some(frame) = reader.next()? {
            let ProgramOrder { args, env } = protocol::decode(frame)?;
            return Command::plan(args, env);
        }
    }
}

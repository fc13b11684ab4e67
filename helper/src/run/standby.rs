//! A container that is made ahead of its time, to the last step before its program, and waits to hear which program that is.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::bundle;
use super::command::Command;
use super::config::{BundleFile, RootfsMount};
use super::plan::Plan;
use super::spare::{Identity, identities};
use crate::error::{Failure, Result, Step};
use crate::launch::LockFile;
use crate::net::NetworkPlan;
use crate::protocol::{self, FrameReader};
use crate::sys;

/// More than this, and the launcher might have to wait for the child to read it.
const MAX_ORDER: usize = 64 << 10;

/// The program for one that waits, and its part in networks.
#[derive(Serialize, Deserialize)]
pub struct ProgramOrder {
    args: Vec<String>,
    env: Vec<String>,
    /// A `NetworkPlan`.
    #[serde(default)]
    network: Option<Box<RawValue>>,
}

impl ProgramOrder {
    pub fn network(&self) -> Result<NetworkPlan> {
        match &self.network {
            Some(plan) => protocol::decode(plan.get().as_bytes()),
            None => Ok(NetworkPlan::default()),
        }
    }
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

    /// Takes its locks. `standby-lost` when that is not possible, or its layers are not those any more that have their names.
    pub fn take_locks(&self) -> Result<Vec<OwnedFd>> {
        let locks = self.locks.iter().map(LockFile::try_take);
        match (locks.collect::<Result<_>>(), identities(&self.rootfs)) {
            (Ok(taken), Ok(layers)) if layers == self.layers => Ok(taken),
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

/// As it is said. `standby-lost`: it is too long for that.
pub fn encode_order(order: &ProgramOrder) -> Result<Vec<u8>> {
    let bytes = protocol::encode(order);
    match bytes.len() {
        0..=MAX_ORDER => Ok(bytes),
        _ => Err(lost("the command line is too long")),
    }
}

pub fn say_program(channel: &OwnedFd, bytes: &[u8]) -> Result<()> {
    let step = "name the program";
    let mut sent = 0;
    while sent < bytes.len() {
        match rustix::net::send(
            channel,
            &bytes[sent..],
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        ) {
            Ok(length) => sent += length,
            Err(Errno::INTR) => {}
            // A child that has failed meanwhile has said why.
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(errno) => return Err(errno).step(step),
        }
    }
    Ok(())
}

/// In the child: blocks until the launcher names the program. When the launcher is gone, so is this process.
pub fn hear_program(channel: &OwnedFd) -> Result<(Command, NetworkPlan)> {
    let mut reader = FrameReader::default();
    let mut buffer = [0; 16 << 10];
    loop {
        match rustix::net::recv(channel, &mut buffer, RecvFlags::empty()) {
            Ok((length, _)) if length > 0 => reader.push(&buffer[..length]),
            Err(Errno::INTR) => {}
            _ => sys::process::exit(1),
        }
        if let Some(frame) = reader.next()? {
            let order: ProgramOrder = protocol::decode(frame)?;
            let network = order.network()?;
            return Ok((Command::plan(order.args, order.env)?, network));
        }
    }
}

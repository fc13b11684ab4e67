//! Other networks for a container that runs.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::inside::inside;
use super::{Firewall, FirewallCommand, LinkOperation, Links};
use crate::error::{Result, Step};

/// Arguments of the monitor's operation `network`; `NetworkChange` of `src/runtime/network-protocol.ts`.
#[derive(Deserialize)]
pub struct NetworkChange {
    /// In the place of the plan that it was started with.
    pub plan: Box<RawValue>,
    host: Vec<LinkOperation>,
    inside: Vec<LinkOperation>,
    /// When something fails.
    undo: Undo,
    firewall: Vec<FirewallCommand>,
    /// What fails is passed over.
    #[serde(default)]
    force: bool,
    files: Vec<File>,
    /// Of what it has left: to be removed when it is done.
    pub release: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Undo {
    host: Vec<LinkOperation>,
    inside: Vec<LinkOperation>,
}

#[derive(Deserialize)]
struct File {
    path: PathBuf,
    text: String,
}

impl NetworkChange {
    /// All or nothing.
    ///
    /// `process`: whose network namespace it is, and its number; none: the container does not run at the moment.
    pub fn carry_out(&self, process: Option<(BorrowedFd<'_>, u32)>) -> Result<()> {
        let result = self
            .files
            .iter()
            .try_for_each(File::prepare)
            .and_then(|()| {
                process.map_or(Ok(()), |(process, pid)| self.change_links(process, pid))
            });
        for file in &self.files {
            match result {
                Ok(()) => file.put_in_place()?,
                Err(_) => file.discard(),
            }
        }
        result
    }

    fn change_links(&self, process: BorrowedFd<'_>, pid: u32) -> Result<()> {
        let mut ours = Links::open()?;
        let mut theirs = match inside(process, Links::open) {
            // It has ended, and its network with it.
            Err(failure) if failure.errno == Some(libc::ESRCH) => return Ok(()),
            opened => opened?,
        };
        if self.force {
            // Each for itself: one that fails must not keep the others from being done.
            each(&mut ours, &self.host, Some(pid));
            each(&mut theirs, &self.inside, None);
            let _ = self.change_rules();
            return Ok(());
        }
        let changed = ours
            .carry_out(&self.host, Some(pid))
            .and_then(|()| theirs.carry_out(&self.inside, None))
            .and_then(|()| self.change_rules());
        if changed.is_err() {
            each(&mut ours, &self.undo.host, Some(pid));
            each(&mut theirs, &self.undo.inside, None);
        }
        changed
    }

    /// In one batch.
    fn change_rules(&self) -> Result<()> {
        match self.firewall.is_empty() {
            true => Ok(()),
            false => Firewall::open()?.carry_out(&self.firewall),
        }
    }
}

fn each(links: &mut Links, operations: &[LinkOperation], peer: Option<u32>) {
    for operation in operations {
        let _ = links.carry_out(std::slice::from_ref(operation), peer);
    }
}

/// Replaced at once: a reader sees the old one or the new one.
impl File {
    /// All that can fail for want of room.
    fn prepare(&self) -> Result<()> {
        std::fs::write(self.temporary(), &self.text).step_at("write down the networks", &self.path)
    }

    fn put_in_place(&self) -> Result<()> {
        std::fs::rename(self.temporary(), &self.path).step_at("write down the networks", &self.path)
    }

    fn discard(&self) {
        let _ = std::fs::remove_file(self.temporary());
    }

    fn temporary(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        name.into()
    }
}

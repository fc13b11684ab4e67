//! The mount option `remount`: other options for what is mounted already, by the configuration or by the image's layers.

use std::os::fd::{AsFd, OwnedFd};

use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string};

use super::mounts::{PlannedMount, set_attributes, set_propagation};
use super::root::Root;
use super::rootfs::explain;
use crate::error::{Result, Step};

const STEP: &str = "remount";

/// With `bind` only the mount is changed, without also its file system. What is not asked for stays as it is.
pub fn remount(root: &Root, mount: &PlannedMount) -> Result<()> {
    let destination = &mount.config.destination;
    let place = root.find(destination).step_at(STEP, destination)?;
    if !mount.options.bind {
        reconfigure(&place, mount).map_err(|failure| failure.path(destination))?;
    }
    set_attributes(mount, &place)?;
    set_propagation(mount, &place)
}

fn reconfigure(place: &OwnedFd, mount: &PlannedMount) -> Result<()> {
    let options = &mount.options;
    let readonly = libc::MOUNT_ATTR_RDONLY;
    let access = match (options.set & readonly != 0, options.clear & readonly != 0) {
        (true, _) => Some("ro"),
        (_, true) => Some("rw"),
        _ => None,
    };
    if access.is_none() && options.data.is_empty() {
        return Ok(());
    }
    let flags = FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC;
    let context = rustix::mount::fspick(place.as_fd(), "", flags).step(STEP)?;
    if let Some(word) = access {
        fsconfig_set_flag(&context, word).step(STEP)?;
    }
    for (key, value) in &options.data {
        match value {
            Some(value) => fsconfig_set_string(&context, key.as_str(), value.as_str()),
            None => fsconfig_set_flag(&context, key.as_str()),
        }
        .step(STEP)
        .map_err(|failure| explain(failure, &context))?;
    }
    fsconfig_reconfigure(&context)
        .step(STEP)
        .map_err(|failure| explain(failure, &context))
}

//! Device nodes and the links of /dev.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, makedev};
use rustix::io::Errno;

use super::config::{Device, DeviceType};
use super::mounts::{PlannedMount, clone_host_file};
use super::root::{Root, attach};
use crate::error::{Failure, Result, Step};

/// What every container gets ("Default Devices" of the runtime specification).
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
    ("/proc/kcore", "core"),
];

/// Makes the configured and the default devices, unless the host's /dev was bound over.
pub fn make_devices(root: &Root, devices: &[Device], mounts: &[PlannedMount]) -> Result<()> {
    if mounts
        .iter()
        .any(|mount| mount.options.bind && mount.config.destination == Path::new("/dev"))
    {
        return Ok(());
    }
    let directory = root.make_directory("/dev").step("make /dev")?;
    for (path, major, minor) in DEFAULT {
        if !devices.iter().any(|device| device.path == Path::new(path)) {
            make_device(root, &directory, &default_device(path, major, minor), true)?;
        }
    }
    for device in devices {
        make_device(root, &directory, device, false)?;
    }
    for (target, name) in LINKS {
        match rustix::fs::symlinkat(target, &directory, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).step(format!("link /dev/{name}")),
        }
    }
    Ok(())
}

/// One that was asked for does not take the place of something else; a default one does, for an image may bring something
/// under that name, which need not be what it seems.
fn make_device(root: &Root, dev: &OwnedFd, device: &Device, replaces: bool) -> Result<()> {
    let path = &device.path;
    let name = path.file_name().ok_or_else(|| invalid(path))?;
    // Almost all of them lie in /dev itself, which has been found already.
    let parent = if path.parent() == Some(Path::new("/dev")) {
        None
    } else {
        Some(
            root.make_parent(path)
                .step_at("make the directory of a device", path)?
                .0,
        )
    };
    let parent = parent.as_ref().unwrap_or(dev);
    match make_node(parent, name, device) {
        Err(Errno::EXIST)
            if is_there(parent, name, device).step_at("inspect a device", path)? =>
        {
            Ok(())
        }
        Err(Errno::EXIST) if replaces => {
            replace(parent, name, device).step_at("make a device", path)
        }
        // In a user namespace, or where the devices cgroup forbids it: the host's own node, if it is the same device.
        Err(Errno::PERM) => bind_host_device(root, device),
        made => made.step_at("make a device", path),
    }
}

fn make_node(parent: impl AsFd, name: &std::ffi::OsStr, device: &Device) -> rustix::io::Result<()> {
    // The umask is zero here, so the mode is exact.
    let mode = Mode::from_raw_mode(device.file_mode.unwrap_or(0o666) & 0o7777);
    rustix::fs::mknodat(&parent, name, device.file_type(), mode, device.number())?;
    let (uid, gid) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
    if (uid, gid) != (0, 0) {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn is_there(
    parent: impl AsFd,
    name: &std::ffi::OsStr,
    device: &Device,
) -> rustix::io::Result<bool> {
    let found = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(device.is(&found))
}

fn replace(parent: impl AsFd, name: &std::ffi::OsStr, device: &Device) -> rustix::io::Result<()> {
    rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
    make_node(parent, name, device)
}

fn bind_host_device(root: &Root, device: &Device) -> Result<()> {
    let path = &device.path;
    let missing = |errno| {
        Failure::kind("bind a device", "device-missing")
            .errno(errno)
            .path(path)
    };
    let node = clone_host_file(path).map_err(missing)?;
    let found = rustix::fs::fstat(&node).step_at("inspect a device", path)?;
    if !device.is(&found) {
        return Err(missing(Errno::NODEV));
    }
    let target = root.make_file(path).step_at("make a mount point", path)?;
    attach(node, target).step_at("bind a device", path)
}

impl Device {
    fn file_type(&self) -> FileType {
        match self.kind {
            DeviceType::Char => FileType::CharacterDevice,
            DeviceType::Block => FileType::BlockDevice,
            DeviceType::Fifo => FileType::Fifo,
        }
    }

    fn number(&self) -> u64 {
        makedev(self.major, self.minor)
    }

    fn is(&self, stat: &rustix::fs::Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) == self.file_type()
            && (self.kind == DeviceType::Fifo || stat.st_rdev == self.number())
    }
}

fn default_device(path: &str, major: u32, minor: u32) -> Device {
    Device {
        kind: DeviceType::Char,
        path: PathBuf::from(path),
        major,
        minor,
        file_mode: None,
        uid: None,
        gid: None,
    }
}

fn invalid(path: &Path) -> Failure {
    Failure::kind("read linux.devices", "config-invalid").path(path)
}

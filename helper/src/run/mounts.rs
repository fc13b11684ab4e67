//! `mounts`: each one made detached, then attached at a place that the kernel found inside the root.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, UnmountFlags};

use super::cgroup::CgroupPlan;
use super::cgroup_mount::mount_cgroups;
use super::config::{self, IdmapReach, MountExtension, MountOptions};
use super::outside::Outside;
use super::remount::remount;
use super::root::{Root, attach};
use super::rootfs::{detached, explain};
use crate::error::{Failure, Result, Step};
use crate::fs::copy::copy_directory;
use crate::sys::mount::{MountAttributes, mount_setattr};

/// A mount of the configuration with its options read.
pub struct PlannedMount {
    pub config: config::Mount,
    pub options: MountOptions,
    /// The ids of the source are mapped.
    pub idmap: Option<IdmapReach>,
    /// For what the specification has no word for.
    extension: MountExtension,
}

/// Mounts that become read-only once everything that belongs into them has been made.
pub type LateReadonly = Vec<OwnedFd>;

impl PlannedMount {
    pub fn plan(config: config::Mount, extension: MountExtension) -> Result<Self> {
        let options = MountOptions::parse(&config.options)
            .map_err(|failure| failure.path(&config.destination))?;
        let invalid = |detail| {
            Err(Failure::kind("read mounts", "config-invalid")
                .path(&config.destination)
                .detail(detail))
        };
        if !config.destination.is_absolute() || config.destination == Path::new("/") {
            return invalid("the destination must be an absolute path below the root");
        }
        if options.copy_up && config.kind.as_deref() != Some("tmpfs") {
            return invalid("only a tmpfs can take over what it hides");
        }
        if options.remount {
            return Ok(PlannedMount {
                config,
                options,
                idmap: None,
                extension,
            });
        }
        if options.bind && config.source.is_none() {
            return invalid("a bind mount needs a source");
        }
        if !options.bind && config.kind.is_none() {
            return invalid("a mount needs a type");
        }
        let given = !config.uid_mappings.is_empty();
        if given == config.gid_mappings.is_empty() {
            return invalid("the mappings of users and of groups go together");
        }
        let idmap = options.idmap.or(given.then_some(IdmapReach::Mount));
        if idmap.is_some() && !options.bind {
            return invalid("only the ids of a bind mount can be mapped");
        }
        Ok(PlannedMount {
            config,
            options,
            idmap,
            extension,
        })
    }

    /// It goes on sharing its mounts with the host.
    pub fn is_shared(&self) -> bool {
        let propagation = self.options.propagation;
        propagation.is_some_and(|propagation| propagation.kind == libc::MS_SHARED)
    }

    pub fn is_type(&self, kind: &str) -> bool {
        !self.options.bind && !self.options.remount && self.config.kind.as_deref() == Some(kind)
    }
}

/// Sources that are there already, in the order of the mounts.
pub type Sources = Vec<Option<OwnedFd>>;

/// Takes those that go on sharing their mounts with the host while this mount namespace is still the host's equal: a clone
/// made then stays the host's peer. Others were made outside.
pub fn take_sources(mounts: &[PlannedMount], outside: &mut Outside) -> Result<Sources> {
    let mut sources = mounts.iter().map(|_| None).collect::<Sources>();
    for (index, source) in outside.sources.drain(..) {
        sources[index] = Some(source);
    }
    for (mount, source) in mounts.iter().zip(&mut sources) {
        if mount.options.bind && mount.is_shared() && source.is_none() {
            *source = Some(clone_source(mount)?);
        }
    }
    Ok(sources)
}

pub fn mount_all(
    root: &Root,
    mounts: &[PlannedMount],
    sources: Sources,
    cgroups: &CgroupPlan,
    cgroup_namespace: bool,
) -> Result<LateReadonly> {
    let mut late = LateReadonly::new();
    for (mount, source) in mounts.iter().zip(sources) {
        let destination = &mount.config.destination;
        if mount.options.remount {
            remount(root, mount)?;
        } else if mount.is_type("cgroup") {
            mount_cgroups(root, mount, cgroups, cgroup_namespace)?;
        } else if mount.options.bind {
            let tree = match source {
                Some(tree) => tree,
                None if !mount.extension.rootfs.is_empty() => image_tree(root, mount)?,
                None => clone_source(mount)?,
            };
            mount_bind(root, mount, &tree)?;
        } else {
            // A tmpfs has to take mount points and devices before it is closed.
            let is_late =
                mount.is_type("tmpfs") && mount.options.set & libc::MOUNT_ATTR_RDONLY != 0;
            let attributes = if is_late {
                mount.options.set & !libc::MOUNT_ATTR_RDONLY
            } else {
                mount.options.set
            };
            let mut fd = make(mount, attributes)?;
            if let Some(subpath) = &mount.extension.subpath {
                fd = part(root, fd, subpath)?;
            }
            let target = if mount.is_type("proc") || mount.is_type("sysfs") {
                place_without_links(root, destination)?
            } else {
                root.make_directory(destination)
                    .step_at("make a mount point", destination)?
            };
            if mount.options.copy_up {
                copy_up(mount, &target, &fd)?;
            }
            set_attributes_below(mount, &fd)?;
            finish(mount, &fd, &target)?;
            if is_late {
                late.push(fd);
            }
        }
    }
    Ok(late)
}

pub fn close_late(mounts: LateReadonly) -> Result<()> {
    for mount in mounts {
        let attributes = MountAttributes {
            set: libc::MOUNT_ATTR_RDONLY,
            ..MountAttributes::default()
        };
        mount_setattr(&mount, attributes).step("make a tmpfs read-only")?;
    }
    Ok(())
}

/// A new mount of a file system that is in no tree yet.
pub fn new_mount(
    kind: &str,
    source: Option<&Path>,
    data: &[(String, Option<String>)],
    attributes: u64,
) -> Result<OwnedFd> {
    let step = || format!("mount {kind}");
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).step(step())?;
    let source = source.unwrap_or(Path::new(kind));
    rustix::mount::fsconfig_set_string(&context, "source", source).step(step())?;
    for (key, value) in data {
        match value {
            Some(value) => {
                rustix::mount::fsconfig_set_string(&context, key.as_str(), value.as_str())
            }
            None => rustix::mount::fsconfig_set_flag(&context, key.as_str()),
        }
        .step(step())
        .map_err(|failure| explain(failure, &context))?;
    }
    rustix::mount::fsconfig_create(&context)
        .step(step())
        .map_err(|failure| explain(failure, &context))?;
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).step(step())
}

fn make(mount: &PlannedMount, attributes: u64) -> Result<OwnedFd> {
    let kind = mount.config.kind.as_deref().unwrap_or_default();
    new_mount(
        kind,
        mount.config.source.as_deref(),
        &mount.options.data,
        attributes,
    )
    .map_err(|failure| failure.path(&mount.config.destination))
}

pub fn clone_source(mount: &PlannedMount) -> Result<OwnedFd> {
    let source = mount.config.source.as_deref().unwrap_or(Path::new(""));
    if let Some(subpath) = &mount.extension.subpath {
        let whole = match rustix::fs::open(source, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Err(missing(source)),
            whole => Root::new(whole.step_at("bind mount", source)?),
        };
        let part = find_part(&whole, subpath)?;
        return clone_mount(part, mount.options.recursive).step_at("bind mount", subpath);
    }
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if mount.options.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    match rustix::mount::open_tree(CWD, source, flags) {
        Err(Errno::NOENT) => Err(missing(source)),
        tree => tree.step_at("bind mount", source),
    }
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The root file system of an image, or a part of it.
fn image_tree(root: &Root, mount: &PlannedMount) -> Result<OwnedFd> {
    let [part_of_root] = mount.extension.rootfs.as_slice() else {
        return Err(Failure::kind("mount an image", "config-invalid")
            .detail("its root file system has not one part"));
    };
    let whole = detached(part_of_root)?.ok_or_else(|| {
        Failure::kind("mount an image", "unsupported").detail("it needs Linux 6.7")
    })?;
    match &mount.extension.subpath {
        Some(subpath) => part(root, whole, subpath),
        None => Ok(whole),
    }
}

/// A part of a mount that is in no tree yet. Only of one that is attached can be cloned: for that moment it covers the root.
fn part(root: &Root, whole: OwnedFd, subpath: &Path) -> Result<OwnedFd> {
    const STEP: &str = "mount a part";
    attach(&whole, root).step_at(STEP, subpath)?;
    let attached = format!("/proc/self/fd/{}", whole.as_raw_fd());
    let whole = Root::new(whole);
    let found = find_part(&whole, subpath)
        .and_then(|found| clone_mount(found, true).step_at(STEP, subpath));
    rustix::mount::unmount(attached, UnmountFlags::DETACH).step_at(STEP, subpath)?;
    found
}

/// Whoever writes there may have laid a link: it is followed inside of what is mounted.
fn find_part(whole: &Root, subpath: &Path) -> Result<OwnedFd> {
    match whole.find(subpath) {
        Err(Errno::NOENT | Errno::NOTDIR) => Err(missing(subpath)),
        found => found.step_at("find a part of a mount", subpath),
    }
}

fn missing(path: &Path) -> Failure {
    Failure::kind("bind mount", "mount-source-missing")
        .errno(Errno::NOENT)
        .path(path)
}

fn mount_bind(root: &Root, mount: &PlannedMount, tree: &OwnedFd) -> Result<()> {
    let destination = &mount.config.destination;
    let source = mount.config.source.as_deref().unwrap_or(Path::new(""));
    let stat = rustix::fs::fstat(tree).step_at("inspect the source of a mount", source)?;
    let target = if FileType::from_raw_mode(stat.st_mode).is_dir() {
        root.make_directory(destination)
    } else {
        root.make_file(destination)
    }
    .step_at("make a mount point", destination)?;
    set_attributes(mount, tree)?;
    finish(mount, tree, &target)
}

/// Attributes of the mount, and of all below it.
pub fn set_attributes(mount: &PlannedMount, tree: &OwnedFd) -> Result<()> {
    let MountOptions { set, clear, .. } = mount.options;
    change_attributes(mount, tree, (set, clear), false)?;
    set_attributes_below(mount, tree)
}

fn set_attributes_below(mount: &PlannedMount, tree: &OwnedFd) -> Result<()> {
    let options = &mount.options;
    let change = (options.set_recursive, options.clear_recursive);
    change_attributes(mount, tree, change, true)
}

fn change_attributes(
    mount: &PlannedMount,
    tree: &OwnedFd,
    (set, clear): (u64, u64),
    recursive: bool,
) -> Result<()> {
    if set | clear == 0 {
        return Ok(());
    }
    let attributes = MountAttributes {
        set,
        clear,
        recursive,
        ..MountAttributes::default()
    };
    mount_setattr(tree, attributes)
        .step_at("set the attributes of a mount", &mount.config.destination)
}

/// What is common to all: the place, and propagation.
fn finish(mount: &PlannedMount, tree: &OwnedFd, target: &OwnedFd) -> Result<()> {
    attach(tree, target).step_at("attach a mount", &mount.config.destination)?;
    // Once attached: a mount that shares is not taken in by a tree of mounts that do not.
    set_propagation(mount, tree)
}

pub fn set_propagation(mount: &PlannedMount, tree: &OwnedFd) -> Result<()> {
    let Some(propagation) = mount.options.propagation else {
        return Ok(());
    };
    let attributes = MountAttributes {
        propagation: propagation.kind,
        recursive: propagation.recursive,
        ..MountAttributes::default()
    };
    mount_setattr(tree, attributes)
        .step_at("set the propagation of a mount", &mount.config.destination)
}

/// Fills a file system that is in no tree yet with what it will hide.
fn copy_up(mount: &PlannedMount, target: &OwnedFd, tmpfs: &OwnedFd) -> Result<()> {
    let destination = &mount.config.destination;
    let step = "copy what a mount hides";
    let open = |directory: &OwnedFd| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(directory, ".", flags, Mode::empty()).step_at(step, destination)
    };
    copy_directory(open(target)?, open(tmpfs)?).map(drop)
}

/// /proc and /sys must really be there: were the image's /proc a link, what is masked below /proc later would be
/// something else (CVE-2019-16884, CVE-2025-52881).
fn place_without_links(root: &Root, destination: &Path) -> Result<OwnedFd> {
    match root.find_without_links(destination) {
        Err(Errno::NOENT) => {
            root.make_directory(destination)
                .step_at("make a mount point", destination)?;
            root.find_without_links(destination)
        }
        found => found,
    }
    .step_at("find a mount point", destination)
    .map_err(|failure| match failure.errno {
        Some(errno) if errno == Errno::LOOP.raw_os_error() => {
            failure.detail("it must be mounted on ordinary directory, and there is a link")
        }
        _ => failure,
    })
}

/// A handle on a file of the host, to be cloned into the container.
pub fn clone_host_file(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::mount::open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
}

/// Another clone of a mount that is attached in this mount namespace.
pub fn clone_mount(mount: impl AsFd, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(mount, "", flags)
}

//! The child that becomes the container's program: a recipe, step by step.
//!
//! It is a clone of the launcher, in new namespaces, with the plan in its memory. Until the launcher gives the word it
//! does only what needs neither cgroups nor mapped ids. (A child cloned ahead of time, whose plan arrives over the
//! channel, would wait at the same place.)
//!
//! /proc/<pid>/exe of this process is the helper. Nobody inside can reach it (CVE-2019-5736): in a new pid namespace no
//! other process exists before execve; and whatever namespace is joined, the file is a sealed copy in memory, which
//! cannot be written by anyone.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{DumpableBehavior, Resource, Signal};

use super::credentials;
use super::devices::make_devices;
use super::masks::{make_readonly, mask_paths};
use super::mounts::{close_late, mount_all};
use super::namespaces::{unshare_cgroup, unshare_network};
use super::plan::Plan;
use super::root::Root;
use super::rootfs::{attach_rootfs, mount_rootfs, pivot, stop_propagation};
use super::stdio::{self, Streams};
use super::{Host, rlimits, sysctl};
use crate::error::{Failure, Result, Step};
use crate::protocol::{self, Report};
use crate::sys;
use crate::sys::mount::{MountAttributes, mount_setattr};

/// Carries the plan out and executes the program. What goes wrong is told over the channel.
///
/// `prepared` is the root file system where the launcher has made it.
pub fn run(
    plan: &Plan,
    prepared: Option<Vec<OwnedFd>>,
    streams: &Streams,
    channel: &OwnedFd,
    host: &Host,
) -> ! {
    let failure = match prepare(plan, prepared, streams, channel, host) {
        Ok(()) if plan.extension.init => plan
            .command
            .execute_under_init(&host.helper, channel.as_raw_fd()),
        Ok(()) => plan.command.execute(),
        Err(failure) => failure,
    };
    send(channel, &Report::of(Err::<(), _>(failure)));
    sys::process::exit(1)
}

fn prepare(
    plan: &Plan,
    prepared: Option<Vec<OwnedFd>>,
    streams: &Streams,
    channel: &OwnedFd,
    host: &Host,
) -> Result<()> {
    let namespaces = &plan.namespaces;

    // 1. Leave the launcher: its descriptors, its session, its keys, its life after death.
    isolate(
        plan,
        prepared.as_deref().unwrap_or_default(),
        streams,
        channel,
        host,
    )?;

    // 2. Namespaces that do not depend on the launcher's next steps.
    namespaces.join_existing()?;
    if namespaces.network {
        unshare_network()?;
    }

    // 3. The root file system.
    stop_propagation()?;
    let root = match prepared {
        Some(mounts) => attach_rootfs(mounts, &plan.root)?,
        None => mount_rootfs(&plan.extension.rootfs, &plan.root)?,
    };
    let root = Root::new(root);

    // 4. The launcher has made the cgroups and mapped the ids.
    wait_for_word(channel)?;
    if namespaces.user {
        become_root()?;
    } else {
        plan.cgroups.join_v1()?;
    }
    if namespaces.cgroup {
        unshare_cgroup()?;
    }

    // 5. What is mounted and made inside the root, and hidden there.
    let late = mount_all(&root, &plan.mounts, &plan.cgroups)?;
    make_devices(&root, &plan.devices, &plan.mounts)?;
    root.make_directory(&plan.cwd)
        .step_at("make the working directory", &plan.cwd)?;
    close_late(late)?;
    make_readonly(&root, &plan.linux.readonly_paths, &plan.mounts)?;
    mask_paths(&root, &plan.linux.masked_paths, &plan.mounts)?;
    if plan.readonly_root {
        let attributes = MountAttributes {
            set: libc::MOUNT_ATTR_RDONLY,
            ..MountAttributes::default()
        };
        mount_setattr(&root, attributes).step("make the root file system read-only")?;
    }

    // 6. What the kernel keeps for the namespaces and for this process; through the host's /proc.
    set_names(plan)?;
    if plan.extension.loopback && namespaces.network {
        let socket = rustix::net::socket_with(
            AddressFamily::INET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .step("make a socket")?;
        sys::network::loopback_up(&socket).step("bring lo up")?;
    }
    sysctl::set_sysctls(&host.procfs, &plan.linux.sysctl)?;
    if let Some(score) = plan.oom_score_adj {
        host.procfs
            .write("self/oom_score_adj", score.to_string().as_bytes())?;
    }
    set_labels(plan, host)?;

    // 7. Inside.
    pivot(&root, plan.propagation)?;
    stdio::install(streams)?;
    enter_working_directory(&plan.cwd)?;

    // 8. The user, and less and less.
    let mut warnings = Vec::new();
    rustix::process::setrlimit(Resource::Nofile, host.descriptors).step("restore RLIMIT_NOFILE")?;
    rlimits::apply(&plan.rlimits, plan.extension.ulimit_clamp, &mut warnings)?;
    rustix::process::umask(Mode::from_raw_mode(plan.umask));
    sys::close::close_all_on_exec().step("mark descriptors")?;
    if plan.extension.init {
        rustix::io::fcntl_setfd(channel, rustix::io::FdFlags::empty()).step("keep the channel")?;
    }
    sys::signal::set_mask(&[]);
    send(channel, &Report::of(Ok(warnings)));
    credentials::assume(
        &plan.user,
        plan.capabilities,
        plan.filter.as_deref(),
        plan.no_new_privileges,
    )?;
    outlive_nobody(channel)
}

fn isolate(
    plan: &Plan,
    prepared: &[OwnedFd],
    streams: &Streams,
    channel: &OwnedFd,
    host: &Host,
) -> Result<()> {
    let mut keep = vec![channel.as_raw_fd(), host.procfs.as_fd().as_raw_fd()];
    keep.extend(
        streams
            .near_ends()
            .into_iter()
            .flatten()
            .map(|fd| fd.as_raw_fd()),
    );
    keep.extend(prepared.iter().map(AsRawFd::as_raw_fd));
    if plan.extension.init {
        keep.push(host.helper.as_raw_fd());
    }
    sys::close::close_all_but(&keep).step("close inherited descriptors")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .step("set the parent-death signal")?;
    rustix::process::setsid().step("make a session")?;
    sys::keyring::join_new_session_keyring()
        .or_else(|errno| {
            if errno == Errno::NOSYS {
                Ok(())
            } else {
                Err(errno)
            }
        })
        .step("make a session keyring")?;
    if !plan.namespaces.pid {
        // Others could look into this process, which still holds the launcher's memory, before it executes.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .step("hide this process")?;
    }
    Ok(())
}

/// Blocks until the launcher has done its part. When the launcher is gone, so is this process.
fn wait_for_word(channel: &OwnedFd) -> Result<()> {
    let mut word = [0];
    loop {
        match rustix::net::recv(channel, &mut word, RecvFlags::empty()) {
            Ok((1, _)) => return Ok(()),
            Err(Errno::INTR) => {}
            _ => sys::process::exit(1),
        }
    }
}

/// The parent-death signal was set after a change of user, perhaps too late: a launcher that had died before would
/// never be missed.
fn outlive_nobody(channel: &OwnedFd) -> Result<()> {
    let mut peek = [0];
    match rustix::net::recv(channel, &mut peek, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
        Ok((0, _)) => sys::process::exit(1),
        _ => Ok(()),
    }
}

fn become_root() -> Result<()> {
    let (uid, gid) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).step("become root of the user namespace")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).step("become root of the user namespace")
}

fn set_names(plan: &Plan) -> Result<()> {
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).step("set the host name")?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).step("set the domain name")?;
    }
    Ok(())
}

/// For the program that will be executed; this process keeps its own until then.
fn set_labels(plan: &Plan, host: &Host) -> Result<()> {
    if let Some(profile) = &plan.apparmor {
        let value = format!("exec {profile}");
        let modern = host
            .procfs
            .write("thread-self/attr/apparmor/exec", value.as_bytes());
        match modern {
            // Before Linux 5.8 AppArmor has no directory of its own.
            Err(Failure {
                errno: Some(errno), ..
            }) if errno == Errno::NOENT.raw_os_error() => {
                host.procfs
                    .write("thread-self/attr/exec", value.as_bytes())?;
            }
            written => written?,
        }
    }
    if let Some(label) = &plan.selinux {
        host.procfs
            .write("thread-self/attr/exec", label.as_bytes())?;
    }
    Ok(())
}

/// Resolved anew inside, without magic links, and looked at afterwards: a working directory that can be named from the
/// root is inside it (CVE-2024-21626).
fn enter_working_directory(path: &str) -> Result<()> {
    let slash = rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .step("open the root")?;
    let directory = Root::new(slash)
        .find(path)
        .step_at("enter the working directory", path)?;
    rustix::process::fchdir(&directory).step_at("enter the working directory", path)?;
    let name = rustix::process::getcwd(Vec::new()).step_at("enter the working directory", path)?;
    if name.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Failure::new("enter the working directory")
            .path(path)
            .detail("outside of the root"))
    }
}

fn send(channel: impl AsFd, report: &Report) {
    // Small, and the launcher listens: it fits, or nobody is there.
    let _ = rustix::net::send(channel, &protocol::encode(report), SendFlags::NOSIGNAL);
}

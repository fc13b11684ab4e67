//! The child that becomes the container's program: a recipe, step by step.
//!
//! It is a clone of the launcher, in new namespaces, with the plan in its memory. Until the launcher gives the word it
//! does only what needs neither cgroups nor mapped ids.
//!
//! /proc/<pid>/exe of this process is the helper. Nobody inside can reach it (CVE-2019-5736): in a new pid namespace no
//! other process exists before execve; and whatever namespace is joined, the file is a sealed copy in memory, which
//! cannot be written by anyone.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::DumpableBehavior;

use super::command::Command;
use super::devices::make_devices;
use super::execute::{
    become_program, become_program_later, become_root, enter_working_directory, isolate, open_root,
    send, set_labels, set_oom_score,
};
use super::handover;
use super::listener::{Agent, connect, process_state};
use super::masks::{make_readonly, mask_paths};
use super::mounts::{close_late, mount_all, take_sources};
use super::namespaces::{join_network, unshare_cgroup, unshare_network};
use super::outside::Outside;
use super::peers::Peers;
use super::plan::Plan;
use super::program::Note;
use super::root::Root;
use super::rootfs::{attach_rootfs, mount_rootfs, pivot, stop_propagation};
use super::scheduling::use_all_processors;
use super::spare::loopback_up;
use super::standby::hear_program;
use super::stdio::{self, Streams};
use super::terminal::Terminal;
use super::{Host, sysctl};
use crate::error::{Result, Step};
use crate::net::{Links, NetworkPlan};
use crate::protocol::{Report, raw};
use crate::sys;
use crate::sys::mount::{MountAttributes, mount_setattr};

/// Carries the plan out and executes the program. What goes wrong is told over the channel.
///
/// `outside` is what was made for it already.
pub fn run(
    plan: &Plan,
    outside: Outside,
    peers: &Peers,
    streams: &Streams,
    channel: &OwnedFd,
    host: &Host,
) -> ! {
    let failure = match prepare(plan, outside, peers, streams, channel, host) {
        Ok(named) => {
            let command = named.as_ref().unwrap_or(&plan.process.command);
            match plan.extension.init {
                true => command.execute_under_init(&host.helper, channel.as_raw_fd()),
                false => command.execute(),
            }
        }
        Err(failure) => failure,
    };
    send(channel, &Report::of(Err::<(), _>(failure)));
    sys::process::exit(1)
}

/// The command, where it is not the plan's.
fn prepare(
    plan: &Plan,
    mut outside: Outside,
    peers: &Peers,
    streams: &Streams,
    channel: &OwnedFd,
    host: &Host,
) -> Result<Option<Command>> {
    let namespaces = &plan.namespaces;

    // 1. Leave the launcher: its descriptors, its session, its keys, its life after death.
    let mut keep: Vec<_> = outside.descriptors().chain(peers.descriptors()).collect();
    keep.push(host.procfs.as_fd().as_raw_fd());
    if plan.extension.init {
        keep.push(host.helper.as_raw_fd());
    }
    if let Some(deferred) = &plan.deferred {
        keep.push(deferred.listener.as_raw_fd());
    }
    isolate(&plan.process, streams, channel, &keep)?;
    // Modes are what they are said to be.
    rustix::process::umask(Mode::empty());
    plan.persona.apply()?;
    set_labels(&plan.process, host)?;
    if !namespaces.user {
        set_oom_score(&plan.process, "self", host)?;
    }
    if !namespaces.pid {
        // Others could look into this process, which still holds the launcher's memory, before it executes.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .step("hide this process")?;
    }

    // 2. Namespaces that do not depend on the launcher's next steps.
    namespaces.join_existing(peers)?;
    // To put links between the host's network and its own, when it hears of any: the launcher has others to see to then.
    let links = match plan.waits && plan.extension.network.names.is_some() {
        true => Some(Links::open()?),
        false => None,
    };
    match outside.network.take() {
        Some(network) => join_network(network)?,
        None if namespaces.network => unshare_network()?,
        None => {}
    }

    let listener = plan.process.listener();
    let notice = match listener {
        Some(listener) => Some(process_state(listener, &plan.state(), &host.procfs)?),
        None => None,
    };
    // While the agent can be found, and as whoever wants it to be asked. Of a deferred program `start` does that.
    let connection = match (listener, &plan.deferred) {
        (Some(listener), None) => Some(connect(listener)?),
        _ => None,
    };

    // 3. The root file system.
    let sources = take_sources(&plan.mounts, &mut outside)?;
    stop_propagation()?;
    let root = match outside.rootfs.is_empty() {
        false => attach_rootfs(outside.rootfs, &plan.root)?,
        true => {
            if let (Some(layer), [rootfs]) = (&plan.extension.layer, &*plan.extension.rootfs) {
                layer.make(rootfs)?;
            }
            mount_rootfs(&plan.extension.rootfs, &plan.root)?
        }
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
    if plan.process.inherited.is_some() {
        use_all_processors();
    }

    // 5. What is mounted and made inside the root, and hidden there.
    let late = mount_all(
        &root,
        &plan.mounts,
        sources,
        &plan.cgroups,
        namespaces.cgroup,
    )?;
    make_devices(&root, &plan.devices, &plan.mounts)?;
    let cwd = &plan.process.cwd;
    root.make_directory(cwd)
        .step_at("make the working directory", cwd)?;
    if plan.process.terminal.is_some() {
        // Before /dev may become read-only: the terminal is bound there when it has been made.
        root.make_file("/dev/console").step("make /dev/console")?;
    }
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
    if plan.extension.loopback && namespaces.own_network() {
        loopback_up()?;
    }
    settle(&plan.extension.network, channel)?;
    sysctl::set_sysctls(&host.procfs, &plan.linux.sysctl)?;

    // 7. Others have their word, while both worlds can be seen.
    let mut state = serde_json::Value::Null;
    if let Some(deferred) = &plan.deferred {
        state = deferred.state_of_self();
        send(channel, &Report::Progress(raw(&Note::Prepared)));
        wait_for_word(channel)?;
        deferred.run_create_container_hooks(&state)?;
    }

    // 8. Inside.
    pivot(&root, plan.propagation)?;
    let inside = open_root()?;
    let terminal = match plan.process.terminal {
        Some(size) => Some(Terminal::open(&inside, &plan.process.user, size)?),
        None => None,
    };
    match &terminal {
        Some(terminal) => {
            terminal.bind_console(&inside)?;
            terminal.install()?;
        }
        None if plan.process.inherited.is_some() => {}
        None => stdio::install(streams)?,
    }
    enter_working_directory(&inside, cwd)?;

    // 9. One that was made ahead of its time has come as far as it can.
    let named = match plan.waits {
        true => {
            let (command, network) = hear_program(channel)?;
            if let Some(links) = links {
                network.join(links)?;
            }
            Some(command)
        }
        false => None,
    };

    // 10. The user, and less and less.
    let process = &plan.process;
    match &plan.deferred {
        Some(deferred) => become_program_later(
            process,
            deferred,
            &state,
            notice,
            terminal,
            channel,
            host.descriptors,
        ),
        None => become_program(
            process,
            terminal.as_ref().map(|terminal| terminal.master.as_fd()),
            channel,
            plan.extension.init,
            host.descriptors,
            connection
                .zip(notice)
                .map(|(to, notice)| Agent::new(to, notice)),
        ),
    }?;
    Ok(named)
}

/// This side of its networks.
fn settle(network: &NetworkPlan, channel: &OwnedFd) -> Result<()> {
    network.settle()?;
    if let Some(names) = &network.names {
        let sockets = names.open()?;
        let note = Report::Progress(raw(&Note::Names));
        for socket in sockets.descriptors() {
            handover::send(channel, &note, socket).step("hand the name service over")?;
        }
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

fn set_names(plan: &Plan) -> Result<()> {
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).step("set the host name")?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).step("set the domain name")?;
    }
    Ok(())
}

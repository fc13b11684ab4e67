//! A container as the launcher sees it: a child, a channel to it, and what must go when it is gone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Gid, Pid, Uid, geteuid};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Host;
use super::bundle;
use super::by_another::clone_by_another;
use super::cgroup::{CgroupPlan, NestedCgroup, freeze, is_frozen, kill_all, oom_kills, remove_all};
use super::child;
use super::config::{BundleFile, IdMapping};
use super::exec::{Entry, Inside};
use super::execute::set_oom_score;
use super::outside::Outside;
use super::peers::Peers;
use super::plan::Plan;
use super::program::{End, Program, Started};
use super::spare::Spare;
use super::standby::{ProgramOrder, Standby, encode_order, lost};
use super::stdio::Streams;
use crate::attendant::{Attendant, Duty};
use crate::error::{Failure, Result, Step};
use crate::names::{NameService, Names};
use crate::net::{FirewallCommand, NetworkChange, NetworkPlan, Relay, detach};
use crate::protocol::raw;
use crate::sys;

pub struct Container {
    pub id: String,
    program: Program,
    /// All its processes end with pid 1.
    pid_namespace: bool,
    cgroups: CgroupPlan,
    inside: Inside,
    /// Of programs executed in it that have left something running.
    nested: Vec<NestedCgroup>,
    /// Until its sockets are there.
    names: Option<NameService>,
    /// Until it hears what its program is.
    standby: Option<Standby>,
    remains: Remains,
}

/// What a container leaves behind.
#[derive(Default)]
pub struct Remains {
    removal: Removal,
    /// Its mount namespace, see `hold_mounts`.
    mounts: Option<OwnedFd>,
    /// Bound, so that no other program takes what is forwarded to the container.
    ports: Vec<Option<OwnedFd>>,
    /// Until somebody attends to it.
    relay: Option<Relay>,
    /// Held as long as anything of it is there.
    _locks: Vec<OwnedFd>,
}

/// What is to be removed of a container, in a form that can be handed to another process.
#[derive(Default, Serialize, Deserialize)]
pub struct Removal {
    cgroups: Vec<PathBuf>,
    firewall: Vec<FirewallCommand>,
    /// Of addresses and names.
    claims: Vec<PathBuf>,
    trees: Vec<PathBuf>,
}

impl Container {
    /// Starts to carry the plan out, with what there is of it already. With the failure comes what was made until then.
    pub fn start(
        plan: Plan,
        host: &Host,
        spare: Spare,
    ) -> std::result::Result<Container, Box<(Failure, Remains)>> {
        let mut remains = Remains {
            removal: Removal {
                cgroups: plan.own_cgroups(),
                firewall: Vec::new(),
                claims: plan.extension.network.remove.clone(),
                trees: [&plan.extension.bundle]
                    .into_iter()
                    .chain(&plan.extension.remove)
                    .cloned()
                    .collect(),
            },
            ..Remains::default()
        };
        let standby = plan.waits.then(|| Standby::of(&plan)).transpose();
        let begun = standby.and_then(|standby| {
            let program = begin(&plan, host, spare, &mut remains)?;
            Ok((standby, program))
        });
        match begun {
            Ok((standby, program)) => Ok(Container {
                pid_namespace: plan.namespaces.pid,
                inside: Inside::of(&plan),
                // Of one that waits: who is to be asked for what, it hears with its program.
                names: match plan.waits {
                    true => None,
                    false => plan.extension.network.names.clone(),
                },
                standby,
                cgroups: plan.cgroups,
                nested: Vec::new(),
                id: plan.container,
                program,
                remains,
            }),
            Err(failure) => Err(Box::new((failure, remains))),
        }
    }

    /// It was made ahead of its time, and nobody has asked for it yet.
    pub fn waits(&self) -> bool {
        self.standby.is_some()
    }

    /// Names the program of one that waits, after which it is a container like others, and ends like others of what goes wrong;
    /// `files` take the place of those that have changed since. A failure leaves it waiting, and nothing of its networks is its.
    pub fn say_program(&mut self, order: &ProgramOrder, files: &[BundleFile]) -> Result<()> {
        let standby = self
            .standby
            .as_ref()
            .ok_or_else(|| lost("it runs already"))?;
        let bytes = encode_order(order)?;
        let network = order.network()?;
        self.remains._locks = standby.take_locks()?;
        self.remains.removal.claims.clone_from(&network.remove);
        let said = standby
            .rewrite(files)
            .and_then(|()| self.publish(&network))
            .and_then(|()| self.program.name(&bytes));
        self.names = network.names;
        self.standby = None;
        if let Err(failure) = said {
            self.program.fail(&failure);
        }
        Ok(())
    }

    fn publish(&mut self, network: &NetworkPlan) -> Result<()> {
        self.remains.ports = network.reserve()?;
        self.remains.relay = network.relay(&self.remains.ports)?;
        network.publish(&mut self.remains.removal.firewall)
    }

    pub fn pid(&self) -> Pid {
        self.program.pid
    }

    pub fn channel(&self) -> BorrowedFd<'_> {
        self.program.channel()
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.program.pidfd()
    }

    /// Keeps the mounts when pid 1 has ended, until the remains are removed. Else the kernel takes them apart while pid 1
    /// ends, and whoever waits for the program waits for that.
    pub fn hold_mounts(&mut self, host: &Host) {
        // Without, it is only slower: a child that has ended already has no namespace any more.
        self.remains.mounts = host.procfs.open_namespace(self.pid(), "mnt").ok();
    }

    /// Node's ends of the standard streams.
    pub fn stdio(&self) -> [Option<i32>; 3] {
        self.program.stdio()
    }

    /// Node has opened its ends.
    pub fn release(&mut self) {
        self.program.take_streams();
    }

    /// Takes the standard streams out: whoever asked has them from now on.
    pub fn take_streams(&mut self) -> Option<Streams> {
        self.program.take_streams()
    }

    /// The master of the container's terminal, once; it arrives before the program is executed.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.program.take_terminal()
    }

    /// It runs with these networks from now on.
    pub fn change_networks(&mut self, change: &NetworkChange, plan: &NetworkPlan) -> Result<()> {
        let pid = self.pid().as_raw_nonzero().get() as u32;
        change.carry_out(Some((self.program.pidfd(), pid)))?;
        self.remains.change_networks(plan);
        Ok(())
    }

    /// What its ports are passed on to on these networks.
    pub fn relay(&self, networks: &NetworkPlan) -> Result<Option<Relay>> {
        networks.relay(&self.remains.ports)
    }

    /// What is to be attended to for it, each once, as it comes about; all of it before the program is executed.
    pub fn take_attendants(&mut self) -> Vec<(Duty, Attendant)> {
        let relay = self.remains.relay.take();
        let relay = relay.map(|relay| (Duty::Relay, Attendant::new(relay)));
        // The sockets of a standby wait for the service that it is to have.
        let sockets = match self.names {
            Some(_) => self.program.take_names(),
            None => None,
        };
        let names = sockets.and_then(|sockets| {
            let service = self.names.take()?;
            Some((Duty::Names, Attendant::new(Names { service, sockets })))
        });
        relay.into_iter().chain(names).collect()
    }

    /// Takes in what has arrived; false when nothing more will.
    pub fn hear(&mut self) -> bool {
        self.program.hear()
    }

    /// Whether the program was executed, as far as known while the child lives.
    pub fn started(&mut self) -> Started {
        self.program.started()
    }

    /// Once: all is made, and it waits for the hooks of the runtime and then for `say_go`.
    pub fn take_prepared(&mut self) -> bool {
        self.program.take_prepared()
    }

    /// Once: a deferred program could be executed now, and waits.
    pub fn take_ready(&mut self) -> Option<Box<RawValue>> {
        self.program.take_ready()
    }

    pub fn say_go(&self) -> Result<()> {
        self.program.say_go()
    }

    /// The same when the child has ended: now it is known.
    pub fn started_at_last(&mut self) -> Started {
        match self.program.started_at_last() {
            Some(known) => known,
            None => Started::No {
                failure: raw(&self.why_died()),
            },
        }
    }

    /// Reaps pid 1. Call it when the pidfd says so; before, it waits.
    pub fn end(&mut self) -> End {
        End {
            status: self.program.end(),
            oom_killed: self.was_oom_killed(),
        }
    }

    pub fn signal(&self, signal: i32) -> Result<()> {
        self.program.signal(signal)
    }

    /// What it takes to enter it.
    pub fn entry(&self) -> Entry<'_> {
        Entry {
            pidfd: self.program.pidfd(),
            inside: &self.inside,
            cgroups: &self.cgroups,
        }
    }

    /// Removes the cgroup of a program that has ended, or when those are gone that it has left running.
    pub fn leave_cgroup(&mut self, nested: NestedCgroup) {
        self.nested.push(nested);
        self.nested.retain(|nested| !nested.remove());
    }

    /// Kills every process of the container.
    pub fn kill_all(&self) {
        // With a pid namespace, the end of pid 1 is the end of all.
        let _ = self.program.signal(libc::SIGKILL);
        if !self.pid_namespace {
            kill_all(&self.remains.removal.cgroups);
        }
    }

    /// Stops every process where it stands, or lets them go on. It takes effect when `is_frozen` says so.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        freeze(&self.remains.removal.cgroups, frozen)
    }

    pub fn is_frozen(&self) -> Result<bool> {
        is_frozen(&self.remains.removal.cgroups)
    }

    /// False when processes may be left that only the removal of the cgroups ends.
    pub fn ends_with_pid_1(&self) -> bool {
        self.pid_namespace
    }

    /// Kills it and waits for its end.
    pub fn abandon(mut self) -> Remains {
        self.kill_all();
        self.end();
        self.remains
    }

    pub fn into_remains(mut self) -> (Remains, Option<Streams>) {
        let streams = self.program.take_streams();
        (self.remains, streams)
    }

    fn was_oom_killed(&self) -> bool {
        self.cgroups
            .memory()
            .is_some_and(|directory| oom_kills(directory) > 0)
    }

    fn why_died(&self) -> Failure {
        if self.was_oom_killed() {
            Failure::kind("prepare the container", "out-of-memory")
        } else {
            Failure::kind("prepare the container", "killed")
        }
    }
}

impl Remains {
    /// Removes everything, going on after failures. It blocks: for a worker, or at the end.
    pub fn remove(self) -> Vec<Failure> {
        drop(self.mounts);
        self.removal.carry_out()
    }

    /// Ends what still runs in its cgroups, and takes its rules away.
    pub fn dismantle(&self) -> Vec<Failure> {
        self.removal.dismantle()
    }

    /// Lets go of its ports, for who takes them next.
    /// From here on its ports may be another's, who must not find rules there. A failure is the removal's to tell.
    pub fn unpublish(&mut self) {
        if !self.ports.is_empty() && detach(&self.removal.firewall).is_ok() {
            self.removal.firewall.clear();
            self.release_ports();
        }
    }

    fn release_ports(&mut self) {
        self.ports.clear();
        self.relay = None;
    }

    /// Takes its rules away, and gives back its ports, addresses and names, which it may be restarted with.
    pub fn leave_networks(&mut self) -> Vec<Failure> {
        let mut failures = Vec::from_iter(detach(&self.removal.firewall).err());
        self.removal.firewall.clear();
        self.release_ports();
        failures.extend(remove_trees(&self.removal.claims));
        failures
    }

    /// What is given back at its end is that of this plan.
    pub fn change_networks(&mut self, plan: &NetworkPlan) {
        self.removal.claims.clone_from(&plan.remove);
        self.removal.firewall = plan.end().to_vec();
    }

    /// With others beside its own.
    pub fn remove_trees(&self, others: &[PathBuf]) -> Vec<Failure> {
        remove_trees(self.removal.trees.iter().chain(others))
    }

    pub fn removal(&self) -> &Removal {
        &self.removal
    }

    /// For the next run.
    pub fn take_ports(&mut self) -> Vec<Option<OwnedFd>> {
        std::mem::take(&mut self.ports)
    }

    /// Whoever lets go of this last waits until the mounts are gone.
    pub fn take_mounts(&mut self) -> Option<OwnedFd> {
        self.mounts.take()
    }
}

impl Removal {
    /// Removes everything, going on after failures.
    pub fn carry_out(&self) -> Vec<Failure> {
        let mut failures = self.dismantle();
        failures.extend(remove_trees(self.claims.iter().chain(&self.trees)));
        failures
    }

    fn dismantle(&self) -> Vec<Failure> {
        let mut failures = remove_all(&self.cgroups);
        failures.extend(detach(&self.firewall).err());
        failures
    }
}

/// Removes them, going on after failures.
pub fn remove_trees<'a>(trees: impl IntoIterator<Item = &'a PathBuf>) -> Vec<Failure> {
    trees
        .into_iter()
        .filter_map(|tree| remove_tree(tree).err())
        .collect()
}

/// One that is named with a `/` at its end only when nothing is in it.
fn remove_tree(tree: &Path) -> Result<()> {
    if tree.as_os_str().as_encoded_bytes().ends_with(b"/") {
        // Others are in it, or have been quicker.
        let _ = std::fs::remove_dir(tree);
        return Ok(());
    }
    crate::fs::remove::remove_path(tree)
}

fn begin(plan: &Plan, host: &Host, mut spare: Spare, remains: &mut Remains) -> Result<Program> {
    if plan.deferred.is_none() && !plan.hooks.is_empty() {
        return Err(Failure::kind("read the configuration", "config-invalid")
            .detail("hooks are not carried out for a program that starts at once"));
    }
    if !plan.waits {
        for lock in &plan.extension.locks {
            remains._locks.push(lock.try_take()?);
        }
    }
    // Before any cgroup: by the names of these directories a later engine finds what a crash has left.
    bundle::make(&plan.extension.bundle, &plan.root)?;
    remains.ports = match std::mem::take(&mut spare.ports) {
        ports if ports.is_empty() => plan.extension.network.reserve()?,
        ports => ports,
    };
    remains.relay = plan.extension.network.relay(&remains.ports)?;
    let user = &plan.process.user;
    let streams = Streams::make(
        &plan.process,
        &plan.extension.stdio,
        map(&plan.linux.uid_mappings, user.uid),
        map(&plan.linux.gid_mappings, user.gid),
    )?;
    let peers = Peers::open(&plan.extension.peers)?;
    if plan.namespaces.user {
        write_files(plan)?;
    }
    let mut outside = Outside::make(plan, &peers)?.unwrap_or_default();
    outside.use_spare(plan, spare);
    // A scope is made around a process that is there: the child is moved, while it waits for the word.
    let cgroup = match plan.scope {
        Some(_) => None,
        None => plan.cgroups.open_v2()?,
    };
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .step("make a socket pair")?;
    let namespaces = &plan.namespaces;
    let nested = cgroup.as_ref().map(AsFd::as_fd);
    let child = || child::run(plan, outside, &peers, &streams, &theirs, host);
    let child = if namespaces.has_no_return(host.rootless) {
        let enter = || {
            let entered = namespaces.enter_before(&host.procfs, &peers);
            entered
                .map_err(|failure| Errno::from_raw_os_error(failure.errno.unwrap_or(libc::EPERM)))
        };
        let fail = |errno| Failure::new("join a namespace").errno(errno);
        clone_by_another(namespaces.at_clone, nested, enter, child, fail)?
    } else {
        namespaces.around_clone(&host.procfs, &peers, || {
            sys::process::clone(namespaces.at_clone, nested, child).step("clone the container")
        })?
    };
    drop(theirs);
    let mut program = Program::new(child, ours, streams);
    let admitted = admit(plan, host, program.pid, cgroup, &mut remains.removal)
        .and_then(|()| program.say_go());
    if let Err(failure) = admitted {
        let _ = program.signal(libc::SIGKILL);
        program.end();
        return Err(failure);
    }
    Ok(program)
}

/// Before they are mounted: from outside at once, by the child later, when it has been given the word.
fn write_files(plan: &Plan) -> Result<()> {
    let owner = root_of(&plan.linux.uid_mappings, &plan.linux.gid_mappings);
    bundle::write(&plan.extension.bundle, &plan.extension.files, owner)
}

/// The launcher's part while the child makes its namespaces and mounts its root.
fn admit(
    plan: &Plan,
    host: &Host,
    pid: Pid,
    cgroup: Option<OwnedFd>,
    removal: &mut Removal,
) -> Result<()> {
    if plan.namespaces.user {
        if plan.namespaces.user_joined.is_none() {
            map_ids(plan, host, pid)?;
        }
        set_oom_score(&plan.process, &pid.as_raw_nonzero().to_string(), host)?;
    }
    if !plan.namespaces.user {
        write_files(plan)?;
    }
    let child = pid.as_raw_nonzero().get() as u32;
    let cgroup = match &plan.scope {
        Some(scope) => {
            scope.start(child)?;
            plan.cgroups.open_v2()?
        }
        None => cgroup,
    };
    plan.cgroups.limit(cgroup.as_ref())?;
    if let Some(owner) = plan.cgroup_owner.filter(|&owner| owner != geteuid()) {
        plan.cgroups.give_to(owner)?;
    }
    plan.extension
        .network
        .attach(child, &mut removal.firewall)?;
    // Root of a user namespace may not open the files of a cgroup: it is moved.
    match plan.namespaces.user {
        true => plan.cgroups.move_into_v1(pid),
        false => Ok(()),
    }
}

fn map_ids(plan: &Plan, host: &Host, pid: Pid) -> Result<()> {
    let pid = pid.as_raw_nonzero();
    let write = |file, mappings| {
        let map = id_map(mappings);
        host.procfs.write(&format!("{pid}/{file}"), map.as_bytes())
    };
    write("uid_map", &plan.linux.uid_mappings)?;
    write("gid_map", &plan.linux.gid_mappings)
}

/// The launcher's id for one of the container's; `None` when it has none.
pub fn map(mappings: &[IdMapping], id: u32) -> Option<u32> {
    if mappings.is_empty() {
        return Some(id);
    }
    mappings.iter().find_map(|mapping| {
        let offset = id
            .checked_sub(mapping.container_id)
            .filter(|&offset| offset < mapping.size)?;
        mapping.host_id.checked_add(offset)
    })
}

/// Who the container's root is.
pub fn root_of(uids: &[IdMapping], gids: &[IdMapping]) -> (Uid, Gid) {
    let root = |mappings| map(mappings, 0).unwrap_or(0);
    (Uid::from_raw(root(uids)), Gid::from_raw(root(gids)))
}

/// As /proc/<pid>/uid_map takes it, all in one write.
pub fn id_map(mappings: &[IdMapping]) -> String {
    mappings
        .iter()
        .map(
            |IdMapping {
                 container_id,
                 host_id,
                 size,
             }| format!("{container_id} {host_id} {size}\n"),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPINGS: [IdMapping; 2] = [
        IdMapping {
            container_id: 0,
            host_id: 1000,
            size: 1,
        },
        IdMapping {
            container_id: 1,
            host_id: 100_000,
            size: 65535,
        },
    ];

    #[test]
    fn ids_are_mapped_or_not_there() {
        assert_eq!(map(&MAPPINGS, 0), Some(1000));
        assert_eq!(map(&MAPPINGS, 33), Some(100_032));
        assert_eq!(map(&MAPPINGS, 65536), None);
        assert_eq!(map(&[], 7), Some(7));
    }

    #[test]
    fn a_map_is_one_text() {
        assert_eq!(id_map(&MAPPINGS), "0 1000 1\n1 100000 65535\n");
    }
}

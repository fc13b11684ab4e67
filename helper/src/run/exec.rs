//! A program executed in a container that runs.
//!
//! One clone and one setns(2): the child starts in the container's pid namespace and in a cgroup of its own below the
//! container's, gives up what it has of the host, and only then enters the other namespaces. From its first instruction
//! the container's processes can see it, so it cannot be looked into until it has executed; the file behind it is a
//! sealed copy (CVE-2019-5736), and no descriptor of the host is open when it enters (CVE-2024-21626).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::by_another::clone_by_another;
use super::cgroup::{CgroupPlan, NestedCgroup, oom_kills};
use super::config::{self, IdMapping, Stdio};
use super::container::{Container, map};
use super::credentials::Filter;
use super::execute::{
    become_program, become_root, enter_working_directory, isolate, open_root, send, set_attributes,
};
use super::listener::{Agent, connect, process_state};
use super::namespaces::{JoinPlan, not_running};
use super::plan::Plan;
use super::process::PlannedProcess;
use super::program::{End, Program, Started};
use super::scheduling::{PlannedPersona, use_all_processors};
use super::stdio::{self, Streams};
use super::terminal::Terminal;
use super::{Filters, Host};
use crate::error::{Failure, Result, Step};
use crate::protocol::{Report, raw};
use crate::sys;

/// The arguments of `exec`.
#[derive(Deserialize)]
pub struct ExecRequest {
    exec: String,
    process: config::Process,
    stdio: Stdio,
    seccomp: Option<Box<RawValue>>,
    /// The standard streams, and as many descriptors after them, are this process's own.
    #[serde(skip)]
    pub inherited: Option<u32>,
    /// See `PlannedTerminal`.
    #[serde(skip)]
    pub plain_lines: bool,
}

/// The way into a container that runs.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub pidfd: BorrowedFd<'a>,
    pub inside: &'a Inside,
    pub cgroups: &'a CgroupPlan,
}

/// What entering a container takes to know of it.
pub struct Inside {
    pub namespaces: JoinPlan,
    pub uid_mappings: Vec<IdMapping>,
    pub gid_mappings: Vec<IdMapping>,
    pub ulimit_clamp: bool,
    pub persona: PlannedPersona,
    /// Its own program's.
    pub filter: Option<Rc<Filter>>,
    /// As the specification has it, but for the pid.
    pub state: Value,
}

/// In place of a profile: the container's own, which need not be sent again.
const SAME: &str = "\"container\"";

impl Inside {
    pub fn of(plan: &Plan) -> Self {
        Inside {
            namespaces: plan.namespaces.join_plan(),
            uid_mappings: plan.linux.uid_mappings.clone(),
            gid_mappings: plan.linux.gid_mappings.clone(),
            ulimit_clamp: plan.extension.ulimit_clamp,
            persona: plan.persona.clone(),
            filter: plan.process.filter.clone(),
            state: plan.state(),
        }
    }
}

pub struct Exec {
    pub id: String,
    program: Program,
    cgroup: NestedCgroup,
    memory: Option<PathBuf>,
    /// What the container had been through before.
    oom_kills: u64,
}

impl Exec {
    /// Starts to carry the request out. After a failure nothing of it is left.
    pub fn start(
        request: ExecRequest,
        container: Entry<'_>,
        filters: &mut Filters,
        host: &Host,
    ) -> Result<Exec> {
        let inside = container.inside;
        let filter = match &request.seccomp {
            Some(profile) if profile.get() == SAME => inside.filter.clone(),
            Some(profile) => Some(filters.compile(profile.get())?),
            None => None,
        };
        let mut process = PlannedProcess::plan(request.process, inside.ulimit_clamp, filter)?;
        process.inherited = request.inherited;
        if let Some(terminal) = &mut process.terminal {
            terminal.plain_lines = request.plain_lines;
        }
        if process.inherited.is_some() && !inside.namespaces.user {
            process.capabilities.keep_held()?;
        }
        let cgroup = nest_cgroup(container.cgroups, &request.exec)?;
        let memory = container.cgroups.memory().map(PathBuf::from);
        let oom_kills = memory.as_deref().map_or(0, oom_kills);
        match begin(&process, &request.stdio, container, &cgroup, host) {
            Ok(program) => Ok(Exec {
                id: request.exec,
                program,
                cgroup,
                memory,
                oom_kills,
            }),
            Err(failure) => {
                cgroup.remove();
                Err(failure)
            }
        }
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

    /// Node's ends of the standard streams.
    pub fn stdio(&self) -> [Option<i32>; 3] {
        self.program.stdio()
    }

    /// Node's ends and the program's, so that they stay open until Node has opened its own.
    pub fn take_streams(&mut self) -> Option<Streams> {
        self.program.take_streams()
    }

    /// The master of its terminal, once; it arrives before the program is executed.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.program.take_terminal()
    }

    /// Takes in what has arrived; false when nothing more will.
    pub fn hear(&mut self) -> bool {
        self.program.hear()
    }

    /// Whether the program was executed, as far as known while the child lives.
    pub fn started(&mut self) -> Started {
        self.program.started()
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

    /// Reaps it. Call it when the pidfd says so; before, it waits.
    pub fn end(&mut self) -> End {
        let status = self.program.end();
        End {
            status,
            // One that has ended well was not killed, and its caller waits.
            oom_killed: status.code != Some(0) && self.was_oom_killed(),
        }
    }

    pub fn signal(&self, signal: i32) -> Result<()> {
        self.program.signal(signal)
    }

    /// Kills it and every process that it has started, also those that have left its session.
    pub fn kill_all(&self) {
        let _ = self.program.signal(libc::SIGKILL);
        if !self.cgroup.kill_all() {
            // Without a cgroup those of its session's first group are all that can be named.
            let _ = rustix::process::kill_process_group(
                self.program.pid,
                rustix::process::Signal::KILL,
            );
        }
    }

    /// Its own cgroup, for one whose container is nobody's here.
    pub fn cgroup(&self) -> NestedCgroup {
        self.cgroup.clone()
    }

    /// To be called after its end. What it has left running keeps its cgroup, until that ends too or the container does.
    pub fn leave(self, container: &mut Container) {
        container.leave_cgroup(self.cgroup);
    }

    fn was_oom_killed(&self) -> bool {
        let kills = self.memory.as_deref().map_or(0, oom_kills);
        kills > self.oom_kills
    }

    fn why_died(&self) -> Failure {
        let kind = match self.was_oom_killed() {
            true => "out-of-memory",
            false => "killed",
        };
        Failure::kind("prepare the program", kind)
    }
}

/// A cgroup for the program that `exec` names.
fn nest_cgroup(cgroups: &CgroupPlan, exec: &str) -> Result<NestedCgroup> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if exec.is_empty() || !exec.bytes().all(is_word) {
        return Err(Failure::kind("read exec", "config-invalid").detail(exec));
    }
    cgroups.nest(&format!("exec-{exec}"))
}

fn begin(
    process: &PlannedProcess,
    stdio: &Stdio,
    container: Entry<'_>,
    cgroup: &NestedCgroup,
    host: &Host,
) -> Result<Program> {
    let inside = container.inside;
    let streams = Streams::make(
        process,
        stdio,
        map(&inside.uid_mappings, process.user.uid),
        map(&inside.gid_mappings, process.user.gid),
    )?;
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .step("make a socket pair")?;
    let directory = cgroup.open_v2()?;
    let directory = directory.as_ref().map(AsFd::as_fd);
    let child = || run(process, container, cgroup, &streams, &theirs, host);
    let child = process.scheduling.affinity.around_clone(|| {
        if host.rootless {
            // The child hides itself when it has written to its own /proc, which it could not do hidden. Until then it is
            // guarded by having capabilities that those who might look have not.
            let enter = || inside.namespaces.enter_pid(container.pidfd);
            clone_by_another(0, directory, enter, child, not_running)
        } else {
            inside.namespaces.around_clone(container.pidfd, || {
                unseen(|| sys::process::clone(0, directory, child).step("clone the program"))
            })
        }
    })?;
    Ok(Program::new(child, ours, streams))
}

/// Runs `clone` with a child that nobody can look into from its beginning on: this process cannot be either meanwhile.
fn unseen<T>(clone: impl FnOnce() -> Result<T>) -> Result<T> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).step("hide this process")?;
    let cloned = clone();
    set_dumpable_behavior(DumpableBehavior::Dumpable).step("show this process")?;
    cloned
}

/// The child. What goes wrong is told over the channel.
fn run(
    process: &PlannedProcess,
    container: Entry<'_>,
    cgroup: &NestedCgroup,
    streams: &Streams,
    channel: &OwnedFd,
    host: &Host,
) -> ! {
    let failure = match prepare(process, container, cgroup, streams, channel, host) {
        Ok(()) => process.command.execute(),
        Err(failure) => failure,
    };
    send(channel, &Report::of(Err::<(), _>(failure)));
    sys::process::exit(1)
}

fn prepare(
    process: &PlannedProcess,
    container: Entry<'_>,
    cgroup: &NestedCgroup,
    streams: &Streams,
    channel: &OwnedFd,
    host: &Host,
) -> Result<()> {
    // 1. Leave the parent.
    let (procfs, pidfd) = (host.procfs.as_fd(), container.pidfd);
    isolate(
        process,
        streams,
        channel,
        &[procfs.as_raw_fd(), pidfd.as_raw_fd()],
    )?;

    // 2. What needs the host's file systems, which are out of reach afterwards.
    cgroup.join_v1()?;
    if process.inherited.is_some() && process.scheduling.affinity.is_empty() {
        use_all_processors();
    }
    process.scheduling.affinity.apply()?;
    container.inside.persona.apply()?;
    set_attributes(process, host)?;
    if host.rootless {
        set_dumpable_behavior(DumpableBehavior::NotDumpable).step("hide this process")?;
    }
    let agent = match process.listener() {
        Some(listener) => {
            let notice = process_state(listener, &container.inside.state, &host.procfs)?;
            Some(Agent::new(connect(listener)?, notice))
        }
        None => None,
    };
    isolate_from_host(process, streams, channel, pidfd, agent.as_ref())?;

    // 3. Enter.
    let namespaces = &container.inside.namespaces;
    namespaces.join(pidfd)?;
    if namespaces.user {
        become_root()?;
    }

    // 4. Inside.
    let root = open_root()?;
    root.make_directory(&process.cwd)
        .step_at("make the working directory", &process.cwd)?;
    let terminal = match process.terminal {
        Some(size) => Some(Terminal::open(&root, &process.user, size)?),
        None => None,
    };
    match &terminal {
        Some(terminal) => terminal.install()?,
        None if process.inherited.is_some() => {}
        None => stdio::install(streams)?,
    }
    enter_working_directory(&root, &process.cwd)?;

    // 5. The user, and less and less.
    become_program(
        process,
        terminal.as_ref().map(|terminal| terminal.master.as_fd()),
        channel,
        false,
        host.descriptors,
        agent,
    )
}

/// Closes the host's /proc too.
fn isolate_from_host(
    process: &PlannedProcess,
    streams: &Streams,
    channel: &OwnedFd,
    pidfd: BorrowedFd<'_>,
    agent: Option<&Agent>,
) -> Result<()> {
    let near = streams.near_ends().into_iter().flatten();
    let mut keep: Vec<_> = near.map(AsRawFd::as_raw_fd).collect();
    keep.extend(process.preserved());
    keep.extend(agent.map(Agent::descriptor));
    keep.extend([channel.as_raw_fd(), pidfd.as_raw_fd()]);
    sys::close::close_all_but(&keep).step("close the host's descriptors")
}

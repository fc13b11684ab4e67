//! `create` and `run`.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_json::Value;

use super::arguments::{Arguments, Options};
use super::console::{ConsoleSocket, PidfdSocket};
use super::record::{Record, Status, start_time};
use super::store::Place;
use super::{
    Runtime, bundle, capabilities, cgroups, defaults, delete, environment, foreground, invalid,
    joined_user, net_devices, start,
};
use crate::error::{Failure, Result, Step};
use crate::monitor::now;
use crate::run::Spare;
use crate::run::{Container, Deferred, Started, cgroup_is_frozen, cgroup_processes, run_hooks};

const OPTIONS: Options<'_> = Options {
    flags: &[
        "no-pivot",
        "no-new-keyring",
        "detach",
        "keep",
        "no-subreaper",
    ],
    values: &[
        "bundle",
        "console-socket",
        "pid-file",
        "preserve-fds",
        "pidfd-socket",
    ],
    short: &[('b', "bundle"), ('d', "detach")],
    words: usize::MAX,
};

/// One that waits for `start`.
pub struct Created {
    pub place: Place,
    pub record: Record,
    pub container: Container,
    /// Where no console socket takes it.
    pub terminal: Option<OwnedFd>,
}

pub fn create(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    let arguments = Arguments::parse(words, &OPTIONS)?;
    make(runtime, &arguments, true)?;
    Ok(0)
}

pub fn run(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    let arguments = Arguments::parse(words, &OPTIONS)?;
    let detached = arguments.has("detach");
    let Created {
        place,
        record,
        container,
        terminal,
    } = make(runtime, &arguments, detached)?;
    if let Some(master) = &terminal {
        foreground::resize(master);
    }
    let (place, record) = match start::start_container(runtime, place, record) {
        Ok(started) => started,
        Err(failed) => {
            let (failure, left) = *failed;
            if let Some((place, record)) = left {
                delete::destroy(runtime, place, record)?;
            }
            return Err(failure);
        }
    };
    if detached {
        return Ok(0);
    }
    // Others may want to do something with it meanwhile.
    drop(place);
    let code = foreground::attend(container, terminal)?;
    if !arguments.has("keep") {
        delete::delete_stopped(runtime, &record.id)?;
    }
    Ok(code)
}

fn make(runtime: &Runtime, arguments: &Arguments, detached: bool) -> Result<Created> {
    if arguments.has("no-pivot") {
        return Err(invalid(
            "--no-pivot: a root that was not pivoted to can be left again; it is not supported",
        ));
    }
    let id = arguments.id()?;
    let preserved = arguments.number("preserve-fds")?.unwrap_or(0);
    check_preserved(preserved)?;
    let bundle = PathBuf::from(arguments.value("bundle").unwrap_or("."));
    let bundle = bundle.canonicalize().step_at("find the bundle", &bundle)?;
    let path = bundle.join("config.json");
    let text = std::fs::read_to_string(&path).step_at("read config.json", &path)?;
    let host = bundle::open_host()?;
    let config = defaults::parse(&text)?;
    let path = config["linux"]["cgroupsPath"].as_str();
    let placed = cgroups::place(path, id, runtime.systemd)?;
    let directory = runtime.store.path(id)?;
    let mut config = defaults::complete(config, &bundle, &placed.cgroups, &directory)?;
    joined_user::complete(&mut config)?;
    net_devices::complete(&mut config)?;
    capabilities::drop_unknown(&mut config["process"], &runtime.log);
    // What is executed in it later begins with what the bundle says.
    let saved = config.to_string();
    if let Some(root) = config["root"]["path"].as_str().map(PathBuf::from) {
        environment::complete(&mut config["process"], &root);
    }
    if preserved > 0 {
        announce_preserved(&mut config, preserved);
    }
    let mut plan = bundle::plan(id, &config.to_string(), &host)?;
    capabilities::drop_impossible(&mut plan.process.capabilities, &runtime.log);
    if !plan.namespaces.user {
        capabilities::drop_missing(&mut plan.process.capabilities, &runtime.log)?;
    }
    plan.scope = placed
        .scope
        .map(|placed| placed.request(id, &plan.cgroups, &config))
        .transpose()?;
    plan.others_cgroups = plan.cgroups.directories();
    plan.others_cgroups.retain(|directory| directory.exists());
    refuse_used(&plan.others_cgroups)?;
    let terminal = plan.process.terminal.is_some();
    let console = ConsoleSocket::connect(arguments.value("console-socket"), terminal, detached)?;
    let pidfd = PidfdSocket::connect(arguments.value("pidfd-socket"))?;

    let place = runtime.store.claim(id)?;
    let mut record = Record {
        id: id.to_owned(),
        pid: 0,
        ready: false,
        pid_namespace: plan.namespaces.pid,
        start_time: 0,
        rootfs: plan.root.clone(),
        bundle,
        created: now(),
        annotations: bundle::annotations(&config),
        cgroups: plan.extension.cgroups.clone(),
        others_cgroups: plan.others_cgroups.clone(),
        scope: plan.scope.as_ref().map(|request| request.scope.clone()),
        hooks: plan.hooks.clone(),
        owner: rustix::process::getuid().as_raw(),
    };
    let listener = place
        .save(&record)
        .and_then(|()| place.save_config(&saved))
        .and_then(|()| place.listen())
        .inspect_err(|_| remove(&place.path))?;
    plan.process.inherited = Some(preserved);
    if let Some(terminal) = &mut plan.process.terminal {
        terminal.plain_lines = console.is_none();
    }
    plan.deferred = Some(Deferred {
        listener: listener.into(),
        hooks: record.hooks.clone(),
        state: record.state(Status::Creating),
    });
    let mut container = match Container::start(plan, &host, Spare::default()) {
        Ok(container) => container,
        Err(failed) => {
            let (failure, remains) = *failed;
            remains.remove();
            // A name that was taken is another's scope.
            if failure.kind != Some("exists") {
                record.forget_scope();
            }
            return Err(failure);
        }
    };
    match prepare(runtime, &place, &mut record, &mut container) {
        Ok(()) => {}
        Err(failure) => {
            container.abandon().remove();
            record.forget_scope();
            delete::run_poststop_hooks(runtime, &record);
            return Err(failure);
        }
    }
    let terminal = container.take_terminal();
    let handed = match (&console, &terminal) {
        (Some(console), Some(master)) => console.send(master),
        _ => Ok(()),
    };
    let handed = handed.and_then(|()| match &pidfd {
        Some(socket) => socket.send("standard", container.pidfd()),
        None => Ok(()),
    });
    let told = handed.and_then(|()| match arguments.value("pid-file") {
        Some(path) => write_pid_file(Path::new(path), record.pid),
        None => Ok(()),
    });
    record.ready = true;
    let told = told.and_then(|()| place.save(&record));
    if let Err(failure) = told {
        container.abandon().remove();
        record.forget_scope();
        delete::run_poststop_hooks(runtime, &record);
        return Err(failure);
    }
    Ok(Created {
        place,
        record,
        container,
        terminal,
    })
}

/// A cgroup that was there before must be nobody's: what is done to the container would be done to others.
fn refuse_used(cgroups: &[PathBuf]) -> Result<()> {
    let detail = match cgroup_processes(cgroups).len() {
        0 if cgroup_is_frozen(cgroups).unwrap_or(false) => {
            "the container's cgroup unexpectedly frozen".into()
        }
        0 => return Ok(()),
        count => format!("the container's cgroup is not empty: {count} process(es) found"),
    };
    Err(Failure::kind("read linux.cgroupsPath", "config-invalid").detail(detail))
}

/// Until the program could be executed.
fn prepare(
    runtime: &Runtime,
    place: &Place,
    record: &mut Record,
    container: &mut Container,
) -> Result<()> {
    record.pid = container.pid().as_raw_nonzero().get();
    record.start_time = start_time(record.pid).unwrap_or(0);
    place.save(record)?;
    loop {
        let open = container.hear();
        if container.take_prepared() {
            let state = record.state(Status::Creating).to_string();
            run_hooks("prestart", &record.hooks.prestart, &state)?;
            run_hooks("createRuntime", &record.hooks.create_runtime, &state)?;
            container.say_go()?;
        }
        if let Some(warnings) = container.take_ready() {
            for warning in serde_json::from_str::<Vec<String>>(warnings.get()).unwrap_or_default() {
                runtime.log.warn(&warning);
            }
            return Ok(());
        }
        if !open {
            container.end();
            return Err(match container.started_at_last() {
                Started::No { failure } => Failure::reported(&failure),
                _ => Failure::kind("create the container", "killed"),
            });
        }
        let channel = container.channel();
        match poll(&mut [PollFd::new(&channel.as_fd(), PollFlags::IN)], None) {
            Err(Errno::INTR) | Ok(_) => {}
            Err(errno) => return Err(errno).step("wait for the container"),
        }
    }
}

pub fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    std::fs::write(&new, pid.to_string()).step_at("write the pid file", path)?;
    std::fs::rename(&new, path).step_at("write the pid file", path)
}

/// What is to be inherited must be there.
pub fn check_preserved(count: u32) -> Result<()> {
    for number in 3..3 + count {
        if !Path::new(&format!("/proc/self/fd/{number}")).exists() {
            return Err(invalid(format!(
                "--preserve-fds: descriptor {number} is not open"
            )));
        }
    }
    Ok(())
}

/// Programs that are activated by sockets look for this.
fn announce_preserved(config: &mut Value, count: u32) {
    let Some(passed) = std::env::var("LISTEN_FDS")
        .ok()
        .and_then(|text| text.parse().ok())
    else {
        return;
    };
    let passed: u32 = passed;
    if let Some(env) = config["process"]["env"]
        .as_array_mut()
        .filter(|_| passed <= count)
    {
        env.push(format!("LISTEN_FDS={passed}").into());
        env.push("LISTEN_PID=1".into());
    }
}

fn remove(path: &Path) {
    let _ = std::fs::remove_dir_all(path);
}

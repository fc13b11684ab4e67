//! `exec`.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use super::arguments::{Arguments, Options};
use super::console::{ConsoleSocket, PidfdSocket};
use super::create::{check_preserved, write_pid_file};
use super::record::Status;
use super::{Runtime, bundle, capabilities, environment, foreground, invalid};
use crate::error::{Failure, Result, Step};
use crate::run::{Entry, Exec, ExecRequest, Filters, Inside, Started};

const OPTIONS: Options<'_> = Options {
    flags: &[
        "tty",
        "detach",
        "no-new-privs",
        "ignore-paused",
        "no-subreaper",
    ],
    values: &[
        "console-socket",
        "cwd",
        "env",
        "user",
        "additional-gids",
        "process",
        "pid-file",
        "process-label",
        "apparmor",
        "cap",
        "preserve-fds",
        "cgroup",
        "pidfd-socket",
    ],
    short: &[
        ('t', "tty"),
        ('d', "detach"),
        ('e', "env"),
        ('u', "user"),
        ('g', "additional-gids"),
        ('p', "process"),
        ('c', "cap"),
    ],
    words: 1,
};

pub fn exec(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    let arguments = Arguments::parse(words, &OPTIONS)?;
    if arguments.value("cgroup").is_some() {
        return Err(invalid(
            "--cgroup: each program has a cgroup of its own in the container's",
        ));
    }
    let (place, record) = runtime.store.load(arguments.id()?)?;
    match place.status(&record) {
        Status::Created | Status::Running => {}
        Status::Paused if arguments.has("ignore-paused") => {}
        status => {
            return Err(Failure::kind("execute in the container", "state")
                .detail(format!("cannot exec in a {} container", status.word())));
        }
    }
    let host = bundle::open_host()?;
    let text = place.config()?;
    let plan = bundle::plan(&record.id, &text, &host)?;
    let config: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new("read the configuration").detail(error.to_string()))?;
    let mut process = process(&arguments, &config["process"])?;
    capabilities::drop_unknown(&mut process, &runtime.log);
    let detached = arguments.has("detach");
    let terminal = process["terminal"] == true;
    let console = ConsoleSocket::connect(arguments.value("console-socket"), terminal, detached)?;
    let pidfd_socket = PidfdSocket::connect(arguments.value("pidfd-socket"))?;
    let preserved = arguments.number("preserve-fds")?.unwrap_or(0);
    check_preserved(preserved)?;

    let pid = Pid::from_raw(record.pid).ok_or_else(not_running)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| not_running())?;
    if !record.is_alive() {
        return Err(not_running());
    }
    environment::complete(
        &mut process,
        Path::new(&format!("/proc/{}/root", record.pid)),
    );
    let request = json!({
        "exec": unique_name(),
        "process": process,
        "stdio": { "stdin": "null", "stdout": "null", "stderr": "null" },
        "seccomp": config["linux"]["seccomp"],
    });
    let mut request: ExecRequest = serde_json::from_str(&request.to_string()).map_err(|error| {
        Failure::kind("read the process", "config-invalid").detail(error.to_string())
    })?;
    request.inherited = Some(preserved);
    request.plain_lines = console.is_none();
    let mut inside = Inside::of(&plan);
    inside.state = record.state(place.status(&record));
    let entry = Entry {
        pidfd: pidfd.as_fd(),
        inside: &inside,
        cgroups: &plan.cgroups,
    };
    let mut exec = Exec::start(request, entry, &mut Filters::default(), &host)?;
    wait_until_executed(&mut exec)?;
    let master = exec.take_terminal();
    if let (Some(console), Some(master)) = (&console, &master) {
        console.send(master)?;
    }
    if let Some(socket) = &pidfd_socket {
        socket.send("setns", exec.pidfd())?;
    }
    if let Some(path) = arguments.value("pid-file") {
        write_pid_file(Path::new(path), exec.pid().as_raw_nonzero().get())?;
    }
    if detached {
        return Ok(0);
    }
    let cgroup = exec.cgroup();
    let code = foreground::attend(exec, master)?;
    cgroup.remove();
    Ok(code)
}

/// A whole one from a file, or the container's own with changes.
fn process(arguments: &Arguments, container: &Value) -> Result<Value> {
    if let Some(path) = arguments.value("process") {
        let text = std::fs::read_to_string(path).step_at("read the process", path)?;
        return serde_json::from_str(&text).map_err(|error| invalid(format!("--process: {error}")));
    }
    let mut process = container.clone();
    let args = arguments.texts()?;
    if args.is_empty() {
        return Err(invalid("a program to execute is needed"));
    }
    process["args"] = json!(args);
    process["terminal"] = json!(arguments.has("tty"));
    if let Some(cwd) = arguments.value("cwd") {
        process["cwd"] = json!(cwd);
    }
    if arguments.has("no-new-privs") {
        process["noNewPrivileges"] = json!(true);
    }
    for (option, field) in [
        ("apparmor", "apparmorProfile"),
        ("process-label", "selinuxLabel"),
    ] {
        if let Some(value) = arguments.value(option) {
            process[field] = json!(value);
        }
    }
    let mut env = process["env"].as_array().cloned().unwrap_or_default();
    env.extend(arguments.all("env").map(|variable| json!(variable)));
    process["env"] = json!(env);
    if let Some(user) = arguments.value("user") {
        set_user(&mut process, user)?;
    }
    let groups: Vec<u32> = arguments
        .all("additional-gids")
        .map(|text| {
            text.parse()
                .map_err(|_| invalid("--additional-gids: not a number"))
        })
        .collect::<Result<_>>()?;
    if !groups.is_empty() {
        process["user"]["additionalGids"] = json!(groups);
    }
    add_capabilities(&mut process, arguments.all("cap"));
    Ok(process)
}

fn set_user(process: &mut Value, user: &str) -> Result<()> {
    let (uid, gid) = user.split_once(':').unwrap_or((user, ""));
    let number = |text: &str| {
        let number: std::result::Result<u32, _> = text.parse();
        number.map_err(|_| invalid(format!("--user: UID[:GID] in numbers: {user}")))
    };
    process["user"]["uid"] = json!(number(uid)?);
    if !gid.is_empty() {
        process["user"]["gid"] = json!(number(gid)?);
    }
    Ok(())
}

fn add_capabilities<'a>(process: &mut Value, names: impl Iterator<Item = &'a str>) {
    for name in names {
        for set in ["bounding", "effective", "permitted"] {
            let field = &mut process["capabilities"][set];
            if field.is_null() {
                *field = json!([]);
            }
            if let Some(list) = field
                .as_array_mut()
                .filter(|list| !list.contains(&json!(name)))
            {
                list.push(json!(name));
            }
        }
        // "Ambient ... permitted and inheritable" (capabilities(7)): where the container's own are.
        let has = |set: &Value| {
            set.as_array()
                .is_some_and(|names| names.contains(&json!(name)))
        };
        let capabilities = &mut process["capabilities"];
        if has(&capabilities["inheritable"]) && !has(&capabilities["ambient"]) {
            match capabilities["ambient"].as_array_mut() {
                Some(list) => list.push(json!(name)),
                None => capabilities["ambient"] = json!([name]),
            }
        }
    }
}

fn wait_until_executed(exec: &mut Exec) -> Result<()> {
    loop {
        let open = exec.hear();
        if let Started::Yes { .. } = exec.started() {
            return Ok(());
        }
        if !open {
            exec.end();
            return match exec.started_at_last() {
                Started::Yes { .. } => Ok(()),
                Started::No { failure } => {
                    exec.cgroup().remove();
                    Err(Failure::reported(&failure))
                }
                Started::NotYet => Err(Failure::kind("execute in the container", "killed")),
            };
        }
        let channel = exec.channel();
        match poll(&mut [PollFd::new(&channel, PollFlags::IN)], None) {
            Err(Errno::INTR) | Ok(_) => {}
            Err(errno) => return Err(errno).step("wait for the program"),
        }
    }
}

/// Of a cgroup, among those of all that is executed in the container.
fn unique_name() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{}-{}", std::process::id(), since.as_nanos())
}

fn not_running() -> Failure {
    Failure::kind("execute in the container", "state").detail("container not running")
}

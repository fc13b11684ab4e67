//! The helper as an OCI runtime, called as engines call it.

mod support;

use std::io::{BufRead, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::host::{hierarchies, wait_for_end};
use support::oci::{Runtime, receive, script};

#[test]
fn a_container_is_created_started_killed_and_deleted() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle("life", &script("echo started; exec sleep 1000"));
    assert!(bundle.create().success());
    let state = bundle.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"].to_string(), bundle.read("pid"));
    assert_eq!(state["bundle"], bundle.path());
    assert_eq!(bundle.read("output"), "");

    bundle.ok("start");
    assert_eq!(bundle.state()["status"], "running");
    assert!(bundle.error("start").contains("running"));
    assert!(bundle.error("delete").contains("not stopped"));

    bundle.kill();
    assert_eq!(bundle.state()["status"], "stopped");
    assert_eq!(bundle.read("output"), "started\n");
    assert!(bundle.error("kill").contains("container not running"));
    bundle.ok("delete");
    assert!(bundle.error("state").contains("does not exist"));
    let mounts = hierarchies();
    for mount in mounts.v1.into_values().chain(mounts.v2) {
        assert!(
            !mount
                .join(format!("keelson-test-oci-{}", bundle.id))
                .exists()
        );
    }
}

#[test]
fn a_name_is_one_containers() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle("name", &["sleep", "1000"]);
    assert!(bundle.create().success());
    assert!(!bundle.create().success());
    assert_eq!(bundle.state()["status"], "created");
    for id in ["../other", "", "a/b", ".."] {
        assert!(
            runtime
                .error(&["create", "--bundle", bundle.path(), id])
                .contains("invalid id")
        );
    }
}

#[test]
fn run_waits_for_the_program_and_removes_the_container() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle("run", &script("echo out; echo err >&2; exit 7"));
    let output = bundle.run();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr, b"err\n");
    assert!(bundle.error("state").contains("does not exist"));
}

#[test]
fn programs_are_executed_in_a_running_container() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle("exec", &["sleep", "1000"]);
    assert!(bundle.create().success());
    bundle.ok("start");
    let id = bundle.id.as_str();
    let output = runtime.call(&[
        "exec",
        "--env",
        "A=b",
        "--cwd",
        "/tmp",
        "--user",
        "5:6",
        id,
        "sh",
        "-c",
        "echo $A $PWD $(id -u) $(id -g) $(hostname); exit 3",
    ]);
    assert_eq!(output.stdout, b"b /tmp 5 6 keelson\n");
    assert_eq!(output.status.code(), Some(3));
    let missing = runtime.error(&["exec", id, "no-such-program"]);
    assert!(
        missing.contains("executable file not found in $PATH"),
        "{missing}"
    );

    let pid_file = bundle.file("exec-pid");
    let args = [
        "exec",
        "--detach",
        "--pid-file",
        &pid_file,
        id,
        "sleep",
        "1000",
    ];
    let mut detached = runtime.command(&args);
    detached
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(detached.status().unwrap().success());
    let pids: Vec<u64> =
        serde_json::from_str(&runtime.ok(&["ps", "--format", "json", id])).unwrap();
    assert_eq!(pids.len(), 2);
    assert!(pids.contains(&bundle.read("exec-pid").parse().unwrap()));
    assert!(runtime.ok(&["ps", id]).contains("sleep 1000"));
}

#[test]
fn a_paused_container_stands_still() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle("pause", &["sleep", "1000"]);
    assert!(bundle.create().success());
    bundle.ok("start");
    bundle.ok("pause");
    assert_eq!(bundle.state()["status"], "paused");
    assert!(bundle.error("pause").contains("paused"));
    assert!(
        runtime
            .error(&["exec", &bundle.id, "true"])
            .contains("paused")
    );
    bundle.ok("resume");
    assert_eq!(bundle.state()["status"], "running");
}

#[test]
fn limits_are_set_and_changed() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("limits", &["sleep", "1000"]);
    bundle.config["linux"]["resources"]["pids"] = json!({ "limit": 20 });
    assert!(bundle.create().success());
    bundle.ok("start");
    let stats = || -> Value {
        serde_json::from_str(&runtime.ok(&["events", "--stats", &bundle.id])).unwrap()
    };
    assert_eq!(
        stats()["data"]["pids"],
        json!({ "current": 1, "limit": 20 })
    );
    runtime.ok(&["update", "--pids-limit", "30", &bundle.id]);
    assert_eq!(stats()["data"]["pids"]["limit"], 30);
    assert!(
        stats()["data"]["memory"]["usage"]["usage"]
            .as_u64()
            .unwrap()
            > 0
    );
}

#[test]
fn hooks_run_in_order_with_the_state() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("hooks", &["sleep", "1000"]);
    let log = bundle.file("hooks.log");
    let record = |stage: &str| {
        let script = format!("(echo {stage} $(cat) $(hostname)) >> {log}");
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"] }])
    };
    bundle.config["annotations"] = json!({ "some": "thing" });
    bundle.config["hooks"] = json!({
        "prestart": record("prestart"),
        "createRuntime": record("createRuntime"),
        "createContainer": record("createContainer"),
        "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "cat > /shared/startContainer"] }],
        "poststart": record("poststart"),
        "poststop": record("poststop"),
    });
    let shared = bundle.file("shared");
    std::fs::create_dir(&shared).unwrap();
    // In the bundle, like every relative source; and on a tmpfs, for the root is read-only and everybody's.
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.push(json!({ "destination": "/dev/shared", "type": "bind", "source": "shared" }));
    bundle.config["hooks"]["startContainer"][0]["args"][2] = json!("cat > /dev/shared/state");
    assert!(bundle.create().success(), "{}", bundle.read("output"));
    let lines: Vec<_> = bundle
        .read("hooks.log")
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), 3);
    let pid = bundle.state()["pid"].clone();
    for (line, stage) in lines
        .iter()
        .zip(["prestart", "createRuntime", "createContainer"])
    {
        let (word, rest) = line.split_once(' ').unwrap();
        let (state, hostname) = rest.rsplit_once(' ').unwrap();
        let state: Value = serde_json::from_str(state).unwrap();
        assert_eq!(word, stage);
        assert_eq!(state["status"], "creating");
        // The number that whoever hears it knows the process by.
        let known = match stage {
            "createContainer" => json!(1),
            _ => pid.clone(),
        };
        assert_eq!(state["pid"], known);
        assert_eq!(state["annotations"]["some"], "thing");
        assert_eq!(hostname == "keelson", stage == "createContainer");
    }
    assert!(!Path::new(&shared).join("state").exists());
    bundle.ok("start");
    let state: Value = serde_json::from_str(&bundle.read("shared/state")).unwrap();
    assert_eq!(
        (&state["status"], &state["pid"]),
        (&json!("created"), &json!(1))
    );
    assert!(
        bundle
            .read("hooks.log")
            .lines()
            .nth(3)
            .unwrap()
            .starts_with("poststart")
    );
    bundle.kill();
    bundle.ok("delete");
    assert!(
        bundle
            .read("hooks.log")
            .lines()
            .nth(4)
            .unwrap()
            .contains(r#""status":"stopped""#)
    );
}

#[test]
fn a_hook_that_fails_ends_the_container() {
    let runtime = Runtime::new();
    for stage in ["prestart", "createRuntime", "createContainer"] {
        let mut bundle = runtime.bundle(stage, &["sleep", "1000"]);
        bundle.config["hooks"][stage] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo because >&2; exit 4"] }]);
        assert!(!bundle.create().success());
        assert!(bundle.read("output").contains("because"));
        assert!(bundle.error("state").contains("does not exist"));
    }
}

/// Of a program that leaves a word behind.
fn leave(word: &str, file: &str) -> Value {
    json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo {word} >> {file}")] }])
}

#[test]
fn a_hook_of_the_start_that_fails_is_the_end_of_the_container() {
    let runtime = Runtime::new();
    for stage in ["startContainer", "poststart"] {
        let mut bundle = runtime.bundle(stage, &["sleep", "1000"]);
        let log = bundle.file("hooks.log");
        bundle.config["hooks"][stage] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo because >&2; exit 4"] }]);
        bundle.config["hooks"]["poststop"] = leave("poststop", &log);
        assert!(bundle.create().success());
        let error = bundle.error("start");
        assert!(error.contains("because"), "{stage}: {error}");
        assert!(bundle.error("state").contains("does not exist"));
        assert_eq!(bundle.read("hooks.log"), "poststop\n");
    }
}

#[test]
fn a_hook_of_the_end_that_fails_is_a_warning() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("poststop", &["true"]);
    let log = bundle.file("hooks.log");
    let mut hooks = json!([{ "path": "/bin/false" }]);
    let last = leave("last", &log)[0].take();
    hooks.as_array_mut().unwrap().push(last);
    bundle.config["hooks"]["poststop"] = hooks;
    assert!(bundle.run().status.success());
    assert_eq!(bundle.read("hooks.log"), "last\n");
    let log = std::fs::read_to_string(runtime.path("log")).unwrap();
    assert!(log.contains("error running poststop hook #0") && log.contains("warning"));
}

#[test]
fn a_create_that_is_killed_leaves_nothing_that_cannot_be_deleted() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("killed", &["sleep", "1000"]);
    let (began, pipe) = (bundle.file("began"), bundle.file("pipe"));
    mkfifo(&pipe);
    // Says that it has begun, and ends when nobody can hear it any more.
    let script = format!("cat > {began}.new; mv {began}.new {began}; cat {pipe}");
    bundle.config["hooks"]["createRuntime"] =
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"] }]);
    bundle.write();
    let mut create = runtime.command(&["create", "--bundle", bundle.path(), &bundle.id]);
    let mut create = create.stdout(Stdio::null()).spawn().unwrap();
    // Opening it waits for the hook.
    let pipe = std::fs::File::options().write(true).open(&pipe).unwrap();
    let state: Value = serde_json::from_str(&bundle.read("began")).unwrap();
    assert_eq!(bundle.state()["status"], "creating");
    let pidfd = support::host::watch(state["pid"].as_u64().unwrap() as u32);
    create.kill().unwrap();
    create.wait().unwrap();
    wait_for_end(&pidfd);
    drop(pipe);
    assert_eq!(bundle.state()["status"], "stopped");
    assert!(bundle.error("start").contains("stopped"));
    bundle.ok("delete");
    let mounts = hierarchies();
    for mount in mounts.v1.into_values().chain(mounts.v2) {
        assert!(
            !mount
                .join(format!("keelson-test-oci-{}", bundle.id))
                .exists()
        );
    }
}

fn mkfifo(path: &str) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("slow", &["true"]);
    bundle.config["hooks"]["prestart"] =
        json!([{ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 }]);
    let output = bundle.run();
    assert!(String::from_utf8_lossy(&output.stderr).contains("timeout"));
}

#[test]
fn namespaces_are_joined_by_path() {
    let runtime = Runtime::new();
    let first = runtime.bundle("first", &["sleep", "1000"]);
    assert!(first.create().success());
    first.ok("start");
    let pid = first.state()["pid"].clone();
    let mut second = runtime.bundle(
        "second",
        &script("for n in pid net ipc uts; do readlink /proc/self/ns/$n; done"),
    );
    let kinds = [
        ("pid", "pid"),
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
    ];
    let joined =
        kinds.map(|(kind, file)| json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") }));
    let mut namespaces = joined.to_vec();
    namespaces.push(json!({ "type": "mount" }));
    second.config["linux"]["namespaces"] = json!(namespaces);
    second.config.as_object_mut().unwrap().remove("hostname");
    let expected: String = kinds
        .iter()
        .map(|(_, file)| {
            format!(
                "{}\n",
                std::fs::read_link(format!("/proc/{pid}/ns/{file}"))
                    .unwrap()
                    .display()
            )
        })
        .collect();
    assert_eq!(second.sh(), expected);
}

#[test]
fn a_terminal_reaches_the_console_socket() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("tty", &script("tty; stty size"));
    bundle.config["process"]["terminal"] = json!(true);
    bundle.config["process"]["consoleSize"] = json!({ "height": 30, "width": 90 });
    bundle.write();
    let socket = bundle.file("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let args = [
        "create",
        "--bundle",
        bundle.path(),
        "--console-socket",
        &socket,
        &bundle.id,
    ];
    runtime.ok(&args);
    let mut master = std::fs::File::from(receive(&listener));
    bundle.ok("start");
    let mut text = Vec::new();
    // Its other side gone, a terminal says EIO.
    let _ = master.read_to_end(&mut text);
    assert_eq!(String::from_utf8_lossy(&text), "/dev/pts/0\r\n30 90\r\n");
}

#[test]
fn a_process_reaches_the_pidfd_socket() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle("pidfd", &["sleep", "1000"]);
    bundle.write();
    let socket = bundle.file("pidfd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // What a container inherits would keep a pipe open.
    let call = |args: &[&[&str]]| {
        let mut command = runtime.command(&args.concat());
        let none = Stdio::null;
        let status = command.stdin(none()).stdout(none()).stderr(none()).status();
        assert!(status.unwrap().success());
    };
    let option = ["--pidfd-socket", &socket];
    call(&[
        &["create", "--bundle", bundle.path()],
        &option,
        &[&bundle.id],
    ]);
    let first = receive(&listener);
    bundle.ok("start");
    let program = [&bundle.id, "sleep", "1000"];
    call(&[&["exec", "--detach"], &option, &program]);
    let second = receive(&listener);
    bundle.kill();
    wait_for_end(&first);
    wait_for_end(&second);
}

#[test]
fn a_terminal_in_the_foreground_is_the_callers() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle(
        "front",
        &script("stty size; read line; echo got $line; exit 6"),
    );
    bundle.config["process"]["terminal"] = json!(true);
    bundle.write();
    let (master, slave) = support::host::terminal(33, 77);
    let before = rustix::termios::tcgetattr(&slave).unwrap();
    let mut run = runtime.command(&["run", "--bundle", bundle.path(), &bundle.id]);
    let end = |file: &std::fs::File| file.try_clone().unwrap();
    run.stdin(end(&slave)).stdout(end(&slave));
    let mut child = run.spawn().unwrap();
    drop(run);
    let mut master = std::io::BufReader::new(master);
    let mut line = String::new();
    master.read_line(&mut line).unwrap();
    // The caller's size, and its line discipline out of the way.
    assert_eq!(line, "33 77\r\n");
    master.get_mut().write_all(b"words\r").unwrap();
    let mut text = String::new();
    while !text.contains("got") {
        master.read_line(&mut text).unwrap();
    }
    assert_eq!(text, "words\r\ngot words\r\n");
    assert_eq!(child.wait().unwrap().code(), Some(6));
    let after = rustix::termios::tcgetattr(&slave).unwrap();
    assert_eq!(after.local_modes, before.local_modes);
    assert_eq!(after.input_modes, before.input_modes);
}

#[test]
fn preserved_descriptors_are_inherited() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle("fds", &script("cat <&3"));
    bundle.write();
    let file = bundle.file("data");
    std::fs::write(&file, "inherited").unwrap();
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", r#"exec "$@" 3< "$0""#, &file])
        .arg(env!("CARGO_BIN_EXE_keelson-helper"))
        .args(["oci", "--root"])
        .arg(runtime.path("root"))
        .args([
            "run",
            "--preserve-fds",
            "1",
            "--bundle",
            bundle.path(),
            &bundle.id,
        ]);
    let output = shell.output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "inherited",
        "{output:?}"
    );
}

#[test]
fn what_cannot_be_carried_out_is_refused_by_name() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle("refused", &["true"]);
    bundle.write();
    let error = runtime.error(&[
        "create",
        "--no-pivot",
        "--bundle",
        bundle.path(),
        &bundle.id,
    ]);
    assert!(error.contains("--no-pivot"), "{error}");
    let mut bundle = runtime.bundle("rdt", &["true"]);
    bundle.config["linux"]["intelRdt"] = json!({ "l3CacheSchema": "L3:0=f" });
    let output = bundle.run();
    assert!(String::from_utf8_lossy(&output.stderr).contains("linux.intelRdt"));
    let mut bundle = runtime.bundle("version", &["true"]);
    bundle.config["ociVersion"] = json!("2.0.0");
    assert!(!bundle.run().status.success());
}

#[test]
fn features_name_what_is_understood() {
    let features: Value = serde_json::from_str(&Runtime::new().ok(&["features"])).unwrap();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert!(
        features["hooks"]
            .as_array()
            .unwrap()
            .contains(&json!("startContainer"))
    );
    assert_eq!(features["linux"]["intelRdt"]["enabled"], false);
}

//! The helper as an OCI runtime, called as engines call it.

mod support;

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};
use support::host::{busybox, hierarchies};

struct Runtime {
    directory: tempfile::TempDir,
}

/// A bundle, whose container is deleted in the end.
struct Bundle<'a> {
    runtime: &'a Runtime,
    id: String,
    path: PathBuf,
    config: Value,
}

impl Runtime {
    fn new() -> Runtime {
        Runtime {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keelson-helper"));
        command
            .args(["oci", "--root"])
            .arg(self.path("root"))
            .arg("--log")
            .arg(self.path("log"))
            .args(["--log-format", "json"])
            .args(args);
        command
    }

    fn call(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.call(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the log says last of a command that fails.
    fn error(&self, args: &[&str]) -> String {
        assert!(!self.call(args).status.success(), "{args:?}");
        let log = std::fs::read_to_string(self.path("log")).unwrap();
        let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!(line["level"], "error");
        line["msg"].as_str().unwrap().to_owned()
    }

    fn bundle(&self, id: &str, args: &[&str]) -> Bundle<'_> {
        let path = self.path(&format!("bundle-{id}"));
        std::fs::create_dir(&path).unwrap();
        self.ok(&["spec", "--bundle", path.to_str().unwrap()]);
        let text = std::fs::read_to_string(path.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(args);
        config["root"]["path"] = json!(busybox());
        // Names in a namespace of the machine, where other tests run too.
        let id = format!("{id}-{}", std::process::id());
        config["linux"]["cgroupsPath"] = json!(format!("/keelson-test-oci-{id}"));
        Bundle {
            runtime: self,
            id,
            path,
            config,
        }
    }
}

impl Bundle<'_> {
    fn write(&self) {
        std::fs::write(self.path.join("config.json"), self.config.to_string()).unwrap();
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn create(&self) -> std::process::ExitStatus {
        self.write();
        let output = std::fs::File::create(self.path.join("output")).unwrap();
        let args = [
            "create",
            "--bundle",
            self.path(),
            "--pid-file",
            &self.file("pid"),
            &self.id,
        ];
        let mut command = self.runtime.command(&args);
        let stderr = output.try_clone().unwrap();
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(stderr)
            .status()
            .unwrap()
    }

    fn file(&self, name: &str) -> String {
        self.path.join(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path.join(name)).unwrap()
    }

    fn state(&self) -> Value {
        serde_json::from_str(&self.runtime.ok(&["state", &self.id])).unwrap()
    }

    fn ok(&self, command: &str) -> String {
        self.runtime.ok(&[command, &self.id])
    }

    fn error(&self, command: &str) -> String {
        self.runtime.error(&[command, &self.id])
    }

    /// Runs it in the foreground.
    fn run(&self) -> Output {
        self.write();
        self.runtime
            .call(&["run", "--bundle", self.path(), &self.id])
    }

    fn sh(&self) -> String {
        let output = self.run();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn kill(&self) {
        let pid = self.state()["pid"].as_u64().unwrap() as u32;
        let pidfd = support::host::watch(pid);
        self.runtime.ok(&["kill", &self.id, "KILL"]);
        support::host::wait_for_end(&pidfd);
    }
}

impl Drop for Bundle<'_> {
    fn drop(&mut self) {
        self.runtime.call(&["delete", "--force", &self.id]);
    }
}

fn script(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

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
    let error = runtime.error(&[
        "--systemd-cgroup",
        "create",
        "--bundle",
        bundle.path(),
        &bundle.id,
    ]);
    assert!(error.contains("--systemd-cgroup"), "{error}");
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

fn receive(listener: &UnixListener) -> OwnedFd {
    let (connection, _) = listener.accept().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    let slices = &mut [IoSliceMut::new(&mut name)];
    recvmsg(&connection, slices, &mut ancillary, RecvFlags::empty()).unwrap();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut rights) = message {
            return rights.next().unwrap();
        }
    }
    panic!("no descriptor came");
}

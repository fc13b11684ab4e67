//! Programs executed in a running container, where it is built in every way that it can be.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};
use support::host::{wait_for_end, watch};
use support::monitor::{Monitor, read_all};
use support::{Bundle, Helper, Wire};

/// A container that sleeps, its monitor, and a connection for execs.
struct Running {
    monitor: Monitor,
    bundle: Bundle,
    wire: Wire,
    _helper: Helper,
}

impl Running {
    fn new(parent: &Path, id: &str, change: impl FnOnce(&mut Value)) -> Running {
        let mut helper = Helper::start();
        let mut bundle = Bundle::new(parent, id, &["sleep", "1000"]);
        change(&mut bundle.config);
        let mut monitor = Monitor::bound(&mut helper, parent, id);
        let plan = monitor.plan(&bundle);
        monitor.start(plan);
        let wire = monitor.connect();
        Running {
            monitor,
            bundle,
            wire,
            _helper: helper,
        }
    }

    fn request(&self, exec: &str, args: &[&str]) -> Value {
        let mut process = self.bundle.config["process"].clone();
        process["args"] = json!(args);
        json!({
            "exec": exec,
            "process": process,
            "stdio": { "stdin": "null", "stdout": "pipe", "stderr": "pipe" },
            "bound": true,
        })
    }

    /// Starts it and returns its answer and stdout.
    fn begin(&mut self, request: Value) -> (Value, std::fs::File) {
        let exec = request["exec"].as_str().unwrap().to_owned();
        let id = self.wire.request("exec", request);
        let stdio = self.wire.event("stdio", &exec);
        let path = format!("/proc/{}/fd/{}", stdio["pid"], stdio["stdout"]);
        let stdout = std::fs::File::open(path).unwrap();
        self.wire.send(&json!({ "op": "release", "exec": exec }));
        (self.wire.answer(id), stdout)
    }

    /// What it prints; it must end well.
    fn run(&mut self, request: Value) -> String {
        let exec = request["exec"].as_str().unwrap().to_owned();
        let (answer, mut stdout) = self.begin(request);
        assert!(answer.get("ok").is_some(), "{answer}");
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        let exit = self.wire.event("exec-exit", &exec);
        assert_eq!(exit["code"], 0, "{exit}: {text}");
        text
    }

    fn sh(&mut self, exec: &str, script: &str) -> String {
        let request = self.request(exec, &["sh", "-c", script]);
        self.run(request)
    }

    fn exec_cgroups(&self) -> Vec<String> {
        self.bundle
            .cgroups()
            .iter()
            .flat_map(|cgroup| std::fs::read_dir(cgroup).into_iter().flatten().flatten())
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| name.starts_with("exec-"))
            .collect()
    }
}

#[test]
fn it_is_inside_whatever_the_container_has_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    for (id, namespaces) in [
        (
            "all",
            vec!["mount", "pid", "ipc", "uts", "cgroup", "network"],
        ),
        ("few", vec!["mount"]),
        ("no-pid", vec!["mount", "ipc", "uts", "network"]),
        ("time", vec!["mount", "pid", "time"]),
    ] {
        let mut running = Running::new(directory.path(), id, |config| {
            if !namespaces.contains(&"uts") {
                config.as_object_mut().unwrap().remove("hostname");
            }
            config["keelson"]["loopback"] = namespaces.contains(&"network").into();
            config["linux"]["namespaces"] = namespaces
                .iter()
                .map(|kind| json!({ "type": kind }))
                .collect();
        });
        let pid = running.monitor.wire.ok("state", json!({}))["pid"].clone();
        let links = running.sh(
            "ns",
            "for name in mnt pid ipc uts cgroup net time; do readlink /proc/self/ns/$name; done",
        );
        for (name, link) in ["mnt", "pid", "ipc", "uts", "cgroup", "net", "time"]
            .iter()
            .zip(links.lines())
        {
            let own = std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
            assert_eq!(own.to_str(), Some(link), "{id}: {name}");
        }
    }
}

#[test]
fn it_is_root_of_the_containers_user_namespace_and_nobody_outside() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        directory.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut running = Running::new(directory.path(), "user", |config| {
        let mappings = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        config["linux"]["uidMappings"] = mappings.clone();
        config["linux"]["gidMappings"] = mappings;
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({ "type": "user" }));
        config["linux"]["resources"] = json!({});
    });
    let seen = running.sh(
        "who",
        "id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user",
    );
    let pid = running.monitor.wire.ok("state", json!({}))["pid"].clone();
    let own = std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert!(seen.starts_with("0\n"), "{seen}");
    assert!(seen.ends_with(&format!("{}\n", own.display())), "{seen}");
    let (answer, _stdout) = {
        let request = running.request("sleep", &["sleep", "1000"]);
        running.begin(request)
    };
    let status = std::fs::read_to_string(format!("/proc/{}/status", answer["ok"]["pid"])).unwrap();
    assert!(status.contains("Uid:\t100000\t100000"), "{status}");
}

#[test]
fn the_whole_tree_is_killed_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    // As on a host with both, and on one with v1 alone.
    for (id, unified) in [("tree", true), ("tree-v1", false)] {
        let mut running = Running::new(directory.path(), id, |config| {
            if !unified {
                config["keelson"]["cgroups"]
                    .as_object_mut()
                    .unwrap()
                    .remove("v2");
            }
        });
        if running.bundle.config["keelson"]["cgroups"]["v1"] == json!({}) && !unified {
            // Nothing could hold the tree together.
            continue;
        }
        let script = "setsid sh -c 'sleep 1004 & sleep 1004' & sleep 1004 & echo on; wait";
        let request = running.request("tree", &["sh", "-c", script]);
        let (_, mut stdout) = running.begin(request);
        let mut on = [0; 3];
        stdout.read_exact(&mut on).unwrap();
        assert_eq!(running.exec_cgroups(), ["exec-tree"]);
        running
            .wire
            .ok("exec-signal", json!({ "exec": "tree", "all": true }));
        let exit = running.wire.event("exec-exit", "tree");
        assert_eq!(exit["signal"], 9);
        // Ends when the last that holds it has.
        stdout.read_to_end(&mut Vec::new()).unwrap();
        assert!(!running.sh("after", "ps").contains("1004"));
        assert_eq!(running.exec_cgroups(), [""; 0]);
        assert_eq!(
            running
                .wire
                .error("exec-signal", json!({ "exec": "tree", "signal": 15 }))["kind"],
            "not-running"
        );
    }
}

#[test]
fn without_any_cgroup_it_can_be_killed_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::new(directory.path(), "none", |config| {
        config["keelson"]["cgroups"] = json!({});
        config["linux"]["resources"] = json!({});
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| mount["type"] != "cgroup");
    });
    let request = running.request("sleep", &["sleep", "1000"]);
    running.begin(request);
    running
        .wire
        .ok("exec-signal", json!({ "exec": "sleep", "all": true }));
    assert_eq!(running.wire.event("exec-exit", "sleep")["signal"], 9);
}

#[test]
fn one_that_is_bound_ends_with_its_connection() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::new(directory.path(), "bound", |_| {});
    let request = running.request("sleep", &["sleep", "1000"]);
    let (answer, _stdout) = running.begin(request);
    let ended = watch(answer["ok"]["pid"].as_u64().unwrap() as u32);
    running.wire = running.monitor.connect();
    wait_for_end(&ended);
    assert_eq!(running.sh("after", "echo on"), "on\n");
}

#[test]
fn what_is_left_running_keeps_its_cgroup_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::new(directory.path(), "left", |_| {});
    running.sh("parent", "sleep 1000 >/dev/null 2>&1 & echo $!");
    assert_eq!(running.exec_cgroups(), ["exec-parent"]);
    running.sh(
        "killer",
        "kill -9 $(pidof sleep | tr ' ' '\\n' | grep -v '^1$')",
    );
    // The next one that ends looks after those before.
    while !running.exec_cgroups().is_empty() {
        running.sh("next", "true");
    }
}

#[test]
fn failures_have_the_kinds_of_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::new(directory.path(), "fails", |_| {});
    for (args, kind) in [
        (["no-such-program"], "command-not-found"),
        (["/etc"], "command-not-executable"),
    ] {
        let request = running.request("fails", &args);
        let (answer, _) = running.begin(request);
        assert_eq!(answer["error"]["kind"], kind, "{answer}");
        assert_eq!(running.exec_cgroups(), [""; 0]);
    }
    for exec in ["", "..", "a/b", "a b"] {
        let request = running.request(exec, &["true"]);
        assert_eq!(
            running.wire.error("exec", request)["kind"],
            "config-invalid"
        );
    }
    let mut request = running.request("relative", &["true"]);
    request["process"]["cwd"] = "etc".into();
    assert_eq!(
        running.wire.error("exec", request)["kind"],
        "config-invalid"
    );
}

#[test]
fn a_terminal_is_the_containers_and_has_its_size() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::new(directory.path(), "tty", |_| {});
    let mut request = running.request(
        "tty",
        &[
            "sh",
            "-c",
            "tty; stty size; stat -c %u $(tty); read line; stty size; echo \"<$line>\"",
        ],
    );
    request["process"]["terminal"] = true.into();
    request["process"]["consoleSize"] = json!({ "height": 30, "width": 100 });
    request["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    running.wire.ok("exec", request);
    let mut wire = running.monitor.connect();
    wire.ok("attach", json!({ "stream": "terminal", "exec": "tty" }));
    let mut terminal: UnixStream = wire.socket;
    let mut begin = [0; "/dev/pts/0\r\n30 100\r\n1000\r\n".len()];
    terminal.read_exact(&mut begin).unwrap();
    assert_eq!(begin, *b"/dev/pts/0\r\n30 100\r\n1000\r\n");
    running.wire.ok(
        "resize",
        json!({ "exec": "tty", "columns": 80, "rows": 24 }),
    );
    terminal.write_all(b"typed\n").unwrap();
    let rest = String::from_utf8(read_all(terminal)).unwrap();
    assert_eq!(rest, "typed\r\n24 80\r\n<typed>\r\n");
    assert_eq!(running.wire.event("exec-exit", "tty")["code"], 0);
}

/// It may be root of the container, with every capability: what enters shows nothing of the host before it executes.
#[test]
fn nobody_inside_can_look_into_what_enters() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::new(directory.path(), "look", |_| {});
    let spy = "while true; do for pid in /proc/[0-9]*; do
        case $pid in /proc/1|/proc/$$) continue;; esac
        exe=$(readlink $pid/exe 2>/dev/null)
        case $exe in *memfd*) echo \"$exe\";; esac
        for fd in $pid/fd/*; do link=$(readlink $fd 2>/dev/null); case $link in /proc|*keelson*) echo \"$link\";; esac; done
    done; done";
    let request = running.request("spy", &["sh", "-c", spy]);
    let (_, mut seen) = running.begin(request);
    for _ in 0..200 {
        running.sh("visitor", "true");
    }
    running
        .wire
        .ok("exec-signal", json!({ "exec": "spy", "all": true }));
    let mut text = String::new();
    seen.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}

//! Programs executed beside the container's own, health checks among them.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::support::host::{wait_for_end, watch};
use crate::support::monitor::{Monitor, read_all};
use crate::support::{Bundle, Helper};

pub fn exec(id: &str, args: &[&str]) -> Value {
    json!({
        "exec": id,
        "process": {
            "user": { "uid": 0, "gid": 0 }, "args": args, "cwd": "/", "env": ["PATH=/bin"],
        },
        "stdio": { "stdin": "null", "stdout": "pipe", "stderr": "null" },
        "bound": true,
    })
}

#[test]
fn programs_are_executed_in_the_running_container() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "exec", &["sleep", "1000"]);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "exec");
    let plan = monitor.plan(&bundle);
    assert_eq!(
        monitor.wire.error("exec", exec("early", &["true"]))["kind"],
        "not-running"
    );
    monitor.start(plan);

    let mut wire = monitor.connect();
    let request = wire.request("exec", exec("one", &["sh", "-c", "hostname; exit 9"]));
    let stdio = wire.event("stdio", "one");
    let path = format!("/proc/{}/fd/{}", stdio["pid"], stdio["stdout"]);
    let mut stdout = std::fs::File::open(path).unwrap();
    wire.send(&json!({ "op": "release", "exec": "one" }));
    assert!(wire.answer(request)["ok"]["pid"].is_u64());
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut text).unwrap();
    assert_eq!(text, "exec\n");
    assert_eq!(wire.event("exec-exit", "one")["code"], 9);

    let error = wire.error("exec", exec("two", &["no-such-command"]));
    assert_eq!(error["kind"], "command-not-found");

    // The whole tree ends with the connection.
    wire.ok(
        "exec",
        exec("tree", &["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]),
    );
    let tree = wire.ok("exec", exec("other", &["sleep", "1000"]))["pid"]
        .as_u64()
        .unwrap();
    let ended = watch(tree as u32);
    wire.ok("exec-signal", json!({ "exec": "tree", "all": true }));
    assert_eq!(wire.event("exec-exit", "tree")["signal"], libc::SIGKILL);
    drop(wire);
    wait_for_end(&ended);

    // An exec that is there does not hold up the end of the container.
    let mut wire = monitor.connect();
    wire.ok("exec", exec("last", &["sleep", "1000"]));
    monitor.wire.ok("kill", json!({ "stop": true }));
    assert_eq!(wire.event("exec-exit", "last")["signal"], libc::SIGKILL);
    assert_eq!(monitor.removed(), json!([]));
}

#[test]
fn terminals_pass_through_the_monitor() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(
        directory.path(),
        "tty",
        "stty size; read line; stty size; exit 2",
    );
    bundle.config["process"]["terminal"] = true.into();
    bundle.config["process"]["consoleSize"] = json!({ "height": 30, "width": 90 });
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "tty");
    let plan = monitor.plan(&bundle);
    let mut terminal = monitor.attach("terminal");
    monitor.start(plan);
    let mut first = [0; 7];
    terminal.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"30 90\r\n");
    monitor
        .wire
        .ok("resize", json!({ "rows": 40, "columns": 100 }));

    let mut asked = exec("inner", &["sh", "-c", "tty; stty size"]);
    asked["process"]["terminal"] = true.into();
    asked["process"]["consoleSize"] = json!({ "height": 10, "width": 20 });
    let mut wire = monitor.connect();
    wire.ok("exec", asked);
    assert_eq!(wire.event("exec-exit", "inner")["code"], 0);
    // Attached only now, and nothing is lost.
    let mut other = monitor.connect();
    other.ok("attach", json!({ "stream": "terminal", "exec": "inner" }));
    assert_eq!(read_all(other.socket), b"/dev/pts/1\r\n10 20\r\n");

    terminal.write_all(b"go\n").unwrap();
    assert_eq!(monitor.state("exited")["exitCode"], 2);
    let text = String::from_utf8(read_all(terminal)).unwrap();
    assert_eq!(text, "go\r\n40 100\r\n");
}

fn health(args: &[&str], on_unhealthy: &str) -> Value {
    json!({
        "process": exec("", args)["process"],
        "interval": 20, "timeout": 10_000, "retries": 2, "startPeriod": 0, "startInterval": 20,
        "onUnhealthy": on_unhealthy,
    })
}

/// The first state with this health.
fn healthy(monitor: &mut Monitor, status: &str) -> Value {
    loop {
        let state = monitor.wire.event("state", &monitor.id)["state"].take();
        if state["health"]["status"] == status {
            return state;
        }
    }
}

#[test]
fn health_is_checked_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "health", &["sleep", "1000"]);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "health");
    let mut plan = monitor.plan(&bundle);
    plan["health"] = health(
        &["sh", "-c", "echo looked; echo why >&2; test -f /good"],
        "nothing",
    );
    monitor.start(plan);
    healthy(&mut monitor, "starting");
    let state = healthy(&mut monitor, "unhealthy");
    let checks = state["health"]["log"].as_array().unwrap();
    assert_eq!(state["health"]["failingStreak"], 2);
    assert_eq!(checks[0]["exitCode"], 1);
    // "looked\nwhy\n", one of them first.
    assert_eq!(checks[0]["output"].as_str().unwrap().len(), 16);
    assert!(checks[1]["start"].as_str() > checks[0]["end"].as_str());

    monitor.wire.ok("exec", exec("cure", &["touch", "/good"]));
    let state = healthy(&mut monitor, "healthy");
    assert_eq!(state["health"]["failingStreak"], 0);

    monitor.wire.ok("pause", json!({}));
    monitor.wire.ok("resume", json!({}));
    monitor.wire.ok("exec", exec("harm", &["rm", "/good"]));
    healthy(&mut monitor, "unhealthy");
    assert_eq!(
        monitor.wire.ok("stop", json!({ "timeout": 0 }))["status"],
        "exited"
    );
    assert_eq!(monitor.removed(), json!([]));
}

#[test]
fn a_check_that_hangs_is_killed_with_all_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "hangs", &["sleep", "1000"]);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "hangs");
    let mut plan = monitor.plan(&bundle);
    plan["health"] = health(&["sh", "-c", "setsid sleep 2000 & sleep 2000"], "nothing");
    plan["health"]["timeout"] = 50.into();
    monitor.start(plan);
    let state = healthy(&mut monitor, "unhealthy");
    assert_eq!(state["health"]["log"][0]["exitCode"], -1);
    // One that has just begun at most.
    let v2 = bundle.config["keelson"]["cgroups"]["v2"].as_str().unwrap();
    let nested = std::fs::read_dir(v2)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_type().unwrap().is_dir());
    assert!(nested.count() <= 1);
    monitor.wire.ok("kill", json!({ "stop": true }));
    assert_eq!(monitor.removed(), json!([]));
}

#[test]
fn what_is_unhealthy_is_stopped_or_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    for action in ["kill", "stop", "restart"] {
        let bundle = Bundle::new(directory.path(), action, &["sleep", "1000"]);
        let mut monitor = Monitor::bound(&mut helper, directory.path(), action);
        let mut plan = monitor.plan(&bundle);
        plan["health"] = health(&["no-such-command"], action);
        plan["stop"]["timeout"] = 10.into();
        monitor.start(plan);
        monitor.state("running");
        if action == "restart" {
            monitor.state("restarting");
            let state = monitor.state("running");
            assert_eq!(state["health"]["failingStreak"], 0);
            monitor.wire.ok("kill", json!({ "stop": true }));
        } else {
            assert_eq!(monitor.state("exited")["stopped"], action == "stop");
        }
        assert_eq!(monitor.removed(), json!([]));
    }
}

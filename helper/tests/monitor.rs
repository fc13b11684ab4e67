//! A container's monitor, from its start to the end of what it left.

mod support;

use std::io::Write;

use serde_json::json;
use support::host::{wait_for_end, watch};
use support::monitor::{Monitor, half_close, read_all};
use support::{Bundle, Helper};

#[test]
fn a_container_lives_and_its_state_is_told_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::script(directory.path(), "life", "echo out; echo err >&2; exit 3");
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "life");
    let ended = watch(monitor.pid);
    assert_eq!(monitor.wire.ok("state", json!({}))["status"], "created");
    let plan = monitor.plan(&bundle);
    let started = monitor.start(plan);
    let running = monitor.state("running");
    assert_eq!(running["pid"], started["pid"]);
    let exited = monitor.state("exited");
    assert_eq!(exited["exitCode"], 3);
    assert_eq!(exited["pid"], 0);
    assert!(exited["version"].as_u64() > running["version"].as_u64());
    assert!(exited["finishedAt"].as_str() > exited["startedAt"].as_str());
    assert_eq!(monitor.written_state(), exited);
    assert_eq!(monitor.removed(), json!([]));
    wait_for_end(&ended);
    assert!(!bundle.directory.exists());
    assert!(bundle.cgroups().iter().all(|cgroup| !cgroup.exists()));
    let mut log = monitor.log();
    log.sort();
    assert_eq!(log, ["stderr F err", "stdout F out"]);
    assert!(!monitor.directory.join("monitor.sock").exists());
}

#[test]
fn a_start_that_fails_says_why_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "fails", &["no-such-command"]);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "fails");
    let plan = monitor.plan(&bundle);
    let error = monitor.wire.error("start", plan);
    assert_eq!(error["kind"], "command-not-found");
    let state = monitor.state("created");
    assert_eq!(state["error"], error);
    assert_eq!(monitor.removed(), json!([]));
    assert!(!bundle.directory.exists());
    assert!(bundle.cgroups().iter().all(|cgroup| !cgroup.exists()));
}

#[test]
fn streams_attached_before_the_start_miss_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(directory.path(), "streams", "cat; echo err >&2");
    bundle.config["keelson"]["stdio"]["stdin"] = "pipe".into();
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "streams");
    let [mut stdin, stdout, again, stderr] =
        ["stdin", "stdout", "stdout", "stderr"].map(|stream| monitor.attach(stream));
    stdin.write_all(b"one\n").unwrap();
    let plan = monitor.plan(&bundle);
    monitor.start(plan);
    stdin.write_all(b"two").unwrap();
    half_close(&stdin);
    assert_eq!(read_all(stdin), b"");
    assert_eq!(read_all(stdout), b"one\ntwo");
    assert_eq!(read_all(again), b"one\ntwo");
    assert_eq!(read_all(stderr), b"err\n");
    monitor.state("exited");
    let mut log = monitor.log();
    log.sort();
    assert_eq!(log, ["stderr F err", "stdout F one", "stdout P two"]);
}

#[test]
fn a_stop_escalates() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let bundle = Bundle::script(directory.path(), "gentle", script);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "gentle");
    let mut stdout = std::io::BufReader::new(monitor.attach("stdout"));
    let plan = monitor.plan(&bundle);
    monitor.start(plan);
    std::io::BufRead::read_line(&mut stdout, &mut String::new()).unwrap();
    let state = monitor.wire.ok("stop", json!({}));
    assert_eq!(
        (&state["exitCode"], &state["stopped"]),
        (&json!(7), &json!(true))
    );
    monitor.state("stopping");

    let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
    let bundle = Bundle::script(directory.path(), "hard", script);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "hard");
    let mut stdout = std::io::BufReader::new(monitor.attach("stdout"));
    let mut plan = monitor.plan(&bundle);
    plan["restart"]["when"] = "always".into();
    monitor.start(plan);
    std::io::BufRead::read_line(&mut stdout, &mut String::new()).unwrap();
    let state = monitor.wire.ok("stop", json!({ "timeout": 50 }));
    assert_eq!(state["signal"], libc::SIGKILL);
    assert_eq!(state["status"], "exited");
}

#[test]
fn signals_and_kills_reach_the_container() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "kill", &["sleep", "1000"]);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "kill");
    let plan = monitor.plan(&bundle);
    assert_eq!(
        monitor.wire.error("signal", json!({ "signal": 15 }))["kind"],
        "not-running"
    );
    monitor.start(plan);
    let mut other = monitor.connect();
    other.ok("signal", json!({ "signal": 0 }));
    let state = other.ok("kill", json!({ "stop": true }));
    assert_eq!(state["signal"], libc::SIGKILL);
    assert_eq!(monitor.state("exited")["stopped"], true);
}

#[test]
fn the_end_of_the_launcher_ends_bound_containers_and_all_they_left() {
    let directory = tempfile::tempdir().unwrap();
    for how in ["close", "kill"] {
        let mut helper = Helper::start();
        let bundle = Bundle::new(directory.path(), how, &["sleep", "1000"]);
        let mut monitor = Monitor::bound(&mut helper, directory.path(), how);
        let tree = directory.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        let mut plan = monitor.plan(&bundle);
        plan["remove"] = json!({ "atExit": false, "trees": [tree] });
        let pid = monitor.start(plan)["pid"].as_u64().unwrap() as u32;
        let (monitor_ended, container_ended) = (watch(monitor.pid), watch(pid));
        if how == "kill" {
            helper.process.kill().unwrap();
            wait_for_end(&monitor_ended);
        } else {
            assert!(helper.close().success());
        }
        assert!(!tree.exists() && !bundle.directory.exists());
        assert!(bundle.cgroups().iter().all(|cgroup| !cgroup.exists()));
        wait_for_end(&container_ended);
        wait_for_end(&monitor_ended);
    }
}

#[test]
fn a_detached_container_outlives_the_launcher() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(directory.path(), "detached", "cat; echo end");
    bundle.config["keelson"]["stdio"]["stdin"] = "pipe".into();
    let mut monitor = Monitor::detached(&mut helper, directory.path(), "detached");
    let mut plan = monitor.plan(&bundle);
    plan["remove"]["atExit"] = false.into();
    monitor.start(plan);
    assert!(helper.close().success());
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", monitor.pid)).unwrap();
    let session: u32 = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .nth(3)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(session, monitor.pid);

    let mut next = Helper::start();
    let busy = next.error(
        "monitor",
        json!({ "container": "detached", "directory": monitor.directory, "lifeline": false }),
    );
    assert_eq!(busy["kind"], "busy");
    let mut stdin = monitor.attach("stdin");
    stdin.write_all(b"hello\n").unwrap();
    half_close(&stdin);
    assert_eq!(monitor.state("exited")["exitCode"], 0);
    assert_eq!(monitor.log(), ["stdout F hello", "stdout F end"]);
    assert!(bundle.directory.exists());
}

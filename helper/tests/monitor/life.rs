//! From its start to the end of what it left.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::PATIENCE;
use crate::programs::exec;
use crate::support::host::{wait_for_end, watch};
use crate::support::monitor::{Monitor, half_close, read_all};
use crate::support::{Bundle, Helper};

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
        json!({ "container": "detached", "directory": monitor.directory, "bound": false }),
    );
    assert_eq!(busy["kind"], "busy");
    let mut stdin = monitor.attach("stdin");
    stdin.write_all(b"hello\n").unwrap();
    half_close(&stdin);
    assert_eq!(monitor.state("exited")["exitCode"], 0);
    assert_eq!(monitor.log(), ["stdout F hello", "stdout F end"]);
    assert!(bundle.directory.exists());
}

#[test]
fn a_detached_monitor_that_nobody_has_found_ends_with_the_launcher() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let answer = helper.ok(
        "monitor",
        json!({ "container": "lonely", "directory": directory.path(), "bound": false }),
    );
    let ended = watch(answer["pid"].as_u64().unwrap() as u32);
    assert!(helper.close().success());
    wait_for_end(&ended);
}

/// Alone on a host it shares its program with the launcher only; each further one makes the share smaller.
#[test]
fn an_idle_monitor_is_small() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "small", &["sleep", "1000"]);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "small");
    let plan = monitor.plan(&bundle);
    monitor.start(plan);
    // Code that is not optimized takes more room than that which is shipped.
    let bound = if cfg!(debug_assertions) {
        1_500_000
    } else {
        350_000
    };
    let begun = Instant::now();
    while monitor.memory() > bound {
        assert!(begun.elapsed() < PATIENCE, "{} bytes", monitor.memory());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_paused_container_stands_still_and_can_be_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "trap 'exit 5' TERM; while :; do echo tick; sleep 0.01; done";
    let bundle = Bundle::script(directory.path(), "pause", script);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "pause");
    let plan = monitor.plan(&bundle);
    monitor.start(plan);
    for _ in 0..3 {
        monitor.wire.ok("pause", json!({}));
        monitor.state("paused");
        assert_eq!(
            monitor.wire.error("exec", exec("x", &["true"]))["kind"],
            "paused"
        );
        monitor.wire.ok("resume", json!({}));
    }
    assert_eq!(
        monitor.wire.error("resume", json!({}))["kind"],
        "not-running"
    );
    monitor.wire.ok("pause", json!({}));
    assert_eq!(monitor.wire.ok("stop", json!({}))["exitCode"], 5);

    let bundle = Bundle::script(directory.path(), "frozen", script);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "frozen");
    let plan = monitor.plan(&bundle);
    monitor.start(plan);
    monitor.wire.ok("pause", json!({}));
    assert_eq!(
        monitor.wire.ok("kill", json!({ "stop": true }))["signal"],
        libc::SIGKILL
    );
}

#[test]
fn limits_are_changed_for_this_run_and_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::new(directory.path(), "update", &["sleep", "1000"]);
    bundle.config["linux"]["resources"]["memory"] = json!({ "limit": 50 << 20, "swap": 50 << 20 });
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "update");
    let plan = monitor.plan(&bundle);
    monitor.start(plan);
    let limit = || {
        let files = bundle.cgroups().into_iter().flat_map(|cgroup| {
            ["memory.max", "memory.limit_in_bytes"].map(|name| cgroup.join(name))
        });
        let texts = files.filter_map(|file| std::fs::read_to_string(file).ok());
        texts
            .map(|text| text.trim().parse::<u64>().unwrap())
            .next()
            .unwrap()
    };
    for size in [80 << 20, 30 << 20] {
        let memory = json!({ "memory": { "limit": size, "swap": size } });
        monitor.wire.ok("update", json!({ "resources": memory }));
        assert_eq!(limit(), size);
    }
    monitor.wire.ok("restart", json!({ "timeout": 0 }));
    assert_eq!(limit(), 30 << 20);
    monitor.wire.ok("kill", json!({ "stop": true }));
}

#[test]
fn the_death_of_the_monitor_is_the_containers_death() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "orphan", &["sleep", "1000"]);
    let mut monitor = Monitor::detached(&mut helper, directory.path(), "orphan");
    let plan = monitor.plan(&bundle);
    let pid = monitor.start(plan)["pid"].as_u64().unwrap() as u32;
    let ended = watch(pid);
    let process = rustix::process::Pid::from_raw(monitor.pid as i32).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    wait_for_end(&ended);
    assert_eq!(monitor.written_state()["status"], "running");
    helper.ok("cgroup.remove", json!({ "paths": bundle.cgroups() }));
    // The lock is free, and the old socket does not stand in the way.
    let next = Monitor::detached(&mut helper, directory.path(), "orphan");
    let ended = watch(next.pid);
    drop(next);
    wait_for_end(&ended);
}

#[test]
fn a_bad_frame_ends_one_connection() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "bad");
    for bytes in [&u32::MAX.to_le_bytes()[..], b"\x01\0\0\0x", b"\x02\0\0\0{}"] {
        let mut wire = monitor.connect();
        wire.socket.write_all(bytes).unwrap();
        assert_eq!(read_all(wire.socket), b"");
    }
    assert_eq!(
        monitor.wire.error("no-such-operation", json!({}))["kind"],
        "protocol"
    );
    assert_eq!(monitor.wire.error("start", json!({}))["kind"], "protocol");
    assert_eq!(
        monitor.wire.error("attach", json!({ "stream": "x" }))["kind"],
        "protocol"
    );
    assert_eq!(monitor.wire.ok("state", json!({}))["status"], "created");
}

#[test]
fn a_long_path_has_a_socket_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let parent = directory.path().join("d".repeat(100));
    std::fs::create_dir(&parent).unwrap();
    let mut monitor = Monitor::bound(&mut helper, &parent, "long");
    assert_eq!(monitor.wire.ok("state", json!({}))["status"], "created");
}

#[test]
fn changes_are_told_in_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "journal", &["true"]);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "journal");
    let mut plan = monitor.plan(&bundle);
    let journal = directory.path().join("journal.d");
    std::fs::create_dir(&journal).unwrap();
    plan["journal"] = json!({ "directory": journal, "about": { "name": "n" } });
    monitor.run(plan);
    monitor.removed();
    let text = std::fs::read_to_string(journal.join("1")).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let statuses: Vec<_> = lines
        .iter()
        .map(|line| (&line["was"]["status"], &line["state"]["status"]))
        .collect();
    let (none, running, exited) = (json!(null), json!("running"), json!("exited"));
    assert_eq!(
        statuses,
        [(&none, &running), (&running, &exited), (&none, &none)]
    );
    assert_eq!(lines[2]["removed"], true);
    assert!(
        lines
            .iter()
            .all(|line| line["about"]["name"] == "n" && line["container"] == "journal")
    );
}

//! A container's monitor, from its start to the end of what it left.

mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::host::{wait_for_end, watch};
use support::monitor::{Monitor, half_close, read_all};
use support::{Bundle, Helper};

/// Longer nothing takes that is going to happen.
const PATIENCE: Duration = Duration::from_secs(30);

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
fn failures_are_restarted_with_growing_pauses_until_they_are_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::script(
        directory.path(),
        "again",
        "echo run >> /count; echo out; exit 1",
    );
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "again");
    let stdout = monitor.attach("stdout");
    let mut plan = monitor.plan(&bundle);
    plan["restart"] = json!({
        "when": "failure", "maxRetries": 3, "delay": 20, "maxDelay": 1000, "resetAfter": 10_000,
    });
    plan["remove"]["atExit"] = false.into();
    let begun = Instant::now();
    let exited = monitor.run(plan);
    assert!(begun.elapsed() >= Duration::from_millis(20 + 40 + 80));
    assert_eq!(
        (&exited["restartCount"], &exited["exitCode"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(monitor.log(), ["stdout F out"; 4]);
    assert_eq!(read_all(stdout), b"out\nout\nout\nout\n");
    let count = std::fs::read_to_string(bundle.directory.join("upper/count")).unwrap();
    assert_eq!(count.lines().count(), 4);
}

#[test]
fn a_stop_ends_the_pause_before_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "pausing", &["false"]);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "pausing");
    let mut plan = monitor.plan(&bundle);
    plan["restart"] = json!({
        "when": "always", "delay": 1_000_000, "maxDelay": 1_000_000, "resetAfter": 10_000,
    });
    monitor.start(plan);
    monitor.state("restarting");
    let state = monitor.wire.ok("stop", json!({}));
    assert_eq!(
        (&state["status"], &state["stopped"]),
        (&json!("exited"), &json!(true))
    );
    assert_eq!(monitor.removed(), json!([]));
}

#[test]
fn a_restart_begins_another_run_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "restart", &["sleep", "1000"]);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "restart");
    let plan = monitor.plan(&bundle);
    let first = monitor.start(plan)["pid"].clone();
    let second = monitor.wire.ok("restart", json!({ "timeout": 0 }))["pid"].clone();
    assert_ne!(first, second);
    let state = monitor.wire.ok("state", json!({}));
    assert_eq!(
        (&state["status"], &state["restartCount"]),
        (&json!("running"), &json!(0))
    );
    monitor.wire.ok("kill", json!({ "stop": true }));
    assert_eq!(monitor.removed(), json!([]));
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

/// As `yes` would, but each line different from the one before.
const FLOOD: &str = "seq 1 2000000";

fn flood() -> impl Iterator<Item = String> {
    (1..=2_000_000).map(|number| number.to_string())
}

fn assert_log_is_flood(monitor: &Monitor) {
    let log = std::fs::read_to_string(monitor.log_path()).unwrap();
    let mut lines = log.lines();
    for number in flood() {
        let line = lines.next().unwrap();
        assert_eq!(&line[30..], format!(" stdout F {number}"));
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn a_flood_is_logged_whole_with_nobody_attached() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::script(directory.path(), "flood", FLOOD);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "flood");
    let plan = monitor.plan(&bundle);
    assert_eq!(monitor.run(plan)["exitCode"], 0);
    assert_log_is_flood(&monitor);
}

#[test]
fn a_slow_attachment_slows_the_program_and_one_that_closes_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::script(directory.path(), "slow", FLOOD);
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "slow");
    let closes = monitor.attach("stdout");
    let mut slow = std::io::BufReader::new(monitor.attach("stdout"));
    let plan = monitor.plan(&bundle);
    monitor.start(plan);
    // Nothing is read: what is on the way is all that the program could write.
    let written = || std::fs::metadata(monitor.log_path()).unwrap().len();
    let mut before = 0;
    while written() != before {
        before = written();
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(before < 50 << 20, "{before}");
    assert_eq!(monitor.wire.ok("state", json!({}))["status"], "running");
    // The program itself counts here too, and is large when it is not optimized; the flood is larger.
    assert!(monitor.memory() < 12 << 20, "{}", monitor.memory());
    drop(closes);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut slow, &mut text).unwrap();
    assert!(text.lines().eq(flood()));
    monitor.state("exited");
    assert_log_is_flood(&monitor);
}

#[test]
fn an_attachment_that_never_reads_does_not_hold_the_end_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::script(
        directory.path(),
        "stuck",
        "yes | head -c 300000; exec sleep 1000",
    );
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "stuck");
    let stdout = monitor.attach("stdout");
    let plan = monitor.plan(&bundle);
    monitor.start(plan);
    monitor.wire.ok("kill", json!({ "stop": true }));
    assert_eq!(monitor.removed(), json!([]));
    assert!(!monitor.directory.join("monitor.sock").exists());
    // What was written is still there to be had.
    let bytes = read_all(stdout);
    assert!(bytes.chunks(2).all(|line| line == b"y\n" || line == b"y"));
    let logged = monitor.log();
    assert_eq!(bytes.len().div_ceil(2), logged.len());
}

#[test]
fn without_a_log_output_waits_for_whoever_attaches() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(
        directory.path(),
        "nolog",
        "echo before; read line; echo $line",
    );
    bundle.config["keelson"]["stdio"]["stdin"] = "pipe".into();
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "nolog");
    let mut plan = monitor.plan(&bundle);
    plan.as_object_mut().unwrap().remove("log");
    monitor.start(plan);
    let stdout = monitor.attach("stdout");
    // Closed altogether: the program's input stays open.
    drop(monitor.attach("stdin"));
    monitor.attach("stdin").write_all(b"after\n").unwrap();
    assert_eq!(read_all(stdout), b"before\nafter\n");
}

#[test]
fn the_log_is_rotated_by_size() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::script(directory.path(), "rotated", "seq 1 20000");
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "rotated");
    let mut plan = monitor.plan(&bundle);
    plan["log"]["maxSize"] = (200_000).into();
    plan["log"]["maxFiles"] = 3.into();
    monitor.run(plan);
    let mut lines = Vec::new();
    for name in ["log.2", "log.1", "log"] {
        let text = std::fs::read_to_string(monitor.directory.join(name)).unwrap();
        assert!(text.len() <= 200_000);
        lines.extend(text.lines().map(|line| line[40..].parse::<u32>().unwrap()));
    }
    let first = 20_001 - lines.len() as u32;
    assert!(lines.into_iter().eq(first..=20_000));
    assert!(!monitor.directory.join("log.3").exists());
}

#[test]
fn a_full_disk_costs_lines_but_not_the_container() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = rustix::mount::mount(
        "tmpfs",
        &disk,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        Some(c"size=64k"),
    );
    mounted.unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::script(directory.path(), "full", "seq 1 20000; exit 4");
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "full");
    let mut plan = monitor.plan(&bundle);
    plan["log"]["path"] = json!(disk.join("log"));
    let exited = monitor.run(plan);
    let text = std::fs::read_to_string(disk.join("log")).unwrap();
    rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(exited["exitCode"], 4);
    assert_eq!(exited["log"]["error"]["errno"], libc::ENOSPC);
    assert!(text.ends_with('\n'));
    let kept = text.lines().count() as u64;
    assert_eq!(kept + exited["log"]["lost"].as_u64().unwrap(), 20_000);
}

fn exec(id: &str, args: &[&str]) -> Value {
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
    assert!(text.ends_with("go\r\n40 100\r\n"), "{text:?}");
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

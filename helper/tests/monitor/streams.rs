//! What the program writes: to whoever is attached, and to the log.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use crate::support::monitor::{Monitor, half_close, read_all};
use crate::support::{Bundle, Helper};

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

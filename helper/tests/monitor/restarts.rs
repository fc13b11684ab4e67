//! One run after the other.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::monitor::{Monitor, read_all};
use crate::support::{Bundle, Helper};

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

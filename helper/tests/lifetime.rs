//! What becomes of containers when Node or the launcher goes away; locks; bad requests.

mod support;

use serde_json::json;
use support::host::{children, wait_for_end, watch};
use support::{Bundle, Helper};

/// Starts a container with processes of its own, and returns a handle on its pid 1 and on one of them.
fn forest(helper: &mut Helper, bundle: &mut Bundle) -> Vec<std::os::fd::OwnedFd> {
    bundle.config["process"]["args"] = json!(["sh", "-c", "setsid sleep 1000 & echo ready; wait"]);
    let (request, [stdout, _]) = helper.begin(&bundle.id, &bundle.config, b"");
    let answer = helper.answer(request);
    let pid = answer["ok"]["pid"]
        .as_u64()
        .unwrap_or_else(|| panic!("{answer}")) as u32;
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout.unwrap()), &mut line).unwrap();
    let processes: Vec<u32> = children(pid).into_iter().chain([pid]).collect();
    assert_eq!(processes.len(), 2);
    processes.into_iter().map(watch).collect()
}

#[test]
fn the_end_of_node_ends_the_containers_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let writable = directory.path().join("writable");
    std::fs::create_dir(&writable).unwrap();
    let mut bundle = Bundle::new(directory.path(), "orphan", &[]);
    bundle.config["keelson"]["remove"] = json!([writable]);
    let processes = forest(&mut helper, &mut bundle);
    assert!(helper.close().success());
    processes.iter().for_each(wait_for_end);
    assert!(!bundle.directory.exists() && !writable.exists());
    assert!(bundle.cgroups().iter().all(|cgroup| !cgroup.exists()));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(directory.path().to_str().unwrap()));
}

#[test]
fn a_signal_to_the_launcher_does_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::new(directory.path(), "term", &[]);
    let processes = forest(&mut helper, &mut bundle);
    let pid = rustix::process::Pid::from_child(&helper.process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    processes.iter().for_each(wait_for_end);
    assert!(helper.process.wait().unwrap().success());
    assert!(bundle.cgroups().iter().all(|cgroup| !cgroup.exists()));
}

#[test]
fn the_launchers_death_is_the_containers_death() {
    let directory = tempfile::tempdir().unwrap();
    for (uid, init) in [(0, false), (1234, false), (0, true), (1234, true)] {
        let mut helper = Helper::start();
        let id = format!("killed-{uid}-{init}");
        let mut bundle = Bundle::new(directory.path(), &id, &[]);
        bundle.config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        bundle.config["keelson"]["init"] = init.into();
        let processes = forest(&mut helper, &mut bundle);
        helper.process.kill().unwrap();
        processes.iter().for_each(wait_for_end);
        drop(helper);
        let mut next = Helper::start();
        next.ok("cgroup.remove", json!({ "paths": bundle.cgroups() }));
        assert!(bundle.cgroups().iter().all(|cgroup| !cgroup.exists()));
    }
}

#[test]
fn a_container_that_is_being_started_dies_too() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..10 {
        let mut helper = Helper::start();
        let id = format!("starting-{number}");
        let bundle = Bundle::new(directory.path(), &id, &["sleep", "1000"]);
        helper.request("run", json!({ "container": id, "config": bundle.config }));
        helper.event("stdio", &id);
        let started: Vec<_> = children(helper.pid()).into_iter().map(watch).collect();
        helper.process.kill().unwrap();
        started.iter().for_each(wait_for_end);
        drop(helper);
        Helper::start().ok("cgroup.remove", json!({ "paths": bundle.cgroups() }));
    }
}

/// It is killed, or was just too fast.
#[test]
fn a_run_can_be_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "cancel", &["true"]);
    let request = helper.request(
        "run",
        json!({ "container": "cancel", "config": bundle.config }),
    );
    helper.send(&json!({ "op": "cancel", "request": request }));
    let answer = helper.answer(request);
    if answer.get("ok").is_some() {
        helper.event("removed", "cancel");
    } else {
        assert_eq!(answer["error"]["kind"], "cancelled");
    }
    assert!(!bundle.directory.exists());
    assert!(bundle.cgroups().iter().all(|cgroup| !cgroup.exists()));
}

#[test]
fn locks_exclude_across_launchers_until_death() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let lock = |mode: &str, wait: bool| json!({ "path": path, "mode": mode, "wait": wait });
    let (mut one, mut other) = (Helper::start(), Helper::start());
    let first = one.ok("lock", lock("shared", false));
    let second = other.ok("lock", lock("shared", false));
    assert_eq!(one.error("lock", lock("exclusive", false))["kind"], "busy");

    let waiting = one.request("lock", lock("exclusive", true));
    let cancelled = one.request("lock", lock("exclusive", true));
    one.send(&json!({ "op": "cancel", "request": cancelled }));
    assert_eq!(one.answer(cancelled)["error"]["kind"], "cancelled");
    one.ok("unlock", json!({ "lock": first["lock"] }));
    other.ok("unlock", json!({ "lock": second["lock"] }));
    assert!(one.answer(waiting).get("ok").is_some());

    let waiting = other.request("lock", lock("exclusive", true));
    one.process.kill().unwrap();
    assert!(other.answer(waiting).get("ok").is_some());
    assert_eq!(
        other.error("unlock", json!({ "lock": 99 }))["kind"],
        "protocol"
    );
}

#[test]
fn a_lock_on_a_file_that_was_replaced_is_not_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let lock = |wait: bool| json!({ "path": path, "mode": "exclusive", "wait": wait });
    let (mut one, mut other) = (Helper::start(), Helper::start());
    let held = one.ok("lock", lock(false));
    let waiting = other.request("lock", lock(true));
    // The waiter has the old file open by the time its launcher has answered another request.
    other.ok(
        "mkdirs",
        json!({ "paths": [directory.path()], "mode": 0o755 }),
    );
    std::fs::remove_file(&path).unwrap();
    let new = one.ok("lock", lock(false));
    one.ok("unlock", json!({ "lock": held["lock"] }));
    one.ok("unlock", json!({ "lock": new["lock"] }));
    assert!(other.answer(waiting).get("ok").is_some());
    assert_eq!(one.error("lock", lock(false))["kind"], "busy");
}

#[test]
fn a_run_holds_its_locks_until_it_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let mut helper = Helper::start();
    let lock = json!({ "path": path, "mode": "exclusive", "wait": false });
    let mut bundle = Bundle::new(directory.path(), "locks", &["sleep", "1000"]);
    bundle.config["keelson"]["locks"] = json!([{ "path": path, "mode": "shared" }]);
    let (request, _) = helper.begin("locks", &bundle.config, b"");
    helper.answer(request);
    assert_eq!(helper.error("lock", lock.clone())["kind"], "busy");
    helper.ok("kill", json!({ "container": "locks", "all": true }));
    helper.event("removed", "locks");
    helper.ok("lock", lock);

    let mut bundle = Bundle::new(directory.path(), "busy", &["true"]);
    bundle.config["keelson"]["locks"] = json!([{ "path": path, "mode": "shared" }]);
    let error = helper.error(
        "run",
        json!({ "container": "busy", "config": bundle.config }),
    );
    assert_eq!(error["kind"], "busy");
    assert!(!bundle.directory.exists());
}

#[test]
fn bad_requests_are_answered_and_bad_frames_end_the_connection() {
    let mut helper = Helper::start();
    assert_eq!(
        helper.error("no.such.operation", json!({}))["kind"],
        "protocol"
    );
    assert_eq!(helper.error("lock", json!({}))["kind"], "protocol");
    assert_eq!(
        helper.error("hello", json!({ "protocol": 99 }))["detail"],
        "1"
    );
    assert_eq!(
        helper.error("run", json!({ "container": "x", "config": {} }))["kind"],
        "protocol"
    );
    helper.send(&json!("not an object"));
    assert!(!helper.process.wait().unwrap().success());
}

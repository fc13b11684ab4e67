//! Limits, what is said when they are reached, and that nothing stays.

mod support;

use serde_json::json;
use support::host::hierarchies;
use support::{Bundle, Helper};

#[test]
fn out_of_memory_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(directory.path(), "oom", "x=a; while :; do x=$x$x; done");
    bundle.config["linux"]["resources"]["memory"] = json!({ "limit": 16 << 20, "swap": 16 << 20 });
    let finished = helper.run("oom", &bundle.config);
    assert_eq!(
        (&finished.exit["signal"], &finished.exit["oomKilled"]),
        (&json!(9), &json!(true))
    );
}

#[test]
fn out_of_memory_of_another_process_is_told_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(
        directory.path(),
        "oom-child",
        "sh -c 'x=a; while :; do x=$x$x; done'; exit 3",
    );
    bundle.config["linux"]["resources"]["memory"] = json!({ "limit": 16 << 20, "swap": 16 << 20 });
    let finished = helper.run("oom-child", &bundle.config);
    assert_eq!(
        (&finished.exit["code"], &finished.exit["oomKilled"]),
        (&json!(3), &json!(true))
    );
}

#[test]
fn processes_are_limited() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(
        directory.path(),
        "pids",
        "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done",
    );
    bundle.config["linux"]["resources"]["pids"] = json!({ "limit": 5 });
    let finished = helper.run("pids", &bundle.config);
    assert!(finished.stderr.contains("can't fork"), "{finished:?}");
}

#[test]
fn limits_are_written_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::new(directory.path(), "limits", &["sleep", "1000"]);
    bundle.config["linux"]["resources"] = json!({
        "memory": { "limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20 },
        "cpu": { "shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 77 },
        "devices": [{ "allow": false }],
    });
    let (request, _) = helper.begin("limits", &bundle.config, b"");
    assert!(helper.answer(request).get("ok").is_some());
    let read = |controller: &str, file: &str| {
        let cgroups = &bundle.config["keelson"]["cgroups"];
        let directory = cgroups["v1"][controller]
            .as_str()
            .or(cgroups["v2"].as_str())
            .unwrap();
        std::fs::read_to_string(format!("{directory}/{file}"))
            .unwrap()
            .trim()
            .to_owned()
    };
    if hierarchies().v1.contains_key("memory") {
        assert_eq!(
            read("memory", "memory.limit_in_bytes"),
            (64 << 20).to_string()
        );
        assert_eq!(
            read("memory", "memory.memsw.limit_in_bytes"),
            (96 << 20).to_string()
        );
        assert_eq!(
            read("memory", "memory.soft_limit_in_bytes"),
            (32 << 20).to_string()
        );
        assert_eq!(read("cpu", "cpu.shares"), "512");
        assert_eq!(read("cpu", "cpu.cfs_quota_us"), "50000");
        assert!(!read("devices", "devices.list").contains("a *:*"));
    } else {
        assert_eq!(read("memory", "memory.max"), (64 << 20).to_string());
        assert_eq!(read("memory", "memory.swap.max"), (32 << 20).to_string());
        assert_eq!(read("memory", "memory.low"), (32 << 20).to_string());
        assert_eq!(read("cpu", "cpu.weight"), "20");
        assert_eq!(read("cpu", "cpu.max"), "50000 100000");
    }
    assert_eq!(read("cpuset", "cpuset.cpus"), "0");
    assert_eq!(read("pids", "pids.max"), "77");
    helper.ok("kill", json!({ "container": "limits", "all": true }));
    assert_eq!(helper.event("exit", "limits")["signal"], 9);
    assert_eq!(helper.event("removed", "limits")["errors"], json!([]));
}

#[test]
fn a_limit_that_cannot_be_carried_out_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::new(directory.path(), "nowhere", &["true"]);
    bundle.config["keelson"]["cgroups"] = json!({});
    bundle.config["linux"]["resources"] = json!({ "memory": { "limit": 1 << 20 } });
    let error = helper.error(
        "run",
        json!({ "container": "nowhere", "config": bundle.config }),
    );
    assert_eq!(error["kind"], "limit-unsupported");
}

/// On a hybrid host too, where only v2 cgroups are given, devices are limited by a program of the kernel's.
#[test]
fn devices_are_limited_in_v2() {
    let Some(v2) = hierarchies().v2 else {
        panic!("no cgroup v2 hierarchy is mounted");
    };
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "echo x >/dev/null && head -c1 /dev/zero | wc -c; head -c1 /dev/kmsg; mknod /tmp/k c 1 11 && head -c1 /tmp/k";
    let mut bundle = Bundle::script(directory.path(), "bpf", script);
    let own = v2.join(format!("keelson-test-{}-bpf", std::process::id()));
    bundle.config["keelson"]["cgroups"] = json!({ "v2": own });
    bundle.config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| mount["type"] != "cgroup");
    bundle.config["linux"]["devices"] =
        json!([{ "type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11 }]);
    let finished = helper.run("bpf", &bundle.config);
    assert_eq!(finished.stdout, "1\n");
    assert_eq!(
        finished.stderr.matches("Operation not permitted").count(),
        2,
        "{finished:?}"
    );
}

#[test]
fn a_program_sees_its_own_cgroups_and_cannot_write_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "cut -d: -f3 /proc/self/cgroup | sort -u; for f in $(find /sys/fs/cgroup -name cgroup.procs); do \
                  echo 1 2>/dev/null >$f && echo writable; done; find /sys/fs/cgroup -name release_agent";
    let bundle = Bundle::script(directory.path(), "own", script);
    assert_eq!(helper.run("own", &bundle.config).stdout, "/\n");
}

#[test]
fn a_cgroup_is_removed_with_all_that_lives_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "remove", &["sleep", "1000"]);
    let (request, _) = helper.begin("remove", &bundle.config, b"");
    helper.answer(request);
    let mut paths = bundle.cgroups();
    // Its own processes may lie deeper.
    let deeper = paths[0].join("deeper");
    std::fs::create_dir(&deeper).unwrap();
    paths.push("/sys/fs/cgroup/no-such-cgroup".into());
    helper.ok("cgroup.remove", json!({ "paths": paths }));
    assert_eq!(helper.event("exit", "remove")["signal"], 9);
    assert_eq!(helper.event("removed", "remove")["errors"], json!([]));
    assert!(bundle.cgroups().iter().all(|cgroup| !cgroup.exists()));
}

#[test]
fn missing_parents_are_made() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(directory.path(), "parents", "true");
    let cgroups = &mut bundle.config["keelson"]["cgroups"];
    let mut parents = Vec::new();
    let mut deepen = |directory: &mut serde_json::Value| {
        parents.push(directory.as_str().unwrap().to_owned());
        *directory = format!("{}/a/b", directory.as_str().unwrap()).into();
    };
    cgroups["v1"]
        .as_object_mut()
        .unwrap()
        .values_mut()
        .for_each(&mut deepen);
    if cgroups["v2"].is_string() {
        deepen(&mut cgroups["v2"]);
    }
    bundle.config["linux"]["resources"]["pids"] = json!({ "limit": 50 });
    assert_eq!(helper.run("parents", &bundle.config).exit["code"], 0);
    helper.ok("cgroup.remove", json!({ "paths": parents }));
    assert!(
        parents
            .iter()
            .all(|parent| !std::path::Path::new(parent).exists())
    );
}

/// Without a pid namespace of its own, what a program leaves behind is ended by cgroup.
#[test]
fn what_is_left_in_a_shared_pid_namespace_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!";
    let mut bundle = Bundle::script(directory.path(), "shared", script);
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "pid");
    let finished = helper.run("shared", &bundle.config);
    assert_eq!(finished.exit["code"], 0);
    let left = finished.stdout.trim();
    let alive = std::fs::read_to_string(format!("/proc/{left}/cmdline"))
        .is_ok_and(|line| line.contains("1000"));
    assert!(!alive, "process {left}");
}

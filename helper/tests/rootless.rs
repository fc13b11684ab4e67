//! The same plans as an ordinary user.

mod support;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde_json::{Value, json};
use support::monitor::{Monitor, read_all};
use support::{Bundle, Helper};

/// Ids that belong to nobody: without entries in /etc/subuid there is nothing to clean up in it.
const UID: u32 = 64_321;

/// A user namespace with one id needs no setuid program.
fn single() -> Value {
    json!({
        "uidMappings": [{ "containerID": 0, "hostID": UID, "size": 1 }],
        "gidMappings": [{ "containerID": 0, "hostID": UID, "size": 1 }],
        "setgroups": "deny",
    })
}

/// A container's directory, owned by the user, whose way to it is open.
fn bundle(directory: &Path, id: &str, script: &str) -> Bundle {
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    let mut bundle = Bundle::script(directory, id, script);
    chown(directory, Some(UID), Some(UID)).unwrap();
    chown(&bundle.directory, Some(UID), Some(UID)).unwrap();
    for name in ["root", "upper", "work"] {
        chown(bundle.directory.join(name), Some(UID), Some(UID)).unwrap();
    }
    let keelson = &mut bundle.config["keelson"];
    keelson["cgroups"] = json!({});
    keelson["rootfs"][0]["options"] = json!(["userxattr"]);
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["type"] != "cgroup");
    for mount in mounts {
        mount["options"]
            .as_array_mut()
            .unwrap()
            .retain(|option| option != "gid=5");
    }
    bundle
}

#[test]
fn a_user_with_one_id_runs_a_container() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start_as(UID, UID, single());
    let script = "id -u; cat /proc/self/uid_map | tr -s ' '; echo x >/dev/null && touch /made && echo y >/dev/stderr; \
                  ip -o addr show lo | grep -c inet; stat -c %t:%T /dev/null";
    let bundle = bundle(directory.path(), "single", script);
    let finished = helper.run("single", &bundle.config);
    assert_eq!(
        finished.stdout,
        format!("0\n 0 {UID} 1\n2\n1:3\n"),
        "{finished:?}"
    );
    assert_eq!(finished.stderr, "y\n");
    assert!(!bundle.directory.exists());
}

#[test]
fn init_and_death_work_there_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start_as(UID, UID, single());
    let mut bundle = bundle(directory.path(), "init", "echo $$; exec sleep 1000");
    bundle.config["keelson"]["init"] = true.into();
    let (request, [stdout, _]) = helper.begin("init", &bundle.config, b"");
    let pid = helper.answer(request)["ok"]["pid"].as_u64().unwrap() as u32;
    let pid = support::host::watch(pid);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout.unwrap()), &mut line).unwrap();
    assert_eq!(line, "2\n");
    helper.process.kill().unwrap();
    support::host::wait_for_end(&pid);
}

#[test]
fn a_user_cannot_map_the_ids_of_others() {
    let mut plan = single();
    plan["uidMappings"][0]["hostID"] = 0.into();
    let refused = std::panic::catch_unwind(|| Helper::start_as(UID, UID, plan));
    assert!(refused.is_err());
}

/// As root: the container's ids are others than the launcher's.
#[test]
fn a_container_may_have_a_user_namespace_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(
        directory.path(),
        "userns",
        "id -u; tr -s ' ' </proc/self/uid_map; echo x >/dev/stderr",
    );
    bundle.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "user" }));
    // The layers lie where only the launcher may look.
    let private = tempfile::tempdir().unwrap();
    for name in ["upper", "work"] {
        std::fs::create_dir(private.path().join(name)).unwrap();
        bundle.config["keelson"]["rootfs"][0][name] = json!(private.path().join(name));
    }
    let mappings = json!([{ "containerID": 0, "hostID": 200_000, "size": 65536 }]);
    bundle.config["linux"]["uidMappings"] = mappings.clone();
    bundle.config["linux"]["gidMappings"] = mappings;
    bundle.config["process"]["user"] = json!({ "uid": 5, "gid": 5 });
    let finished = helper.run("userns", &bundle.config);
    assert_eq!(
        (finished.stdout.as_str(), finished.stderr.as_str()),
        ("5\n 0 200000 65536\n", "x\n")
    );
}

#[test]
fn a_user_has_monitors_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start_as(UID, UID, single());
    let bundle = bundle(directory.path(), "watched", "echo out; exec sleep 1000");
    let own = directory.path().join("watched.monitor");
    std::fs::create_dir(&own).unwrap();
    chown(&own, Some(UID), Some(UID)).unwrap();
    let mut monitor = Monitor::bound(&mut helper, directory.path(), "watched");
    let stdout = monitor.attach("stdout");
    let plan = monitor.plan(&bundle);
    monitor.start(plan);
    let state = monitor.wire.ok("stop", json!({ "timeout": 0 }));
    assert_eq!(state["signal"], libc::SIGKILL);
    assert_eq!(monitor.removed(), json!([]));
    assert_eq!(
        monitor.log().len(),
        read_all(stdout).len() / "out\n".len(),
        "what was written, if it came to that"
    );
    assert!(!bundle.directory.exists());
}

//! What a bundle's configuration asks of an OCI runtime.

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::host::hierarchies;
use support::oci::{Bundle, Runtime, script};

fn mount(bundle: &mut Bundle<'_>, mount: Value) {
    bundle.config["mounts"].as_array_mut().unwrap().push(mount);
}

fn allow(bundle: &mut Bundle<'_>, capability: &str) {
    for set in ["bounding", "effective", "permitted"] {
        let names = bundle.config["process"]["capabilities"][set].as_array_mut();
        names.unwrap().push(json!(capability));
    }
}

/// What the runtime says of a bundle that it does not take.
fn refusal(bundle: &Bundle<'_>) -> String {
    let output = bundle.run();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_is_mounted_already_is_given_other_options() {
    let runtime = Runtime::new();
    let script =
        script("grep ' /dev/x ' /proc/self/mountinfo; grep ' /dev/y ' /proc/self/mountinfo");
    let mut bundle = runtime.bundle("remount", &script);
    for (destination, options) in [
        ("/dev/x", json!(["remount", "ro", "size=2m"])),
        ("/dev/y", json!(["remount", "bind", "noexec"])),
    ] {
        let new = json!({ "destination": destination, "type": "tmpfs", "options": ["size=1m", "nosuid"] });
        mount(&mut bundle, new);
        mount(
            &mut bundle,
            json!({ "destination": destination, "options": options }),
        );
    }
    let text = bundle.sh();
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .collect();
    assert_eq!(lines[0][5], "ro,nosuid,relatime");
    let options = lines[0].last().unwrap();
    assert!(options.starts_with("ro,size=2048k"), "{options}");
    assert_eq!(lines[1][5], "rw,nosuid,noexec,relatime");
    assert!(lines[1].last().unwrap().starts_with("rw,size=1024k"));
}

#[test]
fn a_tmpfs_may_begin_with_what_it_hides() {
    let runtime = Runtime::new();
    let source = runtime.path("source");
    std::fs::create_dir_all(source.join("deep")).unwrap();
    std::fs::write(source.join("deep/file"), "content\n").unwrap();
    std::os::unix::fs::chown(source.join("deep/file"), Some(5), Some(6)).unwrap();
    let script = script(
        "stat -c '%u %g' /dev/up/deep/file; cat /dev/up/deep/file; touch /dev/up/deep/other",
    );
    let mut bundle = runtime.bundle("copyup", &script);
    mount(
        &mut bundle,
        json!({ "destination": "/dev/up", "source": source, "options": ["bind"] }),
    );
    mount(
        &mut bundle,
        json!({ "destination": "/dev/up", "type": "tmpfs", "options": ["tmpcopyup", "nodev"] }),
    );
    assert_eq!(bundle.sh(), "5 6\ncontent\n");
    assert!(!source.join("deep/other").exists());
}

#[test]
fn a_bind_mount_keeps_what_its_source_has_unless_it_is_taken_back() {
    let runtime = Runtime::new();
    let source = runtime.path("source");
    std::fs::create_dir(&source).unwrap();
    let _mounted = Mounted::tmpfs(&source, "ro,nosuid,nodev,noexec");
    let script = script(
        "for d in kept taken below; do grep \" /dev/$d \" /proc/self/mountinfo | cut -d' ' -f6; done",
    );
    let mut bundle = runtime.bundle("flags", &script);
    for (name, options) in [
        ("kept", json!(["bind"])),
        (
            "taken",
            json!(["bind", "rw", "suid", "dev", "exec", "noatime"]),
        ),
        ("below", json!(["rbind", "rexec", "rnodiratime"])),
    ] {
        let destination = format!("/dev/{name}");
        mount(
            &mut bundle,
            json!({ "destination": destination, "source": source, "options": options }),
        );
    }
    let expected =
        "ro,nosuid,nodev,noexec,relatime\nrw,noatime\nro,nosuid,nodev,nodiratime,relatime\n";
    assert_eq!(bundle.sh(), expected);
}

#[test]
fn mounts_reach_the_host_or_the_container_as_their_propagation_says() {
    let runtime = Runtime::new();
    let source = runtime.path("shared");
    std::fs::create_dir(&source).unwrap();
    let _mounted = Mounted::tmpfs(&source, "");
    mount_command(&["--make-shared", source.to_str().unwrap()]);
    for (propagation, reaches_host) in [("rshared", true), ("rslave", false), ("rprivate", false)] {
        let inside = source.join(propagation);
        std::fs::create_dir(&inside).unwrap();
        let script = format!("mount -t tmpfs none /dev/shared/{propagation} && echo mounted");
        let mut bundle = runtime.bundle(propagation, &["sh", "-c", &script]);
        allow(&mut bundle, "CAP_SYS_ADMIN");
        let options = json!(["rbind", propagation]);
        mount(
            &mut bundle,
            json!({ "destination": "/dev/shared", "source": source, "options": options }),
        );
        assert_eq!(bundle.sh(), "mounted\n");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let reached = mounts.contains(inside.to_str().unwrap());
        assert_eq!(reached, reaches_host, "{propagation}");
        if reached {
            rustix::mount::unmount(&inside, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }
}

#[test]
fn a_container_with_ids_of_its_own_does_not_mount_on_the_host() {
    let runtime = Runtime::new();
    let source = runtime.path("shared");
    std::fs::create_dir(&source).unwrap();
    let _mounted = Mounted::tmpfs(&source, "");
    mount_command(&["--make-shared", source.to_str().unwrap()]);
    std::fs::create_dir(source.join("inside")).unwrap();
    let script = script("mount -t tmpfs none /dev/shared/inside && echo mounted");
    let mut bundle = runtime.bundle("own", &script);
    own_ids(&mut bundle);
    allow(&mut bundle, "CAP_SYS_ADMIN");
    mount(
        &mut bundle,
        json!({ "destination": "/dev/shared", "source": source, "options": ["bind"] }),
    );
    assert_eq!(bundle.sh(), "mounted\n");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(source.join("inside").to_str().unwrap()));
}

#[test]
fn a_mount_shows_other_ids() {
    let runtime = Runtime::new();
    let source = runtime.path("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "").unwrap();
    std::os::unix::fs::chown(source.join("file"), Some(1005), Some(2006)).unwrap();
    let script = script("stat -c '%u %g' /dev/shown/file");
    let mut bundle = runtime.bundle("ids", &script);
    let map = |id: u32| json!([{ "containerID": 1000 * id, "hostID": 0, "size": 1000 }]);
    mount(
        &mut bundle,
        json!({
            "destination": "/dev/shown", "source": source, "options": ["bind", "idmap"],
            "uidMappings": map(1), "gidMappings": map(2),
        }),
    );
    assert_eq!(bundle.sh(), "5 6\n");
}

#[test]
fn a_mount_with_other_ids_has_to_say_which() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("noids", &["true"]);
    let options = json!(["bind", "idmap"]);
    mount(
        &mut bundle,
        json!({ "destination": "/dev/x", "source": "/tmp", "options": options }),
    );
    assert!(refusal(&bundle).contains("mappings"));
}

/// Every option that a file system takes by a flag, and those that say nothing.
#[test]
fn options_of_mount_8_are_understood() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("words", &["true"]);
    let options = json!([
        "defaults",
        "async",
        "dirsync",
        "sync",
        "lazytime",
        "nolazytime",
        "loud",
        "silent",
        "mand",
        "nomand",
        "noiversion",
        "nosymfollow",
        "symfollow",
        "nostrictatime",
        "norelatime",
    ]);
    mount(
        &mut bundle,
        json!({ "destination": "/dev/x", "type": "tmpfs", "options": options }),
    );
    bundle.sh();
}

/// Root of the container is nobody on the host.
fn own_ids(bundle: &mut Bundle<'_>) {
    let linux = &mut bundle.config["linux"];
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    linux["uidMappings"] = map.clone();
    linux["gidMappings"] = map;
    linux["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "user" }));
}

/// As the containers of a pod that has its own ids: the user namespace is another container's, the rest is new.
#[test]
fn new_namespaces_belong_to_a_user_namespace_that_is_joined() {
    let runtime = Runtime::new();
    let mut first = runtime.bundle("pod", &["sleep", "1000"]);
    own_ids(&mut first);
    assert!(first.create().success());
    first.ok("start");
    let pid = &first.state()["pid"];
    let theirs = |kind: &str| format!("/proc/{pid}/ns/{kind}");
    let look = "readlink /proc/self/ns/user; readlink /proc/self/ns/net; cat /proc/self/uid_map | tr -s ' '; \
                hostname joined && mount -t tmpfs none /tmp && id -u";
    let mut second = runtime.bundle("member", &script(&format!("{look}; exec sleep 1000")));
    second.config["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN"]);
    second.config["process"]["capabilities"]["permitted"] = json!(["CAP_SYS_ADMIN"]);
    second.config["process"]["capabilities"]["effective"] = json!(["CAP_SYS_ADMIN"]);
    let namespaces = second.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    namespaces.push(json!({ "type": "user", "path": theirs("user") }));
    namespaces.push(json!({ "type": "network", "path": theirs("net") }));
    assert!(second.create().success(), "{}", second.read("output"));
    second.ok("start");
    let executed = runtime.ok(&[
        "exec",
        &second.id,
        "sh",
        "-c",
        "hostname; readlink /proc/self/ns/user",
    ]);
    let link = |kind: &str| {
        std::fs::read_link(theirs(kind))
            .unwrap()
            .display()
            .to_string()
    };
    assert_eq!(executed, format!("joined\n{}\n", link("user")));
    assert_eq!(
        second.read("output"),
        format!("{}\n{}\n 0 100000 65536\n0\n", link("user"), link("net"))
    );
    second.kill();

    second.config["linux"]["uidMappings"] =
        json!([{ "containerID": 0, "hostID": 200_000, "size": 65536 }]);
    second.config["linux"]["gidMappings"] = second.config["linux"]["uidMappings"].clone();
    second.ok("delete");
    assert!(refusal(&second).contains("uidMappings"));
    first.kill();
}

#[test]
fn a_network_device_moves_in_with_its_addresses() {
    let runtime = Runtime::new();
    let device = format!("ktd{}", std::process::id());
    ip(&["link", "add", &device, "mtu", "1400", "type", "veth"]);
    ip(&["address", "add", "192.0.2.7/24", "dev", &device]);
    ip(&["address", "add", "2001:db8::7/64", "dev", &device]);
    let mut bundle = runtime.bundle("device", &script("ip address show inside"));
    bundle.config["linux"]["netDevices"] = json!({ &device: { "name": "inside" } });
    let shown = bundle.sh();
    for part in ["mtu 1400", "192.0.2.7/24", "2001:db8::7/64", ",UP"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // It went with the namespace.
    assert!(refusal(&bundle).contains(&device));
}

#[test]
fn a_network_device_moves_into_a_namespace_that_is_joined() {
    let runtime = Runtime::new();
    let device = format!("kte{}", std::process::id());
    let first = runtime.bundle("its", &["sleep", "1000"]);
    assert!(first.create().success());
    first.ok("start");
    ip(&["link", "add", &device, "type", "veth"]);
    ip(&["address", "add", "192.0.2.8/24", "dev", &device]);
    let mut second = runtime.bundle("moved", &script(&format!("ip address show {device}")));
    let namespaces = second.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    second.config["linux"]["netDevices"] = json!({ &device: {} });
    assert!(refusal(&second).contains("no network namespace"));
    let path = format!("/proc/{}/ns/net", first.state()["pid"]);
    second.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "network", "path": path }));
    assert!(second.sh().contains("192.0.2.8/24"));
    for name in ["lo", "eth%d", "a/b", "a-name-that-is-too-long"] {
        second.config["linux"]["netDevices"] = json!({ &device: { "name": name } });
        assert!(refusal(&second).contains("netDevices"), "{name}");
    }
    first.kill();
}

fn ip(args: &[&str]) {
    let status = Command::new("ip").args(args).status().unwrap();
    assert!(status.success(), "ip {args:?}");
}

#[test]
fn labels_of_a_security_module_that_is_not_there_are_refused() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("label", &["true"]);
    let selinux = Path::new("/sys/fs/selinux/enforce").exists();
    bundle.config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0");
    if !selinux {
        assert!(refusal(&bundle).contains("SELinux is not enabled"));
    }
    bundle.config["process"]["selinuxLabel"] = json!("");
    bundle.config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0");
    assert!(refusal(&bundle).contains("mountLabel"));
}

#[test]
fn clocks_of_a_time_namespace_have_offsets() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("time", &script("cut -d. -f1 /proc/uptime"));
    bundle.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000_000 } });
    assert!(refusal(&bundle).contains("new time namespace"));
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({ "type": "time" }));
    let uptime: u64 = bundle.sh().trim().parse().unwrap();
    assert!(uptime > 1_000_000_000, "{uptime}");
    bundle.config["linux"]["timeOffsets"] = json!({ "realtime": { "secs": 1 } });
    assert!(refusal(&bundle).contains("realtime"));
}

#[test]
fn a_program_runs_as_the_kernel_is_asked_to_run_it() {
    let runtime = Runtime::new();
    let script = script(
        "uname -m; cut -d' ' -f19,41 /proc/self/stat; ionice -p $$; grep -m1 -o 'bind[^ ]*' /proc/self/numa_maps",
    );
    let mut bundle = runtime.bundle("manner", &script);
    bundle.config["linux"]["personality"] = json!({ "domain": "LINUX32" });
    bundle.config["linux"]["memoryPolicy"] =
        json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] });
    bundle.config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
    bundle.config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
    let machine = if cfg!(target_arch = "x86_64") {
        "i686"
    } else {
        "armv8l"
    };
    assert_eq!(
        bundle.sh(),
        format!("{machine}\n5 3\nbest-effort: prio 6\nbind=static:0\n")
    );
    for (place, value) in [
        ("/linux/personality/domain", json!("BSD")),
        ("/process/scheduler/policy", json!("SCHED_NICE")),
        ("/process/ioPriority/priority", json!(8)),
    ] {
        let before = bundle.config.pointer(place).unwrap().clone();
        *bundle.config.pointer_mut(place).unwrap() = value;
        let field = place.split('/').nth(2).unwrap();
        assert!(refusal(&bundle).contains(field), "{place}");
        *bundle.config.pointer_mut(place).unwrap() = before;
    }
}

#[test]
fn processors_are_chosen_for_what_is_executed_later() {
    let runtime = Runtime::new();
    let show = "grep Cpus_allowed_list /proc/self/status | cut -f2";
    let mut bundle = runtime.bundle("processors", &script(&format!("{show}; exec sleep 1000")));
    bundle.config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "0" });
    assert!(bundle.create().success());
    bundle.ok("start");
    let executed = runtime.ok(&["exec", &bundle.id, "sh", "-c", show]);
    assert_eq!(executed, "0\n");
    bundle.kill();
    let all = std::fs::read_to_string("/proc/self/status").unwrap();
    let all = all
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:\t"))
        .unwrap();
    assert_eq!(bundle.read("output").trim(), all);
}

#[test]
fn a_capability_that_nobody_knows_is_a_warning() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("unknown", &["true"]);
    allow(&mut bundle, "CAP_EVERYTHING");
    bundle.sh();
    let log = std::fs::read_to_string(runtime.path("log")).unwrap();
    let warning: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(warning["level"], "warning");
    assert!(warning["msg"].as_str().unwrap().contains("CAP_EVERYTHING"));
}

#[test]
fn a_container_without_a_process_is_made_but_cannot_be_started() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("nothing", &["true"]);
    bundle.config.as_object_mut().unwrap().remove("process");
    assert!(bundle.create().success(), "{}", bundle.read("output"));
    assert_eq!(bundle.state()["status"], "created");
    assert!(bundle.error("start").contains("process is not set"));
    assert_eq!(bundle.state()["status"], "stopped");
    bundle.ok("delete");
}

#[test]
fn what_is_there_twice_is_refused() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("twice", &["true"]);
    let limit = json!({ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 });
    bundle.config["process"]["rlimits"] = json!([limit, limit]);
    assert!(refusal(&bundle).contains("RLIMIT_CORE is there twice"));
    bundle.config["process"]["rlimits"] = json!([]);
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({ "type": "uts" }));
    assert!(refusal(&bundle).contains("twice"));
}

#[test]
fn a_device_does_not_take_the_place_of_something_else() {
    let runtime = Runtime::new();
    let source = runtime.path("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("null"), "").unwrap();
    let mut bundle = runtime.bundle("device", &["true"]);
    mount(
        &mut bundle,
        json!({ "destination": "/dev/x", "source": source, "options": ["bind"] }),
    );
    bundle.config["linux"]["devices"] =
        json!([{ "path": "/dev/x/null", "type": "c", "major": 1, "minor": 3 }]);
    assert!(refusal(&bundle).contains("/dev/x/null"));
    assert!(std::fs::metadata(source.join("null")).unwrap().is_file());
}

#[test]
fn devices_have_the_mode_asked_for_whatever_the_callers_umask_is() {
    let runtime = Runtime::new();
    let mut bundle = runtime.bundle("umask", &script("stat -c %a /dev/x; umask"));
    bundle.config["linux"]["devices"] = json!([
        { "path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 }
    ]);
    bundle.write();
    let mut shell = Command::new("/bin/sh");
    shell.args([
        "-c",
        r#"umask 077; exec "$@""#,
        "sh",
        env!("CARGO_BIN_EXE_keelson-helper"),
    ]);
    shell.args(["oci", "--root"]).arg(runtime.path("root"));
    let output = shell
        .args(["run", "--bundle", bundle.path(), &bundle.id])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "666\n0022\n",
        "{output:?}"
    );
}

#[test]
fn a_limit_that_this_host_has_no_cgroup_for_is_refused_by_name() {
    let runtime = Runtime::new();
    if hierarchies()
        .v1
        .keys()
        .any(|names| names.contains("net_cls"))
    {
        return;
    }
    let mut bundle = runtime.bundle("limits", &["true"]);
    bundle.config["linux"]["resources"]["network"] = json!({ "classID": 1 });
    assert!(refusal(&bundle).contains("network.classID"));
}

#[test]
fn a_cgroup_that_was_there_before_stays() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle("cgroup", &["true"]);
    let mounts = hierarchies();
    let name = format!("keelson-test-oci-{}", bundle.id);
    let mut all: Vec<_> = mounts
        .v1
        .into_values()
        .chain(mounts.v2)
        .map(|mount| mount.join(&name))
        .collect();
    let before = all.pop().unwrap();
    std::fs::create_dir(&before).unwrap();
    bundle.sh();
    assert!(before.exists());
    assert!(all.iter().all(|directory| !directory.exists()));
    std::fs::remove_dir(&before).unwrap();
}

/// A file system of a test, until this is dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(place: &'a Path, options: &str) -> Self {
        mount_command(&[
            "-t",
            "tmpfs",
            "-o",
            &format!("rw,{options}"),
            "none",
            place.to_str().unwrap(),
        ]);
        Mounted(place)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

fn mount_command(arguments: &[&str]) {
    assert!(
        Command::new("mount")
            .args(arguments)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn without_a_cgroup_namespace_the_containers_own_cgroups_of_v1_are_shown() {
    let runtime = Runtime::new();
    // The directory's name is that of a cgroup which only this container has.
    let look = "cd /sys/fs/cgroup; for d in */; do [ -e $d/cgroup.procs ] && wc -l < $d/cgroup.procs; done; \
                for d in */*/; do [ -d $d ] && echo $d; done; echo seen";
    let mut bundle = runtime.bundle("own-cgroups", &script(look));
    let is_new = |namespace: &Value| namespace["type"] == "cgroup";
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| !is_new(namespace));
    let hierarchies = hierarchies().v1;
    if hierarchies.is_empty() {
        // v2 alone: a new mount shows all of it.
        return;
    }
    // The shell and the program that counts.
    let expected = "2\n".repeat(hierarchies.len());
    assert_eq!(bundle.sh(), format!("{expected}seen\n"));
}

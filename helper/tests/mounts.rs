//! Mounts, devices and hidden paths, and images that try to lead them astray.

mod support;

use std::os::unix::fs::symlink;

use serde_json::json;
use support::{Bundle, Helper};

#[test]
fn binds_are_what_their_options_say() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("file"), "content\n").unwrap();
    let script = "cat /data/deep/file /etc/one; touch /data/deep/x 2>/dev/null; echo $?; touch /rw/x; \
                  grep ' /data/deep ' /proc/self/mountinfo | cut -d' ' -f6";
    let mut bundle = Bundle::script(directory.path(), "binds", script);
    let source = data.path();
    bundle.mount(json!({
        "destination": "/data/deep", "type": "bind", "source": source,
        "options": ["rbind", "ro", "nosuid", "nodev", "noexec", "noatime", "rprivate"],
    }));
    bundle.mount(
        json!({ "destination": "/etc/one", "source": source.join("file"), "options": ["bind"] }),
    );
    bundle.mount(json!({ "destination": "/rw", "type": "bind", "source": source, "options": ["rbind", "rw"] }));
    assert_eq!(
        helper.sh("binds", &bundle.config),
        "content\ncontent\n1\nro,nosuid,nodev,noexec,noatime\n"
    );
    assert!(source.join("x").exists());
}

#[test]
fn a_recursive_read_only_mount_leaves_no_gap() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "for d in /plain /recursive; do touch $d/shm/keelson-test 2>/dev/null && rm $d/shm/keelson-test; echo $?; done";
    let mut bundle = Bundle::script(directory.path(), "rro", script);
    bundle.mount(json!({ "destination": "/plain", "type": "bind", "source": "/dev", "options": ["rbind", "ro"] }));
    bundle.mount(json!({ "destination": "/recursive", "type": "bind", "source": "/dev", "options": ["rbind", "rro"] }));
    assert_eq!(helper.sh("rro", &bundle.config), "0\n1\n");
}

#[test]
fn a_missing_source_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::new(directory.path(), "missing", &["true"]);
    bundle.mount(
        json!({ "destination": "/x", "type": "bind", "source": "/no/such", "options": ["rbind"] }),
    );
    let error = helper.try_run("missing", &bundle.config, b"").unwrap_err();
    assert_eq!(
        (&error["kind"], &error["path"]),
        (&json!("mount-source-missing"), &json!("/no/such"))
    );
}

#[test]
fn tmpfs_takes_its_options_and_may_be_read_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "stat -c %a /t; grep ' /t ' /proc/self/mountinfo | grep -c size=1024k; \
                  touch /dev/x 2>/dev/null || echo closed; [ -c /dev/null ] && echo there";
    let mut bundle = Bundle::script(directory.path(), "tmpfs", script);
    bundle.mount(
        json!({ "destination": "/t", "type": "tmpfs", "options": ["size=1m", "mode=1700"] }),
    );
    bundle.config["mounts"][1]["options"] = json!(["nosuid", "mode=755", "ro"]);
    assert_eq!(
        helper.sh("tmpfs", &bundle.config),
        "1700\n1\nclosed\nthere\n"
    );
}

#[test]
fn the_root_can_be_read_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "touch /x 2>/dev/null || echo no; touch /dev/shm/x && echo yes; pwd";
    let mut bundle = Bundle::script(directory.path(), "readonly", script);
    bundle.config["root"]["readonly"] = true.into();
    bundle.config["process"]["cwd"] = "/new".into();
    assert_eq!(helper.sh("readonly", &bundle.config), "no\nyes\n/new\n");
}

#[test]
fn a_single_layer_without_upper_is_read_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(directory.path(), "view", "touch /x 2>/dev/null || echo no");
    bundle.config["keelson"]["rootfs"] =
        json!([{ "type": "overlay", "lower": [support::host::busybox()] }]);
    assert_eq!(helper.sh("view", &bundle.config), "no\n");
}

#[test]
fn many_layers_with_long_names() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(directory.path(), "layers", "ls /layers | wc -l; cat /top");
    let layers = tempfile::tempdir().unwrap();
    let mut lower = vec![support::host::busybox().to_path_buf()];
    for number in 0..120 {
        let long = format!(
            "{number}-{}",
            "x".repeat(if number % 2 == 0 { 64 } else { 250 })
        );
        let layer = layers.path().join(long);
        std::fs::create_dir_all(layer.join("layers")).unwrap();
        std::fs::write(layer.join(format!("layers/{number}")), "").unwrap();
        std::fs::write(layer.join("top"), format!("{number}\n")).unwrap();
        lower.insert(0, layer);
    }
    bundle.config["keelson"]["rootfs"][0]["lower"] = json!(lower);
    assert_eq!(helper.sh("layers", &bundle.config), "120\n119\n");
}

#[test]
fn devices_are_the_default_ones_and_those_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "for d in null zero full random urandom tty fuse; do stat -c '%n %t:%T %a' /dev/$d; done; \
                  for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; echo x >/dev/null && echo used; \
                  head -c1 /dev/fuse 2>&1";
    let mut bundle = Bundle::script(directory.path(), "devices", script);
    bundle.config["linux"]["devices"] =
        json!([{ "type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o600 }]);
    let finished = helper.run("devices", &bundle.config);
    assert_eq!(
        finished.stdout,
        "/dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/full 1:7 666\n/dev/random 1:8 666\n/dev/urandom 1:9 666\n\
         /dev/tty 5:0 666\n/dev/fuse a:e5 600\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n\
         pts/ptmx\nused\nhead: /dev/fuse: Operation not permitted\n",
        "made, but not allowed by the devices cgroup"
    );
}

#[test]
fn what_is_masked_cannot_be_read_and_what_is_read_only_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "wc -c </proc/timer_list; ls -A /sys/firmware /proc/acpi 2>/dev/null | grep -v : | wc -w; \
                  echo 1 >/proc/sys/kernel/panic; echo b >/proc/sysrq-trigger; \
                  mount -o remount,rw /proc/sys; umount /proc/timer_list";
    let bundle = Bundle::script(directory.path(), "masks", script);
    let finished = helper.run("masks", &bundle.config);
    assert_eq!(finished.stdout, "0\n0\n");
    for refused in [
        "/proc/sys/kernel/panic: Read-only",
        "sysrq-trigger: Read-only",
        "remount",
        "umount",
    ] {
        assert!(
            finished.stderr.contains(refused) || finished.stderr.contains("permitted"),
            "{}",
            finished.stderr
        );
    }
    assert_eq!(finished.stderr.lines().count(), 4, "{}", finished.stderr);
}

/// Mount points that are links out of the root: the kernel keeps them inside.
#[test]
fn links_of_the_image_do_not_lead_mounts_outside() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let outside = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("file"), "data\n").unwrap();
    let mut bundle = Bundle::script(directory.path(), "links", "cat /up/file /relative/file");
    bundle.image(|layer| {
        symlink(outside.path(), layer.join("absolute")).unwrap();
        symlink("../../../../..", layer.join("up")).unwrap();
        symlink("tmp", layer.join("relative")).unwrap();
        symlink(outside.path().join("made"), layer.join("dangling")).unwrap();
    });
    bundle.mount(json!({ "destination": "/relative", "type": "bind", "source": data.path(), "options": ["rbind"] }));
    bundle.mount(json!({ "destination": "/up/file", "source": data.path().join("file"), "options": ["bind"] }));
    assert_eq!(helper.sh("links", &bundle.config), "data\ndata\n");

    // What leads to nothing is made, inside.
    for target in ["/absolute", "/dangling/x"] {
        let mut bundle = Bundle::script(directory.path(), "inside", &format!("cat {target}/file"));
        bundle.image(|layer| {
            symlink(outside.path(), layer.join("absolute")).unwrap();
            symlink(outside.path().join("made"), layer.join("dangling")).unwrap();
        });
        bundle.mount(json!({ "destination": target, "type": "bind", "source": data.path(), "options": ["rbind"] }));
        assert_eq!(helper.sh("inside", &bundle.config), "data\n", "{target}");
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

/// CVE-2019-16884, CVE-2025-52881: /proc that is a link would have the masks and writes land elsewhere.
#[test]
fn proc_and_sys_must_not_be_links() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    for name in ["proc", "sys"] {
        let mut bundle = Bundle::new(directory.path(), "proc", &["true"]);
        let rootfs = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(support::host::busybox()).unwrap() {
            let entry = entry.unwrap().file_name();
            if entry.to_str() != Some(name) {
                std::fs::create_dir(rootfs.path().join(entry)).unwrap();
            }
        }
        symlink("/tmp", rootfs.path().join(name)).unwrap();
        bundle.config["keelson"]["rootfs"][0]["lower"] = json!([rootfs.path()]);
        let error = helper.try_run("proc", &bundle.config, b"").unwrap_err();
        assert_eq!(
            (&error["path"], &error["errno"]),
            (&json!(format!("/{name}")), &json!(40)),
            "{error}"
        );
    }
}

/// CVE-2025-31133, CVE-2025-52565: devices and masks never use what the image has under their names.
#[test]
fn devices_of_the_image_are_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let victim = directory.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    let script = "[ -c /dev/null ] && [ ! -L /dev/null ] && echo real; wc -c </proc/timer_list; echo x >/proc/timer_list";
    let mut bundle = Bundle::script(directory.path(), "devices", script);
    bundle.image(|layer| {
        std::fs::create_dir(layer.join("dev")).unwrap();
        symlink("/proc/sys/kernel/core_pattern", layer.join("dev/null")).unwrap();
        symlink(&victim, layer.join("dev/zero")).unwrap();
    });
    // No tmpfs on /dev: the devices are made in the image's own directory.
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev");
    bundle.config["keelson"]["stdio"]["stdin"] = "pipe".into();
    let finished = helper.try_run("devices", &bundle.config, b"").unwrap();
    assert_eq!(finished.stdout, "real\n0\n", "{finished:?}");
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "untouched");
}

/// CVE-2024-21626: a working directory by way of a descriptor of the host.
#[test]
fn the_working_directory_is_inside() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    for number in 0..20 {
        let mut bundle = Bundle::new(directory.path(), "cwd", &["pwd"]);
        bundle.config["process"]["cwd"] = format!("/proc/self/fd/{number}").into();
        let error = helper.try_run("cwd", &bundle.config, b"").unwrap_err();
        assert!(
            error["step"]
                .as_str()
                .unwrap()
                .contains("working directory"),
            "{error}"
        );
    }
    let mut bundle = Bundle::new(directory.path(), "cwd", &["pwd"]);
    bundle.image(|layer| symlink("/proc/self/fd/7", layer.join("work")).unwrap());
    bundle.config["process"]["cwd"] = "/work".into();
    assert!(helper.try_run("cwd", &bundle.config, b"").is_err());
}

#[test]
fn the_hosts_mounts_are_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::script(
        directory.path(),
        "alone",
        "cut -d' ' -f5 /proc/self/mountinfo; ls -A /..",
    );
    let printed = helper.sh("alone", &bundle.config);
    assert!(
        !printed.contains(directory.path().to_str().unwrap()),
        "{printed}"
    );
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!before.contains(bundle.directory.to_str().unwrap()));
}

#[test]
fn sysctls_cannot_name_other_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    for name in [
        "net/../../1/oom_score_adj",
        "/etc/passwd",
        "..",
        "kernel.//.//.x",
    ] {
        let mut bundle = Bundle::new(directory.path(), "sysctl", &["true"]);
        bundle.config["linux"]["sysctl"] = json!({ name: "1" });
        let error = helper.error(
            "run",
            json!({ "container": "sysctl", "config": bundle.config }),
        );
        assert_eq!(error["kind"], "config-invalid");
    }
}

//! A plan like those that the engine computes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::host::{busybox, hierarchies};

const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

const MASKED: [&str; 7] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/scsi",
    "/proc/no-such-file",
    "/sys/firmware",
];
const READONLY: [&str; 4] = ["/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A container's directory and its configuration, to be changed before the run.
pub struct Bundle {
    pub id: String,
    pub directory: PathBuf,
    pub config: Value,
}

impl Bundle {
    /// Runs `args`, in all namespaces and its own cgroups. Ids are unique within the test's process.
    pub fn new(parent: &Path, id: &str, args: &[&str]) -> Bundle {
        let directory = parent.join(id);
        for name in ["root", "upper", "work"] {
            std::fs::create_dir_all(directory.join(name)).unwrap();
        }
        let config = json!({
            "ociVersion": "1.2.0",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": args,
                "env": ["PATH=/bin:/usr/bin", "HOME=/root"],
                "cwd": "/",
                "capabilities": {
                    "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
                },
                "noNewPrivileges": true,
            },
            "root": { "path": directory.join("root") },
            "hostname": id,
            "mounts": mounts(),
            "linux": {
                "namespaces": [
                    { "type": "mount" }, { "type": "uts" }, { "type": "pid" },
                    { "type": "ipc" }, { "type": "cgroup" }, { "type": "network" },
                ],
                "maskedPaths": MASKED,
                "readonlyPaths": READONLY,
                "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            },
            "keelson": {
                "rootfs": [{
                    "type": "overlay",
                    "lower": [busybox()],
                    "upper": directory.join("upper"),
                    "work": directory.join("work"),
                }],
                "stdio": { "stdin": "null", "stdout": "pipe", "stderr": "pipe" },
                "init": false,
                "cgroups": cgroups(id),
                "bundle": directory,
                "remove": [],
                "loopback": true,
                "ulimitClamp": true,
            },
        });
        Bundle {
            id: id.into(),
            directory,
            config,
        }
    }

    pub fn script(parent: &Path, id: &str, script: &str) -> Bundle {
        Bundle::new(parent, id, &["sh", "-c", script])
    }

    pub fn mount(&mut self, mount: Value) {
        self.config["mounts"].as_array_mut().unwrap().push(mount);
    }

    /// The directories of its cgroups.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let cgroups = &self.config["keelson"]["cgroups"];
        let v1 = cgroups["v1"].as_object().unwrap().values();
        v1.chain([&cgroups["v2"]])
            .filter_map(Value::as_str)
            .map(PathBuf::from)
            .collect()
    }

    /// Another lower directory on top of busybox: what an image brings.
    pub fn image(&mut self, make: impl FnOnce(&Path)) {
        let layer = self.directory.join("layer");
        std::fs::create_dir(&layer).unwrap();
        make(&layer);
        let lower = self.config["keelson"]["rootfs"][0]["lower"]
            .as_array_mut()
            .unwrap();
        lower.insert(0, json!(layer));
    }
}

fn mounts() -> Value {
    json!([
        { "destination": "/proc", "type": "proc", "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/dev", "type": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        { "destination": "/sys", "type": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
        { "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "nosuid", "noexec", "nodev"] },
        { "destination": "/dev/mqueue", "type": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/dev/shm", "type": "tmpfs", "options": ["nosuid", "noexec", "nodev", "mode=1777"] },
    ])
}

/// Tests of a file run at once, and may use the same ids.
fn cgroups(id: &str) -> Value {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let own = |mount: PathBuf| mount.join(format!("keelson-test-{process}-{count}-{id}"));
    let hierarchies = hierarchies();
    let v1: serde_json::Map<String, Value> = hierarchies
        .v1
        .into_iter()
        .map(|(name, mount)| (name, json!(own(mount))))
        .collect();
    json!({ "v2": hierarchies.v2.map(own), "v1": v1 })
}

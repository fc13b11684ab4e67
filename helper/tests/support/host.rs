//! What the tests need of this host.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A root file system of busybox alone, shared by all tests of a file: nobody writes to it.
pub fn busybox() -> &'static Path {
    static ROOTFS: OnceLock<tempfile::TempDir> = OnceLock::new();
    ROOTFS
        .get_or_init(|| make_busybox(tempfile::tempdir().unwrap()))
        .path()
}

fn make_busybox(directory: tempfile::TempDir) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    assert!(
        rustix::process::getuid().is_root(),
        "these tests make containers and must run as root"
    );
    let root = directory.path();
    for name in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
        std::fs::create_dir(root.join(name)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox"))
        .expect("/bin/busybox is missing: install the Debian package busybox-static");
    let listed = std::process::Command::new("/bin/busybox")
        .arg("--list")
        .output()
        .unwrap();
    for applet in String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .filter(|name| *name != "busybox")
    {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::fs::set_permissions(root, PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

/// Where cgroup hierarchies are mounted: v2, and v1 by controllers.
pub struct Hierarchies {
    pub v2: Option<PathBuf>,
    pub v1: BTreeMap<String, PathBuf>,
}

pub fn hierarchies() -> Hierarchies {
    let mut found = Hierarchies {
        v2: None,
        v1: BTreeMap::new(),
    };
    for line in std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
    {
        let (mount, file_system) = line.split_once(" - ").unwrap();
        let path = PathBuf::from(mount.split(' ').nth(4).unwrap());
        let mut file_system = file_system.split(' ');
        match file_system.next() {
            Some("cgroup2") => found.v2 = Some(path),
            Some("cgroup") => {
                let options = file_system.nth(1).unwrap().split(',');
                let controllers: Vec<_> = options
                    .filter(|word| !matches!(*word, "rw" | "xattr"))
                    .collect();
                found.v1.insert(controllers.join(","), path);
            }
            _ => {}
        }
    }
    found
}

/// Processes whose parent is `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect()
}

/// A handle by which the end of a process that is not our child can be waited for.
pub fn watch(pid: u32) -> std::os::fd::OwnedFd {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
}

pub fn wait_for_end(pidfd: &std::os::fd::OwnedFd) {
    let mut ready = [rustix::event::PollFd::new(
        pidfd,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut ready, None).unwrap();
}

/// Both ends of a terminal of this size.
pub fn terminal(rows: u16, columns: u16) -> (std::fs::File, std::fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
    let size = rustix::termios::Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&slave, size).unwrap();
    (master.into(), slave.into())
}

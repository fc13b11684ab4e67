//! Operations on files over the wire: probe, fs.read, and layers as an ordinary user.

#[allow(unused_imports)] // no containers in here
mod support;

use std::ffi::CString;
use std::fs::{create_dir_all, set_permissions, write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::Helper;

const UID: u32 = 64_322;

fn single() -> Value {
    json!({
        "uidMappings": [{ "containerID": 0, "hostID": UID, "size": 1 }],
        "gidMappings": [{ "containerID": 0, "hostID": UID, "size": 1 }],
        "setgroups": "deny",
    })
}

/// A directory of the ordinary user's.
fn own_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    chown(directory.path(), Some(UID), Some(UID)).unwrap();
    directory
}

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// Other tests mount elsewhere at the same time.
fn is_mounted_in(directory: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.contains(directory.to_str().unwrap())
}

#[test]
fn a_probe_tells_what_is_possible_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let facts = Helper::start().ok("probe", json!({ "directory": directory.path() }));
    for fact in [
        "overlay",
        "overlayUserxattr",
        "openat2",
        "cloneIntoCgroup",
        "mountSetattr",
    ] {
        assert_eq!(facts[fact], json!({ "ok": true }), "{fact}");
    }
    for (kind, fact) in facts["namespaces"].as_object().unwrap() {
        assert_eq!(fact, &json!({ "ok": true }), "{kind}");
    }
    let actions = facts["seccompActions"].as_array().unwrap();
    assert!(actions.contains(&json!("SCMP_ACT_ERRNO")));
    let capabilities = facts["capabilities"].as_array().unwrap();
    assert!(capabilities.contains(&json!("CAP_SYS_ADMIN")));
    assert_eq!(
        (&facts["uid"], &facts["pageSize"]),
        (&json!(0), &json!(4096))
    );
    assert_eq!(entries(directory.path()), 0);
    assert!(!is_mounted_in(directory.path()));
}

#[test]
fn many_probes_at_once() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let facts = Helper::start().ok("probe", json!({ "directory": directory.path() }));
                assert_eq!(facts["overlay"], json!({ "ok": true }));
            });
        }
    });
    assert_eq!(entries(directory.path()), 0);
}

#[test]
fn a_probe_on_a_file_system_that_cannot_hold_an_upper_directory() {
    // The probe's own directory is on an overlay, which refuses to be the upper layer of another one.
    let directory = tempfile::tempdir().unwrap();
    for part in ["lower", "upper", "work", "merged"] {
        create_dir_all(directory.path().join(part)).unwrap();
    }
    let path = |part: &str| directory.path().join(part).to_str().unwrap().to_owned();
    let options = CString::new(format!(
        "lowerdir={},upperdir={},workdir={}",
        path("lower"),
        path("upper"),
        path("work")
    ));
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount(
        "o",
        path("merged"),
        "overlay",
        flags,
        options.unwrap().as_c_str(),
    )
    .unwrap();
    let facts = Helper::start().ok("probe", json!({ "directory": path("merged") }));
    rustix::mount::unmount(path("merged"), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(facts["overlay"], json!({ "ok": false, "errno": "EINVAL" }));
    assert_eq!(entries(&directory.path().join("upper")), 0);
}

#[test]
fn what_a_killed_probe_left_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    create_dir_all(directory.path().join(".probe-1/lower/d")).unwrap();
    Helper::start().ok("probe", json!({ "directory": directory.path() }));
    assert_eq!(entries(directory.path()), 0);
}

#[test]
fn an_ordinary_user_probes() {
    let directory = own_directory();
    let facts =
        Helper::start_as(UID, UID, single()).ok("probe", json!({ "directory": directory.path() }));
    assert_eq!(facts["overlayUserxattr"], json!({ "ok": true }));
    // Without `userxattr` overlay needs `trusted.*`, which only the host's root may set.
    assert_eq!(facts["overlay"]["ok"], json!(false));
    assert_eq!(facts["uid"], json!(0));
    assert_eq!(entries(directory.path()), 0);
}

#[test]
fn files_are_read_inside_of_the_root() {
    let directory = tempfile::tempdir().unwrap();
    let (low, high) = (directory.path().join("low"), directory.path().join("high"));
    create_dir_all(low.join("etc")).unwrap();
    create_dir_all(high.join("etc")).unwrap();
    write(low.join("etc/passwd"), "low").unwrap();
    write(low.join("etc/group"), "group").unwrap();
    write(high.join("etc/passwd"), "high").unwrap();
    write(directory.path().join("secret"), "secret").unwrap();
    symlink("/etc/group", high.join("absolute")).unwrap();
    symlink("../../../../../../../etc/group", high.join("relative")).unwrap();
    symlink("../secret", high.join("escape")).unwrap();
    symlink("/proc/self/root/etc/hostname", high.join("magic")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, high.join("fifo"), fifo, 0o600.into(), 0).unwrap();
    let null = rustix::fs::makedev(1, 3);
    let device = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        high.join("null"),
        device,
        0o666.into(),
        null,
    )
    .unwrap();

    let answer = Helper::start().ok(
        "fs.read",
        json!({
            "rootfs": [{ "type": "overlay", "lower": [&high, &low] }],
            "paths": ["/etc/passwd", "etc/group", "absolute", "relative", "../../etc/passwd", "escape", "magic",
                      "fifo", "null", "etc", "missing"],
            "limit": 5,
        }),
    );
    assert_eq!(
        answer["files"],
        json!([
            { "data": "aGlnaA==" },
            { "data": "Z3JvdXA=" },
            { "data": "Z3JvdXA=" },
            { "data": "Z3JvdXA=" },
            { "data": "aGlnaA==" },
            { "errno": "ENOENT" },
            { "errno": "ENOENT" },
            { "errno": "EINVAL" },
            { "errno": "EINVAL" },
            { "errno": "EISDIR" },
            { "errno": "ENOENT" },
        ])
    );
    assert!(!is_mounted_in(directory.path()));
}

#[test]
fn a_file_over_the_limit_is_not_cut() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path().join("f"), "123456").unwrap();
    let rootfs = json!([{ "type": "bind", "source": directory.path() }]);
    let answer = Helper::start().ok(
        "fs.read",
        json!({ "rootfs": rootfs, "paths": ["f"], "limit": 5 }),
    );
    assert_eq!(answer["files"], json!([{ "errno": "EFBIG" }]));
}

#[test]
fn what_a_container_has_written_is_read_too() {
    let directory = tempfile::tempdir().unwrap();
    for part in ["lower", "upper", "work"] {
        create_dir_all(directory.path().join(part)).unwrap();
    }
    write(directory.path().join("lower/f"), "old").unwrap();
    write(directory.path().join("upper/f"), "new").unwrap();
    let rootfs = json!([{
        "type": "overlay",
        "lower": [directory.path().join("lower")],
        "upper": directory.path().join("upper"),
        "work": directory.path().join("work"),
        "options": ["volatile"],
    }]);
    let answer = Helper::start().ok(
        "fs.read",
        json!({ "rootfs": rootfs, "paths": ["f"], "limit": 5 }),
    );
    assert_eq!(answer["files"], json!([{ "data": "bmV3" }]));
    assert_eq!(entries(&directory.path().join("work")), 0);
}

#[test]
fn an_ordinary_user_applies_reads_and_removes_a_layer() {
    let directory = own_directory();
    let source = directory.path().join("source");
    create_dir_all(source.join("etc")).unwrap();
    write(source.join("etc/passwd"), "root").unwrap();
    create_dir_all(source.join("closed/inside")).unwrap();
    set_permissions(source.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    let blob = directory.path().join("blob");
    let tar = Command::new("tar")
        .args(["-czf"])
        .arg(&blob)
        .arg("-C")
        .arg(&source)
        .arg(".")
        .status();
    assert!(tar.unwrap().success());
    let target = directory.path().join("target");
    std::fs::create_dir(&target).unwrap();
    chown(&target, Some(UID), Some(UID)).unwrap();

    let mut helper = Helper::start_as(UID, UID, single());
    let applied = helper.ok(
        "layer.apply",
        json!({
            "source": blob, "size": blob.metadata().unwrap().len(), "follow": false, "compression": "gzip",
            "target": target, "format": "overlay-userxattr", "devices": "skip",
            "limits": { "bytes": 1_000_000, "entries": 100, "ratio": 100 },
        }),
    );
    assert_eq!(applied["entries"], json!(5));
    assert_eq!(applied["inherited"], json!([]));
    let rootfs = json!([{ "type": "overlay", "lower": [&target], "options": ["userxattr"] }]);
    let answer = helper.ok(
        "fs.read",
        json!({ "rootfs": rootfs, "paths": ["etc/passwd"], "limit": 5 }),
    );
    assert_eq!(answer["files"], json!([{ "data": "cm9vdA==" }]));
    helper.ok("tree.remove", json!({ "paths": [&target] }));
    assert!(!target.exists());
}

#[test]
fn an_unmappable_owner_is_told() {
    let directory = own_directory();
    let blob = directory.path().join("blob");
    write(directory.path().join("f"), "").unwrap();
    chown(directory.path().join("f"), Some(5), Some(5)).unwrap();
    let tar = Command::new("tar")
        .args(["-cf"])
        .arg(&blob)
        .arg("-C")
        .arg(directory.path())
        .arg("f")
        .status();
    assert!(tar.unwrap().success());
    let target = directory.path().join("target");
    std::fs::create_dir(&target).unwrap();
    chown(&target, Some(UID), Some(UID)).unwrap();
    let failure = Helper::start_as(UID, UID, single()).error(
        "layer.apply",
        json!({
            "source": blob, "size": blob.metadata().unwrap().len(), "follow": false, "compression": "none",
            "target": target, "format": "overlay-userxattr", "devices": "skip",
            "limits": { "bytes": 1_000_000, "entries": 100, "ratio": 100 },
        }),
    );
    assert_eq!(failure["kind"], json!("id-unmapped"));
    assert_eq!(failure["path"], json!("f"));
}

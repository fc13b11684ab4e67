use std::fs::{File, create_dir, create_dir_all, hard_link, read, read_link, write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};

use super::{DEPTH, Mounted, deep_tree, make_device};
use crate::error::Result;
use crate::fs::copy as copy_tree;
use crate::fs::remove::remove_path;

fn copy(from: &Path, to: &Path) -> Result<u64> {
    let args = serde_json::from_value(serde_json::json!({ "from": from, "to": to })).unwrap();
    copy_tree(&args).map(|copied| copied.bytes)
}

/// Everything that must be the same, of one file.
fn facts(path: &Path) -> (u32, u32, u32, u64, i64, i64, u64, Vec<u8>) {
    let meta = path.symlink_metadata().unwrap();
    let content = if meta.is_file() {
        read(path).unwrap()
    } else if meta.is_symlink() {
        read_link(path)
            .unwrap()
            .into_os_string()
            .into_encoded_bytes()
    } else {
        Vec::new()
    };
    let length = if meta.is_dir() { 0 } else { meta.len() };
    (
        meta.mode(),
        meta.uid(),
        meta.gid(),
        length,
        meta.mtime(),
        meta.mtime_nsec(),
        meta.rdev(),
        content,
    )
}

fn xattr(path: &Path, name: &str) -> Vec<u8> {
    let mut value = vec![0; 256];
    let length = lgetxattr(path, name, &mut value[..]).unwrap();
    value.truncate(length);
    value
}

#[test]
fn everything_is_preserved() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    create_dir_all(from.join("d/e")).unwrap();
    write(from.join("d/suid"), vec![7; 300_000]).unwrap();
    chown(from.join("d/suid"), Some(5), Some(6)).unwrap();
    std::fs::set_permissions(from.join("d/suid"), PermissionsExt::from_mode(0o6755)).unwrap();
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    lsetxattr(
        from.join("d/suid"),
        "security.capability",
        capability,
        XattrFlags::empty(),
    )
    .unwrap();
    lsetxattr(
        from.join("d"),
        "trusted.overlay.opaque",
        b"y",
        XattrFlags::empty(),
    )
    .unwrap();
    symlink("../outside", from.join("d/link")).unwrap();
    lchown(from.join("d/link"), Some(7), Some(8)).unwrap();
    lsetxattr(
        from.join("d/link"),
        "trusted.t",
        b"\0\xff",
        XattrFlags::empty(),
    )
    .unwrap();
    make_device(&from.join("d/null"), 1, 3);
    make_device(&from.join("d/whiteout"), 0, 0);
    write(from.join("empty"), "").unwrap();
    for name in ["d/suid", "d/e", "d", ""] {
        let time = UNIX_EPOCH + Duration::new(1_000_000, 123_456_789);
        File::open(from.join(name))
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    let bytes = copy(&from, &to).unwrap();
    assert_eq!(bytes, 300_000);
    for name in [
        "",
        "d",
        "d/e",
        "d/suid",
        "d/link",
        "d/null",
        "d/whiteout",
        "empty",
    ] {
        assert_eq!(facts(&from.join(name)), facts(&to.join(name)), "{name}");
    }
    assert_eq!(xattr(&to.join("d/suid"), "security.capability"), capability);
    assert_eq!(xattr(&to.join("d"), "trusted.overlay.opaque"), b"y");
    assert_eq!(xattr(&to.join("d/link"), "trusted.t"), b"\0\xff");
}

#[test]
fn names_of_one_file_stay_names_of_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    create_dir_all(from.join("d")).unwrap();
    write(from.join("d/a"), "x").unwrap();
    hard_link(from.join("d/a"), from.join("b")).unwrap();
    symlink("x", from.join("s")).unwrap();
    hard_link(from.join("s"), from.join("d/t")).unwrap();
    copy(&from, &to).unwrap();
    let inode = |name: &str| to.join(name).symlink_metadata().unwrap().ino();
    assert_eq!(inode("d/a"), inode("b"));
    assert_eq!(inode("d/t"), inode("s"));
    assert_ne!(inode("b"), from.join("b").metadata().unwrap().ino());
}

#[test]
fn holes_stay_holes() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    create_dir(&from).unwrap();
    let file = File::create(from.join("f")).unwrap();
    file.write_at(b"begin", 0).unwrap();
    file.write_at(b"middle", 32 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    let bytes = copy(&from, &to).unwrap();
    assert!(bytes < 1 << 20);
    assert_eq!(read(from.join("f")).unwrap(), read(to.join("f")).unwrap());
    assert!(to.join("f").metadata().unwrap().blocks() * 512 < 1 << 20);
}

#[test]
fn only_into_an_empty_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    create_dir_all(&from).unwrap();
    create_dir_all(&to).unwrap();
    copy(&from, &to).unwrap();
    write(to.join("f"), "").unwrap();
    assert!(copy(&from, &to).is_err());
    assert!(copy(&dir.path().join("missing"), &to).is_err());
}

#[test]
fn a_mounted_file_system_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let place = from.join("mounted");
    create_dir_all(&place).unwrap();
    let _mounted = Mounted::tmpfs(&place);
    let failure = copy(&from, &to).unwrap_err();
    assert_eq!(failure.kind, Some("busy"));
    assert_eq!(failure.path.as_deref(), place.to_str());
}

#[test]
fn any_depth() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    deep_tree(&from);
    copy(&from, &to).unwrap();
    let args = serde_json::from_value(serde_json::json!({ "path": to })).unwrap();
    let used = serde_json::to_value(crate::fs::usage(&args).unwrap()).unwrap();
    assert_eq!(used["inodes"], DEPTH + 2);
    remove_path(&from).unwrap();
    remove_path(&to).unwrap();
}

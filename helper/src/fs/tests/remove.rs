use std::fs::{create_dir, create_dir_all, read_to_string, write};
use std::os::unix::fs::symlink;

use super::{DEPTH, Mounted, deep_tree, make_device};
use crate::fs::remove::remove_path;

#[test]
fn every_kind_of_file() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    create_dir_all(root.join("a/b/c")).unwrap();
    for name in ["file", "a/file", "a/b/c/file"] {
        write(root.join(name), "x").unwrap();
    }
    symlink("nowhere", root.join("dangling")).unwrap();
    make_device(&root.join("a/null"), 1, 3);
    remove_path(&root).unwrap();
    assert!(!root.exists());
    remove_path(&root).unwrap();
    remove_path(&dir.path().join("no/such/parent")).unwrap();
    write(&root, "a file").unwrap();
    remove_path(&root).unwrap();
    assert!(!root.exists());
}

#[test]
fn several_may_remove_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    for _ in 0..50 {
        for name in ["a", "b", "c"] {
            create_dir_all(root.join(name).join("below/that/and/more")).unwrap();
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| remove_path(&root).unwrap());
            }
        });
        assert!(!root.exists());
    }
}

#[test]
fn links_are_removed_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    create_dir(&root).unwrap();
    create_dir(&outside).unwrap();
    write(outside.join("precious"), "kept").unwrap();
    symlink(&outside, root.join("link")).unwrap();
    remove_path(&root).unwrap();
    symlink(&outside, &root).unwrap();
    remove_path(&root).unwrap();
    assert!(root.symlink_metadata().is_err());
    assert_eq!(read_to_string(outside.join("precious")).unwrap(), "kept");
}

#[test]
fn a_mounted_file_system_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let place = root.join("a/mounted");
    create_dir_all(&place).unwrap();
    {
        let _mounted = Mounted::tmpfs(&place);
        for path in [&root, &place] {
            let failure = remove_path(path).unwrap_err();
            assert_eq!(failure.kind, Some("busy"), "{failure}");
            assert_eq!(failure.path.as_deref(), place.to_str());
        }
        assert_eq!(read_to_string(place.join("precious")).unwrap(), "kept");
    }
    remove_path(&root).unwrap();
    assert!(!root.exists());
}

#[test]
fn a_mounted_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    create_dir(&root).unwrap();
    write(root.join("f"), "below").unwrap();
    rustix::mount::mount_bind("/etc/hostname", root.join("f")).unwrap();
    let failure = remove_path(&root).unwrap_err();
    let flags = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(root.join("f"), flags).unwrap();
    assert_eq!(failure.kind, Some("busy"));
    assert_eq!(read_to_string(root.join("f")).unwrap(), "below");
}

#[test]
fn any_depth() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    deep_tree(&root);
    const { assert!(DEPTH > 2048) };
    remove_path(&root).unwrap();
    assert!(!root.exists());
}

use std::fs::{create_dir, create_dir_all, hard_link, write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{DEPTH, Mounted, deep_tree};
use crate::fs::usage;

fn measure(path: &Path) -> (u64, u64) {
    let args = serde_json::from_value(serde_json::json!({ "path": path })).unwrap();
    let used = serde_json::to_value(usage(&args).unwrap()).unwrap();
    (
        used["bytes"].as_u64().unwrap(),
        used["inodes"].as_u64().unwrap(),
    )
}

#[test]
fn blocks_are_counted_once_for_all_names() {
    let dir = tempfile::tempdir().unwrap();
    let empty = measure(dir.path());
    assert_eq!(empty.1, 1);
    create_dir(dir.path().join("d")).unwrap();
    write(dir.path().join("d/f"), vec![1; 100_000]).unwrap();
    hard_link(dir.path().join("d/f"), dir.path().join("g")).unwrap();
    let directory = dir.path().join("d").metadata().unwrap().blocks() * 512;
    let file = dir.path().join("g").metadata().unwrap().blocks() * 512;
    assert_eq!(measure(dir.path()), (empty.0 + directory + file, 3));
}

#[test]
fn holes_take_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let empty = measure(dir.path()).0;
    let file = std::fs::File::create(dir.path().join("f")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert_eq!(measure(dir.path()), (empty, 2));
}

#[test]
fn mounted_file_systems_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("mounted");
    create_dir_all(&place).unwrap();
    let before = measure(dir.path());
    let _mounted = Mounted::tmpfs(&place);
    assert_eq!(measure(dir.path()).1, before.1 - 1);
}

#[test]
fn any_depth() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    deep_tree(&root);
    assert_eq!(measure(&root).1, DEPTH as u64 + 2);
    crate::fs::remove::remove_path(&root).unwrap();
}

//! Archives out of and into root file systems, and what changed in one.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{Bench, name_of};
use crate::layer::tar::tests::builder::{Archive, Block};
use crate::layer::tar::{Entry, Kind, Reader};
use crate::layer::{create, extract};

/// What Node does with an offered stream.
fn open(progress: &Value, write: bool) -> std::fs::File {
    let path = format!("/proc/self/fd/{}", progress["stream"]["fd"]);
    let mut options = std::fs::File::options();
    options.read(!write).write(write).open(path).unwrap()
}

fn extracted(args: Value, archive: &[u8]) -> crate::error::Result<Value> {
    std::thread::scope(|scope| {
        let args = serde_json::from_value(args).unwrap();
        extract(&args, &mut |progress| {
            let mut pipe = open(&progress, true);
            let archive = archive.to_vec();
            scope.spawn(move || {
                let _ = pipe.write_all(&archive);
            });
        })
    })
}

fn created(args: Value) -> crate::error::Result<Vec<u8>> {
    std::thread::scope(|scope| {
        let args = serde_json::from_value(args).unwrap();
        let mut reading = None;
        let outcome = create(&args, &mut |progress| {
            let mut pipe = open(&progress, false);
            reading = Some(scope.spawn(move || {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).unwrap();
                bytes
            }));
        });
        outcome.map(|_| reading.unwrap().join().unwrap())
    })
}

fn entries(archive: &[u8]) -> Vec<Entry> {
    let mut reader = Reader::new(archive);
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

fn into(bench: &Bench, path: &str) -> Value {
    json!({ "directory": bench.target(), "path": path, "devices": "create" })
}

#[test]
fn names_of_whiteouts_are_names() {
    let bench = Bench::new();
    let archive = Archive::new()
        .file(b".wh.a", b"1")
        .file(b"d/.wh..wh..opq", b"2")
        .end();
    extracted(into(&bench, "/"), &archive).unwrap();
    assert_eq!(
        (bench.read(".wh.a"), bench.read("d/.wh..wh..opq")),
        ("1".into(), "2".into())
    );
}

#[test]
fn owners_and_modes_as_the_caller_says() {
    let bench = Bench::new();
    let archive = Archive::new()
        .directory(b"d")
        .entry(Block::new(b"d/f", b'0').mode(0o4755).owner(7, 8), b"x")
        .end();
    let mut args = into(&bench, "/in");
    args["create"] = true.into();
    args["uid"] = 1000.into();
    args["mode"] = 0o640.into();
    extracted(args, &archive).unwrap();
    let facts = |name: &str| {
        let meta = bench.at(name).metadata().unwrap();
        (meta.mode() & 0o7777, meta.uid(), meta.gid())
    };
    assert_eq!(facts("in/d"), (0o750, 1000, 0));
    assert_eq!(facts("in/d/f"), (0o640, 1000, 8));
}

#[test]
fn links_mean_the_root_and_not_the_directory() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.at("data")).unwrap();
    std::fs::create_dir_all(bench.at("etc")).unwrap();
    symlink("/etc", bench.at("data/link")).unwrap();
    symlink("../../../../outside", bench.at("data/out")).unwrap();
    let archive = Archive::new()
        .file(b"link/f", b"in etc")
        .file(b"out/secret", b"changed")
        .end();
    extracted(into(&bench, "/data"), &archive).unwrap();
    assert_eq!(bench.read("etc/f"), "in etc");
    assert_eq!(bench.read("outside/secret"), "changed"); // inside of the target
    let outside = std::fs::read_to_string(bench.path().join("outside/secret")).unwrap();
    assert_eq!(outside, "untouched");
}

#[test]
fn dots_are_refused() {
    let bench = Bench::new();
    let archive = Archive::new().file(b"../up", b"x").end();
    let failure = extracted(into(&bench, "/"), &archive).unwrap_err();
    assert_eq!(failure.kind, Some("layer-invalid"));
}

#[test]
fn tame_files_have_no_powers() {
    let bench = Bench::new();
    let archive = Archive::new()
        .pax(&[(b"SCHILY.xattr.user.x", b"1")])
        .entry(Block::new(b"f", b'0').mode(0o6755).owner(3, 3), b"x")
        .entry(Block::new(b"null", b'3').device(1, 3), b"")
        .end();
    let args = json!({
        "directory": bench.target(), "path": "/", "devices": "skip", "tame": true, "uid": 0, "gid": 0,
    });
    extracted(args, &archive).unwrap();
    let meta = bench.at("f").metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o755, 0));
    assert!(!bench.exists("null"));
    assert_eq!(bench.xattr("f", "user.x"), None);
}

#[test]
fn a_tree_survives_the_way_out_and_in() {
    let bench = Bench::new();
    let strange = name_of(b"new\nline \xff");
    std::fs::create_dir_all(bench.at("a/b")).unwrap();
    std::fs::write(bench.at("a/f"), "content").unwrap();
    std::fs::write(bench.at("a").join(strange), "").unwrap();
    std::fs::hard_link(bench.at("a/f"), bench.at("a/b/g")).unwrap();
    symlink("/nowhere", bench.at("a/b/l")).unwrap();
    std::fs::set_permissions(bench.at("a/b"), PermissionsExt::from_mode(0o1770)).unwrap();
    rustix::fs::setxattr(
        bench.at("a/f"),
        "user.x",
        b"\0y",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let source = json!([{ "path": "/a", "name": "" }]);
    let bytes = created(json!({ "directory": bench.target(), "sources": source })).unwrap();
    let names: Vec<_> = entries(&bytes)
        .into_iter()
        .map(|entry| entry.path)
        .collect();
    let expected: [&[u8]; 6] = [
        b"./",
        b"b/",
        b"b/g",
        b"b/l",
        b"f",
        strange.as_encoded_bytes(),
    ];
    assert_eq!(names, expected);
    let mut args = into(&bench, "/copy");
    args["create"] = true.into();
    extracted(args, &bytes).unwrap();
    assert_eq!(bench.xattr("copy/f", "user.x").unwrap(), b"\0y");
    let inode = |name: &str| bench.at(name).metadata().unwrap().ino();
    assert_eq!(inode("copy/f"), inode("copy/b/g"));
    for name in ["", "/b", "/f", "/b/l"] {
        let of = |top: &str| {
            let meta = bench.at(format!("{top}{name}")).symlink_metadata().unwrap();
            (meta.mode(), meta.mtime(), meta.mtime_nsec())
        };
        assert_eq!(of("a"), of("copy"), "{name}");
    }
}

#[test]
fn a_hundred_thousand_entries() {
    let bench = Bench::new();
    std::fs::create_dir(bench.at("many")).unwrap();
    for index in 0..100_000 {
        std::fs::File::create(bench.at(format!("many/{index}"))).unwrap();
    }
    let source = json!([{ "path": "/many", "name": "many" }]);
    let bytes = created(json!({ "directory": bench.target(), "sources": source })).unwrap();
    assert_eq!(entries(&bytes).len(), 100_001);
}

/// Exchanges a directory and a link that leads out, as fast as can be, until told to stop.
fn swap(at: &Path, stop: &AtomicBool) {
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    while !stop.load(Ordering::Relaxed) {
        let _ = rustix::fs::renameat_with(
            rustix::fs::CWD,
            at.join("swap"),
            rustix::fs::CWD,
            at.join("other"),
            flags,
        );
    }
}

#[test]
fn swapped_links_lead_nowhere() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.at("swap")).unwrap();
    std::fs::write(bench.at("swap/secret"), "inside").unwrap();
    symlink(bench.path().join("outside"), bench.at("other")).unwrap();
    let stop = AtomicBool::new(false);
    let archive = Archive::new()
        .file(b"swap/secret", b"inside")
        .file(b"swap/new", b"inside")
        .hardlink(b"swap/linked", b"swap/secret")
        .directory(b"swap/deep")
        .end();
    std::thread::scope(|scope| {
        let (target, stop) = (bench.target(), &stop);
        scope.spawn(move || swap(&target, stop));
        for _ in 0..300 {
            let _ = extracted(into(&bench, "/"), &archive);
            let source = json!([{ "path": "/swap/secret", "name": "secret" }, { "path": "/", "name": "all" }]);
            let Ok(bytes) = created(json!({ "directory": bench.target(), "sources": source }))
            else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("untouched"), "a file of the host was read");
            assert!(
                entries(&bytes)
                    .iter()
                    .all(|entry| !matches!(&entry.kind, Kind::File) || entry.size == 6)
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
    let outside = bench.path().join("outside");
    assert_eq!(super::names(&outside), ["secret"]);
    assert_eq!(
        std::fs::read_to_string(outside.join("secret")).unwrap(),
        "untouched"
    );
}

#[test]
fn magic_links_are_refused() {
    let bench = Bench::new();
    std::fs::create_dir(bench.at("proc")).unwrap();
    // What a container shows of the host's processes.
    let source = |path: &str| json!([{ "path": path, "name": "x", "follow": true }]);
    for path in [
        "/proc/self/root",
        "/proc/self/cwd",
        "/proc/self/fd/0",
        "/proc/self/exe",
    ] {
        let outcome = created(json!({ "directory": "/", "sources": source(path) }));
        assert_eq!(outcome.unwrap_err().errno, Some(libc::ELOOP), "{path}");
    }
}

//! Archives written by the programs that people use.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use super::read_all;
use crate::layer::tar::{Entry, Kind};

/// A tree with a long name, a name of no character set, a sparse file, links, and times with nanoseconds.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    let deep = root.join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("long"), "long content").unwrap();
    std::fs::write(root.join(OsStr::from_bytes(b"caf\xe9")), "latin").unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    sparse.write_at(b"begin", 0).unwrap();
    sparse.write_at(b"end", 40 << 20).unwrap();
    std::fs::write(root.join("file"), "content").unwrap();
    std::fs::hard_link(root.join("file"), root.join("hard")).unwrap();
    symlink("t".repeat(150), root.join("symbolic")).unwrap();
    dir
}

fn run(dir: &Path, program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).current_dir(dir).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {message}");
}

fn check(dir: &Path, archive: &str, nanoseconds: bool) {
    let entries = read_all(&std::fs::read(dir.join(archive)).unwrap()).unwrap();
    let find = |name: &[u8]| -> &(Entry, Vec<u8>) {
        let named = |path: &[u8]| path.strip_suffix(b"/").unwrap_or(path) == name;
        entries
            .iter()
            .find(|(entry, _)| named(&entry.path))
            .unwrap()
    };
    let long = format!("tree/{}/{}/long", "d".repeat(120), "e".repeat(120));
    assert_eq!(find(long.as_bytes()).1, b"long content");
    assert_eq!(find(b"tree/caf\xe9").1, b"latin");
    let target = Kind::Symlink("t".repeat(150).into_bytes());
    assert_eq!(find(b"tree/symbolic").0.kind, target);
    let (sparse, content) = find(b"tree/sparse");
    assert_eq!(sparse.size, (40 << 20) + 3);
    assert_eq!(content, &std::fs::read(dir.join("tree/sparse")).unwrap());
    let links = |(entry, _): &&(Entry, Vec<u8>)| matches!(entry.kind, Kind::Hardlink(_));
    assert_eq!(entries.iter().filter(links).count(), 1);

    let meta = std::fs::metadata(dir.join("tree/sparse")).unwrap();
    assert_eq!(sparse.mtime.seconds, meta.mtime());
    if nanoseconds {
        assert_eq!(i64::from(sparse.mtime.nanoseconds), meta.mtime_nsec());
    }
    assert_eq!(
        (sparse.uid, sparse.gid, sparse.mode),
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    );
}

#[test]
fn gnu_tar() {
    let dir = tree();
    for (format, sparse, nanoseconds) in [
        ("--format=gnu", "--sparse", false),
        ("--format=pax", "--sparse-version=0.0", true),
        ("--format=pax", "--sparse-version=0.1", true),
        ("--format=pax", "--sparse-version=1.0", true),
        ("--format=pax", "--no-xattrs", true),
    ] {
        run(
            dir.path(),
            "tar",
            &["-cf", "a.tar", format, "--sparse", sparse, "tree"],
        );
        check(dir.path(), "a.tar", nanoseconds);
    }
    run(dir.path(), "tar", &["-cf", "a.tar", "--format=gnu", "tree"]);
    check(dir.path(), "a.tar", false);
}

#[test]
fn bsdtar() {
    let dir = tree();
    for format in ["pax", "gnutar"] {
        run(
            dir.path(),
            "bsdtar",
            &["-cf", "a.tar", "--format", format, "tree"],
        );
        check(dir.path(), "a.tar", format == "pax");
    }
}

#[test]
fn python() {
    let dir = tree();
    for format in ["GNU_FORMAT", "PAX_FORMAT"] {
        let program = format!(
            "import tarfile\nwith tarfile.open('a.tar', 'w', format=tarfile.{format}) as a: a.add('tree')"
        );
        run(dir.path(), "python3", &["-c", &program]);
        // It writes times as floating point numbers, which have no room for nanoseconds.
        check(dir.path(), "a.tar", false);
    }
}

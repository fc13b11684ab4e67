use std::os::unix::fs::MetadataExt;

use super::{Bench, names, plain};
use crate::layer::tar::tests::builder::Archive;
use crate::layer::target::Format;

#[test]
fn overlay_whiteouts_are_devices() {
    let bench = Bench::new();
    let archive = Archive::new()
        .directory(b"d")
        .file(b"d/.wh.gone", b"")
        .end();
    bench.apply(&archive).unwrap();
    assert!(bench.is_whiteout("d/gone"));
    assert_eq!(names(&bench.at("d")), ["gone"]);
}

#[test]
fn opaque_directories_are_marked() {
    for (format, xattr) in [
        (Format::Overlay, "trusted.overlay.opaque"),
        (Format::OverlayUserxattr, "user.overlay.opaque"),
    ] {
        let bench = Bench::new();
        let archive = Archive::new()
            .file(b"d/.wh..wh..opq", b"")
            .file(b"d/f", b"")
            .directory(b"d")
            .end();
        bench.apply_as(format, &archive).unwrap();
        assert_eq!(bench.xattr("d", xattr), Some(b"y".to_vec()));
        assert_eq!(names(&bench.at("d")), ["f"]);
    }
}

#[test]
fn aufs_bookkeeping_is_left_out() {
    let bench = Bench::new();
    let archive = Archive::new()
        .directory(b".wh..wh.plnk")
        .file(b".wh..wh.plnk/1.2", b"")
        .file(b".wh..wh.aufs", b"")
        .directory(b"d/.wh..wh.orph")
        .end();
    bench.apply(&archive).unwrap();
    assert!(names(&bench.target()).is_empty());
}

#[test]
fn a_directory_named_like_a_whiteout_is_refused() {
    Bench::new().refused(&Archive::new().file(b".wh.d/f", b"").end(), "layer-invalid");
}

/// "Files that are present in the same layer as a whiteout file can only be hidden by whiteout files in subsequent
/// layers."
#[test]
fn a_whiteout_does_not_hide_files_of_its_own_layer() {
    for archive in [
        Archive::new().file(b".wh.f", b"").file(b"f", b"new"),
        Archive::new().file(b"f", b"new").file(b".wh.f", b""),
    ] {
        for format in [Format::Overlay, Format::Plain] {
            let bench = Bench::new();
            if format == Format::Plain {
                std::fs::write(bench.at("f"), "old").unwrap();
            }
            bench.apply_as(format, &archive.clone().end()).unwrap();
            assert_eq!(bench.read("f"), "new");
        }
    }
}

#[test]
fn a_directory_made_anew_shows_nothing_of_the_old_one() {
    for archive in [
        Archive::new()
            .file(b".wh.d", b"")
            .directory(b"d")
            .file(b"d/new", b""),
        Archive::new().file(b".wh.d", b"").file(b"d/new", b""),
        Archive::new()
            .directory(b"d")
            .file(b"d/new", b"")
            .file(b".wh.d", b""),
        Archive::new().file(b"d/new", b"").file(b".wh.d", b""),
        Archive::new()
            .file(b"d/new", b"")
            .file(b"d/.wh..wh..opq", b""),
        Archive::new()
            .file(b"d", b"")
            .directory(b"d")
            .file(b"d/new", b""),
    ] {
        let archive = archive.end();
        let bench = Bench::new();
        bench.apply(&archive).unwrap();
        assert_eq!(
            bench.xattr("d", "trusted.overlay.opaque"),
            Some(b"y".to_vec())
        );

        let bench = Bench::new();
        std::fs::create_dir_all(bench.at("d/sub")).unwrap();
        std::fs::write(bench.at("d/sub/old"), "").unwrap();
        std::fs::write(bench.at("d/old"), "").unwrap();
        bench.apply_as(Format::Plain, &archive).unwrap();
        assert_eq!(names(&bench.at("d")), ["new"]);
    }
}

#[test]
fn whiteouts_are_carried_out() {
    let bench = Bench::new();
    for name in [
        "keep",
        "gone",
        "d/keep",
        "d/gone",
        "tree/a/b/c",
        "opaque/old/x",
        "opaque/mixed/old",
    ] {
        std::fs::create_dir_all(bench.at(name).parent().unwrap()).unwrap();
        std::fs::write(bench.at(name), "").unwrap();
    }
    std::os::unix::fs::symlink("../outside", bench.at("link")).unwrap();
    let archive = Archive::new()
        .file(b".wh.gone", b"")
        .file(b".wh.link", b"")
        .file(b".wh.never-there", b"")
        .file(b"no/such/.wh.directory", b"")
        .file(b"d/.wh.gone", b"")
        .file(b".wh.tree", b"")
        .file(b"opaque/mixed/new", b"")
        .file(b"opaque/.wh..wh..opq", b"")
        .end();
    let applied = bench.apply_as(Format::Plain, &archive).unwrap();
    assert_eq!(names(&bench.target()), ["d", "keep", "opaque"]);
    assert_eq!(names(&bench.at("d")), ["keep"]);
    assert_eq!(names(&bench.at("opaque")), ["mixed"]);
    assert_eq!(names(&bench.at("opaque/mixed")), ["new"]);
    assert!(applied.inherited.is_empty());
}

#[test]
fn a_whole_root_made_anew() {
    let bench = Bench::new();
    std::fs::write(bench.at("old"), "").unwrap();
    let archive = Archive::new()
        .file(b".wh..wh..opq", b"")
        .file(b"new", b"")
        .end();
    bench.apply_as(Format::Plain, &archive).unwrap();
    assert_eq!(names(&bench.target()), ["new"]);

    let applied = Bench::new().apply(&archive).unwrap();
    assert_eq!(plain(&applied.inherited), [".", ".wh..wh..opq"]);
}

#[test]
fn parents_directories_keep_their_times() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.at("d/e")).unwrap();
    std::fs::write(bench.at("d/gone"), "").unwrap();
    for name in ["d/e", "d", "."] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5);
        std::fs::File::open(bench.at(name))
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    let archive = Archive::new()
        .file(b"d/e/f", b"")
        .file(b"d/.wh.gone", b"")
        .end();
    bench.apply_as(Format::Plain, &archive).unwrap();
    assert!(!bench.exists("d/gone"));
    for name in ["d/e", "d", "."] {
        let meta = bench.at(name).metadata().unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000, 5), "{name}");
    }
}

#[test]
fn a_parents_file_gives_way_to_a_directory() {
    let bench = Bench::new();
    std::fs::write(bench.at("f"), "old").unwrap();
    let archive = Archive::new().file(b"f/new", b"").end();
    bench.apply_as(Format::Plain, &archive).unwrap();
    assert_eq!(names(&bench.at("f")), ["new"]);
}

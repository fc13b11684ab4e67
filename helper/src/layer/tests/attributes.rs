use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::{Bench, name_of, plain};
use crate::layer::apply::Apply;
use crate::layer::tar::tests::builder::{Archive, Block};
use crate::layer::target::Format;
use crate::layer::write::Devices;

#[test]
fn modes_owners_and_set_id_bits() {
    let bench = Bench::new();
    let archive = Archive::new()
        .entry(Block::new(b"d", b'5').mode(0o3777).owner(1, 2), b"")
        .entry(Block::new(b"d/suid", b'0').mode(0o6755).owner(3, 4), b"x")
        .entry(Block::new(b"d/none", b'0').mode(0).owner(5, 6), b"x")
        .end();
    bench.apply(&archive).unwrap();
    for (name, mode, uid, gid) in [
        ("d", 0o3777, 1, 2),
        ("d/suid", 0o6755, 3, 4),
        ("d/none", 0, 5, 6),
    ] {
        let meta = bench.at(name).metadata().unwrap();
        assert_eq!(
            (meta.mode() & 0o7777, meta.uid(), meta.gid()),
            (mode, uid, gid),
            "{name}"
        );
    }
}

#[test]
fn times_of_everything() {
    let bench = Bench::new();
    let time: &[(&[u8], &[u8])] = &[(b"mtime", b"1000000000.123456789")];
    let archive = Archive::new()
        .pax(time)
        .directory(b".")
        .pax(time)
        .directory(b"d")
        .pax(time)
        .symlink(b"d/s", b"nowhere")
        .pax(time)
        .entry(Block::new(b"d/fifo", b'6'), b"")
        .pax(&[(b"mtime", b"-1.5")])
        .file(b"d/old", b"x")
        .end();
    bench.apply(&archive).unwrap();
    for name in [".", "d", "d/s", "d/fifo"] {
        let meta = bench.at(name).symlink_metadata().unwrap();
        assert_eq!(
            (meta.mtime(), meta.mtime_nsec()),
            (1_000_000_000, 123_456_789),
            "{name}"
        );
    }
    let old = bench.at("d/old").metadata().unwrap();
    assert_eq!((old.mtime(), old.mtime_nsec()), (-2, 500_000_000));
}

#[test]
fn capabilities_survive_the_change_of_owner() {
    let bench = Bench::new();
    // VFS_CAP_REVISION_2, effective, CAP_NET_RAW.
    let ping = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let archive = Archive::new()
        .pax(&[(b"SCHILY.xattr.security.capability", ping)])
        .entry(Block::new(b"ping", b'0').mode(0o755).owner(10, 10), b"x")
        .end();
    bench.apply(&archive).unwrap();
    assert_eq!(bench.xattr("ping", "security.capability").unwrap(), ping);
}

#[test]
fn attributes_of_links_and_directories() {
    let bench = Bench::new();
    let xattr: &[(&[u8], &[u8])] = &[(b"SCHILY.xattr.trusted.t", b"\0\xff\n")];
    let archive = Archive::new()
        .pax(xattr)
        .directory(b"d")
        .pax(xattr)
        .symlink(b"d/s", b"nowhere")
        .pax(xattr)
        .entry(Block::new(b"d/null", b'3').device(1, 3), b"")
        .pax(&[(b"SCHILY.xattr.user.u", b"v")])
        .symlink(b"d/refuses", b"nowhere")
        .end();
    assert_eq!(bench.apply(&archive).unwrap().skipped.xattrs, 1);
    for name in ["d", "d/s", "d/null"] {
        assert_eq!(
            bench.xattr(name, "trusted.t").unwrap(),
            b"\0\xff\n",
            "{name}"
        );
    }
}

#[test]
fn malformed_attributes_are_refused() {
    for (name, value) in [
        (&b"SCHILY.xattr.security.capability"[..], &b"short"[..]),
        (b"SCHILY.xattr.user.large", &[0; 70_000]),
    ] {
        let bench = Bench::new();
        let archive = Archive::new().pax(&[(name, value)]).file(b"f", b"").end();
        let failure = bench.refused(&archive, "layer-invalid");
        assert_eq!(failure.path.as_deref(), Some("f"));
    }
}

#[test]
fn special_files() {
    let bench = Bench::new();
    let archive = Archive::new()
        .entry(Block::new(b"null", b'3').mode(0o666).device(1, 3), b"")
        .entry(
            Block::new(b"disk", b'4')
                .mode(0o660)
                .owner(0, 6)
                .device(300, 300_000),
            b"",
        )
        .entry(Block::new(b"fifo", b'6').mode(0o622), b"")
        .end();
    bench.apply(&archive).unwrap();
    let null = bench.at("null").metadata().unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(
        (null.rdev(), null.mode() & 0o7777),
        (rustix::fs::makedev(1, 3), 0o666)
    );
    let disk = bench.at("disk").metadata().unwrap();
    assert!(disk.file_type().is_block_device());
    assert_eq!(
        (disk.rdev(), disk.gid()),
        (rustix::fs::makedev(300, 300_000), 6)
    );
    let fifo = bench.at("fifo").metadata().unwrap();
    assert!(fifo.file_type().is_fifo());
    assert_eq!(fifo.mode() & 0o7777, 0o622);
}

#[test]
fn devices_are_skipped_and_counted() {
    let bench = Bench::new();
    let archive = Archive::new()
        .entry(Block::new(b"null", b'3').device(1, 3), b"")
        .entry(Block::new(b"disk", b'4').device(8, 0), b"")
        .entry(Block::new(b"fifo", b'6'), b"")
        .end();
    let args = Apply {
        devices: Devices::Skip,
        ..bench.blob(&archive)
    };
    assert_eq!(bench.run(&args).unwrap().skipped.devices, 2);
    assert!(!bench.exists("null") && !bench.exists("disk") && bench.exists("fifo"));
}

#[test]
fn sparse_files_have_holes() {
    let bench = Bench::new();
    let size = 64 << 20;
    let map = format!("1\n{}\n5\n", size - 5);
    let mut data = map.into_bytes();
    data.resize(512, 0);
    data.extend(b"abcde");
    let archive = Archive::new()
        .pax(&[
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.realsize", size.to_string().as_bytes()),
        ])
        .file(b"sparse", &data)
        .end();
    bench.apply(&archive).unwrap();
    let meta = bench.at("sparse").metadata().unwrap();
    assert_eq!(meta.len(), size);
    assert!(meta.blocks() * 512 < 1 << 20);
    assert!(
        std::fs::read(bench.at("sparse"))
            .unwrap()
            .ends_with(b"\0abcde")
    );
}

#[test]
fn hard_links_share_the_file() {
    let bench = Bench::new();
    let archive = Archive::new()
        .file(b"a", b"content")
        .hardlink(b"d/b", b"./a")
        .hardlink(b"c", b"/d/b")
        .hardlink(b"a", b"a")
        .end();
    bench.apply(&archive).unwrap();
    let inode = |name| bench.at(name).metadata().unwrap().ino();
    assert_eq!((inode("a"), inode("a")), (inode("d/b"), inode("c")));
    assert_eq!(bench.read("c"), "content");
}

#[test]
fn later_entries_win() {
    let bench = Bench::new();
    let archive = Archive::new()
        .file(b"f", b"first, and longer")
        .file(b"f", b"second")
        .directory(b"d")
        .file(b"d/inside", b"")
        .file(b"d", b"no directory any more")
        .symlink(b"s", b"f")
        .directory(b"s")
        .entry(Block::new(b"again", b'5').mode(0o700), b"")
        .file(b"again/kept", b"")
        .entry(Block::new(b"again", b'5').mode(0o711), b"")
        .end();
    bench.apply(&archive).unwrap();
    assert_eq!(bench.read("f"), "second");
    assert_eq!(bench.read("d"), "no directory any more");
    assert!(bench.at("s").symlink_metadata().unwrap().is_dir());
    assert!(bench.exists("again/kept"));
    assert_eq!(bench.at("again").metadata().unwrap().mode() & 0o7777, 0o711);
}

#[test]
fn names_are_kept_byte_for_byte() {
    let bench = Bench::new();
    let long = [&b"x".repeat(254)[..], b"/"].concat().repeat(16);
    let long = [&long[..long.len() - 1], b"\xff/1234567890\xfe"].concat();
    let archive = Archive::new()
        .pax(&[(b"path", b"caf\xe9\n\x7f")])
        .file(b"f", b"latin")
        .pax(&[(b"path", &long)])
        .file(b"f", b"deep")
        .end();
    bench.apply(&archive).unwrap();
    assert_eq!(
        std::fs::read(bench.at(name_of(b"caf\xe9\n\x7f"))).unwrap(),
        b"latin"
    );
    let mut dir = rustix::fs::open(
        bench.target(),
        rustix::fs::OFlags::PATH,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    let parts: Vec<_> = long.split(|b| *b == b'/').collect();
    for part in &parts[..parts.len() - 1] {
        dir = rustix::fs::openat(
            &dir,
            *part,
            rustix::fs::OFlags::PATH,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
    }
    rustix::fs::statat(&dir, parts[parts.len() - 1], rustix::fs::AtFlags::empty()).unwrap();
}

#[test]
fn implied_directories_are_reported() {
    let bench = Bench::new();
    let archive = Archive::new()
        .file(b"a/b/f", b"")
        .directory(b"a")
        .symlink(b"link", b"a/b")
        .file(b"link/c/f", b"")
        .end();
    let applied = bench.apply(&archive).unwrap();
    assert_eq!(plain(&applied.inherited), [".", "a/b", "a/b/c"]);

    let described = Archive::new().directory(b"./").file(b"f", b"").end();
    assert!(Bench::new().apply(&described).unwrap().inherited.is_empty());
}

#[test]
fn a_described_directory_loses_attributes_of_its_parents() {
    let bench = Bench::new();
    std::fs::create_dir(bench.at("d")).unwrap();
    std::fs::write(bench.at("d/kept"), "").unwrap();
    rustix::fs::setxattr(
        bench.at("d"),
        "user.old",
        b"1",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let archive = Archive::new().directory(b"d").end();
    bench.apply_as(Format::Plain, &archive).unwrap();
    assert_eq!(bench.xattr("d", "user.old"), None);
    assert!(bench.exists("d/kept"));
}

use super::builder::{Archive, Block, record};
use super::{read_all, refused};
use crate::layer::tar::pax::MAX_BYTES;
use crate::layer::tar::{Kind, Time};

#[test]
fn records_replace_fields() {
    let long = [&b"a/"[..], &[b'n'; 300]].concat();
    let archive = Archive::new()
        .pax(&[
            (b"path", &long),
            (b"uid", b"3000000"),
            (b"gid", b"4000000"),
            (b"mtime", b"1700000000.123456789"),
            (b"uname", b"somebody"),
        ])
        .file(b"short", b"content")
        .end();
    let (entry, content) = &read_all(&archive).unwrap()[0];
    assert_eq!(entry.path, long);
    assert_eq!((entry.uid, entry.gid), (3_000_000, 4_000_000));
    assert_eq!(
        entry.mtime,
        Time {
            seconds: 1_700_000_000,
            nanoseconds: 123_456_789
        }
    );
    assert_eq!(content, b"content");
}

#[test]
fn times() {
    for (text, seconds, nanoseconds) in [
        (&b"0"[..], 0, 0),
        (b"1.5", 1, 500_000_000),
        (b"1.", 1, 0),
        (b"1.0000000019", 1, 1),
        (b"-1", -1, 0),
        (b"-1.25", -2, 750_000_000),
        (b"-0.5", -1, 500_000_000),
        (b"-62135596800", -62_135_596_800, 0),
    ] {
        let archive = Archive::new()
            .pax(&[(b"mtime", text)])
            .file(b"f", b"")
            .end();
        let time = read_all(&archive).unwrap()[0].0.mtime;
        assert_eq!((time.seconds, time.nanoseconds), (seconds, nanoseconds));
    }
    for text in [
        &b"x"[..],
        b"1.x",
        b"--1",
        b".5",
        b"99999999999999999999",
        b"1e3",
    ] {
        let archive = Archive::new()
            .pax(&[(b"mtime", text)])
            .file(b"f", b"")
            .end();
        refused(&archive, "layer-invalid");
    }
}

#[test]
fn a_link_target_may_be_long() {
    let archive = Archive::new()
        .pax(&[(b"linkpath", &[b't'; 500])])
        .symlink(b"s", b"short")
        .end();
    assert_eq!(
        read_all(&archive).unwrap()[0].0.kind,
        Kind::Symlink(vec![b't'; 500])
    );
}

#[test]
fn records_mean_the_next_entry_only() {
    let archive = Archive::new()
        .pax(&[(b"path", b"one")])
        .file(b"f", b"")
        .file(b"two", b"")
        .end();
    let entries = read_all(&archive).unwrap();
    assert_eq!(entries[0].0.path, b"one");
    assert_eq!(entries[1].0.path, b"two");
}

#[test]
fn an_empty_value_takes_back() {
    let archive = Archive::new()
        .pax(&[(b"path", b"other"), (b"path", b"")])
        .file(b"f", b"")
        .end();
    assert_eq!(read_all(&archive).unwrap()[0].0.path, b"f");
}

#[test]
fn attributes_are_binary() {
    let value = b"\x01\x00\x00\x02\n12 a=b\n\xff\x00";
    let archive = Archive::new()
        .pax(&[(b"SCHILY.xattr.security.capability", value)])
        .file(b"f", b"")
        .end();
    let entries = read_all(&archive).unwrap();
    assert_eq!(
        entries[0].0.xattrs,
        [(b"security.capability".to_vec(), value.to_vec())]
    );
}

#[test]
fn libarchive_attributes() {
    let archive = Archive::new()
        .pax(&[
            (b"LIBARCHIVE.xattr.user.a%20b%3D", b"AAH/"),
            (b"LIBARCHIVE.xattr.user.empty", b""),
            (b"LIBARCHIVE.xattr.user.unpadded", b"YQ"),
        ])
        .file(b"f", b"")
        .end();
    let entries = read_all(&archive).unwrap();
    assert_eq!(
        entries[0].0.xattrs,
        [
            (b"user.a b=".to_vec(), vec![0, 1, 255]),
            (b"user.empty".to_vec(), vec![]),
            (b"user.unpadded".to_vec(), b"a".to_vec()),
        ]
    );
    let archive = Archive::new()
        .pax(&[(b"LIBARCHIVE.xattr.user.a", b"!!")])
        .file(b"f", b"")
        .end();
    assert!(refused(&archive, "layer-invalid").contains("not base64"));
}

/// CVE-2025-62518 ("TARmageddon") and its relatives: two readers of one archive must see the same entries.
#[test]
fn a_size_never_applies_to_another_header() {
    let archive = Archive::new()
        .pax(&[(b"size", b"0")])
        .entry(Block::new(b"././@LongLink", b'L').gnu(), b"long\0")
        .file(b"f", b"")
        .file(b"g", b"x")
        .end();
    let entries = read_all(&archive).unwrap();
    assert_eq!(entries[0].0.path, b"long");
    assert_eq!(entries[1].0.path, b"g");
}

#[test]
fn a_size_decides_where_the_next_header_is() {
    // The plain header says 0, so that a reader that ignores PAX would see the file inside of the file.
    let inner = Archive::new().file(b"smuggled", b"").0;
    let archive = Archive::new()
        .pax(&[(b"size", inner.len().to_string().as_bytes())])
        .raw(Block::new(b"outer", b'0').size(0), &inner)
        .file(b"last", b"")
        .end();
    let entries = read_all(&archive).unwrap();
    let paths: Vec<_> = entries.iter().map(|(entry, _)| &entry.path[..]).collect();
    assert_eq!(paths, [&b"outer"[..], b"last"]);
    assert_eq!(entries[0].1, inner);
}

#[test]
fn malformed_records_are_refused() {
    for data in [
        &b"9 path=a\n"[..],
        b"8 path=a\n",
        b"11 path=a\n",
        b"path=a\n",
        b"9999999999999999999999 path=a\n",
        b"-1 path=a\n",
        b"4 =\n",
        b"5 =a\n",
        b"6 path\n",
        b"0 \n",
        b" \n",
        b"2 ",
        b"3 a",
    ] {
        let archive = Archive::new()
            .entry(Block::new(b"x", b'x'), data)
            .file(b"f", b"")
            .end();
        if data == b"9 path=a\n" {
            assert_eq!(read_all(&archive).unwrap()[0].0.path, b"a");
        } else {
            refused(&archive, "layer-invalid");
        }
    }
}

#[test]
fn a_name_with_a_nul_is_refused() {
    let archive = Archive::new()
        .pax(&[(b"path", b"a\0b")])
        .file(b"f", b"")
        .end();
    assert!(refused(&archive, "layer-invalid").contains("NUL"));
}

#[test]
fn a_header_larger_than_a_mebibyte_is_refused_unread() {
    for typeflag in [b'x', b'g', b'L', b'K'] {
        let archive = Archive::new()
            .raw(Block::new(b"x", typeflag).size(MAX_BYTES + 1), b"")
            .0;
        assert!(refused(&archive, "layer-limit").contains("1 MiB"));
    }
}

#[test]
fn a_header_of_a_mebibyte_is_read() {
    let value = vec![b'v'; MAX_BYTES as usize - 64];
    let archive = Archive::new()
        .pax(&[(b"comment", &value)])
        .file(b"f", b"")
        .end();
    assert_eq!(read_all(&archive).unwrap().len(), 1);
}

#[test]
fn too_many_attributes_are_refused() {
    let mut data = Vec::new();
    for index in 0..1025 {
        data.extend(record(
            format!("SCHILY.xattr.user.{index}").as_bytes(),
            b"v",
        ));
    }
    let archive = Archive::new()
        .entry(Block::new(b"x", b'x'), &data)
        .file(b"f", b"")
        .end();
    refused(&archive, "layer-limit");
}

#[test]
fn global_records_hold_until_a_local_one() {
    let archive = Archive::new()
        .global(&[(b"uid", b"7"), (b"comment", b"0123abcd")])
        .file(b"f", b"")
        .pax(&[(b"uid", b"8")])
        .file(b"g", b"")
        .file(b"h", b"")
        .end();
    let owners: Vec<_> = read_all(&archive)
        .unwrap()
        .iter()
        .map(|(e, _)| e.uid)
        .collect();
    assert_eq!(owners, [7, 8, 7]);
}

#[test]
fn one_name_or_size_for_all_is_refused() {
    for key in [
        &b"path"[..],
        b"linkpath",
        b"size",
        b"GNU.sparse.name",
        b"SCHILY.xattr.user.a",
    ] {
        let archive = Archive::new().global(&[(key, b"1")]).file(b"f", b"").end();
        assert!(refused(&archive, "layer-invalid").contains("global"));
    }
}

#[test]
fn an_archive_that_ends_with_an_extended_header_is_refused() {
    let archive = Archive::new().pax(&[(b"path", b"a")]);
    refused(&archive.0, "layer-invalid");
    refused(&archive.end(), "layer-invalid");
}

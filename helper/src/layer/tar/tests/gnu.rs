use super::builder::{Archive, Block};
use super::read_all;
use crate::layer::tar::Kind;

#[test]
fn long_names_and_targets() {
    let (name, target) = ([b'n'; 400], [b't'; 400]);
    let archive = Archive::new()
        .entry(
            Block::new(b"././@LongLink", b'K').gnu(),
            &[&target[..], b"\0"].concat(),
        )
        .entry(
            Block::new(b"././@LongLink", b'L').gnu(),
            &[&name[..], b"\0"].concat(),
        )
        .entry(Block::new(b"short", b'2').gnu().linkname(b"short"), b"")
        .file(b"next", b"")
        .end();
    let entries = read_all(&archive).unwrap();
    assert_eq!(entries[0].0.path, name);
    assert_eq!(entries[0].0.kind, Kind::Symlink(target.to_vec()));
    assert_eq!(entries[1].0.path, b"next");
}

#[test]
fn gnu_headers_have_no_prefix() {
    // Where ustar has the prefix, GNU keeps the times of access and change.
    let block = Block::new(b"f", b'0')
        .gnu()
        .with(345, b"14371573010\x0014371573010\0");
    let entries = read_all(&Archive::new().entry(block, b"").end()).unwrap();
    assert_eq!(entries[0].0.path, b"f");
}

#[test]
fn volume_labels_are_skipped() {
    let archive = Archive::new()
        .entry(Block::new(b"label", b'V').gnu(), b"")
        .file(b"f", b"")
        .end();
    assert_eq!(read_all(&archive).unwrap()[0].0.path, b"f");
}

#[test]
fn dump_directories_are_directories() {
    let archive = Archive::new()
        .entry(Block::new(b"d/", b'D').gnu(), b"Yname\0\0")
        .file(b"d/name", b"x")
        .end();
    let entries = read_all(&archive).unwrap();
    assert_eq!(entries[0].0.kind, Kind::Directory);
    assert_eq!(entries[1].1, b"x");
}

use super::builder::{Archive, Block};
use super::{read_all, refused};
use crate::layer::tar::Kind;

#[test]
fn every_kind_of_entry() {
    let archive = Archive::new()
        .directory(b"d/")
        .file(b"d/f", b"content")
        .symlink(b"d/s", b"../f")
        .hardlink(b"d/h", b"d/f")
        .entry(Block::new(b"fifo", b'6'), b"")
        .entry(Block::new(b"tty", b'3').device(5, 0), b"")
        .entry(Block::new(b"sda", b'4').device(8, 1), b"")
        .end();
    let entries = read_all(&archive).unwrap();
    let kinds: Vec<_> = entries.iter().map(|(entry, _)| &entry.kind).collect();
    assert_eq!(
        kinds,
        [
            &Kind::Directory,
            &Kind::File,
            &Kind::Symlink(b"../f".to_vec()),
            &Kind::Hardlink(b"d/f".to_vec()),
            &Kind::Fifo,
            &Kind::Character { major: 5, minor: 0 },
            &Kind::Block { major: 8, minor: 1 },
        ]
    );
    assert_eq!(entries[1].1, b"content");
}

#[test]
fn fields() {
    let block = Block::new(b"f", b'0')
        .mode(0o4755)
        .owner(1000, 65534)
        .mtime(1_700_000_000);
    let entries = read_all(&Archive::new().entry(block, b"x").end()).unwrap();
    let entry = &entries[0].0;
    assert_eq!((entry.mode, entry.uid, entry.gid), (0o4755, 1000, 65534));
    assert_eq!(entry.mtime.seconds, 1_700_000_000);
}

#[test]
fn the_file_type_in_a_mode_is_cut_off() {
    let block = Block::new(b"f", b'0').with(100, b"0100755\0");
    let entries = read_all(&Archive::new().entry(block, b"").end()).unwrap();
    assert_eq!(entries[0].0.mode, 0o755);
}

#[test]
fn a_prefix_is_put_before_the_name() {
    let block = Block::new(b"name", b'0').with(345, b"some/prefix");
    let entries = read_all(&Archive::new().entry(block, b"").end()).unwrap();
    assert_eq!(entries[0].0.path, b"some/prefix/name");
}

#[test]
fn a_name_fills_its_field_without_a_nul() {
    let entries = read_all(&Archive::new().file(&[b'n'; 100], b"").end()).unwrap();
    assert_eq!(entries[0].0.path, [b'n'; 100]);
}

#[test]
fn names_may_be_any_bytes() {
    let entries = read_all(&Archive::new().file(b"caf\xe9\xff\n\x01", b"").end()).unwrap();
    assert_eq!(entries[0].0.path, b"caf\xe9\xff\n\x01");
}

#[test]
fn before_ustar_a_slash_makes_a_directory() {
    let archive = Archive::new()
        .entry(Block::new(b"old/", 0).with(257, &[0; 8]), b"")
        .entry(Block::new(b"old/f", 0).with(257, &[0; 8]), b"x")
        .end();
    let entries = read_all(&archive).unwrap();
    assert_eq!(entries[0].0.kind, Kind::Directory);
    assert_eq!(entries[1].0.kind, Kind::File);
}

#[test]
fn sizes_over_8_gib_are_in_base_256() {
    let mut field = [0u8; 12];
    field[0] = 0x80;
    field[4..].copy_from_slice(&(9u64 << 30).to_be_bytes());
    // The archive ends before the data does: what matters is that the size was understood.
    let archive = Archive::new()
        .raw(Block::new(b"big", b'0').with(124, &field), b"")
        .0;
    let mut reader = crate::layer::tar::Reader::new(&archive[..]);
    assert_eq!(reader.next().unwrap().unwrap().size, 9 << 30);
}

#[test]
fn negative_times_are_in_base_256() {
    let block = Block::new(b"f", b'0').with(136, &[0xff; 12]);
    let entries = read_all(&Archive::new().entry(block, b"").end()).unwrap();
    assert_eq!(entries[0].0.mtime.seconds, -1);
}

#[test]
fn a_negative_size_is_refused() {
    let archive = Archive::new()
        .raw(Block::new(b"f", b'0').with(124, &[0xff; 12]), b"")
        .end();
    assert_eq!(
        refused(&archive, "layer-invalid"),
        "the header's size is negative"
    );
}

#[test]
fn a_size_beyond_any_file_is_refused() {
    let mut field = [0u8; 12];
    field[0] = 0xbf;
    let archive = Archive::new()
        .raw(Block::new(b"f", b'0').with(124, &field), b"")
        .end();
    assert!(refused(&archive, "layer-invalid").contains("too large"));
}

#[test]
fn owners_that_chown_would_take_for_something_else_are_refused() {
    for field in [
        [0xff; 8],
        [0x80, 0, 0, 1, 0, 0, 0, 0],
        [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
    ] {
        let archive = Archive::new()
            .entry(Block::new(b"f", b'0').with(108, &field), b"")
            .end();
        assert!(refused(&archive, "layer-invalid").contains("owner"));
    }
}

#[test]
fn a_number_that_is_not_octal_is_refused() {
    let archive = Archive::new()
        .raw(Block::new(b"f", b'0').with(124, b"00000000009\0"), b"")
        .end();
    assert!(refused(&archive, "layer-invalid").contains("not an octal number"));
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut archive = Archive::new().file(b"f", b"").end();
    archive[0] ^= 1;
    assert_eq!(
        refused(&archive, "layer-invalid"),
        "a header's checksum is wrong"
    );
}

#[test]
fn a_signed_checksum_is_accepted() {
    let mut block = Block::new(b"caf\xe9", b'0').with(148, b"        ");
    let sum: i32 = block.0.iter().map(|b| i32::from(*b as i8)).sum();
    block.put(148, format!("{sum:06o}\0 ").as_bytes());
    let archive = [&block.0[..], &[0; 1024]].concat();
    assert_eq!(read_all(&archive).unwrap()[0].0.path, b"caf\xe9");
}

#[test]
fn unknown_types_are_refused() {
    let archive = Archive::new().entry(Block::new(b"f", b'Q'), b"").end();
    assert!(refused(&archive, "layer-invalid").contains("unknown type 'Q'"));
}

#[test]
fn links_and_directories_have_no_data_whatever_their_size_says() {
    let archive = Archive::new()
        .raw(Block::new(b"h", b'1').linkname(b"f").size(4096), b"")
        .raw(Block::new(b"d", b'5').size(1 << 40), b"")
        .file(b"f", b"x")
        .end();
    assert_eq!(read_all(&archive).unwrap().len(), 3);
}

#[test]
fn an_archive_may_end_without_its_end_mark() {
    let whole = Archive::new().file(b"f", b"content");
    assert_eq!(read_all(&whole.0).unwrap().len(), 1);
    let one_block = [&whole.0[..], &[0; 512]].concat();
    assert_eq!(read_all(&one_block).unwrap().len(), 1);
}

#[test]
fn an_archive_cut_anywhere_else_is_refused() {
    let archive = Archive::new()
        .pax(&[(b"mtime", b"1.5")])
        .file(b"f", &[7; 700])
        .0;
    for length in 1..archive.len() {
        // A header with nothing behind it, or in the padding: all but the boundary before an entry is missing.
        let failure = read_all(&archive[..length]).unwrap_err();
        assert_eq!(failure.kind, Some("layer-invalid"), "cut at {length}");
    }
}

#[test]
fn what_follows_the_end_is_not_read_as_entries() {
    let mut archive = Archive::new().file(b"f", b"").end();
    archive.extend(Archive::new().file(b"second", b"").end());
    archive.extend(b"and something else");
    assert_eq!(read_all(&archive).unwrap().len(), 1);
}

#[test]
fn an_empty_block_between_entries_is_refused() {
    let mut archive = Archive::new().file(b"f", b"").0;
    archive.extend([0; 512]);
    archive.extend(Archive::new().file(b"second", b"").end());
    assert_eq!(
        refused(&archive, "layer-invalid"),
        "a header block is empty"
    );
}

#[test]
fn nothing_at_all_is_an_empty_archive() {
    assert!(read_all(b"").unwrap().is_empty());
    assert!(read_all(&[0; 10240]).unwrap().is_empty());
}

use super::builder::{Archive, Block};
use super::{read_all, refused};

/// 1,000 bytes of which 3 at 500 and 2 at the end are not holes.
fn expected() -> Vec<u8> {
    let mut content = vec![0; 1000];
    content[500..503].copy_from_slice(b"abc");
    content[998..].copy_from_slice(b"de");
    content
}

fn check(archive: &Archive) {
    let entries = read_all(&archive.clone().file(b"next", b"n").end()).unwrap();
    assert_eq!(entries[0].0.path, b"real");
    assert_eq!(entries[0].0.size, 1000);
    assert_eq!(entries[0].1, expected());
    assert_eq!(entries[1].1, b"n");
}

fn old_segment(offset: u64, length: u64) -> Vec<u8> {
    format!("{offset:011o}\0{length:011o}\0").into_bytes()
}

fn old_header(segments: &[(u64, u64)], extended: bool, size: u64) -> Block {
    let fields: Vec<u8> = segments
        .iter()
        .flat_map(|(o, l)| old_segment(*o, *l))
        .collect();
    Block::new(b"real", b'S')
        .gnu()
        .with(386, &fields)
        .with(482, &[u8::from(extended)])
        .with(483, format!("{size:011o}\0").as_bytes())
}

#[test]
fn old_gnu_headers() {
    check(&Archive::new().entry(old_header(&[(500, 3), (998, 2)], false, 1000), b"abcde"));
}

#[test]
fn old_gnu_headers_with_extension_blocks() {
    let mut archive = Archive::new().raw(old_header(&[(0, 0), (500, 1)], true, 1000).size(5), b"");
    let mut block = [0; 512];
    let fields: Vec<u8> = [(501, 1), (502, 1)]
        .iter()
        .flat_map(|(o, l)| old_segment(*o, *l))
        .collect();
    block[..48].copy_from_slice(&fields);
    block[504] = 1;
    archive.0.extend(block);
    block = [0; 512];
    block[..24].copy_from_slice(&old_segment(998, 2));
    archive.0.extend(block);
    archive.0.extend(b"abcde");
    archive.0.resize(archive.0.len().next_multiple_of(512), 0);
    check(&archive);
}

#[test]
fn format_0_0() {
    check(
        &Archive::new()
            .pax(&[
                (b"GNU.sparse.size", b"1000"),
                (b"GNU.sparse.numblocks", b"2"),
                (b"GNU.sparse.offset", b"500"),
                (b"GNU.sparse.numbytes", b"3"),
                (b"GNU.sparse.offset", b"998"),
                (b"GNU.sparse.numbytes", b"2"),
            ])
            .file(b"real", b"abcde"),
    );
}

#[test]
fn format_0_1() {
    check(
        &Archive::new()
            .pax(&[
                (b"GNU.sparse.size", b"1000"),
                (b"GNU.sparse.numblocks", b"2"),
                (b"GNU.sparse.name", b"real"),
                (b"GNU.sparse.map", b"500,3,998,2"),
            ])
            .file(b"GNUSparseFile.1/real", b"abcde"),
    );
}

fn format_1_0(map: &[u8], size: &[u8], data: &[u8]) -> Archive {
    let mut content = map.to_vec();
    content.resize(content.len().next_multiple_of(512), 0);
    content.extend(data);
    Archive::new()
        .pax(&[
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", b"real"),
            (b"GNU.sparse.realsize", size),
        ])
        .file(b"GNUSparseFile.1/real", &content)
}

#[test]
fn format_1_0_has_its_map_before_the_data() {
    check(&format_1_0(b"2\n500\n3\n998\n2\n", b"1000", b"abcde"));
}

#[test]
fn a_map_over_several_blocks() {
    let mut map = b"200\n".to_vec();
    for index in 0..200u64 {
        map.extend(format!("{}\n1\n", index * 2).bytes());
    }
    let entries = read_all(&format_1_0(&map, b"400", &[b'x'; 200]).end()).unwrap();
    assert_eq!(entries[0].1, b"x\0".repeat(200));
}

#[test]
fn a_file_of_nothing_but_a_hole() {
    let entries = read_all(&format_1_0(b"0\n", b"1000", b"").end()).unwrap();
    assert_eq!(entries[0].1, vec![0; 1000]);
    let archive = Archive::new()
        .entry(old_header(&[], false, 1000), b"")
        .end();
    assert_eq!(read_all(&archive).unwrap()[0].1, vec![0; 1000]);
}

#[test]
fn maps_that_contradict_the_file_are_refused() {
    for (map, size, data) in [
        (&b"2\n500\n3\n400\n2\n"[..], &b"1000"[..], &b"abcde"[..]), // out of order
        (b"2\n500\n3\n502\n2\n", b"1000", b"abcde"),                // overlapping
        (b"1\n998\n5\n", b"1000", b"abcde"),                        // beyond the end
        (b"1\n18446744073709551615\n5\n", b"1000", b"abcde"),       // wraps around
        (b"1\n0\n4\n", b"1000", b"abcde"),                          // less than is stored
        (b"1\n0\n6\n", b"1000", b"abcde"),                          // more than is stored
        (b"1\n0\n", b"1000", b"abcde"),                             // half a segment
        (b"x\n", b"1000", b"abcde"),
        (b"1\n-1\n5\n", b"1000", b"abcde"),
        (b"1\n111111111111111111111\n5\n", b"1000", b"abcde"),
    ] {
        refused(&format_1_0(map, size, data).end(), "layer-invalid");
    }
    let archive = Archive::new()
        .entry(old_header(&[(500, 4)], false, 1000), b"abcde")
        .end();
    refused(&archive, "layer-invalid");
}

#[test]
fn a_map_of_endless_segments_is_refused() {
    refused(&format_1_0(b"9999999\n", b"1000", b"").end(), "layer-limit");
}

#[test]
fn a_map_longer_than_its_file_is_refused() {
    let map = [b"9999\n", &b"1\n".repeat(253)[..], b"2"].concat();
    let detail = refused(&format_1_0(&map, b"1000", b"").end(), "layer-invalid");
    assert!(detail.contains("cut short"));
}

#[test]
fn unknown_formats_are_refused() {
    let archive = Archive::new()
        .pax(&[(b"GNU.sparse.major", b"2"), (b"GNU.sparse.realsize", b"1")])
        .file(b"f", b"x")
        .end();
    refused(&archive, "layer-invalid");
}

#[test]
fn alternation_is_checked() {
    let archive = Archive::new()
        .pax(&[
            (b"GNU.sparse.size", b"9"),
            (b"GNU.sparse.numbytes", b"1"),
            (b"GNU.sparse.offset", b"0"),
        ])
        .file(b"f", b"x")
        .end();
    refused(&archive, "layer-invalid");
}

use super::Bench;
use crate::layer::apply::{Apply, Limits};
use crate::layer::decompress::Compression;
use crate::layer::tar::tests::builder::{Archive, Block};

const LIMITS: Limits = Limits {
    bytes: 64 << 20,
    entries: 100,
    ratio: 100,
};

fn refused(bench: &Bench, args: Apply) -> String {
    let failure = bench
        .run(&Apply {
            limits: LIMITS,
            ..args
        })
        .unwrap_err();
    assert_eq!(failure.kind, Some("layer-limit"), "{failure}");
    failure.detail.unwrap()
}

#[test]
fn entries() {
    let mut archive = Archive::new();
    for index in 0..101 {
        archive = archive.file(format!("{index}").as_bytes(), b"");
    }
    let bench = Bench::new();
    assert!(refused(&bench, bench.blob(&archive.end())).contains("more than 100 entries"));
}

#[test]
fn a_bomb_of_gzip() {
    let bench = Bench::new();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let header = Archive::new()
        .raw(Block::new(b"zeros", b'0').size(60 << 20), b"")
        .0;
    std::io::Write::write_all(&mut encoder, &header).unwrap();
    std::io::Write::write_all(&mut encoder, &vec![0; 60 << 20]).unwrap();
    let args = Apply {
        compression: Compression::Gzip,
        ..bench.blob(&encoder.finish().unwrap())
    };
    assert!(refused(&bench, args).contains("compressed more than 100 times"));
}

#[test]
fn a_bomb_of_zstd() {
    let bench = Bench::new();
    let bomb = zstd::encode_all(&vec![0; 100 << 20][..], 1).unwrap();
    let args = Apply {
        compression: Compression::Zstd,
        ..bench.blob(&bomb)
    };
    refused(&bench, args);
}

#[test]
fn a_stream_larger_than_allowed() {
    let bench = Bench::new();
    let args = bench.blob(&vec![0; (64 << 20) + 1]);
    assert!(refused(&bench, args).contains("larger than 67108864 bytes"));
}

#[test]
fn a_bomb_of_holes() {
    let bench = Bench::new();
    let size = (1u64 << 40).to_string();
    let archive = Archive::new()
        .pax(&[
            (b"GNU.sparse.map", b""),
            (b"GNU.sparse.size", size.as_bytes()),
        ])
        .file(b"hole", b"")
        .end();
    assert!(refused(&bench, bench.blob(&archive)).contains("files are larger"));
    assert!(!bench.exists("hole"));
}

#[test]
fn a_path_too_long_for_the_kernel() {
    let path = b"d/".repeat(2049);
    let archive = Archive::new()
        .pax(&[(b"path", &path)])
        .file(b"f", b"")
        .end();
    let bench = Bench::new();
    assert!(refused(&bench, bench.blob(&archive)).contains("4,096"));
}

#[test]
fn a_name_too_long_for_the_file_system() {
    for block in [
        Block::new(b"f", b'0'),
        Block::new(b"f", b'5'),
        Block::new(b"f", b'2').linkname(b"t"),
    ] {
        let name = b"n".repeat(256);
        let archive = Archive::new()
            .pax(&[(b"path", &name)])
            .entry(block, b"")
            .end();
        assert!(
            Bench::new()
                .refused(&archive, "layer-limit")
                .detail
                .unwrap()
                .contains("too long")
        );
    }
    let path = [&b"n".repeat(256)[..], b"/f"].concat();
    let archive = Archive::new()
        .pax(&[(b"path", &path)])
        .file(b"f", b"")
        .end();
    Bench::new().refused(&archive, "layer-limit");
}

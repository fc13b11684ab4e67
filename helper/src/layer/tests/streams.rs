//! The blob on its way in: compression, growth, and where it may end.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

use sha2::{Digest, Sha256};

use super::{Bench, names};
use crate::layer::apply::{Apply, apply};
use crate::layer::decompress::Compression;
use crate::layer::tar::tests::builder::Archive;
use crate::layer::tar::tests::mutation::Random;

fn archive() -> Vec<u8> {
    let mut random = Random(42);
    let noise: Vec<u8> = (0..3 << 20).map(|_| random.next(64) as u8).collect();
    Archive::new()
        .file(b"noise", &noise)
        .file(b"last", b"x")
        .end()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

fn compressed(bench: &Bench, compression: Compression, blob: &[u8]) -> Apply {
    Apply {
        compression,
        ..bench.blob(blob)
    }
}

#[test]
fn each_compression() {
    let archive = archive();
    let halves = archive.split_at(archive.len() / 2);
    for (compression, blob) in [
        (Compression::None, archive.clone()),
        (Compression::Gzip, gzip(&archive)),
        (
            Compression::Gzip,
            [gzip(halves.0), gzip(b""), gzip(halves.1)].concat(),
        ),
        (Compression::Gzip, [gzip(&archive), vec![0; 1000]].concat()),
        (Compression::Zstd, zstd(&archive)),
        (Compression::Zstd, [zstd(halves.0), zstd(halves.1)].concat()),
        // A skippable frame, as zstd:chunked puts its table of contents into.
        (
            Compression::Zstd,
            [zstd(&archive), b"\x50\x2a\x4d\x18\x04\0\0\0toc!".to_vec()].concat(),
        ),
    ] {
        let bench = Bench::new();
        let applied = bench.run(&compressed(&bench, compression, &blob)).unwrap();
        assert_eq!(applied.diff_id, digest(&archive));
        assert_eq!((applied.bytes, applied.entries), (archive.len() as u64, 2));
        assert_eq!(names(&bench.target()), ["last", "noise"]);
    }
}

#[test]
fn the_digest_covers_what_follows_the_archive() {
    let bytes = [archive(), b"trailer".repeat(100_000)].concat();
    let applied = Bench::new().apply(&bytes).unwrap();
    assert_eq!(applied.diff_id, digest(&bytes));
    assert_eq!(applied.bytes, bytes.len() as u64);
}

#[test]
fn broken_compression_is_refused() {
    let archive = archive();
    let mut flipped = gzip(&archive);
    let crc = flipped.len() - 6;
    flipped[crc] ^= 1;
    let (short, shorter) = (gzip(&archive), zstd(&archive));
    for (compression, blob) in [
        (Compression::Gzip, flipped),
        (Compression::Gzip, short[..short.len() - 1].to_vec()),
        (Compression::Gzip, short[..short.len() / 2].to_vec()),
        (Compression::Gzip, [short, b"trailing".to_vec()].concat()),
        (
            Compression::Gzip,
            [gzip(&archive), b"\0\0x".to_vec()].concat(),
        ),
        (Compression::Gzip, archive.clone()),
        (Compression::Zstd, shorter[..shorter.len() - 1].to_vec()),
        (Compression::Zstd, [shorter, b"trailing".to_vec()].concat()),
        (Compression::Zstd, archive),
    ] {
        let bench = Bench::new();
        let failure = bench
            .run(&compressed(&bench, compression, &blob))
            .unwrap_err();
        assert_eq!(failure.kind, Some("layer-invalid"), "{failure}");
    }
}

#[test]
fn a_blob_shorter_than_it_should_be_is_refused() {
    let bench = Bench::new();
    let args = bench.blob(&archive());
    let failure = bench
        .run(&Apply {
            size: args.size + 1,
            ..args
        })
        .unwrap_err();
    assert_eq!(failure.kind, Some("layer-invalid"));
    assert!(failure.detail.unwrap().contains("the blob ends after"));
}

#[test]
fn a_growing_blob_is_followed() {
    let bench = Bench::new();
    let archive = archive();
    let blob = gzip(&archive);
    let args = Apply {
        follow: true,
        size: blob.len() as u64,
        ..compressed(&bench, Compression::Gzip, b"")
    };
    let path = args.source.clone();
    let moved = bench.path().join("outside.blob");
    let applied = thread::scope(|scope| {
        // It is renamed when complete, which must not matter.
        scope.spawn(|| {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            for piece in blob.chunks(blob.len() / 50) {
                file.write_all(piece).unwrap();
                thread::yield_now();
            }
            std::fs::rename(&path, &moved).unwrap();
        });
        let mut read = Vec::new();
        let applied = apply(&args, &mut |progress| {
            read.push(progress["read"].as_u64().unwrap())
        });
        assert!(read.is_sorted());
        assert_eq!(read.last(), Some(&(blob.len() as u64)));
        applied
    });
    assert_eq!(applied.unwrap().diff_id, digest(&archive));
}

#[test]
fn an_abandoned_blob_ends_the_wait() {
    let bench = Bench::new();
    let archive = archive();
    let args = Apply {
        follow: true,
        size: archive.len() as u64,
        ..bench.blob(&archive[..4096])
    };
    let failure = thread::scope(|scope| {
        let applying = scope.spawn(|| apply(&args, &mut |_| ()).unwrap_err());
        while names(&bench.target()).is_empty() {
            thread::yield_now();
        }
        std::fs::remove_file(&args.source).unwrap();
        applying.join().unwrap()
    });
    assert_eq!(failure.kind, Some("layer-invalid"));
}

#[test]
fn a_failure_does_not_wait_for_the_rest_of_the_blob() {
    let bench = Bench::new();
    let start = Archive::new().file(b"../x", b"").end();
    let args = Apply {
        follow: true,
        size: 1 << 40,
        ..bench.blob(&start)
    };
    assert_eq!(bench.run(&args).unwrap_err().kind, Some("layer-invalid"));
}

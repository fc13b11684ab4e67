//! `cargo +nightly fuzz run tar`: whatever the bytes, reading ends, and only `layer-*` is said of them.
#![no_main]
#![allow(dead_code, unused_imports)] // the helper uses more of these modules

#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/layer/tar/mod.rs"]
mod tar;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(failure) = read(bytes) {
        assert!(matches!(
            failure.kind,
            Some("layer-invalid" | "layer-limit")
        ));
    }
});

/// Data is in order, inside of the file, and no longer than the archive.
fn read(bytes: &[u8]) -> error::Result<()> {
    let mut reader = tar::Reader::new(bytes);
    let mut total = 0;
    while let Some(entry) = reader.next()? {
        let mut end = 0;
        reader.data(&mut |offset, piece| {
            assert!(offset >= end);
            end = offset + piece.len() as u64;
            total += piece.len();
            Ok(())
        })?;
        assert!(end <= entry.size);
        assert!(total <= bytes.len());
    }
    reader.drain()
}

//! `cargo +nightly fuzz run pax`: extended headers alone, which a mutated archive seldom reaches behind its checksum.
#![no_main]
#![allow(dead_code, unused_imports)] // the helper uses more of these modules

#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/layer/tar/mod.rs"]
mod tar;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(records) = tar::pax::records(bytes) {
        let taken: usize = records
            .iter()
            .map(|(key, value)| key.len() + value.len() + 3)
            .sum();
        assert!(taken < bytes.len() + 1);
        let _ = tar::pax::Attributes::default().apply(&records);
    }
});

//! Wrong archives by the thousand, the same ones every time: the reader must end, and say `layer-*` or nothing.

use super::builder::{Archive, Block};
use super::read_all;
use crate::layer::tar::pax;

/// A xorshift generator: repeatable, and good enough to flip bits.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

pub fn seed() -> Vec<u8> {
    let map = [&b"2\n500\n3\n998\n2\n"[..], &[0; 498], b"abcde"].concat();
    Archive::new()
        .global(&[(b"comment", b"seed")])
        .directory(b"d/")
        .pax(&[
            (b"mtime", b"1.5"),
            (b"SCHILY.xattr.user.a", b"\0\xff"),
            (b"size", b"7"),
        ])
        .file(b"d/f", b"content")
        .entry(Block::new(b"././@LongLink", b'L').gnu(), b"long/name\0")
        .hardlink(b"h", b"d/f")
        .symlink(b"s", b"d")
        .pax(&[
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.realsize", b"1000"),
        ])
        .file(b"sparse", &map)
        .entry(Block::new(b"null", b'3').device(1, 3), b"")
        .file(b"d/.wh.gone", b"")
        .end()
}

/// Changes a few bytes, lengths, and blocks; then repairs most checksums, so that the change is not refused at once.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.next(4) {
        let at = random.next(bytes.len());
        match random.next(6) {
            0 => bytes[at] ^= 1 << random.next(8),
            1 => bytes[at] = b"0127 9=\n,-\0\x80\xff/.xLKgSD"[random.next(21)],
            2 => bytes.truncate(at.max(1)),
            3 => {
                let block = at / 512 * 512;
                let copy = bytes[block..(block + 512).min(bytes.len())].to_vec();
                bytes.splice(block..block, copy);
            }
            4 => {
                let block = at / 512 * 512;
                bytes.drain(block..(block + 512).min(bytes.len()));
                bytes.push(0);
            }
            _ => {
                let end = (at + random.next(12)).min(bytes.len());
                let digit = b"07\0"[random.next(3)];
                bytes[at..end].fill(digit);
            }
        }
    }
    if random.next(8) > 0 {
        repair(bytes);
    }
}

fn repair(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

#[test]
fn mutated_archives() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0;
    read_all(&seed()).unwrap();
    for round in 0..20_000 {
        let mut bytes = seed();
        mutate(&mut bytes, &mut random);
        match read_all(&bytes) {
            Ok(_) => accepted += 1,
            Err(failure) => assert!(
                matches!(failure.kind, Some("layer-invalid" | "layer-limit")),
                "round {round}: {failure}"
            ),
        }
    }
    assert!(
        accepted > 1000,
        "the mutations reach behind the checksum: {accepted}"
    );
}

#[test]
fn mutated_records() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let seed = b"20 mtime=1700000000\n11 path=ab\n30 GNU.sparse.map=0,1,2,3,4,5\n12 size=123\n";
    for _ in 0..50_000 {
        let mut bytes = seed.to_vec();
        for _ in 0..1 + random.next(3) {
            let at = random.next(bytes.len());
            bytes[at] = match random.next(2) {
                0 => random.next(256) as u8,
                _ => b"0123456789 =\n"[random.next(13)],
            };
        }
        if let Ok(records) = pax::records(&bytes) {
            let _ = pax::Attributes::default().apply(&records);
        }
    }
}

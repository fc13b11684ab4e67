//! Writing tar archives: ustar headers, and PAX records for what does not fit into them.

use std::io::{self, Write};

use super::Time;
use super::header::BLOCK;
use super::reader::{Entry, Kind};

/// What the octal fields of a header hold at most.
const MAX_SIZE: u64 = 0o77_777_777_777;
const MAX_ID: u32 = 0o7_777_777;
const NAME: usize = 100;

/// Archives end with two blocks of zeros and are as long as a multiple of twenty: what tapes and old readers expect.
const RECORD: u64 = 20 * BLOCK as u64;

pub struct Writer<W> {
    output: W,
    written: u64,
}

impl<W: Write> Writer<W> {
    pub fn new(output: W) -> Self {
        Writer { output, written: 0 }
    }

    /// The headers of one entry. Exactly `entry.size` bytes have to follow by `data`, and then `pad`.
    pub fn header(&mut self, entry: &Entry) -> io::Result<()> {
        let records = records(entry);
        if !records.is_empty() {
            let mut block = Block::new(&pax_name(&entry.path), b'x');
            block.octal(124..136, records.len() as u64);
            self.put(&block.sealed())?;
            self.put(&records)?;
            self.pad()?;
        }
        self.put(&plain(entry).sealed())
    }

    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes)
    }

    /// Fills up the last block of an entry's data.
    pub fn pad(&mut self) -> io::Result<()> {
        let missing = self.written.wrapping_neg() % BLOCK as u64;
        self.put(&[0; BLOCK][..missing as usize])
    }

    pub fn finish(mut self) -> io::Result<W> {
        self.put(&[0; 2 * BLOCK])?;
        let missing = self.written.next_multiple_of(RECORD) - self.written;
        self.put(&vec![0; missing as usize])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.output.write_all(bytes)
    }
}

/// What the plain header cannot say exactly.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| record(&mut records, key, value);
    if entry.path.len() > NAME {
        add(b"path", &entry.path);
    }
    let link = linkname(&entry.kind);
    if link.len() > NAME {
        add(b"linkpath", link);
    }
    if entry.size > MAX_SIZE {
        add(b"size", entry.size.to_string().as_bytes());
    }
    if entry.uid > MAX_ID {
        add(b"uid", entry.uid.to_string().as_bytes());
    }
    if entry.gid > MAX_ID {
        add(b"gid", entry.gid.to_string().as_bytes());
    }
    if !is_plain(entry.mtime) {
        add(b"mtime", time(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        add(&[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    records
}

/// The length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn plain(entry: &Entry) -> Block {
    let (flag, device) = match &entry.kind {
        Kind::File => (b'0', None),
        Kind::Hardlink(_) => (b'1', None),
        Kind::Symlink(_) => (b'2', None),
        Kind::Character { major, minor } => (b'3', Some((major, minor))),
        Kind::Block { major, minor } => (b'4', Some((major, minor))),
        Kind::Directory => (b'5', None),
        Kind::Fifo => (b'6', None),
    };
    let mut block = Block::new(&entry.path, flag);
    block.octal(100..108, u64::from(entry.mode & 0o7777));
    block.octal(108..116, u64::from(entry.uid.min(MAX_ID)));
    block.octal(116..124, u64::from(entry.gid.min(MAX_ID)));
    block.octal(124..136, entry.size.min(MAX_SIZE));
    let seconds = u64::try_from(entry.mtime.seconds).unwrap_or(0);
    block.octal(136..148, seconds.min(MAX_SIZE));
    block.text(157..257, linkname(&entry.kind));
    if let Some((major, minor)) = device {
        block.octal(329..337, u64::from(*major));
        block.octal(337..345, u64::from(*minor));
    }
    block
}

fn linkname(kind: &Kind) -> &[u8] {
    match kind {
        Kind::Symlink(target) | Kind::Hardlink(target) => target,
        _ => b"",
    }
}

fn is_plain(time: Time) -> bool {
    time.nanoseconds == 0 && u64::try_from(time.seconds).is_ok_and(|seconds| seconds <= MAX_SIZE)
}

/// Seconds with a fraction. Nanoseconds count forward, so before 1970 the digits are those of the distance to it.
fn time(
    Time {
        seconds,
        nanoseconds,
    }: Time,
) -> String {
    let (sign, seconds, nanoseconds) = match (seconds < 0, nanoseconds) {
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, nanoseconds) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
        (false, nanoseconds) => ("", seconds.unsigned_abs(), nanoseconds),
    };
    let fraction = format!(".{nanoseconds:09}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{sign}{seconds}{fraction}")
}

/// For readers without PAX, which take the records for a file.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    [b"PaxHeaders/", &last[..last.len().min(80)]].concat()
}

struct Block([u8; BLOCK]);

impl Block {
    fn new(name: &[u8], flag: u8) -> Self {
        let mut block = Block([0; BLOCK]);
        block.text(0..100, name);
        for range in [
            100..108,
            108..116,
            116..124,
            124..136,
            136..148,
            329..337,
            337..345,
        ] {
            block.octal(range, 0);
        }
        block.0[156] = flag;
        block.0[257..265].copy_from_slice(b"ustar\x0000");
        block
    }

    /// Cut where it does not fit: then a record has the whole.
    fn text(&mut self, range: std::ops::Range<usize>, text: &[u8]) {
        let length = text.len().min(range.len());
        self.0[range.start..range.start + length].copy_from_slice(&text[..length]);
    }

    fn octal(&mut self, range: std::ops::Range<usize>, value: u64) {
        let digits = range.len() - 1;
        self.text(range, format!("{value:0digits$o}").as_bytes());
    }

    fn sealed(mut self) -> [u8; BLOCK] {
        self.0[148..156].copy_from_slice(b"        ");
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

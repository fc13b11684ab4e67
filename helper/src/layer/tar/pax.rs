//! PAX extended headers: `length key=value\n` records (POSIX pax, "pax Header Block").
//!
//! Values are bytes: only the length says where a record ends, so binary attributes survive.

use super::fault::{invalid, limit};
use super::{Time, base64};
use crate::error::Result;

/// Bytes that one extended header or long name may take.
pub const MAX_BYTES: u64 = 1 << 20;

pub type Record = (Vec<u8>, Vec<u8>);

/// What extended headers say of an entry; `None` where they leave it to the plain header.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub path: Option<Vec<u8>>,
    pub linkpath: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<i64>,
    pub gid: Option<i64>,
    pub mtime: Option<Time>,
    /// In the order of the records; a name stands in it once.
    pub xattrs: Vec<Record>,
    pub sparse: SparseRecords,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SparseRecords {
    pub major: Option<u64>,
    pub minor: Option<u64>,
    pub name: Option<Vec<u8>>,
    /// `GNU.sparse.size` (0.x) or `GNU.sparse.realsize` (1.0).
    pub size: Option<u64>,
    /// `GNU.sparse.map` of format 0.1.
    pub map: Option<Vec<u8>>,
    /// The repeated `GNU.sparse.offset` and `GNU.sparse.numbytes` of format 0.0, in turn.
    pub pairs: Vec<u64>,
}

/// Splits an extended header into its records, in order: format 0.0 of GNU sparse repeats keys.
pub fn records(mut data: &[u8]) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    while !data.is_empty() {
        let malformed = || invalid("a PAX record is malformed");
        let space = data.iter().take(20).position(|b| *b == b' ');
        let space = space.ok_or_else(malformed)?;
        let length = usize::try_from(decimal(&data[..space])?).map_err(|_| malformed())?;
        if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
            return Err(malformed());
        }
        let record = &data[space + 1..length - 1];
        let equals = record.iter().position(|b| *b == b'=');
        let equals = equals.filter(|at| *at > 0).ok_or_else(malformed)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        data = &data[length..];
    }
    Ok(records)
}

/// What global headers say of every entry that follows.
#[derive(Default)]
pub struct Global(Attributes);

impl Global {
    pub fn add(&mut self, records: &[Record]) -> Result<()> {
        for (key, _) in records {
            // One name, size or attribute for all entries is nonsense that readers take differently: a way to
            // show one archive to a scanner and another one to the engine.
            let known = matches!(&key[..], b"path" | b"linkpath" | b"size");
            if known || PER_FILE.iter().any(|prefix| key.starts_with(prefix)) {
                let key = String::from_utf8_lossy(key);
                return Err(invalid(format!("a global PAX header sets {key}")));
            }
        }
        self.0.apply(records)
    }

    pub fn attributes(&self) -> Attributes {
        self.0.clone()
    }
}

const PER_FILE: [&[u8]; 3] = [b"GNU.sparse.", b"SCHILY.xattr.", b"LIBARCHIVE.xattr."];

impl Attributes {
    /// Later records win. An empty value takes back what an earlier header said.
    pub fn apply(&mut self, records: &[Record]) -> Result<()> {
        for (key, value) in records {
            let set = !value.is_empty();
            match &key[..] {
                b"path" => self.path = set.then(|| name(value)).transpose()?,
                b"linkpath" => self.linkpath = set.then(|| name(value)).transpose()?,
                b"size" => self.size = set.then(|| decimal(value)).transpose()?,
                b"uid" => self.uid = set.then(|| id(value)).transpose()?,
                b"gid" => self.gid = set.then(|| id(value)).transpose()?,
                b"mtime" => self.mtime = set.then(|| time(value)).transpose()?,
                _ => {
                    if let Some(xattr) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.xattr(xattr.to_vec(), value.clone())?;
                    } else if let Some(xattr) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                        let value = base64::decode(value)
                            .ok_or_else(|| invalid("an extended attribute is not base64"))?;
                        self.xattr(percent_decode(xattr), value)?;
                    } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                        self.sparse.apply(key, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>) -> Result<()> {
        if name.is_empty() || name.contains(&0) {
            return Err(invalid("an extended attribute has no valid name"));
        }
        if let Some(known) = self.xattrs.iter_mut().find(|(known, _)| *known == name) {
            known.1 = value;
        } else if self.xattrs.len() == MAX_XATTRS {
            return Err(limit("an entry has more than 1,024 extended attributes"));
        } else {
            self.xattrs.push((name, value));
        }
        Ok(())
    }
}

/// Looking a name up is a linear search, so the number must not grow at will.
const MAX_XATTRS: usize = 1024;

impl SparseRecords {
    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"major" => self.major = Some(decimal(value)?),
            b"minor" => self.minor = Some(decimal(value)?),
            b"name" => self.name = Some(name(value)?),
            b"size" | b"realsize" => self.size = Some(decimal(value)?),
            b"map" => self.map = Some(value.to_vec()),
            b"offset" | b"numbytes" => {
                if (key == b"offset") != (self.pairs.len() % 2 == 0) {
                    return Err(invalid(
                        "a sparse file's offsets and lengths do not alternate",
                    ));
                }
                self.pairs.push(decimal(value)?);
            }
            _ => (), // numblocks: the list itself says it
        }
        Ok(())
    }
}

fn name(value: &[u8]) -> Result<Vec<u8>> {
    if value.contains(&0) {
        return Err(invalid("a name in a PAX header contains NUL"));
    }
    Ok(value.to_vec())
}

/// Digits only: no sign, no space.
pub fn decimal(text: &[u8]) -> Result<u64> {
    let fault = || invalid("a number in a PAX header is malformed");
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(fault());
    }
    text.iter()
        .try_fold(0u64, |value, digit| {
            value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })
        .ok_or_else(fault)
}

fn id(value: &[u8]) -> Result<i64> {
    i64::try_from(decimal(value)?).map_err(|_| invalid("an owner in a PAX header is too large"))
}

/// `[-]seconds[.fraction]`; digits beyond nanoseconds are cut off.
fn time(value: &[u8]) -> Result<Time> {
    let (negative, text) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let dot = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
    let seconds = i64::try_from(decimal(&text[..dot])?)
        .map_err(|_| invalid("a time in a PAX header is out of range"))?;
    let fraction = text.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(invalid("a time in a PAX header is malformed"));
    }
    let nanoseconds = (0..9).fold(0u32, |value, place| {
        value * 10
            + fraction
                .get(place)
                .map_or(0, |digit| u32::from(digit - b'0'))
    });
    Ok(match (negative, nanoseconds) {
        (false, _) => Time {
            seconds,
            nanoseconds,
        },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

fn percent_decode(text: &[u8]) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut index = 0;
    while index < text.len() {
        match (hex(text.get(index + 1)), hex(text.get(index + 2))) {
            (Some(high), Some(low)) if text[index] == b'%' => {
                bytes.push((high << 4 | low) as u8);
                index += 3;
            }
            _ => {
                bytes.push(text[index]);
                index += 1;
            }
        }
    }
    bytes
}

//! One 512-byte header block.

use super::fault::invalid;
use super::number;
use crate::error::Result;

pub const BLOCK: usize = 512;

pub struct Header<'a> {
    block: &'a [u8; BLOCK],
    dialect: Dialect,
    pub typeflag: u8,
    /// Bytes of data that follow, as this header alone says.
    pub size: u64,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Dialect {
    V7,
    Posix,
    Star,
    Gnu,
}

impl<'a> Header<'a> {
    pub fn parse(block: &'a [u8; BLOCK]) -> Result<Self> {
        verify_checksum(block)?;
        let dialect = match &block[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar") && &block[508..512] == b"tar\0" => Dialect::Star,
            magic if magic.starts_with(b"ustar") => Dialect::Posix,
            _ => Dialect::V7,
        };
        let size = number::field(&block[124..136], "size")?;
        let size = u64::try_from(size).map_err(|_| invalid("the header's size is negative"))?;
        Ok(Header {
            block,
            dialect,
            typeflag: block[156],
            size,
        })
    }

    pub fn name(&self) -> Vec<u8> {
        let name = text(&self.block[0..100]);
        // GNU keeps times where ustar keeps the prefix; star keeps them in its end.
        let prefix = match self.dialect {
            Dialect::Posix => text(&self.block[345..500]),
            Dialect::Star => text(&self.block[345..476]),
            Dialect::Gnu | Dialect::V7 => b"",
        };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub fn linkname(&self) -> Vec<u8> {
        text(&self.block[157..257]).to_vec()
    }

    pub fn mode(&self) -> Result<u32> {
        // The file type, which some writers leave in here, is the type flag's business.
        Ok(number::field(&self.block[100..108], "mode")? as u32 & 0o7777)
    }

    pub fn uid(&self) -> Result<i64> {
        number::field(&self.block[108..116], "uid")
    }

    pub fn gid(&self) -> Result<i64> {
        number::field(&self.block[116..124], "gid")
    }

    pub fn mtime(&self) -> Result<i64> {
        number::field(&self.block[136..148], "mtime")
    }

    pub fn device(&self) -> Result<(u32, u32)> {
        let part = |range: std::ops::Range<usize>, name| {
            u32::try_from(number::field(&self.block[range], name)?)
                .map_err(|_| invalid(format!("the header's {name} is out of range")))
        };
        Ok((
            part(329..337, "device major")?,
            part(337..345, "device minor")?,
        ))
    }

    /// The fields of a GNU sparse header: its own four segments, whether more follow, the real size.
    pub fn gnu_sparse(&self) -> Result<(&'a [u8], bool, u64)> {
        if self.dialect != Dialect::Gnu {
            return Err(invalid("a sparse entry is not in GNU format"));
        }
        let size = number::field(&self.block[483..495], "real size")?;
        let size = u64::try_from(size).map_err(|_| invalid("a sparse file's size is negative"))?;
        Ok((&self.block[386..482], self.block[482] != 0, size))
    }
}

/// The sum of the header's bytes with the checksum field taken as spaces. Historic writers summed signed bytes.
fn verify_checksum(block: &[u8; BLOCK]) -> Result<()> {
    let stated = number::field(&block[148..156], "checksum")?;
    let spaces = 8 * i64::from(b' ');
    let others = || block[..148].iter().chain(&block[156..]);
    let unsigned: i64 = spaces + others().map(|b| i64::from(*b)).sum::<i64>();
    if stated == unsigned {
        return Ok(());
    }
    let signed: i64 = spaces + others().map(|b| i64::from(*b as i8)).sum::<i64>();
    if stated == signed {
        return Ok(());
    }
    Err(invalid("a header's checksum is wrong"))
}

/// A field's bytes up to its NUL.
pub fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

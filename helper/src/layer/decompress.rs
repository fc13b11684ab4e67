//! The uncompressed stream of a blob: gzip of several members, zstd of several frames, or as it is.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use serde::Deserialize;

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

const INPUT: usize = 128 << 10;

/// Reads to the very end of the source, or fails with `InvalidData` or `UnexpectedEof` where its format is wrong. After
/// `WouldBlock` reading can go on.
pub fn decompress(
    source: impl Read + Send + 'static,
    compression: Compression,
) -> io::Result<Box<dyn Read + Send>> {
    let input = BufReader::with_capacity(INPUT, source);
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(Gzip::Between(input)),
        // Its window is limited to 128 MiB unless told otherwise.
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
    })
}

/// Members follow each other; zero bytes may fill the end up, as tapes and some writers leave them.
enum Gzip<R> {
    Between(R),
    Member(Box<GzDecoder<R>>),
    Padding(R),
    Ended,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let next = match self {
                Gzip::Ended => return Ok(0),
                Gzip::Padding(input) => return only_zeros(input).map(|()| 0),
                Gzip::Member(member) => match member.read(buffer)? {
                    0 => Gzip::after,
                    length => return Ok(length),
                },
                Gzip::Between(input) => match input.fill_buf()?.first() {
                    None => return Ok(0),
                    Some(0) => Gzip::pad,
                    Some(_) => Gzip::enter,
                },
            };
            *self = next(std::mem::replace(self, Gzip::Ended));
        }
    }
}

impl<R: BufRead> Gzip<R> {
    fn enter(self) -> Self {
        match self {
            Gzip::Between(input) => Gzip::Member(Box::new(GzDecoder::new(input))),
            other => other,
        }
    }

    fn after(self) -> Self {
        match self {
            Gzip::Member(member) => Gzip::Between(member.into_inner()),
            other => other,
        }
    }

    fn pad(self) -> Self {
        match self {
            Gzip::Between(input) => Gzip::Padding(input),
            other => other,
        }
    }
}

fn only_zeros(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            let text = "something else follows the gzip stream";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let length = bytes.len();
        input.consume(length);
    }
}

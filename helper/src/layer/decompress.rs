//! The uncompressed stream of a blob: gzip of several members, zstd of several frames, or as it is.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use serde::Deserialize;

use super::source::Source;

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

const INPUT: usize = 128 << 10;

/// Reads to the very end of the source, or fails with `InvalidData` or `UnexpectedEof` where its format is wrong.
pub fn decompress(source: Source, compression: Compression) -> io::Result<Box<dyn Read + Send>> {
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
    Ended,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Gzip::Ended) {
                Gzip::Between(mut input) => match input.fill_buf()?.first() {
                    None => return Ok(0),
                    Some(0) => {
                        only_zeros(&mut input)?;
                        return Ok(0);
                    }
                    Some(_) => *self = Gzip::Member(Box::new(GzDecoder::new(input))),
                },
                Gzip::Member(mut member) => match member.read(buffer)? {
                    0 => *self = Gzip::Between(member.into_inner()),
                    length => {
                        *self = Gzip::Member(member);
                        return Ok(length);
                    }
                },
                Gzip::Ended => return Ok(0),
            }
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

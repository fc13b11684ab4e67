//! Sparse files: which parts of a file the archive holds. Old GNU headers and GNU.sparse formats 0.0, 0.1, 1.0.

use super::fault::{invalid, limit};
use super::header::BLOCK;
use super::number;
use super::pax::decimal;
use crate::error::Result;

/// More segments than any file system would give a file, few enough to hold in memory.
const MAX_SEGMENTS: usize = 1 << 20;

/// Bytes of one segment in an old GNU header or its extension block.
const GNU_SEGMENT: usize = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub offset: u64,
    pub length: u64,
}

/// A segment list while it is being read.
#[derive(Default)]
pub struct Map {
    segments: Vec<Segment>,
}

impl Map {
    /// Segments of an old GNU header (4) or of one of its extension blocks (21); unused ones are empty.
    pub fn add_gnu(&mut self, fields: &[u8]) -> Result<()> {
        for field in fields.chunks_exact(GNU_SEGMENT) {
            if field[0] == 0 {
                break;
            }
            let part = |range: std::ops::Range<usize>| {
                u64::try_from(number::field(&field[range], "sparse segment")?)
                    .map_err(|_| invalid("a sparse segment is negative"))
            };
            self.add(part(0..12)?, part(12..24)?)?;
        }
        Ok(())
    }

    /// `GNU.sparse.map` of format 0.1: `offset,length,offset,length...`
    pub fn add_text(&mut self, map: &[u8]) -> Result<()> {
        if map.is_empty() {
            return Ok(());
        }
        let numbers = map.split(|b| *b == b',').map(decimal);
        self.add_pairs(&numbers.collect::<Result<Vec<_>>>()?)
    }

    pub fn add_pairs(&mut self, numbers: &[u64]) -> Result<()> {
        if numbers.len() % 2 != 0 {
            return Err(invalid("a sparse map ends with half a segment"));
        }
        for pair in numbers.chunks_exact(2) {
            self.add(pair[0], pair[1])?;
        }
        Ok(())
    }

    fn add(&mut self, offset: u64, length: u64) -> Result<()> {
        if self.segments.len() == MAX_SEGMENTS {
            return Err(limit("a sparse file has more than 1,048,576 segments"));
        }
        self.segments.push(Segment { offset, length });
        Ok(())
    }

    /// The list, once it is sure to be in order, inside of the file, and as long as the data that follows.
    pub fn finish(self, size: u64, stored: u64) -> Result<Vec<Segment>> {
        let (mut end, mut total) = (0u64, 0u64);
        for segment in &self.segments {
            if segment.offset < end {
                return Err(invalid(
                    "a sparse file's segments overlap or are out of order",
                ));
            }
            end = segment
                .offset
                .checked_add(segment.length)
                .filter(|end| *end <= size)
                .ok_or_else(|| invalid("a sparse file's segment lies beyond its end"))?;
            total += segment.length; // at most `size`, as segments do not overlap
        }
        if total != stored {
            return Err(invalid(
                "a sparse file's segments and its data differ in length",
            ));
        }
        Ok(self.segments)
    }
}

/// The map of format 1.0, which stands before the data: decimal lines, padded to a whole block.
#[derive(Default)]
pub struct Leading {
    line: Vec<u8>,
    /// How many numbers the first line announces.
    expected: Option<usize>,
    numbers: Vec<u64>,
}

impl Leading {
    /// Takes the next block; true when the map is complete.
    pub fn add(&mut self, block: &[u8; BLOCK]) -> Result<bool> {
        for byte in block {
            if *byte != b'\n' {
                if self.line.len() == 20 {
                    return Err(invalid("a number in a sparse map is too long"));
                }
                self.line.push(*byte);
                continue;
            }
            let number = decimal(&self.line)?;
            self.line.clear();
            match self.expected {
                None => self.expected = Some(segment_numbers(number)?),
                Some(_) => self.numbers.push(number),
            }
            if self.expected == Some(self.numbers.len()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub fn into_numbers(self) -> Vec<u64> {
        self.numbers
    }
}

fn segment_numbers(segments: u64) -> Result<usize> {
    match usize::try_from(segments) {
        Ok(count) if count <= MAX_SEGMENTS => Ok(count * 2),
        _ => Err(limit("a sparse file has more than 1,048,576 segments")),
    }
}

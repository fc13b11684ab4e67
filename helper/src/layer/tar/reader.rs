//! From blocks to entries.

use super::Time;
use super::fault::{invalid, limit};
use super::header::{BLOCK, Header, text};
use super::pax::{self, Attributes};
use super::sparse::{Leading, Map, Segment};
use super::stream::Stream;
use crate::error::Result;

/// One file of the archive, with all that its headers say together.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// As it stands in the archive, any bytes but NUL; nothing is resolved or cleaned.
    pub path: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Length of the file when it has been written, holes included.
    pub size: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    Character { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
    Fifo,
}

pub struct Reader<S> {
    stream: S,
    global: pax::Global,
    /// Bytes of the present entry's data, and then of padding, that are still to come.
    data: u64,
    padding: u64,
    /// Where the data belongs in a sparse file; otherwise it is one run from the start.
    segments: Option<Vec<Segment>>,
}

impl<S: Stream> Reader<S> {
    pub fn new(stream: S) -> Self {
        Reader {
            stream,
            global: pax::Global::default(),
            data: 0,
            padding: 0,
            segments: None,
        }
    }

    /// The next entry; what is left of the last one's data is skipped.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        self.skip(self.data)?;
        self.skip(self.padding)?;
        (self.data, self.padding, self.segments) = (0, 0, None);

        let mut extended = Extended::default();
        loop {
            let Some(block) = self.block()? else {
                return extended.end();
            };
            if block == [0; BLOCK] {
                // Two of them end an archive. A single one at the very end is what some writers leave.
                if self.block()?.is_some_and(|second| second != [0; BLOCK]) {
                    return Err(invalid("a header block is empty"));
                }
                return extended.end();
            }
            let header = Header::parse(&block)?;
            // These take their own header's size: a `size` record means the entry to come. Reading it otherwise
            // would make two readers see two different archives.
            match header.typeflag {
                b'x' | b'X' => extended.records = Some(pax::records(&self.meta(header.size)?)?),
                b'g' => {
                    let records = pax::records(&self.meta(header.size)?)?;
                    self.global.add(&records)?;
                }
                b'L' => extended.name = Some(text(&self.meta(header.size)?).to_vec()),
                b'K' => extended.linkname = Some(text(&self.meta(header.size)?).to_vec()),
                b'V' => self.discard(header.size)?, // a volume's label
                _ => return self.entry(&header, extended).map(Some),
            }
        }
    }

    /// Hands over the present entry's data in order, with the offset in the file at which each piece belongs.
    pub fn data(&mut self, sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let whole = [Segment {
            offset: 0,
            length: self.data,
        }];
        let segments = self.segments.take();
        for segment in segments.as_deref().unwrap_or(&whole) {
            let (mut offset, mut left) = (segment.offset, segment.length);
            while left > 0 {
                let piece = piece(&mut self.stream, left)?;
                let length = piece.len();
                sink(offset, piece)?;
                self.stream.consume(length);
                offset += length as u64;
                left -= length as u64;
                self.data -= length as u64;
            }
        }
        Ok(())
    }

    /// Reads to the end of the stream: the digest covers what follows the archive, too.
    pub fn drain(&mut self) -> Result<()> {
        loop {
            let length = self.stream.fill()?.len();
            if length == 0 {
                return Ok(());
            }
            self.stream.consume(length);
        }
    }

    fn entry(&mut self, header: &Header<'_>, extended: Extended) -> Result<Entry> {
        let mut attributes = self.global.attributes();
        attributes.apply(&extended.records.unwrap_or_default())?;

        let linkname = extended.linkname.or(attributes.linkpath.take());
        let linkname = linkname.unwrap_or_else(|| header.linkname());
        let stored = attributes.size.unwrap_or(header.size);
        let mut path = extended.name.or(attributes.path.take());
        if let Some(name) = attributes.sparse.name.take() {
            path = Some(name); // `path` names a stand-in for readers without sparse files
        }
        let path = path.unwrap_or_else(|| header.name());

        let kind = match header.typeflag {
            b'0' | 0 | b'7' | b'S' if !path.ends_with(b"/") => Kind::File,
            b'0' | 0 | b'5' | b'D' => Kind::Directory, // before ustar a slash was a directory's only mark
            b'1' => Kind::Hardlink(linkname),
            b'2' => Kind::Symlink(linkname),
            b'3' | b'4' => {
                let (major, minor) = header.device()?;
                match header.typeflag {
                    b'3' => Kind::Character { major, minor },
                    _ => Kind::Block { major, minor },
                }
            }
            b'6' => Kind::Fifo,
            other => {
                let flag = char::from(other).escape_default();
                return Err(invalid(format!("an entry has the unknown type '{flag}'")));
            }
        };

        let size = match kind {
            Kind::File => self.begin_file(header, &attributes, stored)?,
            // GNU dump directories carry a list of names; other directories, links and devices have no data,
            // whatever their size field holds (old writers put the size of the linked file there).
            _ if header.typeflag == b'D' => {
                self.begin_data(stored)?;
                0
            }
            _ => 0,
        };
        Ok(Entry {
            path,
            kind,
            mode: header.mode()?,
            uid: owner(attributes.uid.map_or_else(|| header.uid(), Ok)?)?,
            gid: owner(attributes.gid.map_or_else(|| header.gid(), Ok)?)?,
            mtime: match attributes.mtime {
                Some(time) => time,
                None => Time {
                    seconds: header.mtime()?,
                    nanoseconds: 0,
                },
            },
            xattrs: attributes.xattrs,
            size,
        })
    }

    /// Sets `data`, `padding` and `segments` for a file; returns its length.
    fn begin_file(
        &mut self,
        header: &Header<'_>,
        attributes: &Attributes,
        stored: u64,
    ) -> Result<u64> {
        let mut map = Map::default();
        let sparse = &attributes.sparse;
        if header.typeflag == b'S' {
            let (fields, mut more, size) = header.gnu_sparse()?;
            map.add_gnu(fields)?;
            while more {
                let block = self.block()?.ok_or_else(cut_short)?;
                map.add_gnu(&block[..504])?;
                more = block[504] != 0;
            }
            self.begin_data(stored)?;
            self.segments = Some(map.finish(size, stored)?);
            return Ok(size);
        }

        self.begin_data(stored)?;
        match (sparse.major, sparse.minor) {
            (None, None)
                if sparse.map.is_none() && sparse.pairs.is_empty() && sparse.size.is_none() =>
            {
                return Ok(stored);
            }
            (None | Some(0), None | Some(0 | 1)) => {
                map.add_pairs(&sparse.pairs)?;
                map.add_text(sparse.map.as_deref().unwrap_or_default())?;
            }
            (Some(1), None | Some(0)) => {
                let mut leading = Leading::default();
                loop {
                    if self.data < BLOCK as u64 {
                        return Err(invalid("a sparse file's map is cut short"));
                    }
                    let block = self.block()?.ok_or_else(cut_short)?;
                    self.data -= BLOCK as u64;
                    if leading.add(&block)? {
                        break;
                    }
                }
                map.add_pairs(&leading.into_numbers())?;
            }
            _ => return Err(invalid("a sparse file has an unknown format")),
        }
        let size = sparse
            .size
            .ok_or_else(|| invalid("a sparse file's size is missing"))?;
        self.segments = Some(map.finish(size, self.data)?);
        Ok(size)
    }

    fn begin_data(&mut self, stored: u64) -> Result<()> {
        if stored > i64::MAX as u64 {
            return Err(invalid("a file's size is out of range"));
        }
        self.data = stored;
        self.padding = padding(stored);
        Ok(())
    }

    /// The whole data of an extended header.
    fn meta(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > pax::MAX_BYTES {
            return Err(limit("an extended header takes more than 1 MiB"));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        while (bytes.len() as u64) < size {
            let piece = piece(&mut self.stream, size - bytes.len() as u64)?;
            bytes.extend_from_slice(piece);
            let length = piece.len();
            self.stream.consume(length);
        }
        self.skip(padding(size))?;
        Ok(bytes)
    }

    fn discard(&mut self, size: u64) -> Result<()> {
        self.skip(size)?;
        self.skip(padding(size))
    }

    fn skip(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let length = piece(&mut self.stream, count)?.len();
            self.stream.consume(length);
            count -= length as u64;
        }
        Ok(())
    }

    /// `None` when the stream ends just before it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let bytes = self.stream.fill()?;
            if bytes.is_empty() {
                return if filled == 0 {
                    Ok(None)
                } else {
                    Err(cut_short())
                };
            }
            let length = bytes.len().min(BLOCK - filled);
            block[filled..filled + length].copy_from_slice(&bytes[..length]);
            self.stream.consume(length);
            filled += length;
        }
        Ok(Some(block))
    }
}

/// Extended headers met before the entry that they belong to.
#[derive(Default)]
struct Extended {
    records: Option<Vec<pax::Record>>,
    name: Option<Vec<u8>>,
    linkname: Option<Vec<u8>>,
}

impl Extended {
    fn end(&self) -> Result<Option<Entry>> {
        if self.records.is_some() || self.name.is_some() || self.linkname.is_some() {
            return Err(invalid("the archive ends after an extended header"));
        }
        Ok(None)
    }
}

/// Up to `most` bytes of what the stream lends.
fn piece<S: Stream>(stream: &mut S, most: u64) -> Result<&[u8]> {
    let bytes = stream.fill()?;
    if bytes.is_empty() {
        return Err(cut_short());
    }
    let length = usize::try_from(most).map_or(bytes.len(), |most| most.min(bytes.len()));
    Ok(&bytes[..length])
}

fn cut_short() -> crate::error::Failure {
    invalid("the archive is cut short")
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// -1 would mean "leave as it is" to chown(2).
fn owner(id: i64) -> Result<u32> {
    match u32::try_from(id) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(invalid("an owner's id is out of range")),
    }
}

//! Writes tar blocks. Everything can be set, nothing is checked.

pub struct Block(pub [u8; 512]);

impl Block {
    /// A POSIX header of an empty regular file owned by root.
    pub fn new(name: &[u8], typeflag: u8) -> Self {
        let mut block = Block([0; 512]);
        block.put(0, name);
        block.put(100, b"0000644\0");
        block.put(108, b"0000000\0");
        block.put(116, b"0000000\0");
        block.put(136, b"00000000000\0");
        block.0[156] = typeflag;
        block.put(257, b"ustar\x0000");
        block.size(0)
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes);
        self
    }

    pub fn size(self, size: u64) -> Self {
        self.with(124, format!("{size:011o}\0").as_bytes())
    }

    pub fn mode(self, mode: u32) -> Self {
        self.with(100, format!("{mode:07o}\0").as_bytes())
    }

    pub fn owner(self, uid: u32, gid: u32) -> Self {
        self.with(108, format!("{uid:07o}\0").as_bytes())
            .with(116, format!("{gid:07o}\0").as_bytes())
    }

    pub fn mtime(self, mtime: u64) -> Self {
        self.with(136, format!("{mtime:011o}\0").as_bytes())
    }

    pub fn linkname(self, name: &[u8]) -> Self {
        self.with(157, name)
    }

    pub fn device(self, major: u32, minor: u32) -> Self {
        self.with(329, format!("{major:07o}\0").as_bytes())
            .with(337, format!("{minor:07o}\0").as_bytes())
    }

    pub fn gnu(self) -> Self {
        self.with(257, b"ustar  \0")
    }

    /// With the checksum set right.
    pub fn sealed(self) -> [u8; 512] {
        let block = self.with(148, b"        ");
        let sum: u32 = block.0.iter().map(|b| u32::from(*b)).sum();
        block.with(148, format!("{sum:06o}\0 ").as_bytes()).0
    }
}

#[derive(Default, Clone)]
pub struct Archive(pub Vec<u8>);

impl Archive {
    pub fn new() -> Self {
        Archive::default()
    }

    /// The block and the data, padded; the block's size field is left alone.
    pub fn raw(mut self, block: Block, data: &[u8]) -> Self {
        self.0.extend_from_slice(&block.sealed());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn entry(self, block: Block, data: &[u8]) -> Self {
        let block = block.size(data.len() as u64);
        self.raw(block, data)
    }

    pub fn file(self, name: &[u8], data: &[u8]) -> Self {
        self.entry(Block::new(name, b'0'), data)
    }

    pub fn directory(self, name: &[u8]) -> Self {
        self.entry(Block::new(name, b'5').mode(0o755), b"")
    }

    pub fn symlink(self, name: &[u8], target: &[u8]) -> Self {
        self.entry(Block::new(name, b'2').linkname(target), b"")
    }

    pub fn hardlink(self, name: &[u8], target: &[u8]) -> Self {
        self.entry(Block::new(name, b'1').linkname(target), b"")
    }

    pub fn pax(self, records: &[(&[u8], &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(k, v)| record(k, v)).collect();
        self.entry(Block::new(b"PaxHeaders/x", b'x'), &data)
    }

    pub fn global(self, records: &[(&[u8], &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(k, v)| record(k, v)).collect();
        self.entry(Block::new(b"pax_global_header", b'g'), &data)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

//! What the writer writes, the reader and GNU tar read.

use std::process::{Command, Stdio};

use crate::layer::tar::writer::Writer;
use crate::layer::tar::{Entry, Kind, Reader, Time};

fn entry(path: &[u8], kind: Kind) -> Entry {
    Entry {
        path: path.to_vec(),
        kind,
        mode: 0o4755,
        uid: 1000,
        gid: 50,
        mtime: Time {
            seconds: 1_700_000_000,
            nanoseconds: 123_456_789,
        },
        xattrs: Vec::new(),
        size: 0,
    }
}

fn archive(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in entries {
        writer.header(entry).unwrap();
        writer.data(data).unwrap();
        writer.pad().unwrap();
    }
    writer.finish().unwrap()
}

fn read(archive: &[u8]) -> Vec<Entry> {
    let mut reader = Reader::new(archive);
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

#[test]
fn everything_comes_back() {
    let long = [b"d/".repeat(900), b"name\n\xff".to_vec()].concat();
    let mut entries = vec![
        entry(b"a", Kind::File),
        entry(&long, Kind::File),
        entry(b"dir/", Kind::Directory),
        entry(b"link", Kind::Symlink(long.clone())),
        entry(b"again", Kind::Hardlink(b"a".to_vec())),
        entry(b"pipe", Kind::Fifo),
        entry(b"null", Kind::Character { major: 1, minor: 3 }),
        entry(
            b"disk",
            Kind::Block {
                major: 259,
                minor: 1_048_575,
            },
        ),
    ];
    entries[0].size = 5;
    entries[0].xattrs = vec![
        (
            b"security.capability".to_vec(),
            vec![1, 0, 0, 2, b'\n', b'=', 0],
        ),
        (b"user.x".to_vec(), b"y".to_vec()),
    ];
    entries[1].uid = 3_000_000_000;
    entries[1].gid = 3_000_000_001;
    for (index, (seconds, nanoseconds)) in [(-1, 500_000_000), (-2, 0), (1 << 34, 1), (0, 0)]
        .into_iter()
        .enumerate()
    {
        entries[index + 2].mtime = Time {
            seconds,
            nanoseconds,
        };
    }
    let with_data: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let data: &[u8] = if entry.size == 5 { b"hello" } else { b"" };
            (entry, data)
        })
        .collect();
    let bytes = archive(&with_data);
    assert_eq!(bytes.len() % 10_240, 0);
    let expected: Vec<_> = with_data.into_iter().map(|(entry, _)| entry).collect();
    assert_eq!(read(&bytes), expected);
}

#[test]
fn sizes_beyond_the_octal_field() {
    let mut huge = entry(b"huge", Kind::File);
    huge.size = 9 << 30;
    let mut writer = Writer::new(Vec::new());
    writer.header(&huge).unwrap();
    let bytes = writer.finish().unwrap();
    assert_eq!(
        Reader::new(&bytes[..]).next().unwrap().unwrap().size,
        9 << 30
    );
}

#[test]
fn gnu_tar_reads_it() {
    let mut file = entry(&[&b"x".repeat(200)[..], b"\xc3\xa9"].concat(), Kind::File);
    file.size = 3;
    let bytes = archive(&[(file, b"abc")]);
    let mut tar = Command::new("tar")
        .args(["-tvf", "-", "--numeric-owner", "--full-time"])
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut tar.stdin.take().unwrap(), &bytes).unwrap();
    let text = String::from_utf8(tar.wait_with_output().unwrap().stdout).unwrap();
    assert!(text.starts_with("-rwsr-xr-x 1000/50"), "{text}");
    assert!(text.contains("2023-11-14 22:13:20.123456789"), "{text}");
    assert!(text.trim_end().ends_with("xé"), "{text}");
}

//! The log: Kubernetes' CRI format, `<time> stdout|stderr F|P <bytes>\n`. Whole lines are written at once, so a reader
//! beside it sees whole lines.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::io::Errno;
use serde::Serialize;

use super::clock;
use super::plan::LogPlan;
use crate::error::{Failure, Result, Step};

/// Longer lines are written in parts.
const LONGEST: usize = 16 << 10;

/// Lines are gathered up to this many bytes for one write.
const BATCH: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Stdout,
    Stderr,
}

pub struct Log {
    plan: LogPlan,
    file: File,
    size: u64,
    /// Of each source, what has come since its last newline.
    partial: [Vec<u8>; 2],
    batch: Vec<u8>,
    pub lost: Option<Lost>,
}

/// Lines that the file did not take.
#[derive(Debug, Clone, Serialize)]
pub struct Lost {
    pub lost: u64,
    pub error: Failure,
}

impl Log {
    pub fn open(plan: LogPlan) -> Result<Self> {
        let mut file = open(&plan, false)?;
        let size = end_torn_line(&mut file).step_at("end the log's last line", &plan.path)?;
        Ok(Log {
            plan,
            file,
            size,
            partial: [Vec::new(), Vec::new()],
            batch: Vec::new(),
            lost: None,
        })
    }

    /// Takes in what a source has written. True when lines were lost for the first time.
    pub fn take(&mut self, source: Source, mut bytes: &[u8]) -> bool {
        let before = self.lost.is_some();
        let time = clock::now();
        let mut partial = std::mem::take(&mut self.partial[source as usize]);
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            if partial.is_empty() {
                self.line(&time, source, line, b'F');
            } else {
                partial.extend_from_slice(line);
                self.line(&time, source, &partial, b'F');
                partial.clear();
            }
        }
        partial.extend_from_slice(bytes);
        while partial.len() > LONGEST {
            self.entry(&time, source, b'P', &partial[..LONGEST]);
            partial.drain(..LONGEST);
        }
        if partial.is_empty() {
            partial = Vec::new();
        }
        self.partial[source as usize] = partial;
        self.flush();
        !before && self.lost.is_some()
    }

    /// A source has ended, perhaps within a line. True as above.
    pub fn end(&mut self, source: Source) -> bool {
        let before = self.lost.is_some();
        let partial = std::mem::take(&mut self.partial[source as usize]);
        if !partial.is_empty() {
            self.line(&clock::now(), source, &partial, b'P');
            self.flush();
        }
        !before && self.lost.is_some()
    }

    /// A line of any length; the last of its entries is marked with `last`.
    fn line(&mut self, time: &str, source: Source, mut line: &[u8], last: u8) {
        while line.len() > LONGEST {
            self.entry(time, source, b'P', &line[..LONGEST]);
            line = &line[LONGEST..];
        }
        self.entry(time, source, last, line);
    }

    fn entry(&mut self, time: &str, source: Source, mark: u8, content: &[u8]) {
        let name = match source {
            Source::Stdout => "stdout",
            Source::Stderr => "stderr",
        };
        let length = time.len() + name.len() + content.len() + " ".len() * 3 + "F\n".len();
        let written = self.size + self.batch.len() as u64;
        let full = |size: u64| written > 0 && written + length as u64 > size;
        if self.plan.max_size.is_some_and(full) {
            self.flush();
            self.rotate();
        }
        let batch = &mut self.batch;
        for part in [
            time.as_bytes(),
            b" ",
            name.as_bytes(),
            b" ",
            &[mark],
            b" ",
            content,
            b"\n",
        ] {
            batch.extend_from_slice(part);
        }
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if let Err((written, error)) = write_all(&mut self.file, &batch) {
            // Only whole lines may stay.
            let whole = batch[..written]
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1);
            let _ = self.file.set_len(self.size + whole as u64);
            self.size += whole as u64;
            self.lose(&batch[whole..], &error);
        } else {
            self.size += batch.len() as u64;
        }
    }

    fn lose(&mut self, lines: &[u8], error: &std::io::Error) {
        let count = lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let lost = self.lost.get_or_insert_with(|| {
            let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
            Lost {
                lost: 0,
                error: Failure::new("write the log")
                    .errno(errno)
                    .path(&self.plan.path),
            }
        });
        lost.lost += count;
    }

    /// Where it fails the present file grows on.
    fn rotate(&mut self) {
        let files = self.plan.max_files.unwrap_or(1).max(1);
        for number in (1..files).rev() {
            let from = match number {
                1 => self.plan.path.clone(),
                _ => self.numbered(number - 1),
            };
            let _ = std::fs::rename(from, self.numbered(number));
        }
        if files == 1 {
            // A reader of the old one may still come to its end.
            let _ = std::fs::remove_file(&self.plan.path);
        }
        if let Ok(file) = open(&self.plan, true) {
            self.file = file;
            self.size = 0;
        }
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name: OsString = self.plan.path.clone().into();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(plan: &LogPlan, new: bool) -> Result<File> {
    let mut options = File::options();
    options.read(true).append(true).mode(0o600);
    match new {
        true => options.create_new(true),
        false => options.create(true),
    };
    options.open(&plan.path).step_at("open the log", &plan.path)
}

/// A monitor that died while it wrote left a part of a line. Returns the size.
fn end_torn_line(file: &mut File) -> std::io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    if size == 0 {
        return Ok(0);
    }
    file.seek(SeekFrom::Start(size - 1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(size);
    }
    file.write_all(b"\n")?;
    Ok(size + 1)
}

/// As far as it went, and why not further.
fn write_all(file: &mut File, bytes: &[u8]) -> std::result::Result<(), (usize, std::io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(length) => written += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(directory: &std::path::Path, max_size: Option<u64>, max_files: Option<u32>) -> Log {
        Log::open(LogPlan {
            path: directory.join("log"),
            max_size,
            max_files,
        })
        .unwrap()
    }

    /// The lines of a log file without their times.
    fn lines(path: impl AsRef<std::path::Path>) -> Vec<String> {
        let text = String::from_utf8(std::fs::read(path).unwrap()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines()
            .map(|line| line.split_once(' ').unwrap().1.to_owned())
            .collect()
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), None, None);
        for piece in [&b"one\ntw"[..], b"o\n\n", b"thr", b"ee"] {
            log.take(Source::Stdout, piece);
            log.take(Source::Stderr, b"e\n");
        }
        log.end(Source::Stdout);
        log.end(Source::Stderr);
        let (stderr, stdout): (Vec<_>, Vec<_>) = lines(directory.path().join("log"))
            .into_iter()
            .partition(|line| line.starts_with("stderr"));
        assert_eq!(stderr, ["stderr F e"; 4]);
        assert_eq!(
            stdout,
            [
                "stdout F one",
                "stdout F two",
                "stdout F ",
                "stdout P three"
            ]
        );
    }

    #[test]
    fn long_lines_are_split() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), None, None);
        let exact = vec![b'a'; LONGEST];
        log.take(Source::Stdout, &exact);
        log.take(Source::Stdout, b"\n");
        let longer = vec![b'b'; LONGEST * 2 + 1];
        log.take(Source::Stdout, &longer);
        log.take(Source::Stdout, b"\n");
        let sizes: Vec<_> = lines(directory.path().join("log"))
            .iter()
            .map(|line| (line.as_bytes()[7], line.len() - "stdout F ".len()))
            .collect();
        assert_eq!(
            sizes,
            [(b'F', LONGEST), (b'P', LONGEST), (b'P', LONGEST), (b'F', 1)]
        );
    }

    #[test]
    fn files_are_rotated_between_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        // A line is 41 bytes and what it says.
        let mut log = log(directory.path(), Some(90), Some(3));
        for number in 1..=9 {
            log.take(Source::Stdout, format!("{number}\n").as_bytes());
        }
        assert_eq!(lines(&path), ["stdout F 9"]);
        assert_eq!(
            lines(path.with_extension("1")),
            ["stdout F 7", "stdout F 8"]
        );
        assert_eq!(
            lines(path.with_extension("2")),
            ["stdout F 5", "stdout F 6"]
        );
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn one_file_starts_anew() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), Some(90), None);
        log.take(Source::Stdout, b"1\n2\n3\n");
        assert_eq!(lines(directory.path().join("log")), ["stdout F 3"]);
    }

    #[test]
    fn a_torn_line_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "time stdout F whole\ntime stdout F to").unwrap();
        log(directory.path(), None, None).take(Source::Stdout, b"next\n");
        assert_eq!(
            lines(&path),
            ["stdout F whole", "stdout F to", "stdout F next"]
        );
    }
}

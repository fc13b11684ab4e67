//! Questions that are put to functions of programs first: the resolvers of a network. Each is a file in the network's
//! directory of resolvers, which says by which socket the program is reached, how long it has, and what is to be done when
//! it does not answer: it may be busy, or gone.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::Deserialize;
use serde_json::json;

use super::book::record;
use super::forward::{Asker, is_temporary};
use super::message::Query;
use super::record::Record;
use crate::protocol::{FrameReader, decode, encode};

/// Of one network, and bytes of one file.
const MAX_RESOLVERS: usize = 16;
const MAX_BYTES: u64 = 4096;
/// More records than that are not told.
const MAX_RECORDS: usize = 256;
/// `sun_path` without its end.
const LONGEST_PATH: usize = 107;

#[derive(Debug, Deserialize)]
pub struct Resolver {
    socket: PathBuf,
    /// Milliseconds.
    timeout: u64,
    fallback: Fallback,
}

/// In the place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fallback {
    /// As if there was no such resolver.
    Pass,
    Fail,
}

/// What a resolver answers.
#[derive(Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
enum Told {
    Pass,
    Refuse,
    Records { records: Vec<String> },
}

/// A question that is with a resolver.
pub struct Consultation {
    pub asker: Asker,
    query: Query,
    container: String,
    resolvers: VecDeque<Resolver>,
    asked: Option<Asked>,
}

struct Asked {
    socket: UnixStream,
    heard: FrameReader,
    due: Instant,
    fallback: Fallback,
}

pub enum Verdict {
    Waiting,
    /// None of them wants to tell: it is for others.
    Pass,
    Records(Vec<Record>),
    Refused,
    Failed,
}

/// Those of all networks, in the order in which they are asked: of each network the newest first.
pub fn resolvers(directories: &[PathBuf]) -> VecDeque<Resolver> {
    directories
        .iter()
        .flat_map(|each| of_network(each))
        .collect()
}

fn of_network(directory: &Path) -> Vec<Resolver> {
    let Ok(entries) = directory.read_dir() else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    files.truncate(MAX_RESOLVERS);
    files.iter().filter_map(|file| read(file)).collect()
}

/// One that goes away in this moment is none.
fn read(file: &Path) -> Option<Resolver> {
    let mut text = Vec::new();
    let file = std::fs::File::open(file).ok()?;
    file.take(MAX_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

impl Consultation {
    pub fn new(
        asker: Asker,
        query: Query,
        container: String,
        resolvers: VecDeque<Resolver>,
    ) -> Self {
        Consultation {
            asker,
            query,
            container,
            resolvers,
            asked: None,
        }
    }

    pub fn query(&self) -> &Query {
        &self.query
    }

    pub fn into_query(self) -> Query {
        self.query
    }

    /// Puts the question to the next one that can be asked.
    pub fn ask(&mut self, now: Instant) -> Verdict {
        while let Some(Resolver {
            socket,
            timeout,
            fallback,
        }) = self.resolvers.pop_front()
        {
            match (self.put(&socket), fallback) {
                (Ok(socket), fallback) => {
                    self.asked = Some(Asked {
                        socket,
                        heard: FrameReader::default(),
                        due: now + Duration::from_millis(timeout),
                        fallback,
                    });
                    return Verdict::Waiting;
                }
                (Err(_), Fallback::Pass) => {}
                (Err(_), Fallback::Fail) => return Verdict::Failed,
            }
        }
        Verdict::Pass
    }

    /// When to give up on the one that was asked last.
    pub fn due(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.due)
    }

    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.asked.as_ref().map(|asked| asked.socket.as_fd())
    }

    /// The socket is ready.
    pub fn hear(&mut self, now: Instant) -> Verdict {
        let Some(asked) = &mut self.asked else {
            return Verdict::Pass;
        };
        match asked.hear() {
            Ok(None) => Verdict::Waiting,
            Err(error) if is_temporary(&error) => Verdict::Waiting,
            Err(_) => self.give_up(now),
            Ok(Some(Told::Pass)) => self.ask(now),
            Ok(Some(Told::Refuse)) => Verdict::Refused,
            Ok(Some(Told::Records { records })) => {
                let records = records.iter().take(MAX_RECORDS);
                let kind = self.query.kind;
                Verdict::Records(records.filter_map(|text| record(text, kind)).collect())
            }
        }
    }

    /// It was too slow, or is gone.
    pub fn give_up(&mut self, now: Instant) -> Verdict {
        match self.asked.take() {
            Some(asked) if asked.fallback == Fallback::Fail => Verdict::Failed,
            _ => self.ask(now),
        }
    }

    fn put(&self, path: &Path) -> io::Result<UnixStream> {
        let mut socket = open(path)?;
        let question = json!({
            "name": self.query.shown(),
            "type": self.query.kind,
            "container": self.container,
        });
        // As small as it is, a socket without room for it is of a program that does not read.
        socket.write_all(&encode(&question))?;
        Ok(socket)
    }
}

impl Asked {
    fn hear(&mut self) -> io::Result<Option<Told>> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.heard.next().map_err(io::Error::other)? {
                return decode(frame).map(Some).map_err(io::Error::other);
            }
            match self.socket.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.heard.push(&buffer[..length]),
            }
        }
    }
}

fn open(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let directory;
    let address = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if path.as_os_str().len() > LONGEST_PATH => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            directory = rustix::fs::open(parent, flags, Mode::empty())?;
            Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name)
        }
        _ => path.to_owned(),
    };
    connect(&socket, &SocketAddrUnix::new(&address)?)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::names::record::kind;

    fn question(name: &[u8]) -> Query {
        let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&[0, 0, kind::A as u8, 0, 1]);
        Query::read(&bytes).unwrap()
    }

    fn write(directory: &Path, file: &str, socket: &str, fallback: &str) -> PathBuf {
        let socket = directory.join(socket);
        let text = json!({ "socket": socket, "timeout": 1000, "fallback": fallback });
        std::fs::write(directory.join(file), text.to_string()).unwrap();
        socket
    }

    fn consult(directory: &Path) -> Consultation {
        let asker = Asker::Connection(1);
        let all = resolvers(&[directory.to_owned()]);
        Consultation::new(asker, question(b"db"), "box".into(), all)
    }

    /// What comes of an answer in these words.
    fn answered(words: &[u8]) -> Verdict {
        let directory = tempfile::tempdir().unwrap();
        let socket = write(directory.path(), "1.json", "a.sock", "fail");
        let listener = UnixListener::bind(socket).unwrap();
        let mut consultation = consult(directory.path());
        assert!(matches!(consultation.ask(Instant::now()), Verdict::Waiting));
        let (mut program, _) = listener.accept().unwrap();
        let mut asked = [0; 1024];
        let length = program.read(&mut asked).unwrap();
        let asked: serde_json::Value = serde_json::from_slice(&asked[4..length]).unwrap();
        assert_eq!(
            asked,
            json!({ "name": "db", "type": 1, "container": "box" })
        );
        program.write_all(words).unwrap();
        drop(program);
        consultation.hear(Instant::now())
    }

    #[test]
    fn an_answer_counts_as_far_as_it_is_one() {
        let records = json!({ "answer": "records", "records": ["10.0.0.1", "fd00::1", "x"] });
        match answered(&encode(&records)) {
            Verdict::Records(records) => {
                assert_eq!(records, [Record::Address("10.0.0.1".parse().unwrap())]);
            }
            _ => panic!(),
        }
        let refuse = encode(&json!({ "answer": "refuse" }));
        assert!(matches!(answered(&refuse), Verdict::Refused));
        let pass = encode(&json!({ "answer": "pass" }));
        assert!(matches!(answered(&pass), Verdict::Pass));
        for broken in [&b""[..], b"\xff\xff\xff\xff", &encode(&"x"), &refuse[..9]] {
            assert!(matches!(answered(broken), Verdict::Failed), "{broken:?}");
        }
    }

    #[test]
    fn those_that_are_gone_are_passed_over_or_stand_for_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        write(path, "1.json", "gone.sock", "pass");
        std::fs::write(path.join("2.json"), "{").unwrap();
        std::fs::write(path.join("3.json.new"), "{}").unwrap();
        assert!(matches!(consult(path).ask(Instant::now()), Verdict::Pass));
        write(path, "0.json", "gone.sock", "fail");
        assert!(matches!(consult(path).ask(Instant::now()), Verdict::Failed));
        assert!(resolvers(&[path.join("none")]).is_empty());
    }

    #[test]
    fn the_newest_is_asked_first_and_a_slow_one_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let old = UnixListener::bind(write(path, "1.json", "old.sock", "fail")).unwrap();
        let new = UnixListener::bind(write(path, "2.json", "new.sock", "pass")).unwrap();
        old.set_nonblocking(true).unwrap();
        let mut consultation = consult(path);
        let now = Instant::now();
        consultation.ask(now);
        assert!(new.accept().is_ok() && old.accept().is_err());
        assert_eq!(consultation.due(), Some(now + Duration::from_millis(1000)));
        assert!(matches!(consultation.give_up(now), Verdict::Waiting));
        assert!(old.accept().is_ok());
        assert!(matches!(consultation.give_up(now), Verdict::Failed));
    }
}

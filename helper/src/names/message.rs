//! Messages of the domain name system (RFC 1035, RFC 6891), as far as one who answers for others needs them. Whoever asks
//! is not trusted: nothing is believed of a length or an offset.

use std::net::IpAddr;

const HEADER: usize = 12;
/// Room in a datagram for one who says nothing of it.
const PLAIN_ROOM: usize = 512;
/// And the most that is made use of.
const MOST_ROOM: usize = 4096;
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 255;
/// Seconds: a container's address may be another's soon.
const TTL: u32 = 5;

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const CODE: u16 = 0x000f;
/// A name that is the one of the question.
const SAME_NAME: [u8; 2] = [0xc0, HEADER as u8];

pub const INTERNET: u16 = 1;

/// Types of records.
pub mod kind {
    pub const A: u16 = 1;
    pub const PTR: u16 = 12;
    pub const AAAA: u16 = 28;
    pub const OPT: u16 = 41;
    pub const ANY: u16 = 255;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Address(IpAddr),
    Name(String),
}

/// What is asked, and by which message.
#[derive(Debug)]
pub struct Query {
    message: Vec<u8>,
    /// In lower case; absent when it has bytes that no host's name has.
    pub name: Option<String>,
    pub kind: u16,
    pub class: u16,
    /// Where the question ends.
    end: usize,
    /// By EDNS: the room for an answer in a datagram.
    room: Option<usize>,
}

impl Query {
    /// What is not understood has an answer, too, unless it is none or not a question at all.
    pub fn read(message: &[u8]) -> Result<Query, Option<Vec<u8>>> {
        let flags = word(message, 2).filter(|flags| flags & RESPONSE == 0);
        let Some(flags) = flags.filter(|_| message.len() >= HEADER) else {
            return Err(None);
        };
        if flags & OPCODE != 0 {
            return Err(Some(refusal(message, flags, Code::NotImplemented)));
        }
        parse(message).ok_or_else(|| Some(refusal(message, flags, Code::FormatError)))
    }

    /// The same asked under another id, unpredictable for whoever would like to answer in the place of the resolver.
    pub fn with_id(&self, id: u16) -> Vec<u8> {
        with_id(self.message.clone(), id)
    }

    pub fn id(&self) -> u16 {
        word(&self.message, 0).unwrap_or_default()
    }

    /// The name as it is written for people (RFC 4343), whatever is in it.
    pub fn shown(&self) -> String {
        let mut text = String::new();
        let mut at = HEADER;
        while let Some(&length) = self.message.get(at).filter(|&&length| length > 0) {
            let end = at + 1 + usize::from(length);
            if !text.is_empty() {
                text.push('.');
            }
            for byte in self.message.get(at + 1..end).unwrap_or_default() {
                match byte {
                    b'-' | b'_' => text.push(char::from(*byte)),
                    byte if byte.is_ascii_alphanumeric() => {
                        text.push(char::from(byte.to_ascii_lowercase()));
                    }
                    byte => text.push_str(&format!("\\{byte:03}")),
                }
            }
            at = end;
        }
        match text.is_empty() {
            true => ".".into(),
            false => text,
        }
    }

    /// Without a dot; such names are never those of the world.
    pub fn is_unqualified(&self) -> bool {
        self.name.as_ref().is_some_and(|name| !name.contains('.'))
    }

    /// The answer; in a datagram only as much as there is room for.
    pub fn answer(&self, code: Code, records: &[Record], datagram: bool) -> Vec<u8> {
        let asked = word(&self.message, 2).unwrap_or_default();
        let flags = RESPONSE | (asked & RECURSION_DESIRED) | RECURSION_AVAILABLE | code as u16;
        let mut bytes = self.message[..self.end].to_vec();
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        let option = self.room.map(|_| option_record()).unwrap_or_default();
        let room = match datagram {
            true => self.room(),
            false => usize::from(u16::MAX),
        };
        let mut answers = 0u16;
        for record in records {
            let record = encode(record);
            if bytes.len() + record.len() + option.len() > room {
                bytes[2..4].copy_from_slice(&(flags | TRUNCATED).to_be_bytes());
                break;
            }
            bytes.extend_from_slice(&record);
            answers += 1;
        }
        bytes.extend_from_slice(&option);
        set_counts(&mut bytes, 1, answers, u16::from(self.room.is_some()));
        bytes
    }

    /// What a resolver said, for the one who asked; `None` when it is no answer to this, asked under `id`.
    pub fn forwarded(&self, reply: &[u8], id: u16, datagram: bool) -> Option<(Code, Vec<u8>)> {
        let flags = word(reply, 2).filter(|flags| flags & RESPONSE != 0)?;
        if reply.len() < HEADER || word(reply, 0) != Some(id) {
            return None;
        }
        let code = match flags & CODE {
            0 => Code::NoError,
            1 => Code::FormatError,
            3 => Code::NameError,
            4 => Code::NotImplemented,
            5 => Code::Refused,
            _ => Code::ServerFailure,
        };
        let question = &self.message[HEADER..self.end];
        let same = reply
            .get(HEADER..self.end)
            .is_some_and(|other| other.eq_ignore_ascii_case(question));
        match word(reply, 4) {
            Some(1) if same => {}
            // One that did not understand the message need not repeat its question.
            Some(0) if code != Code::NoError => {}
            _ => return None,
        }
        let reply = match datagram && reply.len() > self.room() {
            true => self.cut(),
            false => reply.to_vec(),
        };
        Some((code, with_id(reply, self.id())))
    }

    fn room(&self) -> usize {
        self.room.unwrap_or(PLAIN_ROOM)
    }

    /// An answer that says no more than that there is a longer one.
    fn cut(&self) -> Vec<u8> {
        let mut bytes = self.answer(Code::NoError, &[], true);
        let flags = word(&bytes, 2).unwrap_or_default() | TRUNCATED;
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        bytes
    }
}

fn parse(message: &[u8]) -> Option<Query> {
    if word(message, 4)? != 1 {
        return None;
    }
    let (name, end) = question_name(message)?;
    let (kind, class) = (word(message, end)?, word(message, end + 2)?);
    let end = end + 4;
    let others = [6, 8, 10]
        .into_iter()
        .map(|at| word(message, at).map(usize::from))
        .sum::<Option<usize>>()?;
    let mut at = end;
    let mut room = None;
    for _ in 0..others {
        at = skip_name(message, at)?;
        let (record, size) = (word(message, at)?, word(message, at + 2)?);
        at += 10 + usize::from(word(message, at + 8)?);
        if at > message.len() {
            return None;
        }
        if record == kind::OPT {
            room = Some(usize::from(size).clamp(PLAIN_ROOM, MOST_ROOM));
        }
    }
    Some(Query {
        message: message.to_vec(),
        name,
        kind,
        class,
        end,
        room,
    })
}

/// A question's name is written out. Its text, where it has one, and where it ends.
fn question_name(message: &[u8]) -> Option<(Option<String>, usize)> {
    let mut at = HEADER;
    let mut text = Some(String::new());
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((text, at));
        }
        if length > MAX_LABEL || at + length - HEADER >= MAX_NAME {
            return None;
        }
        let label = message.get(at..at + length)?;
        at += length;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        text = text.filter(|_| label.iter().all(plain)).map(|mut text| {
            if !text.is_empty() {
                text.push('.');
            }
            text.extend(
                label
                    .iter()
                    .map(|&byte| char::from(byte.to_ascii_lowercase())),
            );
            text
        });
    }
}

fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length if usize::from(length) <= MAX_LABEL => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

fn refusal(message: &[u8], flags: u16, code: Code) -> Vec<u8> {
    let mut bytes = message[..HEADER].to_vec();
    let flags = RESPONSE | (flags & (OPCODE | RECURSION_DESIRED)) | code as u16;
    bytes[2..4].copy_from_slice(&flags.to_be_bytes());
    set_counts(&mut bytes, 0, 0, 0);
    bytes
}

fn set_counts(bytes: &mut [u8], questions: u16, answers: u16, additional: u16) {
    for (at, count) in [(4, questions), (6, answers), (8, 0), (10, additional)] {
        bytes[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
}

fn encode(record: &Record) -> Vec<u8> {
    let (kind, data) = match record {
        Record::Address(IpAddr::V4(address)) => (kind::A, address.octets().to_vec()),
        Record::Address(IpAddr::V6(address)) => (kind::AAAA, address.octets().to_vec()),
        Record::Name(name) => (kind::PTR, encode_name(name)),
    };
    let mut bytes = SAME_NAME.to_vec();
    for word in [kind, INTERNET] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(&TTL.to_be_bytes());
    bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&data);
    bytes
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(MAX_LABEL)];
        if bytes.len() + label.len() + 2 > MAX_NAME {
            break;
        }
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}

/// To one who speaks EDNS, in EDNS.
fn option_record() -> Vec<u8> {
    let mut bytes = vec![0];
    for word in [kind::OPT, MOST_ROOM as u16, 0, 0, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn with_id(mut message: Vec<u8>, id: u16) -> Vec<u8> {
    message[..2].copy_from_slice(&id.to_be_bytes());
    message
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
        let mut bytes = vec![
            0x12,
            0x34,
            1,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            u8::from(edns.is_some()),
        ];
        bytes.extend(encode_name(name));
        bytes.extend(kind.to_be_bytes());
        bytes.extend(INTERNET.to_be_bytes());
        if let Some(size) = edns {
            bytes.push(0);
            for word in [kind::OPT, size, 0, 0, 0] {
                bytes.extend(word.to_be_bytes());
            }
        }
        bytes
    }

    fn addresses(count: u8) -> Vec<Record> {
        (0..count)
            .map(|n| Record::Address(IpAddr::from([10, 0, 0, n])))
            .collect()
    }

    #[test]
    fn a_question_is_read() {
        let query = Query::read(&query("DB.Example", kind::AAAA, Some(1232))).unwrap();
        assert_eq!(query.name.as_deref(), Some("db.example"));
        assert_eq!(
            (query.kind, query.class, query.room),
            (kind::AAAA, INTERNET, Some(1232))
        );
        assert!(!query.is_unqualified());
    }

    #[test]
    fn the_answer_repeats_the_question_as_it_was_written() {
        let message = query("Db", kind::A, None);
        let answer = Query::read(&message)
            .unwrap()
            .answer(Code::NoError, &addresses(1), true);
        let mut expected = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        expected.extend_from_slice(b"\x02Db\x00\x00\x01\x00\x01");
        expected
            .extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x00");
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_datagram_holds_what_there_is_room_for() {
        let records = addresses(100);
        for (edns, most) in [(None, 512), (Some(100), 512), (Some(1232), 1232)] {
            let query = Query::read(&query("db", kind::A, edns)).unwrap();
            let answer = query.answer(Code::NoError, &records, true);
            assert!(answer.len() <= most && answer.len() > most - 16);
            assert_eq!(word(&answer, 2).unwrap() & TRUNCATED, TRUNCATED);
            assert_eq!(word(&answer, 10), Some(u16::from(edns.is_some())));
            let whole = query.answer(Code::NoError, &records, false);
            assert_eq!(word(&whole, 6), Some(100));
            assert_eq!(word(&whole, 2).unwrap() & TRUNCATED, 0);
        }
    }

    #[test]
    fn names_are_told_label_by_label() {
        let query = Query::read(&query("2.0.0.10.in-addr.arpa", kind::PTR, None)).unwrap();
        let answer = query.answer(Code::NoError, &[Record::Name("db.net".into())], true);
        assert!(answer.ends_with(b"\x00\x08\x02db\x03net\x00"));
        assert_eq!(encode_name(&"x".repeat(300)).len(), MAX_LABEL + 2);
        assert!(encode_name(&"x.".repeat(300)).len() <= MAX_NAME);
    }

    #[test]
    fn a_reply_counts_only_when_it_answers_what_was_asked() {
        let query = Query::read(&query("example.com", kind::A, None)).unwrap();
        let reply = |message: &[u8]| {
            let mut bytes = message.to_vec();
            bytes[2] |= 0x80;
            bytes
        };
        let good = reply(&query.with_id(7));
        let (code, told) = query.forwarded(&good, 7, true).unwrap();
        assert_eq!((code, word(&told, 0)), (Code::NoError, Some(0x1234)));
        assert_eq!(query.forwarded(&good, 8, true), None);
        assert_eq!(query.forwarded(&query.with_id(7), 7, true), None);
        let mut other = good.clone();
        other[13] ^= 1;
        assert_eq!(query.forwarded(&other, 7, true), None);
        let shouted = good.to_ascii_uppercase();
        assert!(query.forwarded(&shouted, 7, true).is_some());
        assert_eq!(query.forwarded(&good[..11], 7, true), None);
    }

    #[test]
    fn too_long_a_reply_is_cut() {
        let query = Query::read(&query("example.com", kind::A, None)).unwrap();
        let mut long = query.with_id(7);
        long[2] |= 0x80;
        long.resize(600, 0);
        let (_, told) = query.forwarded(&long, 7, true).unwrap();
        assert!(told.len() <= 512);
        assert_eq!(word(&told, 2).unwrap() & TRUNCATED, TRUNCATED);
        let (_, told) = query.forwarded(&long, 7, false).unwrap();
        assert_eq!(told.len(), 600);
    }

    #[test]
    fn what_is_no_question_is_not_answered_or_refused() {
        assert!(matches!(Query::read(&[]), Err(None)));
        assert!(matches!(Query::read(&[0; 11]), Err(None)));
        let mut reply = query("db", kind::A, None);
        reply[2] |= 0x80;
        assert!(matches!(Query::read(&reply), Err(None)));
        let mut update = query("db", kind::A, None);
        update[2] |= 5 << 3;
        let refused = Query::read(&update).unwrap_err().unwrap();
        assert_eq!((refused.len(), refused[3] & 15), (HEADER, 4));
        let mut two = query("db", kind::A, None);
        two[5] = 2;
        let refused = Query::read(&two).unwrap_err().unwrap();
        assert_eq!(refused[3] & 15, 1);
    }

    #[test]
    fn names_with_pointers_or_without_end_are_refused() {
        for name in [
            &b"\xc0\x0c"[..],
            b"\x3fshort",
            b"\x40",
            b"",
            &[1, b'a'].repeat(200),
        ] {
            let mut bytes = query("", kind::A, None)[..HEADER].to_vec();
            bytes.extend_from_slice(name);
            assert!(Query::read(&bytes).is_err(), "{name:?}");
        }
    }

    #[test]
    fn every_name_can_be_shown() {
        let shown = |name: &[u8]| {
            let mut bytes = query("", kind::A, None)[..HEADER].to_vec();
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
            Query::read(&bytes).unwrap().shown()
        };
        assert_eq!(shown(b"\x02Db\x03net"), "db.net");
        assert_eq!(shown(b"\x05a.b\0\xff"), "a\\046b\\000\\255");
        assert_eq!(shown(b""), ".");
    }

    #[test]
    fn names_that_are_no_hosts_are_nobodys() {
        for label in [&b"a.b"[..], b"a/b", b"a\0b", b"\xff"] {
            let mut bytes = query("", kind::A, None)[..HEADER].to_vec();
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label);
            bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
            assert_eq!(Query::read(&bytes).unwrap().name, None, "{label:?}");
        }
    }

    /// Messages that differ from good ones in a few places, and ones cut short: nothing is read that is not there.
    #[test]
    fn hostile_messages_do_no_harm() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let good = [
            query("db", kind::A, None),
            query("a.long.name.example.com", kind::AAAA, Some(4096)),
            query("2.0.0.10.in-addr.arpa", kind::PTR, Some(0)),
        ];
        for round in 0..200_000 {
            let mut bytes = good[round % good.len()].clone();
            for _ in 0..random() % 6 {
                let at = random() % bytes.len();
                bytes[at] = random() as u8;
            }
            if random() % 3 == 0 {
                bytes.truncate(random() % (bytes.len() + 1));
            }
            if random() % 8 == 0 {
                let start = HEADER.min(bytes.len());
                bytes[start..].fill_with(|| random() as u8);
            }
            if let Ok(query) = Query::read(&bytes) {
                assert!(query.shown().len() <= 4 * MAX_NAME);
                let answer = query.answer(Code::NoError, &addresses((random() % 256) as u8), true);
                assert!(answer.len() <= MOST_ROOM.max(bytes.len() + 11));
                let asked = query.with_id(random() as u16);
                let mut reply = asked.clone();
                reply[2] |= 0x80;
                let at = random() % reply.len();
                reply[at] = random() as u8;
                query.forwarded(&reply, word(&asked, 0).unwrap(), random() % 2 == 0);
            }
        }
    }
}

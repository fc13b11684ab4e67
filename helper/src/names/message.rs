//! Messages of the domain name system (RFC 1035, RFC 6891), as far as one who answers for others needs them. Whoever asks
//! is not trusted: nothing is believed of a length or an offset.

use super::record::{MAX_LABEL, MAX_NAME, Record, encode, kind, option_record};

const HEADER: usize = 12;
/// Room in a datagram for one who says nothing of it.
const PLAIN_ROOM: usize = 512;
/// And the most that is made use of.
const MOST_ROOM: usize = 4096;
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const CODE: u16 = 0x000f;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
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
        let option = self
            .room
            .map(|_| option_record(MOST_ROOM as u16))
            .unwrap_or_default();
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

fn with_id(mut message: Vec<u8>, id: u16) -> Vec<u8> {
    message[..2].copy_from_slice(&id.to_be_bytes());
    message
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;

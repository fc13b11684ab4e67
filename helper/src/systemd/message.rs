//! D-Bus messages: calls written, answers and signals read. Little-endian, as the processors are that this runs on.

/// A method of systemd's manager, or of the bus itself.
pub struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub signature: &'a str,
    pub body: Writer,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    pub answers: Option<u32>,
    pub error: Option<String>,
    pub member: Option<String>,
    body: Vec<u8>,
}

pub const METHOD_CALL: u8 = 1;
pub const METHOD_RETURN: u8 = 2;
pub const ERROR: u8 = 3;
pub const SIGNAL: u8 = 4;

const LITTLE_ENDIAN: u8 = b'l';
const VERSION: u8 = 1;
const FIXED: usize = 16;
/// Far above any answer to what is asked here.
const LONGEST: usize = 1 << 20;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

impl Call<'_> {
    pub fn encode(self, serial: u32) -> Vec<u8> {
        let body = self.body.0;
        let mut writer = Writer(vec![LITTLE_ENDIAN, METHOD_CALL, 0, VERSION]);
        writer.number(body.len() as u32);
        writer.number(serial);
        writer.array(8, |writer| {
            let fields = [
                (PATH, "o", self.path),
                (INTERFACE, "s", self.interface),
                (MEMBER, "s", self.member),
                (DESTINATION, "s", self.destination),
                (SIGNATURE, "g", self.signature),
            ];
            for (code, kind, text) in fields.into_iter().filter(|(_, _, text)| !text.is_empty()) {
                writer.align(8);
                writer.bytes(&[code]);
                writer.signature(kind);
                match kind {
                    "g" => writer.signature(text),
                    _ => writer.text(text),
                }
            }
        });
        writer.align(8);
        writer.bytes(&body);
        writer.0
    }
}

impl Message {
    /// The first message of `bytes` and its length; `None`: more has to come. What is no message is an error.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Message, usize)>, &'static str> {
        if bytes.len() < FIXED {
            return Ok(None);
        }
        if bytes[0] != LITTLE_ENDIAN || bytes[3] != VERSION {
            return Err("not a message of this machine's byte order");
        }
        let mut fixed = Reader { bytes, at: 4 };
        let (Some(body), Some(_), Some(fields)) = (fixed.number(), fixed.number(), fixed.number())
        else {
            return Ok(None);
        };
        let (body, fields) = (body as usize, fields as usize);
        if body > LONGEST || fields > LONGEST {
            return Err("a message that is too long");
        }
        let start = (FIXED + fields).next_multiple_of(8);
        let Some(text) = bytes.get(..start + body) else {
            return Ok(None);
        };
        let mut message = Message {
            kind: bytes[1],
            answers: None,
            error: None,
            member: None,
            body: text[start..].to_vec(),
        };
        let mut reader = Reader {
            bytes: &text[..FIXED + fields],
            at: FIXED,
        };
        while reader.at < FIXED + fields {
            message
                .read_field(&mut reader)
                .ok_or("a malformed message")?;
        }
        Ok(Some((message, text.len())))
    }

    fn read_field(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        reader.align(8);
        let code = *reader.take(1)?.first()?;
        let kind = reader.signature()?;
        match (code, kind.as_str()) {
            (REPLY_SERIAL, "u") => self.answers = Some(reader.number()?),
            (ERROR_NAME, "s") => self.error = Some(reader.text()?),
            (MEMBER, "s") => self.member = Some(reader.text()?),
            (_, "s" | "o") => drop(reader.text()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.number()?),
            _ => return None,
        }
        Some(())
    }

    pub fn body(&self) -> Reader<'_> {
        Reader {
            bytes: &self.body,
            at: 0,
        }
    }
}

/// Values, each at a multiple of its own size.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    pub fn number(&mut self, number: u32) {
        self.align(4);
        self.bytes(&number.to_le_bytes());
    }

    pub fn long_number(&mut self, number: u64) {
        self.align(8);
        self.bytes(&number.to_le_bytes());
    }

    pub fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.bytes(text.as_bytes());
        self.bytes(&[0]);
    }

    pub fn signature(&mut self, text: &str) {
        self.bytes(&[text.len() as u8]);
        self.bytes(text.as_bytes());
        self.bytes(&[0]);
    }

    /// Its length, the way to the first element not counted, then the elements.
    pub fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.number(0);
        let length = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        elements(self);
        let written = (self.0.len() - start) as u32;
        self.0[length..length + 4].copy_from_slice(&written.to_le_bytes());
    }
}

pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    pub fn number(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub fn text(&mut self) -> Option<String> {
        let length = self.number()? as usize;
        self.ended(length)
    }

    pub fn signature(&mut self) -> Option<String> {
        let length = *self.take(1)?.first()?;
        self.ended(length.into())
    }

    fn ended(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok();
        self.take(1)?;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(signature: &'static str, body: Writer) -> Vec<u8> {
        let call = Call {
            destination: "org.example",
            path: "/org/example",
            interface: "org.example.Thing",
            member: "Do",
            signature,
            body,
        };
        call.encode(7)
    }

    #[test]
    fn a_call_is_laid_out_as_the_specification_has_it() {
        let mut body = Writer::default();
        body.text("ab");
        body.array(8, |writer| writer.long_number(5));
        let bytes = call("sat", body);
        assert_eq!(bytes[..4], [b'l', 1, 0, 1]);
        assert_eq!(bytes[4..12], [24, 0, 0, 0, 7, 0, 0, 0]);
        // text of two, array of eight bytes: after its length a gap up to a multiple of eight
        assert_eq!(
            bytes[bytes.len() - 24..],
            [
                2, 0, 0, 0, b'a', b'b', 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0
            ]
        );
        let (message, length) = Message::decode(&bytes).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        assert_eq!(message.member.as_deref(), Some("Do"));
        assert_eq!(message.body().text().as_deref(), Some("ab"));
    }

    #[test]
    fn half_a_message_is_waited_for() {
        let bytes = call("", Writer::default());
        for length in 0..bytes.len() {
            assert_eq!(Message::decode(&bytes[..length]), Ok(None), "{length}");
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let bytes = call("", Writer::default());
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            Message::decode(&bytes)
        };
        assert!(with(0, b'B').is_err());
        assert!(with(7, 0xff).is_err());
        assert!(with(15, 0xff).is_err());
        // the type of the first field
        assert!(with(18, b'v').is_err());
        // whatever the bytes: no panic
        for at in 0..bytes.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let _ = with(at, byte);
            }
        }
    }
}

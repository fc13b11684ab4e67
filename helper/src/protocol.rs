//! The wire between Node and the helper; see docs/helper-protocol.md.

use rustix::buffer::SpareCapacity;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Failure, Result};

/// Both sides must speak exactly this version.
pub const PROTOCOL_VERSION: u32 = 1;

/// A longer frame is a protocol error.
pub const MAX_FRAME: usize = 16 << 20;

/// What every request has; the operation's own fields are read from the same bytes afterwards.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    /// Absent: no answer is wanted.
    pub id: Option<u64>,
    pub op: String,
}

/// One frame from the helper: an answer, progress, or an event.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Frame<'a> {
    Ok { id: u64, ok: &'a RawValue },
    Error { id: u64, error: &'a RawValue },
    Progress { id: u64, progress: &'a RawValue },
    Event(Event<'a>),
}

/// What the helper says of a container without being asked.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event<'a> {
    Stdio {
        container: &'a str,
        pid: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        stdin: Option<i32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stdout: Option<i32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stderr: Option<i32>,
    },
    Exit {
        container: &'a str,
        code: Option<i32>,
        signal: Option<i32>,
        #[serde(rename = "oomKilled")]
        oom_killed: bool,
    },
    Removed {
        container: &'a str,
        errors: &'a RawValue,
    },
    /// The same of a monitor's container of which more than its run stays.
    Ended {
        container: &'a str,
        errors: &'a RawValue,
    },
    /// Of a program executed in a container; `container` is its own id.
    #[serde(rename = "exec-exit")]
    ExecExit {
        container: &'a str,
        code: Option<i32>,
        signal: Option<i32>,
        #[serde(rename = "oomKilled")]
        oom_killed: bool,
    },
    /// A monitor's state has changed.
    State {
        container: &'a str,
        state: &'a RawValue,
    },
}

/// A child of the launcher to the launcher: any number of `Progress`, then one of the others.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    Progress(Box<RawValue>),
    Ok(Box<RawValue>),
    Error(Box<RawValue>),
}

impl Report {
    pub fn of(result: Result<impl Serialize>) -> Report {
        match result {
            Ok(value) => Report::Ok(raw(&value)),
            Err(failure) => Report::Error(raw(&failure)),
        }
    }
}

/// A value as JSON text.
pub fn raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("plain data has a JSON form")
}

/// The bytes of a frame: a 4-byte little-endian length and the JSON.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, value).expect("plain data has a JSON form");
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Reads an operation's arguments from its request.
pub fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T> {
    serde_json::from_slice(frame)
        .map_err(|error| Failure::kind("decode the request", "protocol").detail(error.to_string()))
}

/// Cuts a stream of bytes into frames.
#[derive(Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
}

impl FrameReader {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Room for at least `length` bytes, to be received into.
    pub fn room(&mut self, length: usize) -> SpareCapacity<'_, u8> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            // What one long frame needed is not kept.
            self.buffer.shrink_to(length);
        } else {
            self.buffer.drain(..self.start);
        }
        self.start = 0;
        self.buffer.reserve(length);
        rustix::buffer::spare_capacity(&mut self.buffer)
    }

    /// What came after the last frame that was read.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.drain(..self.start);
        self.buffer
    }

    /// The next whole frame, if it has arrived.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        let rest = &self.buffer[self.start..];
        let Some(header) = rest.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*header) as usize;
        if length > MAX_FRAME {
            return Err(Failure::kind("read a frame", "protocol").detail(format!("{length} bytes")));
        }
        if rest.len() < 4 + length {
            return Ok(None);
        }
        let start = self.start + 4;
        self.start = start + length;
        Ok(Some(&self.buffer[start..self.start]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let mut stream = encode(&"first");
        stream.extend(encode(&"second"));
        for size in 1..stream.len() {
            let mut reader = FrameReader::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(size) {
                reader.push(piece);
                while let Some(frame) = reader.next().unwrap() {
                    seen.push(decode::<String>(frame).unwrap());
                }
            }
            assert_eq!(seen, ["first", "second"]);
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_it_arrives() {
        let mut reader = FrameReader::default();
        reader.push(&((MAX_FRAME + 1) as u32).to_le_bytes());
        assert_eq!(reader.next().unwrap_err().kind, Some("protocol"));
    }

    #[test]
    fn events_have_the_documented_form() {
        let exit = Frame::Event(Event::Exit {
            container: "c",
            code: Some(3),
            signal: None,
            oom_killed: false,
        });
        assert_eq!(
            serde_json::to_string(&exit).unwrap(),
            r#"{"event":"exit","container":"c","code":3,"signal":null,"oomKilled":false}"#
        );
    }
}

//! Frames over a socket, as Node speaks them.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

pub struct Wire {
    pub socket: UnixStream,
    next: u64,
    pub events: VecDeque<Value>,
    pub answers: Vec<Value>,
}

impl Wire {
    pub fn new(socket: UnixStream) -> Wire {
        Wire {
            socket,
            next: 0,
            events: VecDeque::new(),
            answers: Vec::new(),
        }
    }

    /// Sends a request and returns its id.
    pub fn request(&mut self, op: &str, args: Value) -> u64 {
        self.next += 1;
        let mut frame = args;
        frame["id"] = self.next.into();
        frame["op"] = op.into();
        self.send(&frame);
        self.next
    }

    pub fn send(&mut self, frame: &Value) {
        let text = frame.to_string();
        let mut bytes = (text.len() as u32).to_le_bytes().to_vec();
        bytes.extend(text.bytes());
        self.socket.write_all(&bytes).unwrap();
    }

    pub fn answer(&mut self, id: u64) -> Value {
        loop {
            if let Some(at) = self.answers.iter().position(|answer| answer["id"] == id) {
                return self.answers.remove(at);
            }
            self.receive();
        }
    }

    pub fn call(&mut self, op: &str, args: Value) -> Value {
        let id = self.request(op, args);
        self.answer(id)
    }

    pub fn ok(&mut self, op: &str, args: Value) -> Value {
        let answer = self.call(op, args);
        assert!(answer.get("ok").is_some(), "{op}: {answer}");
        answer["ok"].clone()
    }

    pub fn error(&mut self, op: &str, args: Value) -> Value {
        let answer = self.call(op, args);
        assert!(answer.get("error").is_some(), "{op}: {answer}");
        answer["error"].clone()
    }

    pub fn event(&mut self, name: &str, container: &str) -> Value {
        loop {
            let wanted = |event: &Value| event["event"] == name && event["container"] == container;
            if let Some(at) = self.events.iter().position(wanted) {
                return self.events.remove(at).unwrap();
            }
            self.receive();
        }
    }

    pub fn receive(&mut self) {
        let socket = &mut self.socket;
        let mut length = [0; 4];
        socket
            .read_exact(&mut length)
            .expect("the helper closed the socket");
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        socket.read_exact(&mut text).unwrap();
        let frame: Value = serde_json::from_slice(&text).unwrap();
        if frame.get("event").is_some() {
            self.events.push_back(frame);
        } else if frame.get("progress").is_none() {
            self.answers.push(frame);
        }
    }
}

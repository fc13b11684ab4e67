//! A connection to a systemd that manages the system or a user's session.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{Call, ERROR, METHOD_RETURN, Message, SIGNAL, Writer};
use crate::error::{Failure, Result};

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    System,
    User,
}

const SYSTEMD: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";

/// It answers within milliseconds; one that hangs must not hang the engine that calls. As long as systemd itself waits for
/// what a unit does.
const PATIENCE: Duration = Duration::from_secs(90);
const STEP: &str = "ask systemd";

pub struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    signals: Vec<Message>,
    serial: u32,
}

impl Connection {
    /// systemd's own socket where this process may use it: it works without a message bus. Else the bus.
    pub fn open(manager: Manager) -> Result<Self> {
        let sockets = sockets(manager);
        let mut last = None;
        for (path, is_bus) in &sockets {
            match UnixStream::connect(path) {
                Ok(stream) => return Connection::over(stream, *is_bus),
                Err(error) => last = Some(error),
            }
        }
        let tried: Vec<_> = sockets
            .iter()
            .map(|(path, _)| path.to_string_lossy())
            .collect();
        let why = last.map_or_else(String::new, |error| format!(": {error}"));
        Err(no_systemd(format!(
            "no systemd listens at {}{why}",
            tried.join(", ")
        )))
    }

    fn over(stream: UnixStream, is_bus: bool) -> Result<Self> {
        for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
            set(&stream, Some(PATIENCE)).map_err(failed)?;
        }
        let mut connection = Connection {
            stream,
            received: Vec::new(),
            signals: Vec::new(),
            serial: 0,
        };
        connection.authenticate()?;
        if is_bus {
            connection.call_bus("Hello", None)?;
            let rule = format!("type='signal',interface='{INTERFACE}',member='JobRemoved'");
            connection.call_bus("AddMatch", Some(&rule))?;
            connection.call("Subscribe", "", Writer::default())?;
        }
        Ok(connection)
    }

    /// The kernel says who this is. No number is given with it: the one of a user namespace would be another.
    ///
    /// All at once: systemd reads what it finds, and leaves a call that came together with the last of these words lying
    /// until something else arrives.
    fn authenticate(&mut self) -> Result<()> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        for expected in ["DATA", "OK "] {
            let line = self.line()?;
            if !line.starts_with(expected) {
                return Err(
                    Failure::new(STEP).detail(format!("it refused to authenticate: {line}"))
                );
            }
        }
        Ok(())
    }

    /// Calls a method of the manager.
    pub fn call(&mut self, member: &str, signature: &str, body: Writer) -> Result<Message> {
        self.ask(Call {
            destination: SYSTEMD,
            path: OBJECT,
            interface: INTERFACE,
            member,
            signature,
            body,
        })
    }

    /// A property of the manager that is a text.
    pub fn text(&mut self, name: &str) -> Result<String> {
        let mut body = Writer::default();
        body.text(INTERFACE);
        body.text(name);
        let answer = self.ask(Call {
            destination: SYSTEMD,
            path: OBJECT,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            signature: "ss",
            body,
        })?;
        let mut body = answer.body();
        match body.signature().as_deref() {
            Some("s") => body.text().ok_or_else(malformed),
            _ => Err(malformed()),
        }
    }

    fn call_bus(&mut self, member: &str, text: Option<&str>) -> Result<Message> {
        let mut body = Writer::default();
        if let Some(text) = text {
            body.text(text);
        }
        self.ask(Call {
            destination: BUS,
            path: "/org/freedesktop/DBus",
            interface: BUS,
            member,
            signature: if text.is_some() { "s" } else { "" },
            body,
        })
    }

    fn ask(&mut self, call: Call<'_>) -> Result<Message> {
        self.serial += 1;
        let (serial, member) = (self.serial, call.member.to_owned());
        let bytes = call.encode(serial);
        self.send(&bytes)?;
        loop {
            let message = self.receive()?;
            match message.kind {
                SIGNAL => self.signals.push(message),
                METHOD_RETURN if message.answers == Some(serial) => return Ok(message),
                ERROR if message.answers == Some(serial) => return Err(refused(&member, &message)),
                _ => {}
            }
        }
    }

    /// The next signal, which may have come before this was asked.
    pub fn signal(&mut self) -> Result<Message> {
        loop {
            if !self.signals.is_empty() {
                return Ok(self.signals.remove(0));
            }
            let message = self.receive()?;
            if message.kind == SIGNAL {
                return Ok(message);
            }
        }
    }

    fn receive(&mut self) -> Result<Message> {
        loop {
            let decoded = Message::decode(&self.received);
            if let Some((message, length)) =
                decoded.map_err(|what| Failure::new(STEP).detail(what))?
            {
                self.received.drain(..length);
                return Ok(message);
            }
            self.more()?;
        }
    }

    fn line(&mut self) -> Result<String> {
        const LONGEST: usize = 4096;
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.received.len() > LONGEST {
                return Err(malformed());
            }
            self.more()?;
        }
    }

    fn more(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Failure::new(STEP).detail("it closed the connection")),
                Ok(length) => {
                    self.received.extend(&buffer[..length]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).map_err(failed)
    }
}

fn sockets(manager: Manager) -> Vec<(PathBuf, bool)> {
    let runtime = match manager {
        Manager::System => return system_sockets().into(),
        Manager::User => std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
    };
    let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok();
    let bus = bus.and_then(|address| {
        let (path, _) = address
            .strip_prefix("unix:path=")?
            .split_once([',', ';'])
            .unwrap_or((address.strip_prefix("unix:path=")?, ""));
        Some((PathBuf::from(path), true))
    });
    let own = runtime.into_iter().flat_map(|runtime| {
        [
            (runtime.join("systemd/private"), false),
            (runtime.join("bus"), true),
        ]
    });
    own.chain(bus).collect()
}

fn system_sockets() -> [(PathBuf, bool); 2] {
    [
        ("/run/systemd/private".into(), false),
        ("/run/dbus/system_bus_socket".into(), true),
    ]
}

/// With systemd's own name of the error, by which the caller knows it.
fn refused(member: &str, message: &Message) -> Failure {
    let name = message.error.clone().unwrap_or_default();
    let text = message.body().text().unwrap_or_default();
    let kind = match name.as_str() {
        "org.freedesktop.systemd1.NoSuchUnit" => "not-found",
        "org.freedesktop.systemd1.UnitExists" => "exists",
        _ => "systemd",
    };
    Failure::kind(format!("{STEP} ({member})"), kind).detail(format!("{name}: {text}"))
}

fn no_systemd(detail: String) -> Failure {
    Failure::kind(STEP, "no-systemd").detail(detail)
}

fn failed(error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Failure::new(STEP).detail("it does not answer")
        }
        _ => Failure::new(STEP).detail(error.to_string()),
    }
}

fn malformed() -> Failure {
    Failure::new(STEP).detail("what it answers is not D-Bus")
}

//! The other end of the socket: what Node is in production.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use serde_json::{Value, json};

use super::wire::Wire;

pub struct Helper {
    pub process: Child,
    wire: Option<Wire>,
}

/// A run from its request to its removal.
#[derive(Debug)]
pub struct Finished {
    pub stdout: String,
    pub stderr: String,
    pub warnings: Value,
    pub exit: Value,
    pub removed: Value,
}

impl Helper {
    pub fn start() -> Helper {
        let mut helper = Helper::spawn(None);
        helper.ok("hello", json!({ "protocol": 1 }));
        helper
    }

    /// As an ordinary user, in a user namespace of its own.
    pub fn start_as(uid: u32, gid: u32, plan: Value) -> Helper {
        let mut helper = Helper::spawn(Some((uid, gid)));
        helper.ok("hello", json!({ "protocol": 1, "user": plan }));
        helper
    }

    fn spawn(user: Option<(u32, u32)>) -> Helper {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new("/bin/sh");
        // The shell puts the socket where Node would.
        command
            .args(["-c", r#"exec 3<&0 </dev/null; exec "$0" launch"#])
            .arg(env!("CARGO_BIN_EXE_keelson-helper"))
            .stdin(OwnedFd::from(theirs));
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        Helper {
            process: command.spawn().unwrap(),
            wire: Some(Wire::new(ours)),
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The stream `name` of a container that has been asked for, opened as Node opens it.
    pub fn open(&self, stdio: &Value, name: &str) -> Option<File> {
        let path = format!("/proc/{}/fd/{}", stdio["pid"], stdio.get(name)?);
        Some(
            File::options()
                .read(name != "stdin")
                .write(name == "stdin")
                .open(path)
                .unwrap(),
        )
    }

    /// Asks for a run and releases its streams: stdout and stderr, and stdin written. A run that is refused before it
    /// has streams has its answer as the error.
    pub fn try_begin(
        &mut self,
        id: &str,
        config: &Value,
        input: &[u8],
    ) -> Result<(u64, [Option<File>; 2]), Value> {
        let request = self.request("run", json!({ "container": id, "config": config }));
        let stdio = loop {
            let wanted = |event: &Value| event["event"] == "stdio" && event["container"] == id;
            if let Some(at) = self.events.iter().position(wanted) {
                break self.events.remove(at).unwrap();
            }
            if let Some(at) = self
                .answers
                .iter()
                .position(|answer| answer["id"] == request)
            {
                return Err(self.answers.remove(at)["error"].clone());
            }
            self.receive();
        };
        let streams = [self.open(&stdio, "stdout"), self.open(&stdio, "stderr")];
        let stdin = self.open(&stdio, "stdin");
        self.send(&json!({ "op": "release", "container": id }));
        if let Some(mut stdin) = stdin {
            stdin.write_all(input).unwrap();
        }
        Ok((request, streams))
    }

    pub fn begin(&mut self, id: &str, config: &Value, input: &[u8]) -> (u64, [Option<File>; 2]) {
        self.try_begin(id, config, input)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs to the end. The error where the program was not executed.
    pub fn try_run(&mut self, id: &str, config: &Value, input: &[u8]) -> Result<Finished, Value> {
        let (request, streams) = self.try_begin(id, config, input)?;
        let answer = self.answer(request);
        let [stdout, stderr] = streams.map(|stream| {
            let mut text = Vec::new();
            stream.map(|mut stream| stream.read_to_end(&mut text).unwrap());
            String::from_utf8_lossy(&text).into_owned()
        });
        if let Some(error) = answer.get("error") {
            return Err(error.clone());
        }
        Ok(Finished {
            stdout,
            stderr,
            warnings: answer["ok"]["warnings"].clone(),
            exit: self.event("exit", id),
            removed: self.event("removed", id),
        })
    }

    pub fn run(&mut self, id: &str, config: &Value) -> Finished {
        let finished = self
            .try_run(id, config, b"")
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(finished.removed["errors"], json!([]));
        finished
    }

    /// What a script prints.
    pub fn sh(&mut self, id: &str, config: &Value) -> String {
        let finished = self.run(id, config);
        assert_eq!(finished.exit["code"], 0, "{finished:?}");
        finished.stdout
    }

    /// Closes the socket and waits for the launcher to end.
    pub fn close(mut self) -> std::process::ExitStatus {
        self.wire = None;
        self.process.wait().unwrap()
    }
}

impl Deref for Helper {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        self.wire.as_ref().unwrap()
    }
}

impl DerefMut for Helper {
    fn deref_mut(&mut self) -> &mut Wire {
        self.wire.as_mut().unwrap()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.wire = None;
        let _ = self.process.wait();
    }
}

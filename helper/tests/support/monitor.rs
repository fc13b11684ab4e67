//! A container with a monitor.

use std::io::Read;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Bundle, Helper, Wire};

pub struct Monitor {
    pub id: String,
    pub pid: u32,
    /// Holds the socket and the lock, `state.json` and the log.
    pub directory: PathBuf,
    /// The first connection; it watches.
    pub wire: Wire,
}

impl Monitor {
    pub fn bound(helper: &mut Helper, parent: &Path, id: &str) -> Monitor {
        Monitor::launch(helper, parent, id, true)
    }

    pub fn detached(helper: &mut Helper, parent: &Path, id: &str) -> Monitor {
        Monitor::launch(helper, parent, id, false)
    }

    fn launch(helper: &mut Helper, parent: &Path, id: &str, bound: bool) -> Monitor {
        let directory = parent.join(format!("{id}.monitor"));
        std::fs::create_dir_all(&directory).unwrap();
        let answer = helper.ok(
            "monitor",
            json!({ "container": id, "directory": directory, "bound": bound }),
        );
        let mut wire = connect(&directory);
        wire.ok("watch", json!({}));
        Monitor {
            id: id.into(),
            pid: answer["pid"].as_u64().unwrap() as u32,
            directory,
            wire,
        }
    }

    /// The plan of a container that is not started again.
    pub fn plan(&self, bundle: &Bundle) -> Value {
        json!({
            "container": self.id,
            "config": bundle.config,
            "state": { "path": self.directory.join("state.json"), "durable": false },
            "log": { "path": self.log_path() },
            "restart": { "when": "never", "delay": 10, "maxDelay": 1000, "resetAfter": 10_000 },
            "stop": { "signal": libc::SIGTERM, "timeout": 10_000 },
            "remove": { "atExit": true, "trees": [] },
            "cgroups": [],
        })
    }

    pub fn start(&mut self, plan: Value) -> Value {
        self.wire.ok("start", plan)
    }

    /// Starts it and waits until it has ended for good.
    pub fn run(&mut self, plan: Value) -> Value {
        self.start(plan);
        self.state("exited")
    }

    /// The next state with this status that is told.
    pub fn state(&mut self, status: &str) -> Value {
        loop {
            let state = self.wire.event("state", &self.id)["state"].take();
            if state["status"] == status {
                return state;
            }
        }
    }

    pub fn removed(&mut self) -> Value {
        self.wire.event("removed", &self.id)["errors"].take()
    }

    pub fn connect(&self) -> Wire {
        connect(&self.directory)
    }

    pub fn attach(&self, stream: &str) -> UnixStream {
        let mut wire = self.connect();
        wire.ok("attach", json!({ "stream": stream }));
        wire.socket
    }

    pub fn written_state(&self) -> Value {
        let text = std::fs::read_to_string(self.directory.join("state.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The log's lines without their times, which are checked to grow.
    pub fn log(&self) -> Vec<String> {
        let text = String::from_utf8(std::fs::read(self.log_path()).unwrap()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        let mut last = String::new();
        text.lines()
            .map(|line| {
                let (time, rest) = line.split_once(' ').unwrap();
                assert!(time.len() == 30 && time >= last.as_str(), "{line}");
                last = time.into();
                rest.into()
            })
            .collect()
    }

    /// PSS in bytes.
    pub fn memory(&self) -> u64 {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).unwrap();
        let line = rollup
            .lines()
            .find(|line| line.starts_with("Pss:"))
            .unwrap();
        let number = line.split_whitespace().nth(1).unwrap();
        number.parse::<u64>().unwrap() * 1024
    }
}

pub fn connect(directory: &Path) -> Wire {
    let directory = std::fs::File::open(directory).unwrap();
    let path = format!("/proc/self/fd/{}/monitor.sock", directory.as_raw_fd());
    let socket = UnixStream::connect(path).unwrap();
    // Whoever waits longer waits for something that does not come.
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    Wire::new(socket)
}

/// Everything up to the end.
pub fn read_all(mut stream: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// What is written has its end here.
pub fn half_close(stream: &UnixStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}

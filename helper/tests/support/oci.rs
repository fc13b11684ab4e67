//! The helper as an OCI runtime, and bundles for it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use super::host::{self, busybox};

pub struct Runtime {
    pub directory: tempfile::TempDir,
}

/// A bundle, whose container is deleted in the end.
pub struct Bundle<'a> {
    pub runtime: &'a Runtime,
    pub id: String,
    pub path: PathBuf,
    pub config: Value,
}

impl Runtime {
    pub fn new() -> Runtime {
        Runtime {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keelson-helper"));
        command
            .args(["oci", "--root"])
            .arg(self.path("root"))
            .arg("--log")
            .arg(self.path("log"))
            .args(["--log-format", "json"])
            .args(args);
        command
    }

    pub fn call(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.call(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the log says last of a command that fails.
    pub fn error(&self, args: &[&str]) -> String {
        assert!(!self.call(args).status.success(), "{args:?}");
        let log = std::fs::read_to_string(self.path("log")).unwrap();
        let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!(line["level"], "error");
        line["msg"].as_str().unwrap().to_owned()
    }

    pub fn bundle(&self, id: &str, args: &[&str]) -> Bundle<'_> {
        let path = self.path(&format!("bundle-{id}"));
        std::fs::create_dir(&path).unwrap();
        self.ok(&["spec", "--bundle", path.to_str().unwrap()]);
        let text = std::fs::read_to_string(path.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(args);
        config["root"]["path"] = json!(busybox());
        // Names in a namespace of the machine, where other tests run too.
        let id = format!("{id}-{}", std::process::id());
        config["linux"]["cgroupsPath"] = json!(format!("/keelson-test-oci-{id}"));
        Bundle {
            runtime: self,
            id,
            path,
            config,
        }
    }
}

impl Bundle<'_> {
    pub fn write(&self) {
        std::fs::write(self.path.join("config.json"), self.config.to_string()).unwrap();
    }

    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub fn create(&self) -> std::process::ExitStatus {
        self.write();
        let output = std::fs::File::create(self.path.join("output")).unwrap();
        let args = [
            "create",
            "--bundle",
            self.path(),
            "--pid-file",
            &self.file("pid"),
            &self.id,
        ];
        let mut command = self.runtime.command(&args);
        let stderr = output.try_clone().unwrap();
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(stderr)
            .status()
            .unwrap()
    }

    pub fn file(&self, name: &str) -> String {
        self.path.join(name).to_str().unwrap().to_owned()
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path.join(name)).unwrap()
    }

    pub fn state(&self) -> Value {
        serde_json::from_str(&self.runtime.ok(&["state", &self.id])).unwrap()
    }

    pub fn ok(&self, command: &str) -> String {
        self.runtime.ok(&[command, &self.id])
    }

    pub fn error(&self, command: &str) -> String {
        self.runtime.error(&[command, &self.id])
    }

    /// Runs it in the foreground.
    pub fn run(&self) -> Output {
        self.write();
        self.runtime
            .call(&["run", "--bundle", self.path(), &self.id])
    }

    pub fn sh(&self) -> String {
        let output = self.run();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn kill(&self) {
        let pid = self.state()["pid"].as_u64().unwrap() as u32;
        let pidfd = host::watch(pid);
        self.runtime.ok(&["kill", &self.id, "KILL"]);
        host::wait_for_end(&pidfd);
    }
}

impl Drop for Bundle<'_> {
    fn drop(&mut self) {
        self.runtime.call(&["delete", "--force", &self.id]);
    }
}

pub fn script(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

/// The descriptor that arrives at a console socket.
pub fn receive(listener: &UnixListener) -> OwnedFd {
    let (connection, _) = listener.accept().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    let slices = &mut [IoSliceMut::new(&mut name)];
    recvmsg(&connection, slices, &mut ancillary, RecvFlags::empty()).unwrap();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut rights) = message {
            return rights.next().unwrap();
        }
    }
    panic!("no descriptor came");
}

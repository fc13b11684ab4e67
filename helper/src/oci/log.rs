//! Errors and warnings, where and how whoever called wants them: containerd and podman read the last line of `--log`.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::invalid;
use crate::error::{Failure, Result, Step};
use crate::monitor::now;

#[derive(Clone, Default)]
pub struct Log {
    file: Option<Arc<File>>,
    json: bool,
    debug: bool,
}

impl Log {
    pub fn new(path: Option<PathBuf>, format: Option<&str>, debug: bool) -> Result<Self> {
        let json = match format {
            None | Some("text" | "") => false,
            Some("json") => true,
            Some(other) => return Err(invalid(format!("--log-format: {other}"))),
        };
        let file = match path.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => Some(
                File::options()
                    .append(true)
                    .create(true)
                    .open(&path)
                    .step_at("open the log", &path)?,
            ),
            None => None,
        };
        Ok(Log {
            file: file.map(Arc::new),
            json,
            debug,
        })
    }

    /// Says it to the log and to stderr.
    pub fn error(&self, failure: &Failure) {
        let message = sentence(failure);
        if self.file.is_some() {
            self.write("error", &message);
        }
        let _ = writeln!(std::io::stderr(), "keelson-helper: {message}");
    }

    pub fn warn(&self, message: &str) {
        self.write("warning", message);
    }

    /// Where `--debug` asks for it.
    pub fn debug(&self, message: &str) {
        if self.debug {
            self.write("debug", message);
        }
    }

    fn write(&self, level: &str, message: &str) {
        let time = now();
        let line = if self.json {
            json!({ "level": level, "msg": message, "time": time }).to_string()
        } else {
            format!("time={time:?} level={level} msg={message:?}")
        };
        let _ = match &self.file {
            Some(file) => writeln!(file.as_ref(), "{line}"),
            None => writeln!(std::io::stderr(), "{line}"),
        };
    }
}

/// Engines know some failures by runc's words, and in these by Go's for the error numbers.
fn sentence(failure: &Failure) -> String {
    let path = failure.path.as_deref().unwrap_or_default();
    match (failure.kind, &failure.detail) {
        (Some("command-not-found"), Some(_)) => {
            format!("exec {path}: no such file or directory")
        }
        (Some("command-not-found"), None) if path.contains('/') => {
            format!("exec: {path:?}: stat {path}: no such file or directory")
        }
        (Some("command-not-found"), None) => {
            format!("exec: {path:?}: executable file not found in $PATH")
        }
        (Some("command-not-executable"), _) => match failure.errno {
            Some(libc::ENOEXEC) => format!("exec {path}: exec format error"),
            Some(libc::EISDIR) => format!("exec: {path:?}: is a directory"),
            _ => format!("exec: {path:?}: permission denied"),
        },
        _ => failure.to_string(),
    }
}

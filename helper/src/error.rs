//! One error type: the step that failed, the errno, and the path it failed on.
//!
//! A `Failure` holds facts; TypeScript makes sentences of them. Its JSON form is `HelperFailure` of
//! `docs/helper-protocol.md`.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Debug, Clone, Default, Serialize)]
pub struct Failure {
    /// What was being carried out: `mount /proc`, `write memory.max`.
    pub step: String,
    /// The number; Node knows its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Set where an errno alone is ambiguous: `command-not-found`, `layer-invalid`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
}

pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub fn new(step: impl Into<String>) -> Self {
        Failure {
            step: step.into(),
            ..Failure::default()
        }
    }

    pub fn kind(step: impl Into<String>, kind: &'static str) -> Self {
        Failure {
            kind: Some(kind),
            ..Failure::new(step)
        }
    }

    /// One that another process of the helper reported. Its kind is not kept: kinds are words of the code that fails.
    pub fn from_json(json: &RawValue) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Reported {
            step: String,
            errno: Option<i32>,
            path: Option<String>,
            detail: Option<String>,
        }
        let reported: Reported = serde_json::from_str(json.get()).unwrap_or_default();
        Failure {
            step: reported.step,
            errno: reported.errno,
            path: reported.path,
            detail: reported.detail,
            kind: None,
        }
    }

    /// The same with its kind, where that is for us to act on and not for Node.
    pub fn reported(json: &RawValue) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Kind {
            kind: Option<String>,
        }
        let Kind { kind } = serde_json::from_str(json.get()).unwrap_or_default();
        let kinds = [
            "command-not-found",
            "command-not-executable",
            "hook-failed",
            "idmap-unsupported",
            "mount-source-missing",
            "peer-not-running",
        ];
        Failure {
            kind: kinds
                .into_iter()
                .find(|known| kind.as_deref() == Some(known)),
            ..Failure::from_json(json)
        }
    }

    pub fn errno(mut self, errno: Errno) -> Self {
        self.errno = Some(errno.raw_os_error());
        self
    }

    pub fn path(mut self, path: impl AsRef<std::path::Path>) -> Self {
        self.path = Some(path.as_ref().to_string_lossy().into_owned());
        self
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.step)?;
        for part in [&self.path, &self.detail].into_iter().flatten() {
            write!(f, ": {part}")?;
        }
        if let Some(errno) = self.errno {
            write!(f, ": {}", std::io::Error::from_raw_os_error(errno))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// `open(..).step("open the layer")?`
pub trait Step<T> {
    fn step(self, step: impl Into<String>) -> Result<T>;
    fn step_at(self, step: impl Into<String>, path: impl AsRef<std::path::Path>) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Step<T> for std::result::Result<T, E> {
    fn step(self, step: impl Into<String>) -> Result<T> {
        self.map_err(|error| from_io(step.into(), &error.into()))
    }

    fn step_at(self, step: impl Into<String>, path: impl AsRef<std::path::Path>) -> Result<T> {
        self.map_err(|error| from_io(step.into(), &error.into()).path(path))
    }
}

fn from_io(step: String, error: &std::io::Error) -> Failure {
    match error.raw_os_error() {
        Some(raw) => Failure::new(step).errno(Errno::from_raw_os_error(raw)),
        None => Failure::new(step).detail(error.to_string()),
    }
}

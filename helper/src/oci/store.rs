//! Where containers are kept: a directory each, claimed by its exclusive creation, locked by whoever changes it.

use std::cell::Cell;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::process::geteuid;

use super::bundle::in_user_namespace;
use super::record::{Record, Status};
use crate::error::{Failure, Result, Step};

const RECORD: &str = "state.json";
const CONFIG: &str = "config.json";
const SOCKET: &str = "start.sock";
const LONGEST_ID: usize = 1024;

pub struct Store {
    root: PathBuf,
    /// Nobody has named it.
    is_default: bool,
}

/// A container's directory, held open.
pub struct Place {
    pub path: PathBuf,
    directory: OwnedFd,
    /// By this process.
    locked: Cell<bool>,
}

impl Store {
    pub fn new(root: Option<PathBuf>) -> Self {
        let is_default = root.is_none();
        let root = root.unwrap_or_else(|| match std::env::var_os("XDG_RUNTIME_DIR") {
            // Root of a user namespace is an ordinary user, as podman runs it.
            Some(directory) if !geteuid().is_root() || in_user_namespace() => {
                Path::new(&directory).join("keelson-oci")
            }
            _ => PathBuf::from("/run/keelson-oci"),
        });
        Store { root, is_default }
    }

    /// Where a container of this name is, or would be.
    pub fn path(&self, id: &str) -> Result<PathBuf> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        let fits = !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(is_fit);
        if !fits || matches!(id, "." | "..") {
            return Err(Failure::kind("read the container's id", "usage")
                .detail(format!("invalid id: {id:?}")));
        }
        let root = std::path::absolute(&self.root).step_at("find the root", &self.root)?;
        Ok(root.join(id))
    }

    /// Takes the name. Nobody else can have it until it is removed.
    pub fn claim(&self, id: &str) -> Result<Place> {
        let path = self.path(id)?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .step_at("make the root", &self.root)?;
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Failure::kind("create the container", "exists")
                    .detail(format!("container with id {id} exists: already exists")));
            }
            made => made.step_at("make the container's directory", &path)?,
        }
        let place = Place::open(path)?;
        place.lock()?;
        Ok(place)
    }

    pub fn find(&self, id: &str) -> Result<Place> {
        let path = self.path(id)?;
        match Place::open(path) {
            Err(failure) if failure.errno == Some(libc::ENOENT) => {
                Err(Failure::kind("find the container", "not-found")
                    .detail(format!("container {id} does not exist")))
            }
            found => found,
        }
    }

    /// With its record. One that was never finished has none.
    pub fn load(&self, id: &str) -> Result<(Place, Record)> {
        let place = self.find(id)?;
        match place.record()? {
            Some(record) => Ok((place, record)),
            None => Err(
                Failure::kind("find the container", "not-found").detail(format!(
                    "container {id} does not exist: it is being created"
                )),
            ),
        }
    }

    /// A directory that nobody has named may not have been needed yet.
    pub fn ids(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if self.is_default && error.kind() == ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            read => read.step_at("list the containers", &self.root)?.flatten(),
        };
        let mut ids: Vec<_> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        ids.sort();
        Ok(ids)
    }
}

impl Place {
    fn open(path: PathBuf) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&path, flags, Mode::empty())
            .step_at("open the container's directory", &path)?;
        let locked = Cell::new(false);
        Ok(Place {
            path,
            directory,
            locked,
        })
    }

    /// Until this process ends.
    pub fn lock(&self) -> Result<()> {
        flock(&self.directory, FlockOperation::LockExclusive)
            .step_at("lock the container", &self.path)?;
        self.locked.set(true);
        Ok(())
    }

    fn is_locked_by_another(&self) -> bool {
        if self.locked.get() {
            return false;
        }
        // A description of its own: the lock belongs to that.
        let Ok(other) = Place::open(self.path.clone()) else {
            return false;
        };
        flock(&other.directory, FlockOperation::NonBlockingLockShared).is_err()
    }

    pub fn record(&self) -> Result<Option<Record>> {
        let path = self.path.join(RECORD);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.step_at("read the container's state", &path)?,
        };
        match serde_json::from_slice(&text) {
            Ok(record) => Ok(Some(record)),
            Err(error) => Err(Failure::new("read the container's state")
                .path(&path)
                .detail(error.to_string())),
        }
    }

    /// Whole or not at all.
    pub fn save(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_vec(record).map_err(|error| {
            Failure::new("write the container's state").detail(error.to_string())
        })?;
        self.write(RECORD, &text)
    }

    pub fn save_config(&self, config: &str) -> Result<()> {
        self.write(CONFIG, config.as_bytes())
    }

    pub fn config(&self) -> Result<String> {
        let path = self.path.join(CONFIG);
        std::fs::read_to_string(&path).step_at("read the container's configuration", &path)
    }

    fn write(&self, name: &str, text: &[u8]) -> Result<()> {
        let (new, path) = (self.path.join(format!("{name}.new")), self.path.join(name));
        std::fs::write(&new, text).step_at("write a file", &new)?;
        std::fs::rename(&new, &path).step_at("write a file", &path)
    }

    pub fn listen(&self) -> Result<UnixListener> {
        UnixListener::bind(self.socket()).step("make the socket for start")
    }

    pub fn connect(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(self.socket())
    }

    /// By way of the directory's descriptor: a socket's name may be no longer than 108 bytes.
    fn socket(&self) -> PathBuf {
        format!("/proc/self/fd/{}/{SOCKET}", self.directory.as_raw_fd()).into()
    }

    pub fn status(&self, record: &Record) -> Status {
        if !record.ready {
            return match self.is_locked_by_another() {
                true => Status::Creating,
                false => Status::Stopped,
            };
        }
        if !record.is_alive() {
            return Status::Stopped;
        }
        // Nobody but a program that waits listens there.
        if self.connect().is_ok() {
            Status::Created
        } else if record.is_paused() {
            Status::Paused
        } else {
            Status::Running
        }
    }
}

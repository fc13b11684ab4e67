//! `keelson`: what the specification has no word for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::peers::Peer;
use super::super::writable::WritableLayer;
use crate::launch::LockFile;
use crate::net::NetworkPlan;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extension {
    pub rootfs: Vec<RootfsMount>,
    /// What of it is still to be made, by the child.
    pub layer: Option<WritableLayer>,
    /// By the destination of a mount: what the specification has no word for.
    #[serde(default)]
    pub mounts: BTreeMap<PathBuf, MountExtension>,
    pub stdio: Stdio,
    /// The root file system is shown with the ids of the container's user namespace.
    #[serde(default)]
    pub idmap_rootfs: bool,
    /// Containers some of whose namespaces are joined.
    #[serde(default)]
    pub peers: Vec<Peer>,
    #[serde(default)]
    pub init: bool,
    #[serde(default)]
    pub cgroups: Cgroups,
    #[serde(default)]
    pub locks: Vec<LockFile>,
    pub bundle: PathBuf,
    #[serde(default)]
    pub files: Vec<BundleFile>,
    #[serde(default)]
    pub remove: Vec<PathBuf>,
    #[serde(default)]
    pub loopback: bool,
    #[serde(default)]
    pub network: NetworkPlan,
    #[serde(default)]
    pub ulimit_clamp: bool,
}

/// A file in the bundle.
#[derive(Debug, Deserialize)]
pub struct BundleFile {
    pub name: String,
    pub text: String,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct MountExtension {
    /// What is mounted, in place of the source: the root file system of an image.
    pub rootfs: Vec<RootfsMount>,
    /// Only this of it.
    pub subpath: Option<PathBuf>,
}

/// A part of a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum RootfsMount {
    Overlay {
        /// Topmost first.
        lower: Vec<PathBuf>,
        upper: Option<PathBuf>,
        work: Option<PathBuf>,
        #[serde(default)]
        options: Vec<String>,
        /// In place of `upper` and `work`: what is written is kept in memory, and goes with the mount.
        tmpfs: Option<Tmpfs>,
    },
    Bind {
        source: PathBuf,
        #[serde(default)]
        readonly: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Bytes; the kernel's default is half of the memory.
    pub size: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct Stdio {
    pub stdin: StreamKind,
    pub stdout: StreamKind,
    pub stderr: StreamKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    Pipe,
    Null,
}

/// Absolute directories to make and join.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Cgroups {
    pub v2: Option<PathBuf>,
    /// By controller; `name=systemd` and the like for named hierarchies.
    pub v1: BTreeMap<String, PathBuf>,
}

impl Cgroups {
    /// Every directory, the v2 one first.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.v2.iter().chain(self.v1.values()).cloned().collect()
    }
}

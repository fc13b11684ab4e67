//! The OCI runtime configuration, as far as it is carried out, and the `keelson` extension.
//!
//! Fields and their meaning are those of the runtime specification; see docs/helper-protocol.md for the extension.

mod capability;
mod extension;
mod linux;
mod mount_options;
mod process;
mod resources;
mod scheduling;

use std::path::PathBuf;

use serde::Deserialize;

use super::hooks::Hooks;

pub use capability::{capability_names, parse_capabilities};
pub use extension::{
    BundleFile, Cgroups, Extension, MountExtension, RootfsMount, Stdio, StreamKind, Tmpfs,
};
pub use linux::{Device, DeviceType, IdMapping, Linux, Namespace, NamespaceType, TimeOffset};
pub use mount_options::{IdmapReach, MountOptions, Propagation};
pub use process::{Capabilities, ConsoleSize, Process, Rlimit, User};
pub use resources::{DeviceRule, HugepageLimit, InterfacePriority, Resources, Throttle};
pub use scheduling::{CpuAffinity, IoPriority, MemoryPolicy, Personality, Scheduler};

/// The newest version of the runtime specification that is understood.
pub const SPEC_VERSION: &str = "1.3.0";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    pub process: Process,
    pub root: Root,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    #[serde(default)]
    pub linux: Linux,
    pub keelson: Extension,
    #[serde(default)]
    pub hooks: Hooks,
}

#[derive(Debug, Deserialize)]
pub struct Root {
    pub path: PathBuf,
    #[serde(default)]
    pub readonly: bool,
}

#[derive(Debug, Deserialize)]
pub struct Mount {
    pub destination: PathBuf,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub source: Option<PathBuf>,
    #[serde(default)]
    pub options: Vec<String>,
    /// From the ids of the source to those that are seen. Absent: those of the container's user namespace.
    #[serde(default, rename = "uidMappings")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(default, rename = "gidMappings")]
    pub gid_mappings: Vec<IdMapping>,
}

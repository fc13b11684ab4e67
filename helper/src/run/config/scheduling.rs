//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`, `linux.personality` and `linux.memoryPolicy`.

use serde::Deserialize;

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct Scheduler {
    pub policy: String,
    pub nice: i32,
    pub priority: i32,
    pub flags: Vec<String>,
    /// Nanoseconds, like those below.
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct IoPriority {
    pub class: String,
    #[serde(default)]
    pub priority: i32,
}

/// Lists such as `0-3,7`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct CpuAffinity {
    pub initial: String,
    pub r#final: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Personality {
    pub domain: String,
    #[serde(default)]
    pub flags: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct MemoryPolicy {
    pub mode: String,
    /// A list such as `0-3,7`.
    #[serde(default)]
    pub nodes: String,
    #[serde(default)]
    pub flags: Vec<String>,
}

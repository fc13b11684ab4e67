//! `linux.seccomp` of the OCI runtime specification, as it arrives.

use serde::Deserialize;

use super::rules::invalid;
use crate::error::Result;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp {
    pub default_action: Action,
    pub default_errno_ret: Option<u32>,
    #[serde(default)]
    pub architectures: Vec<String>,
    #[serde(default)]
    pub flags: Vec<String>,
    #[serde(default)]
    pub syscalls: Vec<Rule>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    listener_metadata: String,
}

/// Who answers user notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Of a listening unix socket.
    pub path: String,
    pub metadata: Option<String>,
}

impl Seccomp {
    /// Where a system call is to be notified, "`listenerPath` ... is used": elsewhere it means nothing.
    pub fn listener(&self) -> Result<Option<Listener>> {
        let actions = self.syscalls.iter().map(|rule| rule.action);
        let notifies = std::iter::once(self.default_action)
            .chain(actions)
            .any(|action| action == Action::Notify);
        match (notifies, self.listener_path.as_str()) {
            (false, _) => Ok(None),
            (true, "") => Err(invalid("SCMP_ACT_NOTIFY needs listenerPath")),
            (true, path) => Ok(Some(Listener {
                path: path.to_owned(),
                metadata: Some(self.listener_metadata.clone()).filter(|text| !text.is_empty()),
            })),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    pub names: Vec<String>,
    pub action: Action,
    pub errno_ret: Option<u32>,
    #[serde(default)]
    pub args: Vec<Condition>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    pub index: u32,
    pub value: u64,
    /// With `MaskedEq`, `value` is the mask and this is what the masked argument must be.
    #[serde(default)]
    pub value_two: u64,
    pub op: Operator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Action {
    #[serde(rename = "SCMP_ACT_KILL_THREAD", alias = "SCMP_ACT_KILL")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

//! The options of a mount: attributes of the mount, its propagation, and what is left for the file system.

use crate::error::{Failure, Result};

#[derive(Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    pub bind: bool,
    pub recursive: bool,
    /// `MOUNT_ATTR_*` to set on the mount itself.
    pub set: u64,
    /// `MOUNT_ATTR_*` to take back, which a bind mount may have from its source.
    pub clear: u64,
    /// The same for the mount and all below it.
    pub set_recursive: u64,
    pub clear_recursive: u64,
    /// What is mounted there already is changed.
    pub remount: bool,
    /// A new tmpfs begins with what it hides.
    pub copy_up: bool,
    pub propagation: Option<Propagation>,
    /// Shown with other ids: the mount itself, or all below it too.
    pub idmap: Option<IdmapReach>,
    /// For the file system: `size=64m`, or a bare word.
    pub data: Vec<(String, Option<String>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`.
    pub kind: u64,
    pub recursive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdmapReach {
    Mount,
    Subtree,
}

const ATIME: u64 = libc::MOUNT_ATTR__ATIME;

impl MountOptions {
    /// A later option undoes an earlier one (`ro`, `rw`). What is not asked for keeps the source's value.
    pub fn parse(options: &[String]) -> Result<Self> {
        let mut parsed = MountOptions::default();
        for option in options {
            if let Some(propagation) = Propagation::parse(option) {
                parsed.propagation = Some(propagation);
            } else if let Some((attribute, on)) = attribute(option) {
                change(&mut parsed.set, &mut parsed.clear, attribute, on);
            } else if let Some((attribute, on)) = option.strip_prefix('r').and_then(attribute) {
                let (set, clear) = (&mut parsed.set_recursive, &mut parsed.clear_recursive);
                change(set, clear, attribute, on);
            } else {
                match option.as_str() {
                    "bind" => parsed.bind = true,
                    "rbind" => (parsed.bind, parsed.recursive) = (true, true),
                    // How much the kernel writes into its log, and what there is nothing else than.
                    "defaults" | "async" | "silent" | "loud" | "noiversion" => {}
                    "remount" => parsed.remount = true,
                    "tmpcopyup" => parsed.copy_up = true,
                    "idmap" => parsed.idmap = Some(IdmapReach::Mount),
                    "ridmap" => parsed.idmap = Some(IdmapReach::Subtree),
                    "iversion" => return Err(unsupported(option)),
                    word => parsed.data.push(match word.split_once('=') {
                        Some((key, value)) => (key.into(), Some(value.into())),
                        None => (word.into(), None),
                    }),
                }
            }
        }
        Ok(parsed)
    }
}

impl Propagation {
    pub fn parse(word: &str) -> Option<Self> {
        let (kind, recursive) = match word {
            "shared" => (libc::MS_SHARED, false),
            "rshared" => (libc::MS_SHARED, true),
            "slave" => (libc::MS_SLAVE, false),
            "rslave" => (libc::MS_SLAVE, true),
            "private" => (libc::MS_PRIVATE, false),
            "rprivate" => (libc::MS_PRIVATE, true),
            "unbindable" => (libc::MS_UNBINDABLE, false),
            "runbindable" => (libc::MS_UNBINDABLE, true),
            _ => return None,
        };
        Some(Propagation { kind, recursive })
    }
}

/// The attribute an option names, and whether it is set or taken back.
fn attribute(option: &str) -> Option<(u64, bool)> {
    Some(match option {
        "ro" => (libc::MOUNT_ATTR_RDONLY, true),
        "rw" => (libc::MOUNT_ATTR_RDONLY, false),
        "nosuid" => (libc::MOUNT_ATTR_NOSUID, true),
        "suid" => (libc::MOUNT_ATTR_NOSUID, false),
        "nodev" => (libc::MOUNT_ATTR_NODEV, true),
        "dev" => (libc::MOUNT_ATTR_NODEV, false),
        "noexec" => (libc::MOUNT_ATTR_NOEXEC, true),
        "exec" => (libc::MOUNT_ATTR_NOEXEC, false),
        "nosymfollow" => (libc::MOUNT_ATTR_NOSYMFOLLOW, true),
        "symfollow" => (libc::MOUNT_ATTR_NOSYMFOLLOW, false),
        "nodiratime" => (libc::MOUNT_ATTR_NODIRATIME, true),
        "diratime" => (libc::MOUNT_ATTR_NODIRATIME, false),
        "noatime" => (libc::MOUNT_ATTR_NOATIME, true),
        "strictatime" => (libc::MOUNT_ATTR_STRICTATIME, true),
        // Relatime is the value zero of a field, and the kernel's default.
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (ATIME, false),
        _ => return None,
    })
}

fn change(set: &mut u64, clear: &mut u64, attribute: u64, on: bool) {
    if attribute & ATIME != 0 {
        // One field of several bits: to set it, the kernel wants all of them cleared in the same call.
        *set &= !ATIME;
        *clear |= ATIME;
        if on {
            *set |= attribute;
        }
    } else if on {
        *set |= attribute;
        *clear &= !attribute;
    } else {
        *set &= !attribute;
        *clear |= attribute;
    }
}

fn unsupported(option: &str) -> Failure {
    Failure::kind("read the options of a mount", "config-invalid").detail(option)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> MountOptions {
        MountOptions::parse(
            &options
                .iter()
                .map(|option| (*option).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap()
    }

    #[test]
    fn attributes_propagation_and_data_are_told_apart() {
        let parsed = parse(&[
            "nosuid",
            "noexec",
            "nodev",
            "mode=755",
            "size=65536k",
            "rprivate",
        ]);
        assert_eq!(
            parsed.set,
            libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_NODEV
        );
        assert_eq!(
            parsed.propagation,
            Some(Propagation {
                kind: libc::MS_PRIVATE,
                recursive: true
            })
        );
        assert_eq!(
            parsed.data,
            [
                ("mode".into(), Some("755".into())),
                ("size".into(), Some("65536k".into()))
            ]
        );
        assert!(!parsed.bind);
    }

    #[test]
    fn the_last_word_counts() {
        assert_eq!(parse(&["ro", "rw"]).set, 0);
        assert_eq!(parse(&["ro", "rw"]).clear, libc::MOUNT_ATTR_RDONLY);
        assert_eq!(parse(&["rw", "ro"]).clear, 0);
        assert_eq!(parse(&["noatime"]).clear, ATIME);
        assert_eq!(parse(&[]).clear, 0);
        assert_eq!(
            parse(&["noatime", "strictatime"]).set,
            libc::MOUNT_ATTR_STRICTATIME
        );
        assert_eq!(parse(&["noatime", "relatime"]).set, 0);
    }

    #[test]
    fn recursive_forms_are_kept_apart() {
        assert_eq!(parse(&["rrw"]).clear_recursive, libc::MOUNT_ATTR_RDONLY);
        let parsed = parse(&["rbind", "rro", "rnosuid"]);
        assert!(parsed.bind && parsed.recursive);
        assert_eq!(parsed.set, 0);
        assert_eq!(
            parsed.set_recursive,
            libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID
        );
    }

    #[test]
    fn what_is_not_carried_out_is_refused() {
        assert!(MountOptions::parse(&["iversion".into()]).is_err());
    }

    #[test]
    fn ids_are_mapped_for_a_mount_or_for_all_below_it() {
        assert_eq!(parse(&["bind", "idmap"]).idmap, Some(IdmapReach::Mount));
        assert_eq!(parse(&["rbind", "ridmap"]).idmap, Some(IdmapReach::Subtree));
        assert_eq!(parse(&["rbind"]).idmap, None);
    }
}

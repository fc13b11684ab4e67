//! A cgroup below the container's, for what is executed in it: so that it can be killed as a whole, and counts in
//! everything that the container is limited by.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::kill::kill_all;
use super::{CgroupPlan, write};
use crate::error::{Failure, Result, Step};

/// v1 has no hierarchy for this alone; these have no state that a child would have to be given.
const PREFERRED_V1: [&str; 2] = ["pids", "freezer"];
/// A new one has no processors.
const UNFIT_V1: &str = "cpuset";

#[derive(Clone)]
pub struct NestedCgroup {
    /// The one made for it, if the container has any cgroup.
    own: Option<PathBuf>,
    is_v2: bool,
    /// What it joins by itself.
    v1: Vec<PathBuf>,
}

impl CgroupPlan {
    /// Makes it. In v2, and where there is none in one v1 hierarchy; in the other ones the container's own is joined.
    ///
    /// A v2 cgroup without enabled controllers may have children beside its processes; one with, which the container
    /// has then divided by itself, may have nothing else.
    pub fn nest(&self, name: &str) -> Result<NestedCgroup> {
        let mut v1: Vec<PathBuf> = self.v1.iter().map(|each| each.directory.clone()).collect();
        let own = match &self.v2 {
            Some(directory) => Some(directory.join(name)),
            None => self.fit_v1().map(|index| {
                v1[index].push(name);
                v1[index].clone()
            }),
        };
        if let Some(directory) = &own {
            rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755)).map_err(|errno| {
                let failure = Failure::new("make a cgroup").path(directory).errno(errno);
                match errno {
                    Errno::NOENT => Failure {
                        kind: Some("not-running"),
                        ..failure
                    },
                    _ => failure,
                }
            })?;
        }
        Ok(NestedCgroup {
            own,
            is_v2: self.v2.is_some(),
            v1,
        })
    }

    fn fit_v1(&self) -> Option<usize> {
        let has = |controllers: &str, name: &str| controllers.split(',').any(|each| each == name);
        PREFERRED_V1
            .iter()
            .find_map(|name| self.v1.iter().position(|each| has(&each.controller, name)))
            .or_else(|| {
                self.v1
                    .iter()
                    .position(|each| !has(&each.controller, UNFIT_V1))
            })
    }
}

impl NestedCgroup {
    /// For a process to be cloned into.
    pub fn open_v2(&self) -> Result<Option<OwnedFd>> {
        let Some(directory) = self.own.as_ref().filter(|_| self.is_v2) else {
            return Ok(None);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(directory, flags, Mode::empty())
            .step_at("open a cgroup", directory)
            .map(Some)
    }

    /// Moves this process into the others; `CgroupPlan::join_v1` says why by itself.
    pub fn join_v1(&self) -> Result<()> {
        self.v1
            .iter()
            .try_for_each(|directory| write(directory, "tasks", "0"))
    }

    /// Kills everything in it; false when there is none.
    pub fn kill_all(&self) -> bool {
        match &self.own {
            Some(directory) => {
                kill_all(std::slice::from_ref(directory));
                true
            }
            None => false,
        }
    }

    /// Removes it; false when something lives in it.
    pub fn remove(&self) -> bool {
        let Some(directory) = &self.own else {
            return true;
        };
        !matches!(
            rustix::fs::unlinkat(CWD, directory, AtFlags::REMOVEDIR),
            Err(Errno::BUSY | Errno::NOTEMPTY)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::config::{Cgroups, Resources};

    fn plan(parent: &std::path::Path, v1: &[&str]) -> CgroupPlan {
        let cgroups = Cgroups {
            v2: None,
            v1: v1
                .iter()
                .map(|name| {
                    let directory = parent.join(name);
                    std::fs::create_dir(&directory).unwrap();
                    ((*name).to_owned(), directory)
                })
                .collect(),
        };
        CgroupPlan::new(&cgroups, Resources::default(), false).unwrap()
    }

    #[test]
    fn one_v1_hierarchy_gets_a_child() {
        let parent = tempfile::tempdir().unwrap();
        let nested = plan(parent.path(), &["cpuset", "memory", "pids"])
            .nest("exec-1")
            .unwrap();
        assert_eq!(nested.own, Some(parent.path().join("pids/exec-1")));
        assert_eq!(
            nested.v1,
            ["cpuset", "memory", "pids/exec-1"].map(|name| parent.path().join(name))
        );
        assert!(nested.open_v2().unwrap().is_none());
        assert!(nested.remove());
    }

    #[test]
    fn without_a_cgroup_there_is_nothing_to_kill() {
        let parent = tempfile::tempdir().unwrap();
        let nested = plan(parent.path(), &["cpuset"]).nest("exec-1").unwrap();
        assert_eq!(nested.own, None);
        assert!(!nested.kill_all());
    }

    #[test]
    fn the_cgroup_of_a_container_that_is_gone_is_none() {
        let parent = tempfile::tempdir().unwrap();
        let plan = plan(parent.path(), &["pids"]);
        std::fs::remove_dir(parent.path().join("pids")).unwrap();
        assert_eq!(plan.nest("exec-1").err().unwrap().kind, Some("not-running"));
    }
}

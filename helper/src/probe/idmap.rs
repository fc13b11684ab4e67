//! Mounts with the ids of another user namespace, on the engine's file system.

use std::os::fd::AsFd;

use rustix::fs;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::thread::UnshareFlags;

use super::attempt::{Fact, Scratch, attempt};
use crate::error::Result;
use crate::run::{IdMapping, user_namespace};
use crate::sys::mount::map_ids;
use crate::sys::namespace::unshare;

pub fn idmapped_mounts(scratch: &Scratch) -> Result<Fact> {
    attempt(|| {
        unshare(UnshareFlags::NEWNS)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(fs::CWD, &scratch.path, flags)?; // by name: in the new namespace
        // A range, as a container's user namespace has; ids of our own namespace are the outer ones.
        let root = [IdMapping {
            container_id: 0,
            host_id: 0,
            size: 1,
        }];
        map_ids(&tree, user_namespace(&root, &root)?.as_fd(), false)
    })
}

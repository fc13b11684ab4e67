//! What is known of a layer's paths while it is being applied. Paths are real ones: no symbolic link lies on them.

use std::collections::{BTreeMap, BTreeSet};

use rustix::fs::Timespec;

#[derive(Default)]
pub struct Record {
    /// Times that directories get at the end, when nothing more is made in them: accessed, modified.
    pub times: Paths<(Timespec, Timespec)>,
    /// Directories that were needed but not described.
    pub implied: Paths<()>,
    /// Hard links to files of lower layers: order of appearance, target.
    pub links: Paths<(usize, Vec<u8>)>,
    link_count: usize,
    /// Places where whiteouts were carried out: of the parents nothing is left there, and looking again would only take
    /// time, as much as an attacker wants.
    pub hidden: BTreeSet<Vec<u8>>,
    /// All that this layer made, which its own whiteouts do not touch. Kept only where parents' files lie among it.
    pub ours: Option<Paths<()>>,
}

impl Record {
    pub fn new(among_parents: bool) -> Self {
        Record {
            ours: among_parents.then(Paths::default),
            ..Record::default()
        }
    }

    pub fn link(&mut self, path: Vec<u8>, target: &[u8]) {
        self.link_count += 1;
        self.links
            .0
            .insert(path, (self.link_count, target.to_vec()));
    }

    /// Something of this layer is at `path` now.
    pub fn made(&mut self, path: &[u8]) {
        self.links.0.remove(path);
        if let Some(ours) = &mut self.ours {
            ours.0.insert(path.to_vec(), ());
        }
    }

    /// True for what this layer made, or what lies above it.
    pub fn is_ours(&self, path: &[u8]) -> bool {
        self.ours
            .as_ref()
            .is_none_or(|ours| ours.0.contains_key(path) || ours.below(path).next().is_some())
    }

    /// The path, and what was below it, no longer exist.
    pub fn forget(&mut self, path: &[u8]) {
        self.times.forget(path);
        self.implied.forget(path);
        self.links.forget(path);
        if let Some(ours) = &mut self.ours {
            ours.forget(path);
        }
    }
}

/// In byte order all paths below a directory stand together: from `path/` up to, not including, `path0`.
#[derive(Default)]
pub struct Paths<T>(pub BTreeMap<Vec<u8>, T>);

impl<T> Paths<T> {
    fn below(&self, path: &[u8]) -> impl Iterator<Item = &Vec<u8>> {
        let (from, to) = ([path, b"/"].concat(), [path, b"0"].concat());
        self.0.range(from..to).map(|(path, _)| path)
    }

    fn forget(&mut self, path: &[u8]) {
        self.0.remove(path);
        let below: Vec<_> = self.below(path).cloned().collect();
        for path in below {
            self.0.remove(&path);
        }
    }
}

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::{Bench, names, plain};
use crate::error::Result;
use crate::layer::apply::Applied;
use crate::layer::inherit::{Inherit, inherit};
use crate::layer::tar::tests::builder::{Archive, Block};
use crate::layer::target::Format;

/// The parents by their archives, lowest first; then the layer on top, completed.
fn stack(parents: &[Archive], layer: &Archive) -> (Vec<Bench>, Bench, Result<()>) {
    let lower: Vec<_> = parents.iter().map(|archive| applied(archive).0).collect();
    let (bench, applied) = applied(layer);
    let args = Inherit {
        target: bench.target(),
        parents: lower.iter().rev().map(Bench::target).collect(),
        inherited: applied.inherited,
        links: applied.links,
        format: Format::Overlay,
    };
    let outcome = inherit(&args).map(drop);
    (lower, bench, outcome)
}

fn applied(archive: &Archive) -> (Bench, Applied) {
    let bench = Bench::new();
    let applied = bench.apply(&archive.clone().end()).unwrap();
    (bench, applied)
}

fn meta(bench: &Bench, name: &str) -> (u32, u32, i64) {
    let meta = bench.at(name).symlink_metadata().unwrap();
    (meta.mode() & 0o7777, meta.uid(), meta.mtime())
}

fn directory(name: &[u8], mode: u32, owner: u32, mtime: u64) -> Block {
    Block::new(name, b'5')
        .mode(mode)
        .owner(owner, owner)
        .mtime(mtime)
}

#[test]
fn directories_take_what_the_nearest_parent_says() {
    let low = Archive::new()
        .entry(directory(b".", 0o711, 3, 300), b"")
        .pax(&[(b"SCHILY.xattr.user.a", b"1")])
        .entry(directory(b"a", 0o700, 1, 100), b"")
        .entry(directory(b"a/b", 0o1777, 1, 100), b"");
    let high = Archive::new()
        .entry(directory(b".", 0o755, 4, 400), b"")
        .entry(directory(b"a", 0o750, 2, 200), b"");
    let layer = Archive::new().file(b"a/b/new/f", b"");
    let (_lower, bench, outcome) = stack(&[low, high], &layer);
    outcome.unwrap();
    assert_eq!(meta(&bench, "."), (0o755, 4, 400));
    assert_eq!(meta(&bench, "a"), (0o750, 2, 200));
    assert_eq!(bench.xattr("a", "user.a"), None);
    assert_eq!(meta(&bench, "a/b"), (0o1777, 1, 100));
    assert_eq!(meta(&bench, "a/b/new").0, 0o755);
}

#[test]
fn whiteouts_hide_what_is_below_them() {
    let low = Archive::new()
        .entry(directory(b"gone", 0o700, 1, 100), b"")
        .entry(directory(b"a", 0o700, 1, 100), b"")
        .entry(directory(b"a/b", 0o700, 1, 100), b"");
    for hiding in [
        Archive::new().file(b".wh.gone", b"").file(b"a/.wh.b", b""),
        Archive::new()
            .file(b".wh.gone", b"")
            .file(b"a/.wh..wh..opq", b""),
    ] {
        let layer = Archive::new().file(b"gone/f", b"").file(b"a/b/f", b"");
        let (_lower, bench, outcome) = stack(&[low.clone(), hiding], &layer);
        outcome.unwrap();
        assert_eq!(meta(&bench, "gone").1, 0);
        assert_eq!(meta(&bench, "a/b").1, 0);
    }
}

#[test]
fn links_to_parents_files() {
    let low = Archive::new()
        .entry(directory(b"d", 0o700, 1, 100), b"")
        .entry(
            Block::new(b"d/f", b'0').mode(0o4755).owner(7, 7).mtime(70),
            b"lower",
        );
    let layer = Archive::new()
        .entry(directory(b"other", 0o755, 0, 500), b"")
        .hardlink(b"other/one", b"d/f")
        .hardlink(b"two", b"other/one");
    let (_lower, bench, outcome) = stack(&[low], &layer);
    outcome.unwrap();
    assert_eq!(bench.read("two"), "lower");
    let inode = |name| bench.at(name).metadata().unwrap().ino();
    assert_eq!(inode("d/f"), inode("other/one"));
    assert_eq!(inode("d/f"), inode("two"));
    assert_eq!(meta(&bench, "two"), (0o4755, 7, 70));
    assert_eq!(meta(&bench, "d"), (0o700, 1, 100));
    assert_eq!(meta(&bench, "other").2, 500);
}

#[test]
fn links_to_nothing_are_refused() {
    let low = Archive::new()
        .file(b"gone", b"")
        .directory(b"d")
        .symlink(b"out", b"../outside");
    let high = Archive::new().file(b".wh.gone", b"");
    for target in [&b"gone"[..], b"never", b"d", b"d/never/f", b"out/secret"] {
        let layer = Archive::new().hardlink(b"link", target);
        let (_lower, bench, outcome) = stack(&[low.clone(), high.clone()], &layer);
        assert_eq!(outcome.unwrap_err().kind, Some("layer-invalid"));
        assert!(!bench.exists("link"));
    }
}

#[test]
fn a_file_made_after_its_link_stays() {
    let low = Archive::new().file(b"f", b"lower");
    let layer = Archive::new().hardlink(b"x", b"f").file(b"x", b"mine");
    let (_lower, bench, outcome) = stack(&[low], &layer);
    outcome.unwrap();
    assert_eq!(bench.read("x"), "mine");
    let low = Archive::new().file(b"f", b"lower").file(b"x", b"old");
    let layer = Archive::new().file(b".wh.x", b"").hardlink(b"x", b"f");
    let (_lower, bench, outcome) = stack(&[low], &layer);
    outcome.unwrap();
    assert_eq!(bench.read("x"), "lower");
}

/// As in an image made on a Debian with `/lib` in `/usr`: the layer means the directory behind the link.
#[test]
fn files_behind_a_parents_link_go_where_it_leads() {
    let low = Archive::new()
        .entry(directory(b"usr", 0o755, 0, 10), b"")
        .entry(directory(b"usr/lib", 0o755, 9, 20), b"")
        .file(b"usr/lib/old", b"")
        .symlink(b"lib", b"usr/lib");
    let layer = Archive::new()
        .entry(directory(b".", 0o755, 0, 77), b"")
        .file(b"lib/new", b"1")
        .file(b"lib/sub/f", b"2")
        .file(b"lib/.wh.old", b"")
        .file(b"usr/lib/sub/g", b"3");
    let (_lower, bench, outcome) = stack(&[low], &layer);
    outcome.unwrap();
    assert!(!bench.exists("lib"));
    assert_eq!(names(&bench.at("usr/lib")), ["new", "old", "sub"]);
    assert!(bench.is_whiteout("usr/lib/old"));
    assert_eq!(names(&bench.at("usr/lib/sub")), ["f", "g"]);
    assert_eq!(meta(&bench, "usr/lib"), (0o755, 9, 20));
    assert_eq!(meta(&bench, "usr"), (0o755, 0, 10));
    assert_eq!(meta(&bench, "."), (0o755, 0, 77));
}

#[test]
fn parents_links_lead_nowhere_else() {
    let low = Archive::new()
        .symlink(b"link", b"../../outside")
        .symlink(b"loop", b"loop");
    let layer = Archive::new()
        .file(b"link/secret", b"changed")
        .file(b"loop/f", b"");
    let (lower, bench, outcome) = stack(&[low], &layer);
    assert_eq!(outcome.unwrap_err().kind, Some("layer-invalid"));
    for bench in lower.iter().chain([&bench]) {
        let secret = std::fs::read_to_string(bench.path().join("outside/secret"));
        assert_eq!(secret.unwrap(), "untouched");
    }
}

#[test]
fn an_opaque_root_hides_every_parent() {
    let low = Archive::new()
        .file(b"a", b"")
        .directory(b"d")
        .file(b"d/old", b"");
    let high = Archive::new().file(b"b", b"");
    let layer = Archive::new()
        .file(b".wh..wh..opq", b"")
        .directory(b"d")
        .file(b"a", b"new");
    let (_lower, bench, outcome) = stack(&[low, high], &layer);
    outcome.unwrap();
    assert_eq!(bench.read("a"), "new");
    assert!(bench.is_whiteout("b"));
    assert_eq!(
        bench.xattr("d", "trusted.overlay.opaque"),
        Some(b"y".to_vec())
    );
}

#[test]
fn a_layers_own_link_back_is_left_alone() {
    let low = Archive::new()
        .directory(b"usr/lib")
        .symlink(b"lib", b"usr/lib");
    let layer = Archive::new()
        .file(b"lib/f", b"kept")
        .symlink(b"usr/lib", b"/lib");
    let (_lower, bench, outcome) = stack(&[low], &layer);
    outcome.unwrap();
    assert_eq!(bench.read("lib/f"), "kept");
}

/// Overlay over the layers must show what unpacking them one after the other gives.
#[test]
fn both_ways_of_unpacking_agree() {
    let layers = [
        Archive::new()
            .entry(directory(b".", 0o755, 0, 1), b"")
            .entry(directory(b"etc", 0o755, 0, 2), b"")
            .file(b"etc/a", b"a1")
            .file(b"etc/b", b"b1")
            .entry(directory(b"usr", 0o755, 0, 3), b"")
            .entry(directory(b"usr/lib", 0o755, 1, 4), b"")
            .file(b"usr/lib/x", b"x1")
            .symlink(b"lib", b"usr/lib")
            .entry(directory(b"var", 0o755, 0, 5), b"")
            .file(b"var/old", b"")
            .file(b"replaced", b"file"),
        Archive::new()
            .file(b"etc/.wh.a", b"")
            .file(b"lib/y", b"y2")
            .file(b"var/.wh..wh..opq", b"")
            .file(b"var/new", b"n2")
            .file(b".wh.replaced", b"")
            .directory(b"replaced")
            .file(b"replaced/f", b"f2"),
        Archive::new()
            .hardlink(b"var/link", b"usr/lib/x")
            .file(b"etc/b", b"b3")
            .file(b"replaced", b"file again")
            .symlink(b"usr/local", b"/var"),
    ];
    let plain = Bench::new();
    let mut lower: Vec<Bench> = Vec::new();
    for archive in &layers {
        plain
            .apply_as(Format::Plain, &archive.clone().end())
            .unwrap();
        let (bench, applied) = applied(archive);
        inherit(&Inherit {
            target: bench.target(),
            parents: lower.iter().rev().map(Bench::target).collect(),
            inherited: applied.inherited,
            links: applied.links,
            format: Format::Overlay,
        })
        .unwrap();
        lower.push(bench);
    }
    let merged = Overlay::mount(lower.iter().rev().map(Bench::target).collect());
    assert_eq!(listing(&plain.target()), listing(&merged.path));
}

/// Mounted for as long as the value lives.
struct Overlay {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Overlay {
    fn mount(lower: Vec<PathBuf>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lower: Vec<_> = lower.iter().map(|path| path.to_str().unwrap()).collect();
        let options = std::ffi::CString::new(format!("lowerdir={}", lower.join(":"))).unwrap();
        let flags = rustix::mount::MountFlags::RDONLY;
        rustix::mount::mount("overlay", dir.path(), "overlay", flags, options.as_c_str()).unwrap();
        Overlay {
            path: dir.path().to_path_buf(),
            _dir: dir,
        }
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let flags = rustix::mount::UnmountFlags::DETACH;
        rustix::mount::unmount(&self.path, flags).unwrap();
    }
}

fn listing(root: &std::path::Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(path) = todo.pop() {
        let meta = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap().display();
        let content = if meta.is_file() {
            std::fs::read_to_string(&path).unwrap()
        } else if meta.is_symlink() {
            std::fs::read_link(&path).unwrap().display().to_string()
        } else {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            String::new()
        };
        let links = if meta.is_file() { meta.nlink() } else { 0 };
        let mode = meta.permissions().mode();
        let undescribed = name.to_string() == "var" || name.to_string() == "replaced";
        let time = if undescribed { 0 } else { meta.mtime() };
        lines.push(format!(
            "{name} {mode:o} {} {time} {links} {content}",
            meta.uid()
        ));
    }
    lines.sort();
    lines
}

#[test]
fn the_root_may_be_asked_for_by_its_name() {
    let (lower, _) = applied(&Archive::new().entry(directory(b".", 0o700, 5, 50), b""));
    let bench = Bench::new();
    inherit(&Inherit {
        target: bench.target(),
        parents: vec![lower.target()],
        inherited: vec!["Lg==".to_owned()],
        links: vec![],
        format: Format::Overlay,
    })
    .unwrap();
    assert_eq!(meta(&bench, "."), (0o700, 5, 50));
    assert_eq!(plain(&["Lg==".to_owned()]), ["."]);
}

#[test]
fn a_parent_that_is_a_link_is_seen_through_when_linking() {
    let low = Archive::new()
        .directory(b"usr/lib")
        .file(b"usr/lib/x", b"lower")
        .symlink(b"lib", b"usr/lib");
    let layer = Archive::new().hardlink(b"lib/y", b"lib/x");
    let (_lower, bench, outcome) = stack(&[low], &layer);
    outcome.unwrap();
    assert!(!bench.exists("lib"));
    assert_eq!(bench.read("usr/lib/y"), "lower");
}

//! Layers made to reach out of their target. `Bench::run` checks after each that nothing outside has changed.

use super::{Bench, name_of};
use crate::layer::tar::tests::builder::{Archive, Block};
use crate::layer::tar::tests::mutation::{Random, mutate, seed};
use crate::layer::target::Format;

#[test]
fn dots_are_refused() {
    for name in [
        &b"../outside/secret"[..],
        b"a/../../outside/secret",
        b"..",
        b"a/..",
        b"/../x",
    ] {
        let bench = Bench::new();
        let failure = bench.refused(
            &Archive::new().file(name, b"changed").end(),
            "layer-invalid",
        );
        assert_eq!(failure.detail.as_deref(), Some("a path contains '..'"));
    }
}

#[test]
fn absolute_names_are_inside() {
    let bench = Bench::new();
    let secret = bench.path().join("outside/secret");
    let name = secret.as_os_str().as_encoded_bytes();
    bench
        .apply(&Archive::new().file(name, b"changed").end())
        .unwrap();
    assert_eq!(bench.read(&secret.to_str().unwrap()[1..]), "changed");
}

#[test]
fn symbolic_links_lead_nowhere_else() {
    for target in [
        "../outside",
        "/../../outside",
        "../../../../../../../../../../outside",
    ] {
        let bench = Bench::new();
        let archive = Archive::new()
            .symlink(b"link", target.as_bytes())
            .file(b"link/secret", b"changed")
            .directory(b"link/new")
            .end();
        bench.apply(&archive).unwrap();
        assert_eq!(bench.read("outside/secret"), "changed");
    }
}

#[test]
fn an_absolute_link_means_the_layers_root() {
    let bench = Bench::new();
    let outside = bench.path().join("outside");
    let archive = Archive::new()
        .symlink(b"link", outside.as_os_str().as_encoded_bytes())
        .file(b"link/secret", b"changed")
        .end();
    bench.apply(&archive).unwrap();
    let inside = format!("{}/secret", &outside.to_str().unwrap()[1..]);
    assert_eq!(bench.read(&inside), "changed");
}

#[test]
fn chains_of_links() {
    let bench = Bench::new();
    let archive = Archive::new()
        .directory(b"a")
        .symlink(b"a/up", b"..")
        .symlink(b"b", b"a/up/a/up/../..")
        .symlink(b"c", b"b/../../outside")
        .file(b"c/secret", b"changed")
        .end();
    bench.apply(&archive).unwrap();
    assert_eq!(bench.read("outside/secret"), "changed");
}

#[test]
fn links_in_a_circle_are_refused() {
    let bench = Bench::new();
    let archive = Archive::new()
        .symlink(b"a", b"b")
        .symlink(b"b", b"a")
        .file(b"a/f", b"")
        .end();
    bench.refused(&archive, "layer-invalid");
}

#[test]
fn dangling_links_in_a_circle_are_refused() {
    let bench = Bench::new();
    let archive = Archive::new()
        .symlink(b"a", b"b/x")
        .symlink(b"b", b"a/x")
        .file(b"a/f", b"")
        .end();
    bench.refused(&archive, "layer-invalid");
}

#[test]
fn a_file_is_never_written_through_a_link() {
    let bench = Bench::new();
    let secret = bench.path().join("outside/secret");
    let archive = Archive::new()
        .symlink(b"f", secret.as_os_str().as_encoded_bytes())
        .file(b"f", b"changed")
        .end();
    bench.apply(&archive).unwrap();
    assert!(bench.at("f").symlink_metadata().unwrap().is_file());
    assert_eq!(bench.read("f"), "changed");
}

#[test]
fn attributes_are_never_set_through_a_link() {
    let bench = Bench::new();
    let secret = bench.path().join("outside/secret");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let before = std::fs::metadata(&secret).unwrap();
    let archive = Archive::new()
        .pax(&[(b"SCHILY.xattr.user.a", b"b"), (b"mtime", b"5")])
        .entry(
            Block::new(b"link", b'2')
                .linkname(secret.as_os_str().as_encoded_bytes())
                .mode(0o777)
                .owner(5, 5),
            b"",
        )
        .end();
    bench.apply(&archive).unwrap();
    let after = std::fs::metadata(&secret).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        (before.mode(), before.uid(), before.mtime()),
        (after.mode(), after.uid(), after.mtime())
    );
    assert!(rustix::fs::getxattr(&secret, "user.a", &mut [0u8; 8][..]).is_err());
    let link = bench.at("link").symlink_metadata().unwrap();
    assert_eq!((link.uid(), link.mtime()), (5, 5));
}

#[test]
fn a_directory_replaced_by_a_link_half_way() {
    let bench = Bench::new();
    let archive = Archive::new()
        .directory(b"d")
        .file(b"d/first", b"1")
        .symlink(b"d", b"../outside")
        .file(b"d/secret", b"changed")
        .end();
    bench.apply(&archive).unwrap();
    assert!(bench.at("d").symlink_metadata().unwrap().is_symlink());
    assert_eq!(bench.read("outside/secret"), "changed");
}

#[test]
fn a_link_replaced_by_a_file_half_way() {
    let bench = Bench::new();
    let archive = Archive::new()
        .directory(b"real")
        .symlink(b"d", b"real")
        .file(b"d/first", b"1")
        .file(b"d", b"file")
        .end();
    bench.apply(&archive).unwrap();
    assert_eq!(bench.read("real/first"), "1");
    assert_eq!(bench.read("d"), "file");
    let bench = Bench::new();
    let archive = Archive::new().file(b"d", b"file").file(b"d/f", b"").end();
    let failure = bench.refused(&archive, "layer-invalid");
    assert_eq!(
        failure.detail.as_deref(),
        Some("a file's parent is not a directory")
    );
    assert_eq!(failure.path.as_deref(), Some("d/f"));
}

#[test]
fn hard_links_lead_nowhere_else() {
    let outside = |bench: &Bench| bench.path().join("outside/secret");
    let bench = Bench::new();
    let secret = outside(&bench);
    let archive = Archive::new()
        .symlink(b"dir", b"../outside")
        .hardlink(b"one", b"dir/secret")
        .hardlink(b"two", secret.as_os_str().as_encoded_bytes())
        .end();
    let applied = bench.apply(&archive).unwrap();
    assert_eq!(applied.links.len(), 2);
    assert!(!bench.exists("one") && !bench.exists("two"));

    let bench = Bench::new();
    let archive = Archive::new().hardlink(b"one", b"../outside/secret").end();
    bench.refused(&archive, "layer-invalid");
}

#[test]
fn a_hard_link_to_a_link_is_the_link() {
    let bench = Bench::new();
    let secret = bench.path().join("outside/secret");
    let archive = Archive::new()
        .symlink(b"link", secret.as_os_str().as_encoded_bytes())
        .hardlink(b"hard", b"link")
        .file(b"hard", b"changed")
        .end();
    bench.apply(&archive).unwrap();
    assert!(bench.at("link").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn hard_links_to_nonsense_are_refused() {
    for (name, target) in [
        (&b"h"[..], &b"d"[..]),
        (b"h", b""),
        (b"h", b"/"),
        (b"h", b"f/below"),
    ] {
        let bench = Bench::new();
        let archive = Archive::new()
            .directory(b"d")
            .file(b"f", b"")
            .hardlink(name, target)
            .end();
        bench.refused(&archive, "layer-invalid");
    }
    let bench = Bench::new();
    let archive = Archive::new()
        .file(b"d/f", b"")
        .hardlink(b"d", b"d/f")
        .end();
    bench.refused(&archive, "layer-invalid");
}

#[test]
fn whiteouts_of_dots_are_refused() {
    for name in [&b".wh..."[..], b".wh..", b".wh.", b"d/.wh...", b"d/.wh.."] {
        for format in [Format::Overlay, Format::Plain] {
            let bench = Bench::new();
            let archive = Archive::new().file(name, b"").end();
            let failure = bench.apply_as(format, &archive).unwrap_err();
            assert_eq!(failure.kind, Some("layer-invalid"), "{name:?}");
        }
    }
}

#[test]
fn whiteouts_do_not_follow_links() {
    for (link, whiteout) in [
        (&b"link"[..], &b".wh.link"[..]),
        (b"dir", b"dir/.wh.secret"),
        (b"dir", b"dir/.wh..wh..opq"),
    ] {
        let bench = Bench::new();
        std::os::unix::fs::symlink("../outside", bench.at(name_of(link))).unwrap();
        let archive = Archive::new().file(whiteout, b"").end();
        bench.apply_as(Format::Plain, &archive).unwrap();
    }
}

#[test]
fn the_root_is_a_directory() {
    for block in [
        Block::new(b".", b'2').linkname(b"../outside"),
        Block::new(b".", b'0'),
        Block::new(b"./", b'1').linkname(b"f"),
        Block::new(b"", b'3').device(1, 3),
    ] {
        let bench = Bench::new();
        let archive = Archive::new().raw(block, b"").end();
        if bench.apply(&archive).is_ok() {
            panic!("the root was replaced");
        }
        assert!(bench.target().symlink_metadata().unwrap().is_dir());
    }
}

/// An attribute like `trusted.overlay.redirect` would show a directory of the host's choice in place of another.
#[test]
fn overlays_own_attributes_are_dropped() {
    let bench = Bench::new();
    let archive = Archive::new()
        .pax(&[
            (b"SCHILY.xattr.trusted.overlay.redirect", b"/../../etc"),
            (b"SCHILY.xattr.user.overlay.redirect", b"/etc"),
            (b"SCHILY.xattr.trusted.overlay.opaque", b"y"),
            (b"LIBARCHIVE.xattr.trusted.overlay.metacopy", b""),
            (
                b"SCHILY.xattr.security.selinux",
                b"system_u:object_r:shadow_t:s0\0",
            ),
            (b"SCHILY.xattr.user.kept", b"yes"),
        ])
        .directory(b"d")
        .end();
    let applied = bench.apply(&archive).unwrap();
    assert_eq!(applied.skipped.xattrs, 5);
    for name in [
        "trusted.overlay.redirect",
        "user.overlay.redirect",
        "trusted.overlay.opaque",
        "trusted.overlay.metacopy",
        "security.selinux",
    ] {
        assert_eq!(bench.xattr("d", name), None, "{name}");
    }
    assert_eq!(bench.xattr("d", "user.kept"), Some(b"yes".to_vec()));
}

#[test]
fn a_device_that_overlay_takes_for_a_whiteout_is_left_out() {
    let bench = Bench::new();
    let archive = Archive::new()
        .entry(Block::new(b"gone", b'3').device(0, 0), b"")
        .end();
    assert_eq!(bench.apply(&archive).unwrap().skipped.devices, 1);
    assert!(!bench.exists("gone"));
}

#[test]
fn depth_by_links_is_limited() {
    // Each link leads 2,000 bytes further down, so that names of 4,096 bytes would reach any depth.
    let deep = [&b"d/".repeat(1000)[..], b"d"].concat();
    let mut archive = Archive::new();
    let mut path = b"start".to_vec();
    for index in 0..4 {
        let link = format!("l{index}").into_bytes();
        let link = [&path[..], b"/", &link].concat();
        archive = archive
            .pax(&[(b"path", &link), (b"linkpath", &deep)])
            .symlink(b"l", b"t");
        path = link;
        archive = archive
            .pax(&[(b"path", &[&path[..], b"/f"].concat())])
            .file(b"f", b"");
    }
    let bench = Bench::new();
    bench.refused(&archive.end(), "layer-limit");
}

#[test]
fn mutated_layers_stay_inside() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    for round in 0..300 {
        let mut bytes = seed();
        mutate(&mut bytes, &mut random);
        let bench = Bench::new();
        let format = [Format::Overlay, Format::OverlayUserxattr, Format::Plain][round % 3];
        if let Err(failure) = bench.apply_as(format, &bytes) {
            // What a file system cannot hold is an errno; nothing else may fail in another way.
            assert!(
                failure.kind.is_some() || failure.errno.is_some(),
                "{failure}"
            );
        }
    }
}

/// Names out of a small set, so that every kind of entry meets every other one at every place.
#[test]
fn random_layers_stay_inside() {
    const NAMES: [&str; 12] = [
        "a",
        "a/b",
        "a/b/c",
        "b",
        "b/a",
        "c",
        "c/secret",
        ".wh.a",
        "a/.wh.b",
        "a/.wh..wh..opq",
        "b/.wh.a",
        "./",
    ];
    const TARGETS: [&str; 9] = [
        "a",
        "b",
        "../outside",
        "/",
        "..",
        "a/b",
        "c",
        "../../outside/secret",
        "/a/../../outside",
    ];
    let mut random = Random(0xdead_beef_cafe_f00d);
    for round in 0..600 {
        let mut archive = Archive::new();
        for _ in 0..2 + random.next(12) {
            let name = NAMES[random.next(NAMES.len())].as_bytes();
            let target = TARGETS[random.next(TARGETS.len())].as_bytes();
            archive = match random.next(5) {
                0 => archive.directory(name),
                1 => archive.symlink(name, target),
                2 => archive.hardlink(name, target),
                3 => archive.entry(Block::new(name, b'6'), b""),
                _ => archive.file(name, b"changed"),
            };
        }
        let bench = Bench::new();
        let format = [Format::Overlay, Format::OverlayUserxattr, Format::Plain][round % 3];
        if let Err(failure) = bench.apply_as(format, &archive.end()) {
            assert_eq!(
                failure.kind,
                Some("layer-invalid"),
                "round {round}: {failure}"
            );
        }
    }
}

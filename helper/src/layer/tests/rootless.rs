//! The same in a user namespace: the test program starts itself again inside of one.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::Bench;
use crate::layer::apply::Apply;
use crate::layer::attributes::Owners;
use crate::layer::tar::tests::builder::{Archive, Block};
use crate::layer::target::Format;

/// Runs the ignored test `name` of this file as root of a user namespace in which root is the only user.
fn in_user_namespace(name: &str) {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("layer::tests::rootless::{name}"),
            "--ignored",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
fn layers_apply_in_a_user_namespace() {
    in_user_namespace("inside_layers_apply");
}

#[test]
#[ignore = "runs in a user namespace that another test makes"]
fn inside_layers_apply() {
    let bench = Bench::new();
    let archive = Archive::new()
        .pax(&[
            (b"SCHILY.xattr.trusted.t", b"1"),
            (b"SCHILY.xattr.user.u", b"2"),
        ])
        .entry(Block::new(b"suid", b'0').mode(0o4755), b"x")
        .file(b".wh.gone", b"")
        .file(b"d/.wh..wh..opq", b"")
        .end();
    let applied = bench.apply_as(Format::OverlayUserxattr, &archive).unwrap();
    assert_eq!(applied.skipped.xattrs, 1);
    assert_eq!(bench.at("suid").metadata().unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(bench.xattr("suid", "user.u"), Some(b"2".to_vec()));
    assert!(bench.is_whiteout("gone"));
    assert_eq!(bench.xattr("d", "user.overlay.opaque"), Some(b"y".to_vec()));
}

#[test]
fn owners_without_an_id_are_told() {
    in_user_namespace("inside_owners");
}

#[test]
#[ignore = "runs in a user namespace that another test makes"]
fn inside_owners() {
    let archive = Archive::new()
        .entry(Block::new(b"f", b'0').owner(0, 42).mode(0o2755), b"x")
        .end();
    let bench = Bench::new();
    let failure = bench
        .apply_as(Format::OverlayUserxattr, &archive)
        .unwrap_err();
    assert_eq!(failure.kind, Some("id-unmapped"));
    assert_eq!(failure.path.as_deref(), Some("f"));
    assert!(failure.detail.unwrap().contains("group 42"));

    let bench = Bench::new();
    let args = Apply {
        owners: Owners::Squash,
        format: Format::OverlayUserxattr,
        ..bench.blob(&archive)
    };
    assert_eq!(bench.run(&args).unwrap().skipped.owners, 1);
    let meta = bench.at("f").metadata().unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o7777),
        (0, 0, 0o2755)
    );
}

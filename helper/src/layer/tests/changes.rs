//! What changed in a root file system, by an overlay's upper directory and by comparison. The comparison mounts, so each
//! test that is one runs in a process of its own.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::Bench;
use crate::layer::changes::{Compare, compare};
use crate::layer::commit::commit;
use crate::layer::target::Format;

/// Runs the ignored test `name` of this file in a mount namespace that it may mount in.
fn alone(name: &str) {
    let output = Command::new("unshare")
        .arg("--mount")
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("layer::tests::changes::{name}"),
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

fn tree(at: &Path) {
    for directory in ["kept", "replaced", "emptied", "become-file", "opaque"] {
        std::fs::create_dir_all(at.join(directory)).unwrap();
        std::fs::write(at.join(directory).join("old"), "old").unwrap();
    }
    std::fs::write(at.join("become-directory"), "old").unwrap();
    std::fs::write(at.join("removed"), "old").unwrap();
    symlink("old", at.join("link")).unwrap();
}

/// The same changes made to a tree, whatever is below it.
fn change(at: &Path) {
    std::fs::write(at.join("kept/new"), "new").unwrap();
    std::fs::write(at.join("kept/old"), "changed").unwrap();
    std::fs::remove_dir_all(at.join("opaque")).unwrap();
    std::fs::create_dir(at.join("opaque")).unwrap();
    std::fs::write(at.join("opaque/new"), "new").unwrap();
    std::fs::remove_file(at.join("emptied/old")).unwrap();
    std::fs::remove_dir_all(at.join("become-file")).unwrap();
    std::fs::write(at.join("become-file"), "new").unwrap();
    std::fs::remove_file(at.join("become-directory")).unwrap();
    std::fs::create_dir(at.join("become-directory")).unwrap();
    std::fs::remove_file(at.join("removed")).unwrap();
    std::fs::remove_file(at.join("link")).unwrap();
    symlink("other", at.join("link")).unwrap();
    std::fs::set_permissions(at.join("replaced"), PermissionsExt::from_mode(0o700)).unwrap();
    // For mounts, and a file that is a mount point and has content all the same.
    std::fs::create_dir_all(at.join("mnt/deep/volume")).unwrap();
    std::fs::write(at.join("hosts"), "").unwrap();
    std::fs::write(at.join("resolv.conf"), "written").unwrap();
}

const CHANGES: [(&str, &str); 15] = [
    ("changed", "become-directory"),
    ("changed", "become-file"),
    ("changed", "emptied"),
    ("deleted", "emptied/old"),
    ("changed", "kept"),
    ("added", "kept/new"),
    ("changed", "kept/old"),
    ("changed", "link"),
    ("changed", "opaque"),
    ("added", "opaque/new"),
    ("deleted", "opaque/old"),
    ("deleted", "removed"),
    ("changed", "replaced"),
    ("added", "resolv.conf"),
    ("", ""),
];

fn found(args: serde_json::Value) -> Vec<(String, String)> {
    let args: Compare = serde_json::from_value(args).unwrap();
    let (changes, _) = compare(&args).unwrap();
    let text = |change: &crate::layer::changes::Change| {
        let value = serde_json::to_value(change).unwrap();
        let part = |name: &str| value[name].as_str().unwrap().to_owned();
        (part("kind"), part("path"))
    };
    changes.iter().map(text).collect()
}

fn expected() -> Vec<(String, String)> {
    let named = CHANGES.iter().filter(|(kind, _)| !kind.is_empty());
    named
        .map(|(kind, path)| ((*kind).to_owned(), (*path).to_owned()))
        .collect()
}

const MOUNTPOINTS: [&str; 3] = ["/mnt/deep/volume", "/hosts", "/resolv.conf"];

#[test]
fn by_comparison() {
    alone("inside_by_comparison");
}

#[test]
#[ignore = "runs in a mount namespace that another test makes"]
fn inside_by_comparison() {
    let bench = Bench::new();
    let base = bench.path().join("base");
    std::fs::create_dir(&base).unwrap();
    tree(&base);
    let copied = Command::new("cp")
        .arg("-aT")
        .arg(&base)
        .arg(bench.target())
        .status()
        .unwrap();
    assert!(copied.success());
    change(&bench.target());
    let args = json!({
        "rootfs": [{ "type": "bind", "source": bench.target() }],
        "base": [{ "type": "bind", "source": base, "readonly": true }],
        "mountpoints": MOUNTPOINTS,
    });
    assert_eq!(found(args), expected());
}

#[test]
fn by_an_upper_directory_and_as_a_layer() {
    alone("inside_by_an_upper_directory");
}

#[test]
#[ignore = "runs in a mount namespace that another test makes"]
fn inside_by_an_upper_directory() {
    let bench = Bench::new();
    let place = |name: &str| {
        let path = bench.path().join("outside").join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let [lower, second, upper, work, merged, applied] =
        ["lower", "second", "upper", "work", "merged", "applied"].map(place);
    tree(&lower);
    std::fs::write(second.join("of-the-second"), "").unwrap();
    let options = format!(
        "lowerdir={}:{},upperdir={},workdir={}",
        second.display(),
        lower.display(),
        upper.display(),
        work.display()
    );
    let mount = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(&merged)
        .status();
    assert!(mount.unwrap().success());
    change(&merged);
    let args = json!({
        "rootfs": [{ "type": "overlay", "lower": [second, lower], "upper": upper, "work": work }],
        "base": [{ "type": "overlay", "lower": [second, lower] }],
        "mountpoints": MOUNTPOINTS,
        "file": bench.path().join("blob"),
        "compression": "gzip",
    });
    // Before the comparison mounts over a layer.
    let want: Vec<_> = listing(&merged);
    let committed =
        serde_json::to_value(commit(&serde_json::from_value(args.clone()).unwrap()).unwrap())
            .unwrap();
    assert_eq!(found(args), expected());

    // Applied on a copy of what was there before, the layer gives what is there now.
    tree(&applied);
    std::fs::write(applied.join("of-the-second"), "").unwrap();
    let blob = bench.path().join("blob");
    let outcome = crate::layer::apply(
        &crate::layer::apply::Apply {
            size: blob.metadata().unwrap().len(),
            source: blob,
            compression: crate::layer::decompress::Compression::Gzip,
            target: applied.clone(),
            format: Format::Plain,
            ..bench_args()
        },
        &mut |_| (),
    )
    .unwrap();
    assert_eq!(committed["diffId"], outcome.diff_id);
    let without_mounts: Vec<_> = want
        .into_iter()
        .filter(|line| !line.contains("mnt") && !line.contains("hosts"))
        .collect();
    assert_eq!(listing(&applied), without_mounts);
}

fn bench_args() -> crate::layer::apply::Apply {
    use crate::layer::{apply::Limits, attributes::Owners, write::Devices};
    crate::layer::apply::Apply {
        source: Default::default(),
        size: 0,
        follow: false,
        compression: crate::layer::decompress::Compression::None,
        target: Default::default(),
        format: Format::Plain,
        limits: Limits {
            bytes: 1 << 30,
            entries: 10_000,
            ratio: 1000,
        },
        devices: Devices::Create,
        owners: Owners::Keep,
    }
}

/// Names, types, modes and links of a tree.
fn listing(at: &Path) -> Vec<String> {
    let output = Command::new("find")
        .arg(at)
        .args(["-mindepth", "1", "-printf", "%P %y %m %l\\n"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

//! What the specification leaves to the runtime, and the form in which `run` takes a plan: the bundle's configuration
//! with the `keelson` extension.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Failure, Result};
use crate::run::Cgroups;

pub fn parse(text: &str) -> Result<Value> {
    let config: Value =
        serde_json::from_str(text).map_err(|error| invalid("config.json", &error.to_string()))?;
    check_version(&config)?;
    Ok(config)
}

/// `directory` is the container's own, for its state.
pub fn complete(
    mut config: Value,
    bundle: &Path,
    cgroups: &Cgroups,
    directory: &Path,
) -> Result<Value> {
    make_absolute(&mut config["root"]["path"], bundle);
    let root = config["root"]["path"].clone();
    match root.as_str() {
        Some(path) if Path::new(path).is_dir() => {}
        Some(path) => return Err(invalid("root.path", &format!("{path}: no such directory"))),
        None => return Err(invalid("root.path", "it is required")),
    }
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        complete_mount(mount, bundle);
    }
    config["keelson"] = json!({
        "rootfs": [{ "type": "bind", "source": root }],
        "stdio": { "stdin": "null", "stdout": "null", "stderr": "null" },
        "cgroups": cgroups,
        "bundle": directory,
        "loopback": true,
    });
    if config["process"].is_null() {
        // Enough to make the container; `start` will refuse it.
        config["process"] = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": [""] });
    }
    if config["linux"].is_null() {
        config["linux"] = json!({});
    }
    Ok(config)
}

/// "Compliant with the 1.x series": any of them.
fn check_version(config: &Value) -> Result<()> {
    let version = config["ociVersion"].as_str().unwrap_or_default();
    let (core, _) = version.split_once(['-', '+']).unwrap_or((version, ""));
    let numbers: Option<Vec<u64>> = core.split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some([1, _, _]) => Ok(()),
        _ => Err(invalid(
            "ociVersion",
            &format!("unsupported version {version:?}"),
        )),
    }
}

/// A type `bind` is a bind mount also when the options do not say so, and a relative source lies in the bundle.
fn complete_mount(mount: &mut Value, bundle: &Path) {
    let options = mount["options"].as_array();
    let mut is_bind = options.is_some_and(|options| {
        options
            .iter()
            .any(|option| option == "bind" || option == "rbind")
    });
    if mount["type"] == "bind" && !is_bind {
        let mut options = options.cloned().unwrap_or_default();
        options.insert(0, json!("bind"));
        mount["options"] = options.into();
        is_bind = true;
    }
    if is_bind {
        make_absolute(&mut mount["source"], bundle);
    }
}

fn make_absolute(path: &mut Value, bundle: &Path) {
    if let Some(relative) = path
        .as_str()
        .map(Path::new)
        .filter(|path| path.is_relative())
    {
        *path = json!(bundle.join(relative));
    }
}

fn invalid(field: &str, detail: &str) -> Failure {
    Failure::kind(format!("read {field}"), "config-invalid").detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_version_of_the_first_series_is_understood() {
        for (version, fits) in [
            ("1.0.2-dev", true),
            ("1.3.0", true),
            ("2.0.0", false),
            ("1", false),
        ] {
            assert_eq!(
                check_version(&json!({ "ociVersion": version })).is_ok(),
                fits,
                "{version}"
            );
        }
        assert!(check_version(&json!({})).is_err());
    }

    #[test]
    fn a_relative_source_lies_in_the_bundle() {
        let mut mount = json!({ "destination": "/data", "type": "bind", "source": "data" });
        complete_mount(&mut mount, Path::new("/bundle"));
        assert_eq!(mount["source"], "/bundle/data");
        assert_eq!(mount["options"], json!(["bind"]));
    }
}

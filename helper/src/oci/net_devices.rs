//! `linux.netDevices`: links of this network namespace that the container gets, with the addresses that they have.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Failure, Result};
use crate::net::Links;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Device {
    /// As it is called in the container; its name as it is unless this says otherwise.
    name: Option<String>,
}

/// Brings them into the form in which `run` takes links.
pub fn complete(config: &mut Value) -> Result<()> {
    let linux = &mut config["linux"];
    let Some(devices) = linux
        .as_object_mut()
        .and_then(|linux| linux.remove("netDevices"))
    else {
        return Ok(());
    };
    let devices: Option<BTreeMap<String, Device>> =
        serde_json::from_value(devices).map_err(|error| invalid(error.to_string()))?;
    let devices = devices.unwrap_or_default();
    if devices.is_empty() {
        return Ok(());
    }
    let namespaces = linux["namespaces"].as_array().into_iter().flatten();
    let mut networks = namespaces.filter(|namespace| namespace["type"] == "network");
    let Some(network) = networks.next() else {
        return Err(invalid("the container has no network namespace of its own"));
    };
    let path = network["path"].clone();
    let mut links = Links::open()?;
    let (mut host, mut inside) = (Vec::new(), Vec::new());
    let mut taken = vec!["lo".to_owned()];
    for (device, Device { name }) in devices {
        let name = name
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| device.clone());
        if !is_name(&name) {
            return Err(invalid(format!(
                "not the name of a network device: {name:?}"
            )));
        }
        if taken.contains(&name) {
            return Err(invalid(format!("the name {name} is there twice")));
        }
        for (address, prefix) in links.addresses(&device)? {
            inside.push(
                json!({ "do": "address", "name": name, "address": address, "prefix": prefix }),
            );
        }
        host.push(json!({ "do": "move", "name": device, "rename": name, "namespace": path }));
        inside.push(json!({ "do": "set", "name": name, "up": true }));
        taken.push(name);
    }
    config["keelson"]["network"] = json!({ "host": host, "inside": inside });
    Ok(())
}

/// The kernel's rule, but for `%d`, which it would replace by a number that nobody here would know.
fn is_name(name: &str) -> bool {
    const LONGEST: usize = 15;
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"/:%".contains(&byte);
    name.len() <= LONGEST && !matches!(name, "" | "." | "..") && name.bytes().all(fits)
}

fn invalid(detail: impl Into<String>) -> Failure {
    Failure::kind("read linux.netDevices", "config-invalid").detail(detail)
}

//! Networks: links, addresses, routes and firewall rules, by netlink. No program is executed.

mod attach;
mod change;
mod faults;
mod firewall;
mod inside;
mod link;
mod member;
mod netlink;
mod relay;

use rustix::net::AddressFamily;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Result;

pub use attach::{NetworkPlan, detach};
pub use change::NetworkChange;
pub use faults::faults;
pub use firewall::{Command as FirewallCommand, Firewall};
pub use link::{LinkOperation, Links};
pub use member::{Membership, join_network, listen};
pub use relay::Relay;

/// Arguments of `network.apply`.
#[derive(Deserialize)]
pub struct Apply {
    links: Vec<LinkOperation>,
    firewall: Vec<FirewallCommand>,
}

/// In the network namespace of this process.
pub fn apply(args: &Apply) -> Result<Value> {
    if !args.links.is_empty() {
        Links::open()?.carry_out(&args.links, None)?;
    }
    if !args.firewall.is_empty() {
        Firewall::open()?.carry_out(&args.firewall)?;
    }
    Ok(json!({}))
}

/// The host's links.
pub fn links() -> Result<Value> {
    Ok(json!({ "links": Links::open()?.list()? }))
}

/// Arguments of `network.prefixes`.
#[derive(Deserialize)]
pub struct Prefixes {
    /// 4 or 6.
    family: u8,
}

/// What the host reaches, for plans that must not disturb it.
pub fn prefixes(args: &Prefixes) -> Result<Value> {
    let family = match args.family {
        6 => AddressFamily::INET6,
        _ => AddressFamily::INET,
    };
    Ok(json!({ "prefixes": Links::open()?.prefixes(family)? }))
}

/// What the host's firewall can do, and does without being asked.
pub fn firewall() -> Result<Value> {
    let dropping = Firewall::open().and_then(|mut firewall| firewall.dropping());
    let nftables = match &dropping {
        Ok(_) => json!({ "ok": true }),
        Err(failure) => json!({ "ok": false, "errno": failure.errno }),
    };
    Ok(json!({
        "dropping": dropping.unwrap_or_default(),
        "nftables": nftables,
    }))
}

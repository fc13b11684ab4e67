//! What a rule may ask about, and how what it compares that with is written: fields of headers, keys of the kernel, words.

use serde_json::Value;

use super::{invalid, value};
use crate::error::Result;

pub const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;

/// Where in a packet something is.
pub struct Field {
    pub base: u32,
    pub offset: u32,
    pub length: u32,
    pub family: Option<u8>,
}

impl Field {
    pub fn of(body: &Value) -> Result<Field> {
        const LINK: u32 = 0;
        const NETWORK: u32 = 1;
        const TRANSPORT: u32 = 2;
        let (protocol, field) = (text(body, "protocol")?, text(body, "field")?);
        let (base, offset, length, family) = match (protocol.as_str(), field.as_str()) {
            ("ether", "daddr") => (LINK, 0, 6, None),
            ("ether", "saddr") => (LINK, 6, 6, None),
            ("ether", "type") => (LINK, 12, 2, None),
            ("ip", "saddr") => (NETWORK, 12, 4, Some(libc::AF_INET as u8)),
            ("ip", "daddr") => (NETWORK, 16, 4, Some(libc::AF_INET as u8)),
            ("ip6", "saddr") => (NETWORK, 8, 16, Some(libc::AF_INET6 as u8)),
            ("ip6", "daddr") => (NETWORK, 24, 16, Some(libc::AF_INET6 as u8)),
            ("icmpv6", "type") => (TRANSPORT, 0, 1, None),
            ("th", "sport") => (TRANSPORT, 0, 2, None),
            ("th", "dport") => (TRANSPORT, 2, 2, None),
            _ => return Err(invalid(format!("{protocol} {field}"))),
        };
        Ok(Field {
            base,
            offset,
            length,
            family,
        })
    }
}

/// What a register holds.
pub struct Loaded {
    pub kind: Kind,
    pub length: usize,
}

#[derive(Clone, Copy)]
pub enum Kind {
    /// In the machine's order.
    Number,
    BigEndian,
    Byte,
    AddressType,
    Name,
    State,
    Status,
    Other,
}

pub fn meta_key(key: &str) -> Result<(u32, Loaded)> {
    let (number, kind, length) = match key {
        "mark" => (3, Kind::Number, 4),
        "iifname" => (6, Kind::Name, value::NAME_LENGTH),
        "oifname" => (7, Kind::Name, value::NAME_LENGTH),
        "nfproto" => (META_NFPROTO, Kind::Byte, 1),
        "l4proto" => (META_L4PROTO, Kind::Byte, 1),
        other => return Err(invalid(other)),
    };
    Ok((number, Loaded { kind, length }))
}

pub fn flags(kind: Kind, right: &Value) -> Result<u32> {
    let words: Vec<&str> = match right {
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    };
    words.iter().try_fold(0, |all, word| {
        let flag = match (kind, *word) {
            (Kind::State, "invalid") => 1,
            (Kind::State, "established") => 2,
            (Kind::State, "related") => 4,
            (Kind::State, "new") => 8,
            (Kind::Status, "snat") => 0x10,
            (Kind::Status, "dnat") => 0x20,
            (_, other) => return Err(invalid(other)),
        };
        Ok(all | flag)
    })
}

/// linux/rtnetlink.h: RTN_LOCAL and its like.
pub fn address_type(right: &Value) -> Result<u32> {
    match right.as_str() {
        Some("unicast") => Ok(1),
        Some("local") => Ok(2),
        Some("broadcast") => Ok(3),
        Some("multicast") => Ok(5),
        _ => Err(invalid(right.to_string())),
    }
}

pub fn byte(right: &Value) -> Result<u8> {
    match right.as_str() {
        Some("ipv4") => Ok(libc::AF_INET as u8),
        Some("ipv6") => Ok(libc::AF_INET6 as u8),
        Some(word) => value::protocol(word).ok_or_else(|| invalid(word)),
        None => right
            .as_u64()
            .and_then(|number| u8::try_from(number).ok())
            .ok_or_else(|| invalid(right.to_string())),
    }
}

pub fn number(right: &Value) -> Result<u32> {
    right
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| invalid(right.to_string()))
}

pub fn text(body: &Value, name: &str) -> Result<String> {
    body.get(name)
        .and_then(Value::as_str)
        .map(Into::into)
        .ok_or_else(|| invalid(body.to_string()))
}

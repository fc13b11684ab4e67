//! Types of sets and the values in them.

use std::net::IpAddr;

use serde_json::Value;

use super::super::link::hardware_address;
use super::invalid;
use crate::error::Result;

pub const NAME_LENGTH: usize = 16;
/// Bits of a type's number in a concatenation of types.
const TYPE_BITS: u32 = 6;

/// nft's number of a type, and its bytes.
pub fn kind(name: &str) -> Result<(u32, usize)> {
    match name {
        "ipv4_addr" => Ok((7, 4)),
        "ipv6_addr" => Ok((8, 16)),
        "ether_addr" => Ok((9, 6)),
        "inet_proto" => Ok((12, 1)),
        "inet_service" => Ok((13, 2)),
        "ifname" => Ok((41, NAME_LENGTH)),
        other => Err(invalid(other)),
    }
}

/// Of several types in a row: each takes whole registers.
pub fn kinds(names: &[String]) -> Result<(u32, usize)> {
    match names {
        [one] => kind(one),
        _ => names.iter().try_fold((0, 0), |(number, length), name| {
            let (next, bytes) = kind(name)?;
            Ok((
                number << TYPE_BITS | next,
                length + bytes.next_multiple_of(4),
            ))
        }),
    }
}

/// The bytes of a value, or of several in a row.
pub fn bytes(value: &Value) -> Result<Vec<u8>> {
    match value.get("concat").and_then(Value::as_array) {
        Some(parts) => parts.iter().try_fold(Vec::new(), |mut all, part| {
            all.extend(single(part)?);
            all.resize(all.len().next_multiple_of(4), 0);
            Ok(all)
        }),
        None => single(value),
    }
}

/// A number is a port, or what a frame holds; a word is an address, a hardware address, a protocol, or else the name of a link.
fn single(value: &Value) -> Result<Vec<u8>> {
    if let Some(port) = value.as_u64() {
        let port = u16::try_from(port).map_err(|_| invalid(port.to_string()))?;
        return Ok(port.to_be_bytes().to_vec());
    }
    let word = value.as_str().ok_or_else(|| invalid(value.to_string()))?;
    if let Ok(address) = word.parse() {
        return Ok(match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
    }
    if let Some(address) = hardware_address(word) {
        return Ok(address.to_vec());
    }
    if let Some(number) = protocol(word) {
        return Ok(vec![number]);
    }
    name(word)
}

pub fn protocol(word: &str) -> Option<u8> {
    match word {
        "icmp" => Some(1),
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmpv6" => Some(58),
        "sctp" => Some(132),
        _ => None,
    }
}

/// As the kernel compares names of links: all of the field.
pub fn name(word: &str) -> Result<Vec<u8>> {
    if word.is_empty() || word.len() >= NAME_LENGTH {
        return Err(invalid(word));
    }
    let mut bytes = word.as_bytes().to_vec();
    bytes.resize(NAME_LENGTH, 0);
    Ok(bytes)
}

/// The addresses of a prefix.
#[derive(Debug, PartialEq)]
pub struct Interval {
    pub first: Vec<u8>,
    /// The one behind its last, if there is one.
    pub behind: Option<Vec<u8>>,
}

/// `{ prefix: { addr, len } }`; nothing for what is none.
pub fn interval(value: &Value) -> Result<Option<Interval>> {
    let Some(prefix) = value.get("prefix") else {
        return Ok(None);
    };
    let (first, length) = prefix_parts(prefix)?;
    let bits = first.len() * 8;
    let mut behind = first.clone();
    // Adds one at the last bit of the prefix, with carry.
    let mut carry = length > 0;
    for bit in (0..length.min(bits)).rev() {
        if !carry {
            break;
        }
        let mask = 0x80 >> (bit % 8);
        carry = behind[bit / 8] & mask != 0;
        behind[bit / 8] ^= mask;
    }
    Ok(Some(Interval {
        first,
        behind: (length > 0 && !carry).then_some(behind),
    }))
}

/// Address and mask of a prefix.
pub fn masked(value: &Value) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let Some(prefix) = value.get("prefix") else {
        return Ok(None);
    };
    let (address, length) = prefix_parts(prefix)?;
    let mask = (0..address.len())
        .map(|byte| match length.saturating_sub(byte * 8) {
            0 => 0,
            bits if bits >= 8 => 0xff,
            bits => 0xff << (8 - bits),
        })
        .collect();
    Ok(Some((address, mask)))
}

fn prefix_parts(prefix: &Value) -> Result<(Vec<u8>, usize)> {
    let address = prefix.get("addr").map(single).transpose()?;
    let length = prefix.get("len").and_then(Value::as_u64);
    match (address, length) {
        (Some(address), Some(length)) if length as usize <= address.len() * 8 => {
            Ok((address, length as usize))
        }
        _ => Err(invalid(prefix.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_in_a_row_take_whole_registers() {
        assert_eq!(
            bytes(&json!({ "concat": ["10.0.0.1", "tcp", 80] })).unwrap(),
            [10, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0]
        );
        let names = ["ipv4_addr", "inet_proto", "inet_service"].map(String::from);
        assert_eq!(kinds(&names).unwrap(), ((7 << 6 | 12) << 6 | 13, 12));
    }

    #[test]
    fn an_interval_ends_behind_its_last_address() {
        let interval = |addr: &str, len: u8| {
            let found = interval(&json!({ "prefix": { "addr": addr, "len": len } }));
            let Interval { first, behind } = found.unwrap().unwrap();
            (first, behind)
        };
        assert_eq!(
            interval("10.89.255.0", 24),
            (vec![10, 89, 255, 0], Some(vec![10, 90, 0, 0]))
        );
        assert_eq!(interval("255.255.255.0", 24).1, None);
        assert_eq!(interval("0.0.0.0", 0), (vec![0; 4], None));
        assert_eq!(interval("10.0.0.1", 32).1, Some(vec![10, 0, 0, 2]));
    }

    #[test]
    fn a_mask_has_the_prefixs_bits() {
        let masked = masked(&json!({ "prefix": { "addr": "127.0.0.0", "len": 12 } }));
        assert_eq!(masked.unwrap().unwrap().1, [0xff, 0xf0, 0, 0]);
    }
}

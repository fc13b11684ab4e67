//! Records of an answer (RFC 1035, RFC 3596).

use std::net::IpAddr;

pub const MAX_LABEL: usize = 63;
pub const MAX_NAME: usize = 255;
/// Seconds: a container's address may be another's soon.
const TTL: u32 = 5;
/// A name that is the one of the question.
const SAME_NAME: [u8; 2] = [0xc0, 12];

pub const INTERNET: u16 = 1;

/// Types of records.
pub mod kind {
    pub const A: u16 = 1;
    pub const PTR: u16 = 12;
    pub const AAAA: u16 = 28;
    pub const OPT: u16 = 41;
    pub const ANY: u16 = 255;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Address(IpAddr),
    Name(String),
}

pub fn encode(record: &Record) -> Vec<u8> {
    let (kind, data) = match record {
        Record::Address(IpAddr::V4(address)) => (kind::A, address.octets().to_vec()),
        Record::Address(IpAddr::V6(address)) => (kind::AAAA, address.octets().to_vec()),
        Record::Name(name) => (kind::PTR, encode_name(name)),
    };
    let mut bytes = SAME_NAME.to_vec();
    for word in [kind, INTERNET] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(&TTL.to_be_bytes());
    bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&data);
    bytes
}

pub fn encode_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(MAX_LABEL)];
        if bytes.len() + label.len() + 2 > MAX_NAME {
            break;
        }
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}

/// To one who speaks EDNS, in EDNS.
pub fn option_record(room: u16) -> Vec<u8> {
    let mut bytes = vec![0];
    for word in [kind::OPT, room, 0, 0, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes
}

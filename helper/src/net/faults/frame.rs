//! What comes by a pipe, as far as it must be understood. Containers write it: nothing is believed of a length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::control::Flow;

pub const ETHERNET: usize = 14;
pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const ICMPV6: u8 = 58;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// An IP packet, without what lower layers have padded it with.
pub struct Packet<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// All of it.
    pub bytes: &'a [u8],
    /// Empty in fragments behind the first.
    pub payload: &'a [u8],
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    pub flow: Flow,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    /// What it takes of the sequence.
    pub length: u32,
}

impl<'a> Packet<'a> {
    /// Of an Ethernet frame; nothing when there is none in it.
    pub fn of(frame: &'a [u8]) -> Option<Packet<'a>> {
        let bytes = frame.get(ETHERNET..)?;
        match number(frame, 12)? {
            IPV4 => Packet::v4(bytes),
            IPV6 => Packet::v6(bytes),
            _ => None,
        }
    }

    fn v4(bytes: &'a [u8]) -> Option<Packet<'a>> {
        let header = usize::from(bytes.first()? & 0x0f) * 4;
        let bytes = bytes.get(..number(bytes, 2)?.into())?;
        let fragment = number(bytes, 6)? & 0x1fff;
        let address = |at: usize| Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?));
        Some(Packet {
            source: address(12)?.into(),
            destination: address(16)?.into(),
            protocol: *bytes.get(9)?,
            bytes,
            payload: if fragment == 0 {
                bytes.get(header..)?
            } else {
                &[]
            },
        })
    }

    /// Extension headers are a protocol of their own here.
    fn v6(bytes: &'a [u8]) -> Option<Packet<'a>> {
        let bytes = bytes.get(..40 + usize::from(number(bytes, 4)?))?;
        let address = |at: usize| Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?));
        Some(Packet {
            source: address(8)?.into(),
            destination: address(24)?.into(),
            protocol: *bytes.get(6)?,
            bytes,
            payload: bytes.get(40..)?,
        })
    }

    pub fn tcp(&self) -> Option<Tcp> {
        let bytes = self.payload;
        if self.protocol != TCP {
            return None;
        }
        let long = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let flags = *bytes.get(13)?;
        let header = usize::from(bytes.get(12)? >> 4) * 4;
        let content = bytes.len().checked_sub(header)? as u32;
        Some(Tcp {
            flow: Flow {
                source: SocketAddr::new(self.source, number(bytes, 0)?),
                destination: SocketAddr::new(self.destination, number(bytes, 2)?),
            },
            sequence: long(4)?,
            acknowledgement: long(8)?,
            flags,
            length: content + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0),
        })
    }

    /// How members of one link find each other: no fault for those that shall get an answer.
    pub fn is_neighbour_discovery(&self) -> bool {
        self.protocol == ICMPV6 && matches!(self.payload.first(), Some(133..=137))
    }

    /// Of which nobody is told that it did not arrive (RFC 1122, 3.2.2; RFC 4443, 2.4).
    pub fn is_unanswerable(&self) -> bool {
        let kind = self.payload.first();
        match self.protocol {
            ICMP => !matches!(kind, Some(8 | 13 | 15 | 17)),
            ICMPV6 => !matches!(kind, Some(128..)),
            _ => self.payload.is_empty(),
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

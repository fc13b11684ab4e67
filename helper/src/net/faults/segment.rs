//! Packets that nobody has sent: the end of a TCP connection, a question for its numbers, and that something was not let through.

use std::net::IpAddr;

use super::control::{Flow, Mac};
use super::frame::{ACK, ICMP, ICMPV6, IPV4, IPV6, Packet, RST, SYN, TCP, Tcp};
use super::port::PREFIX;

const TTL: u8 = 64;

/// Between whom, in the link's words.
#[derive(Clone, Copy)]
pub struct Hop {
    pub from: Mac,
    pub to: Mac,
}

/// Tells the one who has sent `segment` that the connection has ended (RFC 9293, 3.10.7.1).
pub fn refuse(hop: Hop, segment: &Tcp) -> Option<Vec<u8>> {
    let reply = Tcp {
        flow: segment.flow.reversed(),
        ..*segment
    };
    match segment.flags {
        flags if flags & RST != 0 => None,
        flags if flags & ACK != 0 => Some(tcp(
            hop,
            &Tcp {
                sequence: segment.acknowledgement,
                acknowledgement: 0,
                flags: RST,
                ..reply
            },
        )),
        _ => Some(tcp(
            hop,
            &Tcp {
                sequence: 0,
                acknowledgement: segment.sequence.wrapping_add(segment.length),
                flags: RST | ACK,
                ..reply
            },
        )),
    }
}

/// Tells the one for whom `segment` was the same, in its sender's place.
pub fn give_up(hop: Hop, segment: &Tcp) -> Vec<u8> {
    let flags = RST | (segment.flags & ACK);
    tcp(hop, &Tcp { flags, ..*segment })
}

/// One that belongs nowhere, to the source of `flow`: it answers with the numbers that it expects.
pub fn question(hop: Hop, flow: Flow, sequence: u32) -> Vec<u8> {
    tcp(
        hop,
        &Tcp {
            flow: flow.reversed(),
            sequence,
            acknowledgement: sequence,
            flags: ACK,
            length: 0,
        },
    )
}

/// Tells the sender of a packet that there is no such port (ICMP type 3, code 3; ICMPv6 type 1, code 4).
pub fn unreachable(hop: Hop, packet: &Packet<'_>) -> Option<Vec<u8>> {
    /// The least that every network carries whole, without the headers.
    const MOST: usize = 1232;
    const MOST_V4: usize = 548;
    if packet.is_unanswerable() {
        return None;
    }
    let (protocol, head, most) = match packet.source {
        IpAddr::V4(_) => (ICMP, [3, 3], MOST_V4),
        IpAddr::V6(_) => (ICMPV6, [1, 4], MOST),
    };
    let quoted = &packet.bytes[..packet.bytes.len().min(most)];
    let message = [&head[..], &[0; 6], quoted].concat();
    let (from, to) = (packet.destination, packet.source);
    Some(ip(hop, from, to, protocol, message, 2))
}

fn tcp(hop: Hop, segment: &Tcp) -> Vec<u8> {
    let Flow {
        source,
        destination,
    } = segment.flow;
    let mut bytes = Vec::with_capacity(20);
    bytes.extend_from_slice(&source.port().to_be_bytes());
    bytes.extend_from_slice(&destination.port().to_be_bytes());
    bytes.extend_from_slice(&segment.sequence.to_be_bytes());
    let acknowledgement = if segment.flags & ACK != 0 {
        segment.acknowledgement
    } else {
        0
    };
    bytes.extend_from_slice(&acknowledgement.to_be_bytes());
    bytes.extend_from_slice(&[5 << 4, segment.flags & !SYN, 0, 0, 0, 0, 0, 0]);
    ip(hop, source.ip(), destination.ip(), TCP, bytes, 16)
}

/// `checksum`: where in the content it goes.
fn ip(
    hop: Hop,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    mut content: Vec<u8>,
    checksum: usize,
) -> Vec<u8> {
    let length = content.len() as u16;
    let (kind, header, pseudo) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, 0];
            header.extend_from_slice(&(length + 20).to_be_bytes());
            header.extend_from_slice(&[0, 0, 0x40, 0, TTL, protocol, 0, 0]);
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&destination.octets());
            let sum = fold(add(0, &header));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            // ICMP has none.
            let pseudo = match protocol {
                ICMP => 0,
                _ => add(0, &header[12..]) + u32::from(protocol) + u32::from(length),
            };
            (IPV4, header, pseudo)
        }
        (source, destination) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend_from_slice(&length.to_be_bytes());
            header.extend_from_slice(&[protocol, TTL]);
            for address in [source, destination] {
                let address = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                header.extend_from_slice(&address.octets());
            }
            let pseudo = add(0, &header[8..]) + u32::from(protocol) + u32::from(length);
            (IPV6, header, pseudo)
        }
    };
    let sum = fold(add(pseudo, &content));
    content[checksum..checksum + 2].copy_from_slice(&sum.to_be_bytes());
    let prefix = [0; PREFIX];
    let kind = kind.to_be_bytes();
    [
        &prefix[..],
        &hop.to.0,
        &hop.from.0,
        &kind,
        &header,
        &content,
    ]
    .concat()
}

/// RFC 1071
fn add(sum: u32, bytes: &[u8]) -> u32 {
    bytes.chunks(2).fold(sum, |sum, pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        sum + u32::from(u16::from_be_bytes([pair[0], low]))
    })
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::super::frame::ETHERNET;
    use super::*;

    const HOP: Hop = Hop {
        from: Mac([2, 0, 0, 0, 0, 1]),
        to: Mac([2, 0, 0, 0, 0, 2]),
    };

    fn segment(source: &str, destination: &str, flags: u8) -> Tcp {
        Tcp {
            flow: Flow {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
            },
            sequence: 1000,
            acknowledgement: 2000,
            flags,
            length: u32::from(flags & SYN != 0),
        }
    }

    /// A sum over content and pseudo header together with its checksum is all ones.
    fn is_sound(packet: &Packet<'_>) -> bool {
        let pseudo = match packet.source {
            IpAddr::V4(_) if packet.protocol == ICMP => 0,
            IpAddr::V4(_) => add(0, &packet.bytes[12..20]),
            IpAddr::V6(_) => add(0, &packet.bytes[8..40]),
        };
        let rest = match (packet.source, packet.protocol) {
            (IpAddr::V4(_), ICMP) => 0,
            (_, protocol) => u32::from(protocol) + packet.payload.len() as u32,
        };
        fold(add(pseudo + rest, packet.payload)) == 0
    }

    #[test]
    fn what_is_made_is_read_and_its_checksums_are_right() {
        for (source, destination) in [
            ("10.0.0.1:1234", "10.0.0.2:80"),
            ("[fd00::1]:1234", "[fd00::2]:80"),
        ] {
            let sent = give_up(HOP, &segment(source, destination, ACK));
            let packet = Packet::of(&sent[PREFIX..]).unwrap();
            assert!(is_sound(&packet));
            let tcp = packet.tcp().unwrap();
            assert_eq!(tcp.flow, segment(source, destination, 0).flow);
            assert_eq!((tcp.sequence, tcp.flags), (1000, RST | ACK));
            let told = unreachable(HOP, &packet).unwrap();
            assert!(is_sound(&Packet::of(&told[PREFIX..]).unwrap()));
        }
    }

    #[test]
    fn a_refusal_has_the_numbers_that_its_receiver_expects() {
        let read = |packet: Vec<u8>| Packet::of(&packet[PREFIX..]).unwrap().tcp().unwrap();
        let (a, b) = ("10.0.0.1:1234", "10.0.0.2:80");
        let first = read(refuse(HOP, &segment(a, b, SYN)).unwrap());
        assert_eq!((first.sequence, first.acknowledgement), (0, 1001));
        assert_eq!(first.flow, segment(b, a, 0).flow);
        let later = read(refuse(HOP, &segment(a, b, ACK)).unwrap());
        assert_eq!((later.sequence, later.flags), (2000, RST));
        assert!(refuse(HOP, &segment(a, b, RST)).is_none());
    }

    #[test]
    fn nobody_is_told_of_what_tells() {
        let sent = give_up(HOP, &segment("10.0.0.1:1", "10.0.0.2:2", ACK));
        let packet = Packet::of(&sent[PREFIX..]).unwrap();
        let told = unreachable(HOP, &packet).unwrap();
        assert!(unreachable(HOP, &Packet::of(&told[PREFIX..]).unwrap()).is_none());
    }

    #[test]
    fn what_is_cut_short_is_no_packet() {
        let sent = give_up(HOP, &segment("[fd00::1]:1", "[fd00::2]:2", ACK));
        let frame = &sent[PREFIX..];
        for length in 0..frame.len() {
            let packet = Packet::of(&frame[..length]);
            assert!(
                packet.is_none_or(|packet| packet.tcp().is_none()),
                "{length}"
            );
        }
        let mut lying = frame.to_vec();
        lying[ETHERNET + 4] = 0xff;
        assert!(Packet::of(&lying).is_none());
    }
}

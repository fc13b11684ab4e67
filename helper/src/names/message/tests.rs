use std::net::IpAddr;

use super::*;
use crate::names::record::{INTERNET, encode_name};

fn query(name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
    let mut bytes = vec![
        0x12,
        0x34,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        u8::from(edns.is_some()),
    ];
    bytes.extend(encode_name(name));
    bytes.extend(kind.to_be_bytes());
    bytes.extend(INTERNET.to_be_bytes());
    if let Some(size) = edns {
        bytes.push(0);
        for word in [kind::OPT, size, 0, 0, 0] {
            bytes.extend(word.to_be_bytes());
        }
    }
    bytes
}

fn addresses(count: u8) -> Vec<Record> {
    (0..count)
        .map(|n| Record::Address(IpAddr::from([10, 0, 0, n])))
        .collect()
}

#[test]
fn a_question_is_read() {
    let query = Query::read(&query("DB.Example", kind::AAAA, Some(1232))).unwrap();
    assert_eq!(query.name.as_deref(), Some("db.example"));
    assert_eq!(
        (query.kind, query.class, query.room),
        (kind::AAAA, INTERNET, Some(1232))
    );
    assert!(!query.is_unqualified());
}

#[test]
fn the_answer_repeats_the_question_as_it_was_written() {
    let message = query("Db", kind::A, None);
    let answer = Query::read(&message)
        .unwrap()
        .answer(Code::NoError, &addresses(1), true);
    let mut expected = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    expected.extend_from_slice(b"\x02Db\x00\x00\x01\x00\x01");
    expected.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x00");
    assert_eq!(answer, expected);
}

#[test]
fn a_datagram_holds_what_there_is_room_for() {
    let records = addresses(100);
    for (edns, most) in [(None, 512), (Some(100), 512), (Some(1232), 1232)] {
        let query = Query::read(&query("db", kind::A, edns)).unwrap();
        let answer = query.answer(Code::NoError, &records, true);
        assert!(answer.len() <= most && answer.len() > most - 16);
        assert_eq!(word(&answer, 2).unwrap() & TRUNCATED, TRUNCATED);
        assert_eq!(word(&answer, 10), Some(u16::from(edns.is_some())));
        let whole = query.answer(Code::NoError, &records, false);
        assert_eq!(word(&whole, 6), Some(100));
        assert_eq!(word(&whole, 2).unwrap() & TRUNCATED, 0);
    }
}

#[test]
fn names_are_told_label_by_label() {
    let query = Query::read(&query("2.0.0.10.in-addr.arpa", kind::PTR, None)).unwrap();
    let answer = query.answer(Code::NoError, &[Record::Name("db.net".into())], true);
    assert!(answer.ends_with(b"\x00\x08\x02db\x03net\x00"));
    assert_eq!(encode_name(&"x".repeat(300)).len(), MAX_LABEL + 2);
    assert!(encode_name(&"x.".repeat(300)).len() <= MAX_NAME);
}

#[test]
fn a_reply_counts_only_when_it_answers_what_was_asked() {
    let query = Query::read(&query("example.com", kind::A, None)).unwrap();
    let reply = |message: &[u8]| {
        let mut bytes = message.to_vec();
        bytes[2] |= 0x80;
        bytes
    };
    let good = reply(&query.with_id(7));
    let (code, told) = query.forwarded(&good, 7, true).unwrap();
    assert_eq!((code, word(&told, 0)), (Code::NoError, Some(0x1234)));
    assert_eq!(query.forwarded(&good, 8, true), None);
    assert_eq!(query.forwarded(&query.with_id(7), 7, true), None);
    let mut other = good.clone();
    other[13] ^= 1;
    assert_eq!(query.forwarded(&other, 7, true), None);
    let shouted = good.to_ascii_uppercase();
    assert!(query.forwarded(&shouted, 7, true).is_some());
    assert_eq!(query.forwarded(&good[..11], 7, true), None);
}

#[test]
fn too_long_a_reply_is_cut() {
    let query = Query::read(&query("example.com", kind::A, None)).unwrap();
    let mut long = query.with_id(7);
    long[2] |= 0x80;
    long.resize(600, 0);
    let (_, told) = query.forwarded(&long, 7, true).unwrap();
    assert!(told.len() <= 512);
    assert_eq!(word(&told, 2).unwrap() & TRUNCATED, TRUNCATED);
    let (_, told) = query.forwarded(&long, 7, false).unwrap();
    assert_eq!(told.len(), 600);
}

#[test]
fn what_is_no_question_is_not_answered_or_refused() {
    assert!(matches!(Query::read(&[]), Err(None)));
    assert!(matches!(Query::read(&[0; 11]), Err(None)));
    let mut reply = query("db", kind::A, None);
    reply[2] |= 0x80;
    assert!(matches!(Query::read(&reply), Err(None)));
    let mut update = query("db", kind::A, None);
    update[2] |= 5 << 3;
    let refused = Query::read(&update).unwrap_err().unwrap();
    assert_eq!((refused.len(), refused[3] & 15), (HEADER, 4));
    let mut two = query("db", kind::A, None);
    two[5] = 2;
    let refused = Query::read(&two).unwrap_err().unwrap();
    assert_eq!(refused[3] & 15, 1);
}

#[test]
fn names_with_pointers_or_without_end_are_refused() {
    for name in [
        &b"\xc0\x0c"[..],
        b"\x3fshort",
        b"\x40",
        b"",
        &[1, b'a'].repeat(200),
    ] {
        let mut bytes = query("", kind::A, None)[..HEADER].to_vec();
        bytes.extend_from_slice(name);
        assert!(Query::read(&bytes).is_err(), "{name:?}");
    }
}

#[test]
fn every_name_can_be_shown() {
    let shown = |name: &[u8]| {
        let mut bytes = query("", kind::A, None)[..HEADER].to_vec();
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
        Query::read(&bytes).unwrap().shown()
    };
    assert_eq!(shown(b"\x02Db\x03net"), "db.net");
    assert_eq!(shown(b"\x05a.b\0\xff"), "a\\046b\\000\\255");
    assert_eq!(shown(b""), ".");
}

#[test]
fn names_that_are_no_hosts_are_nobodys() {
    for label in [&b"a.b"[..], b"a/b", b"a\0b", b"\xff"] {
        let mut bytes = query("", kind::A, None)[..HEADER].to_vec();
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label);
        bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
        assert_eq!(Query::read(&bytes).unwrap().name, None, "{label:?}");
    }
}

/// Messages that differ from good ones in a few places, and ones cut short: nothing is read that is not there.
#[test]
fn hostile_messages_do_no_harm() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let good = [
        query("db", kind::A, None),
        query("a.long.name.example.com", kind::AAAA, Some(4096)),
        query("2.0.0.10.in-addr.arpa", kind::PTR, Some(0)),
    ];
    for round in 0..200_000 {
        let mut bytes = good[round % good.len()].clone();
        for _ in 0..random() % 6 {
            let at = random() % bytes.len();
            bytes[at] = random() as u8;
        }
        if random() % 3 == 0 {
            bytes.truncate(random() % (bytes.len() + 1));
        }
        if random() % 8 == 0 {
            let start = HEADER.min(bytes.len());
            bytes[start..].fill_with(|| random() as u8);
        }
        if let Ok(query) = Query::read(&bytes) {
            assert!(query.shown().len() <= 4 * MAX_NAME);
            let answer = query.answer(Code::NoError, &addresses((random() % 256) as u8), true);
            assert!(answer.len() <= MOST_ROOM.max(bytes.len() + 11));
            let asked = query.with_id(random() as u16);
            let mut reply = asked.clone();
            reply[2] |= 0x80;
            let at = random() % reply.len();
            reply[at] = random() as u8;
            query.forwarded(&reply, word(&asked, 0).unwrap(), random() % 2 == 0);
        }
    }
}

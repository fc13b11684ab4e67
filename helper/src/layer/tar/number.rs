//! Numbers in header fields: octal text, or base 256 where the first byte's high bit is set (GNU, star).

use super::fault::invalid;
use crate::error::Result;

/// An empty field counts as 0.
pub fn field(bytes: &[u8], name: &str) -> Result<i64> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base256(bytes, name),
        _ => octal(bytes, name),
    }
}

fn octal(bytes: &[u8], name: &str) -> Result<i64> {
    let text = bytes.trim_ascii_start();
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    let mut value: i64 = 0;
    for byte in text[..end].trim_ascii_end() {
        if !(b'0'..=b'7').contains(byte) {
            return Err(invalid(format!(
                "the header's {name} is not an octal number"
            )));
        }
        value = value
            .checked_mul(8)
            .and_then(|v| v.checked_add(i64::from(byte - b'0')))
            .ok_or_else(|| invalid(format!("the header's {name} is too large")))?;
    }
    Ok(value)
}

/// Two's complement, big endian; the marker bit is not part of the number, the bit below it is its sign.
fn base256(bytes: &[u8], name: &str) -> Result<i64> {
    let negative = bytes[0] & 0x40 != 0;
    let mut value: i64 = if negative { -1 } else { 0 };
    for (index, byte) in bytes.iter().enumerate() {
        let byte = match (index, negative) {
            (0, true) => byte | 0x80,
            (0, false) => byte & 0x7f,
            _ => *byte,
        };
        if !(i64::MIN >> 8..=i64::MAX >> 8).contains(&value) {
            return Err(invalid(format!("the header's {name} is too large")));
        }
        value = value << 8 | i64::from(byte);
    }
    Ok(value)
}

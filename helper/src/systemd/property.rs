//! Properties of a unit, with the D-Bus types that systemd wants for them.

use super::message::Writer;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    pub name: String,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Int32(i32),
    Uint32(u32),
    Uint64(u64),
    Text(String),
    Bytes(Vec<u8>),
    Uint32s(Vec<u32>),
}

impl Property {
    pub fn new(name: impl Into<String>, value: Value) -> Self {
        Property {
            name: name.into(),
            value,
        }
    }

    /// As the annotations `org.systemd.property.NAME` spell values: GVariant's text, of which only single values are
    /// understood: `uint64 500`, `'text'`, `true`, `37`.
    pub fn parse(name: &str, text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric();
        if name.is_empty() || !name.bytes().all(fits) {
            return None;
        }
        let text = text.trim();
        let value = if let Some(number) = text.strip_prefix("uint64 ") {
            Value::Uint64(number.trim().parse().ok()?)
        } else if let Some(number) = text.strip_prefix("uint32 ") {
            Value::Uint32(number.trim().parse().ok()?)
        } else if let Some(number) = text.strip_prefix("int32 ") {
            Value::Int32(number.trim().parse().ok()?)
        } else if let Some(quoted) = text.strip_prefix('\'') {
            let inner = quoted.strip_suffix('\'')?;
            (!inner.contains(['\'', '\\'])).then(|| Value::Text(inner.to_owned()))?
        } else {
            match text {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                number => Value::Int32(number.parse().ok()?),
            }
        };
        Some(Property::new(name, value).in_microseconds())
    }

    /// Unit files know seconds, the bus microseconds under another name: `TimeoutStopSec` is `TimeoutStopUSec` there.
    fn in_microseconds(self) -> Self {
        let Some(stem) = self.name.strip_suffix("Sec") else {
            return self;
        };
        if stem.ends_with('U') {
            return self;
        }
        let seconds = match self.value {
            Value::Int32(seconds) => u64::try_from(seconds).ok(),
            Value::Uint32(seconds) => Some(seconds.into()),
            Value::Uint64(seconds) => Some(seconds),
            _ => None,
        };
        match seconds {
            Some(seconds) => Property::new(
                format!("{stem}USec"),
                Value::Uint64(seconds.saturating_mul(1_000_000)),
            ),
            None => self,
        }
    }
}

impl Value {
    /// As a variant: its type, then itself.
    pub fn write(&self, writer: &mut Writer) {
        match self {
            Value::Bool(value) => {
                writer.signature("b");
                writer.number((*value).into());
            }
            Value::Int32(value) => {
                writer.signature("i");
                writer.number(*value as u32);
            }
            Value::Uint32(value) => {
                writer.signature("u");
                writer.number(*value);
            }
            Value::Uint64(value) => {
                writer.signature("t");
                writer.long_number(*value);
            }
            Value::Text(value) => {
                writer.signature("s");
                writer.text(value);
            }
            Value::Bytes(value) => {
                writer.signature("ay");
                writer.array(1, |writer| writer.bytes(value));
            }
            Value::Uint32s(value) => {
                writer.signature("au");
                writer.array(4, |writer| {
                    for number in value {
                        writer.number(*number);
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_read_as_values() {
        for (text, value) in [
            ("uint64 500", Value::Uint64(500)),
            ("uint32 5", Value::Uint32(5)),
            ("37", Value::Int32(37)),
            (
                "'inactive-or-failed'",
                Value::Text("inactive-or-failed".into()),
            ),
            ("true", Value::Bool(true)),
        ] {
            assert_eq!(
                Property::parse("Name", text),
                Some(Property::new("Name", value)),
                "{text}"
            );
        }
        for text in ["", "'open", "['a']", "uint64 -1", "'a' 'b'"] {
            assert_eq!(Property::parse("Name", text), None, "{text}");
        }
        assert_eq!(Property::parse("No-Name", "1"), None);
    }

    #[test]
    fn seconds_become_microseconds() {
        assert_eq!(
            Property::parse("TimeoutStopSec", "uint64 3"),
            Some(Property::new("TimeoutStopUSec", Value::Uint64(3_000_000)))
        );
        assert_eq!(
            Property::parse("TimeoutStopUSec", "uint64 3"),
            Some(Property::new("TimeoutStopUSec", Value::Uint64(3)))
        );
    }
}

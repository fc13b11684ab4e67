//! A rule's expressions: the words of a match or verdict as the few instructions that the kernel has for it.

use serde_json::Value;

use super::super::netlink::Message;
use super::operand::{
    Field, Kind, Loaded, META_NFPROTO, address_type, byte, flags, meta_key, number, text,
};
use super::{invalid, value};
use crate::error::Result;

const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

/// The first of sixteen registers of four bytes.
const REGISTER: u32 = 8;
const VERDICT: u32 = 0;

const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
const CMP_LT: u32 = 2;

/// One instruction: its name, and its attributes.
pub struct Expression {
    name: &'static str,
    attributes: Vec<Attribute>,
}

enum Attribute {
    Number(u16, u32),
    Text(u16, String),
    Data(u16, Vec<u8>),
    Verdict(u16, i32, Option<String>),
}

impl Expression {
    fn new(name: &'static str, attributes: Vec<Attribute>) -> Self {
        Expression { name, attributes }
    }

    pub fn write(self, message: Message) -> Message {
        let message = message.put_str(EXPRESSION_NAME, self.name);
        message.nest(EXPRESSION_DATA, |nest| {
            self.attributes
                .into_iter()
                .fold(nest, |nest, attribute| match attribute {
                    Attribute::Number(kind, number) => nest.put_be32(kind, number),
                    Attribute::Text(kind, text) => nest.put_str(kind, &text),
                    Attribute::Data(kind, bytes) => {
                        nest.nest(kind, |nest| nest.put(DATA_VALUE, &bytes))
                    }
                    Attribute::Verdict(kind, code, chain) => nest.nest(kind, |nest| {
                        nest.nest(DATA_VERDICT, |nest| {
                            let nest = nest.put_be32(VERDICT_CODE, code as u32);
                            match chain {
                                Some(chain) => nest.put_str(VERDICT_CHAIN, &chain),
                                None => nest,
                            }
                        })
                    }),
                })
        })
    }
}

/// What a rule has been turned into so far.
struct Compiler {
    done: Vec<Expression>,
    /// In a table of both families: which one the rule is known to be about.
    family: Option<u8>,
    both_families: bool,
}

pub fn compile(family: &str, words: &[Value]) -> Result<Vec<Expression>> {
    let mut compiler = Compiler {
        done: Vec::new(),
        family: None,
        both_families: family == "inet",
    };
    for word in words {
        compiler.statement(word)?;
    }
    Ok(compiler.done)
}

impl Compiler {
    fn statement(&mut self, word: &Value) -> Result<()> {
        let Some((name, body)) = word.as_object().and_then(|object| object.iter().next()) else {
            return Err(invalid(word.to_string()));
        };
        match name.as_str() {
            "match" => self.matching(body),
            "accept" => self.verdict(1, None),
            "drop" => self.verdict(0, None),
            "return" => self.verdict(-5, None),
            "jump" => self.verdict(-3, Some(text(body, "target")?)),
            "masquerade" => self.plain("masq"),
            "counter" => self.plain("counter"),
            "notrack" => self.plain("notrack"),
            "dnat" => self.dnat(body),
            "mangle" => self.mangle(body),
            other => Err(invalid(other)),
        }
    }

    fn plain(&mut self, name: &'static str) -> Result<()> {
        self.done.push(Expression::new(name, Vec::new()));
        Ok(())
    }

    fn matching(&mut self, body: &Value) -> Result<()> {
        let op = text(body, "op")?;
        let right = &body["right"];
        let left = self.load(&body["left"], REGISTER)?;
        if let Some(set) = right.as_str().and_then(|word| word.strip_prefix('@')) {
            let mut attributes = vec![
                Attribute::Text(1, set.into()),
                Attribute::Number(2, REGISTER),
            ];
            if op == "!=" {
                attributes.push(Attribute::Number(5, 1));
            }
            self.done.push(Expression::new("lookup", attributes));
            return Ok(());
        }
        if op == "in" {
            let mask = flags(left.kind, right)?.to_ne_bytes();
            self.mask(REGISTER, &mask);
            self.compare(CMP_NEQ, vec![0; 4]);
            return Ok(());
        }
        let comparison = match op.as_str() {
            "==" => CMP_EQ,
            "!=" => CMP_NEQ,
            "<" => CMP_LT,
            other => return Err(invalid(other)),
        };
        if let Some((address, mask)) = value::masked(right)? {
            self.mask(REGISTER, &mask);
            self.compare(comparison, address);
            return Ok(());
        }
        let operand = match left.kind {
            Kind::Number => number(right)?.to_ne_bytes().to_vec(),
            Kind::BigEndian => number(right)?.to_be_bytes().to_vec(),
            Kind::Byte => vec![byte(right)?],
            Kind::AddressType => address_type(right)?.to_ne_bytes().to_vec(),
            Kind::Name => value::name(right.as_str().unwrap_or_default())?,
            Kind::Other => value::bytes(right)?,
            Kind::State | Kind::Status => flags(left.kind, right)?.to_ne_bytes().to_vec(),
        };
        self.compare(comparison, operand);
        Ok(())
    }

    /// Puts what is asked about into registers from `register` on.
    fn load(&mut self, left: &Value, register: u32) -> Result<Loaded> {
        let Some((name, body)) = left.as_object().and_then(|object| object.iter().next()) else {
            return Err(invalid(left.to_string()));
        };
        match name.as_str() {
            "meta" => {
                let key = text(body, "key")?;
                let (number, loaded) = meta_key(&key)?;
                self.meta(number, register);
                Ok(loaded)
            }
            "payload" => self.payload(body, register),
            "ct" => {
                let (number, kind) = match text(body, "key")?.as_str() {
                    "state" => (0, Kind::State),
                    "status" => (2, Kind::Status),
                    other => return Err(invalid(other)),
                };
                let attributes = vec![Attribute::Number(1, register), Attribute::Number(2, number)];
                self.done.push(Expression::new("ct", attributes));
                Ok(Loaded { kind, length: 4 })
            }
            "fib" => {
                const RESULT_ADDRESS_TYPE: u32 = 3;
                const BY_DESTINATION: u32 = 2;
                if text(body, "result")? != "type" || body["flags"] != serde_json::json!(["daddr"])
                {
                    return Err(invalid(body.to_string()));
                }
                self.done.push(Expression::new(
                    "fib",
                    vec![
                        Attribute::Number(1, register),
                        Attribute::Number(2, RESULT_ADDRESS_TYPE),
                        Attribute::Number(3, BY_DESTINATION),
                    ],
                ));
                Ok(Loaded {
                    kind: Kind::AddressType,
                    length: 4,
                })
            }
            "numgen" => self.random(body, register),
            "concat" => {
                let mut length = 0;
                for part in body.as_array().into_iter().flatten() {
                    let loaded = self.load(part, register + (length / 4) as u32)?;
                    length += loaded.length.next_multiple_of(4);
                }
                Ok(Loaded {
                    kind: Kind::Other,
                    length,
                })
            }
            other => Err(invalid(other)),
        }
    }

    fn meta(&mut self, key: u32, register: u32) {
        let attributes = vec![Attribute::Number(1, register), Attribute::Number(2, key)];
        self.done.push(Expression::new("meta", attributes));
    }

    fn payload(&mut self, body: &Value, register: u32) -> Result<Loaded> {
        let Field {
            base,
            offset,
            length,
            family,
        } = Field::of(body)?;
        if let Some(family) = family {
            self.be_of(family, register);
        }
        self.done.push(Expression::new(
            "payload",
            vec![
                Attribute::Number(1, register),
                Attribute::Number(2, base),
                Attribute::Number(3, offset),
                Attribute::Number(4, length),
            ],
        ));
        Ok(Loaded {
            kind: match length {
                1 => Kind::Byte,
                _ => Kind::Other,
            },
            length: length as usize,
        })
    }

    /// A header's field means something only in packets of that family.
    fn be_of(&mut self, family: u8, register: u32) {
        if !self.both_families || self.family == Some(family) {
            return;
        }
        self.family = Some(family);
        self.meta(META_NFPROTO, register);
        self.compare_at(register, CMP_EQ, vec![family]);
    }

    /// A number below `mod`, comparable byte by byte.
    fn random(&mut self, body: &Value, register: u32) -> Result<Loaded> {
        const RANDOM: u32 = 1;
        const TO_NETWORK: u32 = 1;
        if text(body, "mode")? != "random" {
            return Err(invalid(body.to_string()));
        }
        self.done.push(Expression::new(
            "numgen",
            vec![
                Attribute::Number(1, register),
                Attribute::Number(2, number(&body["mod"])?),
                Attribute::Number(3, RANDOM),
                Attribute::Number(4, 0),
            ],
        ));
        self.done.push(Expression::new(
            "byteorder",
            vec![
                Attribute::Number(1, register),
                Attribute::Number(2, register),
                Attribute::Number(3, TO_NETWORK),
                Attribute::Number(4, 4),
                Attribute::Number(5, 4),
            ],
        ));
        Ok(Loaded {
            kind: Kind::BigEndian,
            length: 4,
        })
    }

    /// Writes into the packet what a map says.
    fn mangle(&mut self, body: &Value) -> Result<()> {
        let field = Field::of(&body["key"]["payload"])?;
        self.lookup(&body["value"]["map"])?;
        self.done.push(Expression::new(
            "payload",
            vec![
                Attribute::Number(2, field.base),
                Attribute::Number(3, field.offset),
                Attribute::Number(4, field.length),
                Attribute::Number(5, REGISTER),
                // No checksum covers it.
                Attribute::Number(6, 0),
            ],
        ));
        Ok(())
    }

    /// What a map has for a key; the rule ends here where it has nothing.
    fn lookup(&mut self, map: &Value) -> Result<()> {
        let name = text(map, "data")?;
        let name = name.strip_prefix('@').ok_or_else(|| invalid(&name))?;
        self.load(&map["key"], REGISTER)?;
        self.done.push(Expression::new(
            "lookup",
            vec![
                Attribute::Text(1, name.into()),
                Attribute::Number(2, REGISTER),
                Attribute::Number(3, REGISTER),
            ],
        ));
        Ok(())
    }

    /// Where a map says: its data is an address and a port.
    fn dnat(&mut self, body: &Value) -> Result<()> {
        const DESTINATION: u32 = 1;
        let (family, address_length) = match text(body, "family")?.as_str() {
            "ip" => (libc::AF_INET, 4),
            "ip6" => (libc::AF_INET6, 16),
            other => return Err(invalid(other)),
        };
        self.be_of(family as u8, REGISTER);
        self.lookup(&body["addr"]["map"])?;
        self.done.push(Expression::new(
            "nat",
            vec![
                Attribute::Number(1, DESTINATION),
                Attribute::Number(2, family as u32),
                Attribute::Number(3, REGISTER),
                Attribute::Number(5, REGISTER + address_length / 4),
            ],
        ));
        Ok(())
    }

    fn verdict(&mut self, code: i32, chain: Option<String>) -> Result<()> {
        let attributes = vec![
            Attribute::Number(1, VERDICT),
            Attribute::Verdict(2, code, chain),
        ];
        self.done.push(Expression::new("immediate", attributes));
        Ok(())
    }

    fn mask(&mut self, register: u32, mask: &[u8]) {
        self.done.push(Expression::new(
            "bitwise",
            vec![
                Attribute::Number(1, register),
                Attribute::Number(2, register),
                Attribute::Number(3, mask.len() as u32),
                Attribute::Data(4, mask.to_vec()),
                Attribute::Data(5, vec![0; mask.len()]),
            ],
        ));
    }

    fn compare(&mut self, comparison: u32, operand: Vec<u8>) {
        self.compare_at(REGISTER, comparison, operand);
    }

    fn compare_at(&mut self, register: u32, comparison: u32, operand: Vec<u8>) {
        self.done.push(Expression::new(
            "cmp",
            vec![
                Attribute::Number(1, register),
                Attribute::Number(2, comparison),
                Attribute::Data(3, operand),
            ],
        ));
    }
}

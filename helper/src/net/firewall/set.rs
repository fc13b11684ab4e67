//! Sets, maps, and what is in them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::netlink::Message;
use super::{invalid, value};
use crate::error::Result;

const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LENGTH: u16 = 7;
const SET_ID: u16 = 10;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENT_FLAGS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const DATA_VALUE: u16 = 1;

const INTERVAL: u32 = 4;
const MAP: u32 = 8;
const INTERVAL_END: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Set {
    pub family: String,
    pub table: String,
    pub name: String,
    #[serde(rename = "type", default)]
    kind: Kinds,
    map: Option<Kinds>,
    #[serde(default)]
    flags: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Kinds {
    One(String),
    Several(Vec<String>),
}

/// Of a set that is only named.
impl Default for Kinds {
    fn default() -> Self {
        Kinds::Several(Vec::new())
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Elements {
    pub family: String,
    table: String,
    pub name: String,
    elem: Vec<Value>,
}

pub fn name(message: Message, table: &str, name: &str) -> Message {
    message.put_str(SET_TABLE, table).put_str(SET_NAME, name)
}

pub fn add(message: Message, set: &Set) -> Result<Message> {
    let (key, key_length) = set.kind.kinds()?;
    let mut flags = 0;
    for flag in &set.flags {
        match flag.as_str() {
            "interval" => flags |= INTERVAL,
            other => return Err(invalid(other)),
        }
    }
    if set.map.is_some() {
        flags |= MAP;
    }
    let message = name(message, &set.table, &set.name)
        .put_be32(SET_FLAGS, flags)
        .put_be32(SET_KEY_TYPE, key)
        .put_be32(SET_KEY_LENGTH, key_length as u32)
        // Rules of the same batch would name it by this; ours name it by name.
        .put_be32(SET_ID, 1);
    Ok(match &set.map {
        Some(data) => {
            let (kind, length) = data.kinds()?;
            message
                .put_be32(SET_DATA_TYPE, kind)
                .put_be32(SET_DATA_LENGTH, length as u32)
        }
        None => message,
    })
}

pub fn flush(message: Message, set: &Set) -> Message {
    message
        .put_str(ELEMENTS_TABLE, &set.table)
        .put_str(ELEMENTS_SET, &set.name)
}

pub fn elements(message: Message, elements: &Elements) -> Result<Message> {
    let list = elements
        .elem
        .iter()
        .map(element)
        .collect::<Result<Vec<_>>>()?;
    let message = message
        .put_str(ELEMENTS_TABLE, &elements.table)
        .put_str(ELEMENTS_SET, &elements.name);
    Ok(message.nest(ELEMENTS, |nest| {
        list.into_iter().flatten().fold(nest, |nest, each| {
            nest.nest(LIST_ELEMENT, |nest| each.write(nest))
        })
    }))
}

struct Element {
    key: Vec<u8>,
    data: Option<Vec<u8>>,
    flags: u32,
}

impl Element {
    fn write(self, message: Message) -> Message {
        let mut message = message.nest(ELEMENT_KEY, |nest| nest.put(DATA_VALUE, &self.key));
        if let Some(data) = self.data {
            message = message.nest(ELEMENT_DATA, |nest| nest.put(DATA_VALUE, &data));
        }
        match self.flags {
            0 => message,
            flags => message.put_be32(ELEMENT_FLAGS, flags),
        }
    }
}

/// A value, a pair of key and data, or an interval, which is two elements: where it begins and where it has ended.
fn element(elem: &Value) -> Result<Vec<Element>> {
    if let Some(pair) = elem.as_array() {
        let [key, data] = pair.as_slice() else {
            return Err(invalid(elem.to_string()));
        };
        return Ok(vec![Element {
            key: value::bytes(key)?,
            data: Some(value::bytes(data)?),
            flags: 0,
        }]);
    }
    let plain = |key, flags| Element {
        key,
        data: None,
        flags,
    };
    Ok(match value::interval(elem)? {
        Some(value::Interval { first, behind }) => [plain(first, 0)]
            .into_iter()
            .chain(behind.map(|behind| plain(behind, INTERVAL_END)))
            .collect(),
        None => vec![plain(value::bytes(elem)?, 0)],
    })
}

impl Kinds {
    fn kinds(&self) -> Result<(u32, usize)> {
        match self {
            Kinds::One(one) => value::kind(one),
            Kinds::Several(several) => value::kinds(several),
        }
    }
}

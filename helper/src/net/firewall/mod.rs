//! nf_tables (linux/netfilter/nf_tables.h): commands in the words of libnftables-json(5), as far as Keelson uses them, as one batch.

mod expression;
mod operand;
mod set;
mod value;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::netlink::{ACK, APPEND, CREATE, DUMP, EXCLUSIVE, Message, Socket, find, text_of};
use crate::error::{Failure, Result};

const SUBSYSTEM: u16 = 10;
const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const DELCHAIN: u16 = 5;
const NEWRULE: u16 = 6;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const DELSET: u16 = 11;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEVICE: u16 = 3;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;

const FORWARD: u32 = 2;
const POLICY_DROP: u32 = 0;
/// Nobody else changes the table, and it goes with the socket that made it.
const OWNED: u32 = 2;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// There already: fine.
    Add(Object),
    /// There already: the whole batch fails.
    Create(Object),
    Delete(Object),
    /// All rules of a chain, or all that is in a set.
    Flush(Object),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Object {
    Table(Table),
    Chain(Chain),
    Rule(Rule),
    Set(set::Set),
    Map(set::Set),
    Element(set::Elements),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    family: String,
    name: String,
    #[serde(default)]
    flags: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chain {
    family: String,
    table: String,
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    hook: Option<String>,
    dev: Option<String>,
    prio: Option<i32>,
    policy: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rule {
    family: String,
    table: String,
    chain: String,
    #[serde(default)]
    expr: Vec<Value>,
}

/// The firewall of the network namespace that it was opened in.
pub struct Firewall {
    socket: Socket,
}

impl Firewall {
    pub fn open() -> Result<Self> {
        Ok(Firewall {
            socket: Socket::open(Some(rustix::net::netlink::NETFILTER))?,
        })
    }

    /// All or nothing, except that what is to be deleted may be gone already.
    pub fn carry_out(&mut self, commands: &[Command]) -> Result<()> {
        let result = self.batch(commands);
        let only_deletes = commands
            .iter()
            .all(|command| matches!(command, Command::Delete(_)));
        match result {
            Err(failure) if failure.errno == Some(libc::ENOENT) && only_deletes => {
                for command in commands {
                    match self.batch(std::slice::from_ref(command)) {
                        Err(failure) if failure.errno != Some(libc::ENOENT) => return Err(failure),
                        _ => {}
                    }
                }
                Ok(())
            }
            other => other,
        }
    }

    fn batch(&mut self, commands: &[Command]) -> Result<()> {
        let mut messages = vec![mark(BATCH_BEGIN)];
        for command in commands {
            messages.push(compile(command)?);
        }
        messages.push(mark(BATCH_END));
        self.socket.batch(messages)
    }

    /// Base chains at the forward hook that drop what nobody accepts: `family table chain`.
    pub fn dropping(&mut self) -> Result<Vec<String>> {
        let message = Message::new(
            SUBSYSTEM << 8 | GETCHAIN,
            DUMP,
            "list the firewall's chains",
        )
        .header(&[0, 0, 0, 0]);
        let mut found = Vec::new();
        self.socket.dump(message, |_, payload| {
            found.extend(dropping_chain(payload));
        })?;
        Ok(found)
    }
}

fn dropping_chain(payload: &[u8]) -> Option<String> {
    let rest = payload.get(4..)?;
    let hook = number(find(find(rest, CHAIN_HOOK)?, HOOK_NUMBER)?)?;
    let policy = number(find(rest, CHAIN_POLICY)?)?;
    let family = family_name(*payload.first()?)?;
    (hook == FORWARD && policy == POLICY_DROP).then(|| {
        let name = |attribute| find(rest, attribute).map(text_of).unwrap_or_default();
        format!("{family} {} {}", name(CHAIN_TABLE), name(CHAIN_NAME))
    })
}

fn compile(command: &Command) -> Result<Message> {
    match command {
        Command::Add(object) => add(object, 0),
        Command::Create(object) => add(object, EXCLUSIVE),
        Command::Delete(object) => delete(object),
        Command::Flush(Object::Chain(chain)) => {
            let step = format!("flush the chain {}", chain.name);
            Ok(message(DELRULE, 0, &chain.family, step)?
                .put_str(RULE_TABLE, &chain.table)
                .put_str(RULE_CHAIN, &chain.name))
        }
        Command::Flush(Object::Set(set) | Object::Map(set)) => {
            let step = format!("flush the set {}", set.name);
            // Without elements: all of them.
            Ok(set::flush(message(DELSETELEM, 0, &set.family, step)?, set))
        }
        Command::Flush(_) => Err(invalid("flush something else than a chain or a set")),
    }
}

fn add(object: &Object, flags: u16) -> Result<Message> {
    let flags = flags | CREATE;
    match object {
        Object::Table(table) => {
            let step = format!("make the table {} {}", table.family, table.name);
            let message =
                message(NEWTABLE, flags, &table.family, step)?.put_str(TABLE_NAME, &table.name);
            match table.flags.as_slice() {
                [] => Ok(message),
                [flag] if flag == "owner" => Ok(message.put_be32(TABLE_FLAGS, OWNED)),
                _ => Err(invalid(table.flags.join(" "))),
            }
        }
        Object::Chain(chain) => add_chain(chain, flags),
        Object::Rule(rule) => add_rule(rule),
        Object::Set(set) | Object::Map(set) => set::add(
            message(
                NEWSET,
                flags,
                &set.family,
                format!("make the set {}", set.name),
            )?,
            set,
        ),
        Object::Element(elements) => set::elements(
            message(NEWSETELEM, flags, &elements.family, add_to(elements))?,
            elements,
        ),
    }
}

fn add_to(elements: &set::Elements) -> String {
    format!("add to the set {}", elements.name)
}

fn add_chain(chain: &Chain, flags: u16) -> Result<Message> {
    let step = format!("make the chain {} {}", chain.family, chain.name);
    let mut message = message(NEWCHAIN, flags, &chain.family, step)?
        .put_str(CHAIN_TABLE, &chain.table)
        .put_str(CHAIN_NAME, &chain.name);
    if let (Some(kind), Some(hook)) = (&chain.kind, &chain.hook) {
        let number = hook_number(&chain.family, hook)?;
        let priority = chain.prio.unwrap_or(0);
        message = message
            .nest(CHAIN_HOOK, |nest| {
                let nest = nest
                    .put_be32(HOOK_NUMBER, number)
                    .put_be32(HOOK_PRIORITY, priority as u32);
                match &chain.dev {
                    Some(device) => nest.put_str(HOOK_DEVICE, device),
                    None => nest,
                }
            })
            .put_str(CHAIN_TYPE, kind);
    }
    match chain.policy.as_deref() {
        Some("drop") => Ok(message.put_be32(CHAIN_POLICY, POLICY_DROP)),
        Some("accept") => Ok(message.put_be32(CHAIN_POLICY, 1)),
        None => Ok(message),
        Some(other) => Err(invalid(other)),
    }
}

fn add_rule(rule: &Rule) -> Result<Message> {
    let step = format!("add a rule to the chain {}", rule.chain);
    let expressions = expression::compile(&rule.family, &rule.expr)?;
    let message = message(NEWRULE, CREATE | APPEND, &rule.family, step)?
        .put_str(RULE_TABLE, &rule.table)
        .put_str(RULE_CHAIN, &rule.chain);
    Ok(message.nest(RULE_EXPRESSIONS, |nest| {
        expressions.into_iter().fold(nest, |nest, expression| {
            nest.nest(LIST_ELEMENT, |nest| expression.write(nest))
        })
    }))
}

fn delete(object: &Object) -> Result<Message> {
    match object {
        Object::Table(table) => {
            let step = format!("remove the table {}", table.name);
            Ok(message(DELTABLE, 0, &table.family, step)?.put_str(TABLE_NAME, &table.name))
        }
        Object::Chain(chain) => {
            let step = format!("remove the chain {}", chain.name);
            Ok(message(DELCHAIN, 0, &chain.family, step)?
                .put_str(CHAIN_TABLE, &chain.table)
                .put_str(CHAIN_NAME, &chain.name))
        }
        Object::Set(set) | Object::Map(set) => {
            let step = format!("remove the set {}", set.name);
            Ok(set::name(
                message(DELSET, 0, &set.family, step)?,
                &set.table,
                &set.name,
            ))
        }
        Object::Element(elements) => {
            let step = format!("remove from the set {}", elements.name);
            set::elements(message(DELSETELEM, 0, &elements.family, step)?, elements)
        }
        Object::Rule(_) => Err(invalid("delete a single rule")),
    }
}

fn message(kind: u16, flags: u16, family: &str, step: String) -> Result<Message> {
    let family = family_number(family)?;
    Ok(Message::new(SUBSYSTEM << 8 | kind, flags | ACK, step).header(&[family, 0, 0, 0]))
}

fn mark(kind: u16) -> Message {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Message::new(kind, 0, "begin a batch").header(&[0, 0, high, low])
}

fn family_number(family: &str) -> Result<u8> {
    match family {
        "inet" => Ok(1),
        "ip" => Ok(2),
        "netdev" => Ok(5),
        "bridge" => Ok(7),
        "ip6" => Ok(10),
        other => Err(invalid(other)),
    }
}

fn family_name(number: u8) -> Option<&'static str> {
    match number {
        1 => Some("inet"),
        2 => Some("ip"),
        10 => Some("ip6"),
        _ => None,
    }
}

fn hook_number(family: &str, hook: &str) -> Result<u32> {
    let hooks: &[&str] = match family {
        "netdev" => &["ingress", "egress"],
        _ => &["prerouting", "input", "forward", "output", "postrouting"],
    };
    hooks
        .iter()
        .position(|name| *name == hook)
        .map(|number| number as u32)
        .ok_or_else(|| invalid(hook))
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn invalid(what: impl Into<String>) -> Failure {
    Failure::kind("read the firewall's commands", "config-invalid").detail(what)
}

//! What the launcher waits for.

use crate::attendant::Duty;

pub type Poller = crate::poller::Poller<Token>;

/// The owner of a descriptor that became ready. Keys are never used twice, so a stale one finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Connection,
    Signal,
    Worker(u64),
    /// The channel of a container that is being started.
    Channel(u64),
    /// The end of a container's pid 1.
    Exit(u64),
    /// The end of a bound monitor.
    Lifeline(u64),
    Maker,
    /// Node's channel for sockets.
    Handles,
    /// Something that is attended to for a container, and the end of who serves it.
    Asked(u64, Duty),
    Served(u64, Duty),
}

impl From<Token> for u64 {
    fn from(token: Token) -> u64 {
        match token {
            Token::Connection => 0,
            Token::Signal => 1,
            Token::Worker(key) => (key << 4) | 2,
            Token::Channel(key) => (key << 4) | 3,
            Token::Exit(key) => (key << 4) | 4,
            Token::Lifeline(key) => (key << 4) | 5,
            Token::Maker => 6,
            Token::Handles => 9,
            Token::Asked(key, duty) => (key << 5) | (duty.bit() << 4) | 7,
            Token::Served(key, duty) => (key << 5) | (duty.bit() << 4) | 8,
        }
    }
}

impl From<u64> for Token {
    fn from(data: u64) -> Token {
        let key = data >> 4;
        match data & 15 {
            0 => Token::Connection,
            1 => Token::Signal,
            2 => Token::Worker(key),
            3 => Token::Channel(key),
            4 => Token::Exit(key),
            5 => Token::Lifeline(key),
            6 => Token::Maker,
            7 => Token::Asked(key >> 1, Duty::of_bit(key)),
            8 => Token::Served(key >> 1, Duty::of_bit(key)),
            _ => Token::Handles,
        }
    }
}

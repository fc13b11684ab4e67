//! What the launcher waits for.

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
}

impl From<Token> for u64 {
    fn from(token: Token) -> u64 {
        match token {
            Token::Connection => 0,
            Token::Signal => 1,
            Token::Worker(key) => (key << 3) | 2,
            Token::Channel(key) => (key << 3) | 3,
            Token::Exit(key) => (key << 3) | 4,
            Token::Lifeline(key) => (key << 3) | 5,
            Token::Maker => 6,
        }
    }
}

impl From<u64> for Token {
    fn from(data: u64) -> Token {
        match data & 7 {
            0 => Token::Connection,
            1 => Token::Signal,
            2 => Token::Worker(data >> 3),
            3 => Token::Channel(data >> 3),
            4 => Token::Exit(data >> 3),
            6 => Token::Maker,
            _ => Token::Lifeline(data >> 3),
        }
    }
}

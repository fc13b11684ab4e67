//! The command line, in runc's form.

use std::ffi::OsString;

use lexopt::Arg;

use super::invalid;
use crate::error::{Failure, Result};

/// What may stand before the command.
const GLOBAL_VALUES: [&str; 5] = ["root", "log", "log-format", "criu", "rootless"];
const GLOBAL_FLAGS: [&str; 4] = ["debug", "systemd-cgroup", "version", "help"];

#[derive(Default)]
pub struct Arguments {
    flags: Vec<String>,
    values: Vec<(String, String)>,
    words: Vec<String>,
    rest: Vec<OsString>,
}

/// The options of one command.
pub struct Options<'a> {
    pub flags: &'a [&'a str],
    pub values: &'a [&'a str],
    /// One letter and the option it stands for.
    pub short: &'a [(char, &'a str)],
    /// After so many words, what follows is not looked at: it belongs to another program.
    pub words: usize,
}

impl Arguments {
    pub fn globals(words: Vec<OsString>) -> Result<Self> {
        Arguments::parse(
            words,
            &Options {
                flags: &GLOBAL_FLAGS,
                values: &GLOBAL_VALUES,
                short: &[('v', "version"), ('h', "help")],
                words: 1,
            },
        )
    }

    pub fn parse(words: Vec<OsString>, options: &Options<'_>) -> Result<Self> {
        let mut parsed = Arguments::default();
        let mut parser = lexopt::Parser::from_args(words);
        loop {
            if parsed.words.len() == options.words {
                parsed.rest = parser.raw_args().map_err(usage)?.collect();
                return Ok(parsed);
            }
            let name = match parser.next().map_err(usage)? {
                None => return Ok(parsed),
                Some(Arg::Value(word)) => {
                    parsed.words.push(text(word)?);
                    continue;
                }
                Some(Arg::Long(name)) => name.to_owned(),
                Some(Arg::Short(letter)) => options
                    .short
                    .iter()
                    .find(|(short, _)| *short == letter)
                    .map(|(_, name)| (*name).to_owned())
                    .ok_or_else(|| invalid(format!("no such option: -{letter}")))?,
            };
            if options.flags.contains(&name.as_str()) {
                match parser.optional_value() {
                    Some(value) if value == "false" => {}
                    _ => parsed.flags.push(name),
                }
            } else if options.values.contains(&name.as_str()) {
                let value = text(parser.value().map_err(usage)?)?;
                parsed.values.push((name, value));
            } else {
                return Err(invalid(format!("no such option: --{name}")));
            }
        }
    }

    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }

    /// The last one given.
    pub fn value(&self, name: &str) -> Option<&str> {
        let given = self.values.iter().rev().find(|(given, _)| given == name);
        given.map(|(_, value)| value.as_str())
    }

    /// All that were given.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let given = self.values.iter().filter(move |(given, _)| given == name);
        given.map(|(_, value)| value.as_str())
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(invalid(format!("--{name}: not a number: {value}"))),
        }
    }

    /// The container's id, which every command but a few wants.
    pub fn id(&self) -> Result<&str> {
        let id = self.words.first().map(String::as_str);
        id.ok_or_else(|| invalid("the id of a container is needed"))
    }

    pub fn command(&mut self) -> Option<String> {
        self.words.pop()
    }

    pub fn rest(self) -> Vec<OsString> {
        self.rest
    }

    /// What follows the words, as text.
    pub fn texts(&self) -> Result<Vec<String>> {
        self.rest.iter().cloned().map(text).collect()
    }
}

fn text(word: OsString) -> Result<String> {
    word.into_string()
        .map_err(|word| invalid(format!("not UTF-8: {}", word.to_string_lossy())))
}

fn usage(error: lexopt::Error) -> Failure {
    invalid(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options<'_> = Options {
        flags: &["tty"],
        values: &["env", "cwd"],
        short: &[('e', "env"), ('t', "tty")],
        words: 1,
    };

    fn parse(words: &[&str]) -> Result<Arguments> {
        Arguments::parse(words.iter().map(OsString::from).collect(), &OPTIONS)
    }

    #[test]
    fn what_follows_the_container_is_not_looked_at() {
        let parsed = parse(&["-t", "--env=A=1", "-e", "B=2", "web", "ls", "--tty", "-x"]).unwrap();
        assert!(parsed.has("tty"));
        assert_eq!(parsed.all("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert_eq!(parsed.id().unwrap(), "web");
        assert_eq!(parsed.texts().unwrap(), ["ls", "--tty", "-x"]);
    }

    #[test]
    fn unknown_options_are_refused() {
        assert!(parse(&["--no-such", "web"]).is_err());
        assert!(parse(&["--cwd"]).is_err());
    }

    #[test]
    fn a_flag_may_be_switched_off() {
        assert!(!parse(&["--tty=false", "web"]).unwrap().has("tty"));
    }
}

//! Telling changes of state to those who read the events of all containers. The journal is a directory of segments that
//! many programs append to; "The journal" in docs/helper-protocol.md.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::clock;

#[derive(Deserialize)]
pub struct Journal {
    directory: PathBuf,
    /// Repeated in each line.
    about: Box<RawValue>,
}

#[derive(Serialize)]
pub struct Line<'a> {
    time: String,
    container: &'a str,
    about: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
}

impl Journal {
    pub fn tell_state(&self, container: &str, was: Option<&RawValue>, state: &RawValue) {
        self.append(&Line {
            time: clock::now(),
            container,
            about: &self.about,
            was,
            state: Some(state),
            removed: false,
        });
    }

    pub fn tell_removed(&self, container: &str) {
        self.append(&Line {
            time: clock::now(),
            container,
            about: &self.about,
            was: None,
            state: None,
            removed: true,
        });
    }

    /// One write, so that lines of several programs do not mix. A container's life does not depend on it.
    fn append(&self, line: &Line) {
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        let mut options = File::options();
        options.append(true).create(true).mode(0o600);
        if let Ok(mut segment) = options.open(self.directory.join(self.newest().to_string())) {
            let _ = segment.write(&bytes);
        }
    }

    /// The segment with the greatest number.
    fn newest(&self) -> u64 {
        let names = std::fs::read_dir(&self.directory).into_iter().flatten();
        names
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .max()
            .unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::raw;

    #[test]
    fn lines_go_to_the_newest_segment() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal {
            directory: directory.path().into(),
            about: raw(&"about"),
        };
        journal.tell_state("c", None, &raw(&1));
        for name in ["2", "10", "lock"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        journal.tell_state("c", Some(&raw(&1)), &raw(&2));
        journal.tell_removed("c");
        let lines = |name| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert!(lines("1").ends_with("\"container\":\"c\",\"about\":\"about\",\"state\":1}\n"));
        assert!(lines("10").contains(r#""was":1,"state":2}"#));
        assert!(lines("10").ends_with("\"removed\":true}\n"));
    }
}

//! What the networks' files say: `<directory>/<name>/<container>` holds the addresses of that container, one a line, and
//! after them its name. It is a symbolic link, which leads nowhere when the container is off the network.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::record::{Record, kind};

/// Of one name, and bytes of one file.
const MAX_CONTAINERS: usize = 256;
const MAX_BYTES: u64 = 4096;

/// The records of that kind, from the first directory that has the name. `None`: none has it.
pub fn look_up(directories: &[PathBuf], name: &str, wanted: u16) -> Option<Vec<Record>> {
    if !is_entry(name) {
        return None;
    }
    directories.iter().find_map(|directory| {
        let lines = lines_of(&directory.join(name))?;
        Some(
            lines
                .iter()
                .filter_map(|line| record(line, wanted))
                .collect(),
        )
    })
}

/// Whether it can be the name of a directory, and of no other than was meant.
fn is_entry(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(known)
}

/// What a line says of that kind.
pub fn record(line: &str, wanted: u16) -> Option<Record> {
    match (line.parse::<IpAddr>(), wanted) {
        (Ok(address @ IpAddr::V4(_)), kind::A | kind::ANY) => Some(Record::Address(address)),
        (Ok(address @ IpAddr::V6(_)), kind::AAAA | kind::ANY) => Some(Record::Address(address)),
        (Err(_), kind::PTR | kind::ANY) => Some(Record::Name(line.into())),
        _ => None,
    }
}

/// `None` when nobody has that name: an empty directory may be left of those who had.
fn lines_of(directory: &Path) -> Option<Vec<String>> {
    let mut found = None;
    for entry in directory.read_dir().ok()?.flatten().take(MAX_CONTAINERS) {
        let mut text = String::new();
        let read = File::open(entry.path())
            .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        if read.is_ok() {
            let lines = text.lines().filter(|line| !line.is_empty());
            found
                .get_or_insert_with(Vec::new)
                .extend(lines.map(String::from));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let names = root.path().join("names");
        for (path, text) in files {
            let path = names.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        (root, names)
    }

    #[test]
    fn every_container_of_a_name_is_told() {
        let (_root, names) = book(&[("db/a", "10.0.0.2\nfd00::2"), ("db/b", "10.0.0.3\n")]);
        let mut found: Vec<_> = look_up(std::slice::from_ref(&names), "db", kind::A).unwrap();
        found.sort_by_key(|record| format!("{record:?}"));
        assert_eq!(
            found,
            ["10.0.0.2", "10.0.0.3"].map(|text| Record::Address(text.parse().unwrap()))
        );
        let found = look_up(&[names], "db", kind::AAAA).unwrap();
        assert_eq!(found, [Record::Address("fd00::2".parse().unwrap())]);
    }

    #[test]
    fn a_name_may_have_no_record_of_a_kind_or_not_be_there() {
        let (_root, names) = book(&[("db/a", "10.0.0.2\ndb")]);
        std::fs::create_dir_all(names.join("gone")).unwrap();
        std::os::unix::fs::symlink("nowhere", names.join("gone/a")).unwrap();
        let directories = [names];
        assert_eq!(look_up(&directories, "db", kind::AAAA), Some(vec![]));
        assert_eq!(look_up(&directories, "db", 16), Some(vec![]));
        assert_eq!(look_up(&directories, "gone", kind::A), None);
        assert_eq!(look_up(&directories, "web", kind::A), None);
    }

    #[test]
    fn the_first_network_that_has_it_counts() {
        let (_one, first) = book(&[("db/a", "10.0.0.2")]);
        let (_two, second) = book(&[("db/a", "10.1.0.2"), ("web/a", "10.1.0.3")]);
        let directories = [first, second];
        let address = |name| look_up(&directories, name, kind::A).unwrap();
        assert_eq!(
            address("db"),
            [Record::Address("10.0.0.2".parse().unwrap())]
        );
        assert_eq!(
            address("web"),
            [Record::Address("10.1.0.3".parse().unwrap())]
        );
    }

    #[test]
    fn a_reverse_look_up_gives_names() {
        let (_root, names) = book(&[("2.0.0.10.in-addr.arpa/a", "10.0.0.2\ndb")]);
        let found = look_up(
            std::slice::from_ref(&names),
            "2.0.0.10.in-addr.arpa",
            kind::PTR,
        );
        assert_eq!(found, Some(vec![Record::Name("db".into())]));
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let (_root, names) = book(&[("db/a", "10.0.0.2"), ("../secret/a", "10.0.0.66")]);
        for name in [
            "..",
            ".",
            "",
            "../secret",
            "db/../../secret",
            "db\0",
            "/etc",
        ] {
            assert_eq!(
                look_up(std::slice::from_ref(&names), name, kind::A),
                None,
                "{name}"
            );
        }
    }
}

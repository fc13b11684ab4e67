//! The program's environment as runc makes it: of several values for a name the last, and where nothing says what `HOME`
//! is, that of the user in the container's /etc/passwd.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use serde_json::{Value, json};

use crate::run::Root;

const VARIABLE: &str = "HOME=";
const NOBODYS: &str = "/";
/// The file is the image's: more than this of it is not read.
const MOST: u64 = 1 << 20;

/// `root`: of the container, seen from outside.
pub fn complete(process: &mut Value, root: &Path) {
    let uid = process["user"]["uid"].as_u64().unwrap_or(0);
    let given = process["env"].as_array().cloned().unwrap_or_default();
    let mut env = last_of_each(given);
    let is_home = |variable: &Value| {
        variable
            .as_str()
            .is_some_and(|text| text.starts_with(VARIABLE))
    };
    if env
        .iter()
        .any(|variable| is_home(variable) && variable != VARIABLE)
    {
        process["env"] = env.into();
        return;
    }
    env.retain(|variable| !is_home(variable));
    let passwd = read_passwd(root).unwrap_or_default();
    let home = home_of(&passwd, uid).unwrap_or(NOBODYS);
    env.push(json!(format!("{VARIABLE}{home}")));
    process["env"] = env.into();
}

fn last_of_each(variables: Vec<Value>) -> Vec<Value> {
    let mut names = HashSet::new();
    let mut last: Vec<_> = variables
        .into_iter()
        .rev()
        .filter(|variable| {
            let text = variable.as_str().unwrap_or_default();
            names.insert(text.split('=').next().unwrap_or_default().to_owned())
        })
        .collect();
    last.reverse();
    last
}

fn home_of(passwd: &str, uid: u64) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        let is_users = fields.next()?.parse() == Ok(uid);
        fields.nth(2).filter(|home| is_users && !home.is_empty())
    })
}

/// Resolved inside the root; what is no file is not waited for.
fn read_passwd(root: &Path) -> Option<String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = Root::new(rustix::fs::open(root, flags, Mode::empty()).ok()?);
    let found = root.find("/etc/passwd").ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&found).ok()?.st_mode);
    if !kind.is_file() {
        return None;
    }
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(process: Value, passwd: &str) -> Value {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        let mut process = process;
        complete(&mut process, root.path());
        process["env"].clone()
    }

    #[test]
    fn it_is_the_users_unless_it_is_given() {
        let passwd = "broken\nroot:x:0:0:root:/root:/bin/sh\nme:x:5:5::/home/me:\n";
        for (uid, given, expected) in [
            (0, json!(["HOME=/a"]), json!(["HOME=/a"])),
            (0, json!(["HOME=/a", "HOME="]), json!(["HOME=/root"])),
            (5, json!(["A=b", "A="]), json!(["A=", "HOME=/home/me"])),
            (7, Value::Null, json!(["HOME=/"])),
        ] {
            let process = json!({ "user": { "uid": uid }, "env": given });
            assert_eq!(env(process, passwd), expected);
        }
    }
}

//! The program: found in PATH as runc and the shells find it, and executed.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use crate::error::{Failure, Result};
use crate::sys;

/// Where a program is looked for when the environment has no PATH: Docker's default.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct Command {
    name: String,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// In the order in which they are tried.
    candidates: Vec<CString>,
}

impl Command {
    pub fn plan(args: Vec<String>, env: Vec<String>) -> Result<Self> {
        let name = args.first().cloned().unwrap_or_default();
        if args.is_empty() {
            return Err(invalid("process.args is empty"));
        }
        let path = env
            .iter()
            .rev()
            .find_map(|variable| variable.strip_prefix("PATH="));
        let candidates = candidates(&name, path.unwrap_or(DEFAULT_PATH));
        Ok(Command {
            name,
            arguments: strings(args)?,
            environment: strings(env)?,
            candidates: strings(candidates)?,
        })
    }

    /// One whose candidates have been computed before: `execute_under_init` passed them on.
    pub fn of(
        candidates: Vec<CString>,
        arguments: Vec<CString>,
        environment: Vec<CString>,
    ) -> Self {
        let name = arguments
            .first()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        Command {
            name,
            arguments,
            environment,
            candidates,
        }
    }

    /// A container may be made with nothing to execute.
    pub fn is_some(&self) -> bool {
        !self.name.is_empty()
    }

    /// Executes the program; the failure is why it could not be.
    pub fn execute(&self) -> Failure {
        let mut refused = None;
        for candidate in &self.candidates {
            match sys::exec::execve(candidate, &self.arguments, &self.environment) {
                Errno::NOENT if exists(candidate) => {
                    return self
                        .failure("command-not-found", Errno::NOENT)
                        .detail("the file is there, but not its interpreter or dynamic loader");
                }
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => refused = Some(Errno::ACCESS),
                Errno::NOEXEC => return self.failure("command-not-executable", Errno::NOEXEC),
                errno => {
                    return Failure::new("execute the command")
                        .errno(errno)
                        .path(&self.name);
                }
            }
        }
        match refused {
            Some(errno) => self.failure("command-not-executable", errno),
            None => self.failure("command-not-found", Errno::NOENT),
        }
    }

    /// Whether it could be executed, as far as can be told beforehand; the failure is the one that `execute` would have.
    pub fn find(&self) -> Result<()> {
        let mut refused = None;
        for candidate in &self.candidates {
            match rustix::fs::stat(candidate) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {
                    refused = Some(Errno::ISDIR);
                }
                Ok(_) => {
                    match rustix::fs::accessat(CWD, candidate, Access::EXEC_OK, AtFlags::EACCESS) {
                        Ok(()) => return Ok(()),
                        Err(errno) => refused = Some(errno),
                    }
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => refused = Some(errno),
            }
        }
        Err(match refused {
            Some(errno) => self.failure("command-not-executable", errno),
            None => self.failure("command-not-found", Errno::NOENT),
        })
    }

    /// Executes the helper as pid 1 instead, which will execute the program.
    pub fn execute_under_init(&self, helper: &OwnedFd, report: i32) -> Failure {
        let mut arguments: Vec<CString> = vec![c"keelson-init".into(), c"init".into()];
        arguments.extend([report.to_string(), self.candidates.len().to_string()].map(c_string));
        arguments.extend(self.candidates.iter().cloned());
        arguments.extend(self.arguments.iter().cloned());
        let errno = sys::exec::execve_fd(helper.as_fd(), &arguments, &self.environment);
        Failure::new("execute the init").errno(errno)
    }

    fn failure(&self, kind: &'static str, errno: Errno) -> Failure {
        Failure::kind("execute the command", kind)
            .errno(errno)
            .path(&self.name)
    }
}

/// A name with a slash is a path; any other is looked for in each directory, an empty one being the working directory.
fn candidates(name: &str, path: &str) -> Vec<String> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    path.split(':')
        .map(|directory| match directory {
            "" => format!("./{name}"),
            directory => format!("{directory}/{name}"),
        })
        .collect()
}

fn exists(path: &CString) -> bool {
    rustix::fs::accessat(CWD, path, Access::EXISTS, AtFlags::empty()).is_ok()
}

/// Of digits, which contain no NUL.
fn c_string(digits: String) -> CString {
    CString::new(digits).unwrap_or_default()
}

fn strings(texts: Vec<String>) -> Result<Vec<CString>> {
    texts
        .into_iter()
        .map(|text| CString::new(text).map_err(|_| invalid("a string contains a NUL byte")))
        .collect()
}

fn invalid(detail: &str) -> Failure {
    Failure::kind("read process", "config-invalid").detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_not_looked_for() {
        assert_eq!(candidates("./run", "/bin"), ["./run"]);
        assert_eq!(candidates("/bin/sh", "/bin"), ["/bin/sh"]);
    }

    #[test]
    fn a_name_is_looked_for_in_order() {
        assert_eq!(
            candidates("sh", "/usr/bin::/bin"),
            ["/usr/bin/sh", "./sh", "/bin/sh"]
        );
        assert!(candidates("", "/bin").is_empty());
    }
}

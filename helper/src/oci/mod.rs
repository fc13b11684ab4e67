//! `keelson-helper oci`: an OCI runtime with runc's command line, on the code that runs Keelson's own containers.
//!
//! For a bundle nobody has computed a plan: the bundle is the plan, and the little that the specification itself leaves to
//! the runtime is in `defaults`.

mod arguments;
mod bundle;
mod capabilities;
mod cgroups;
mod console;
mod create;
mod defaults;
mod delete;
mod environment;
mod exec;
mod features;
mod foreground;
mod freeze;
mod joined_user;
mod kill;
mod list;
mod log;
mod net_devices;
mod processes;
mod record;
mod spec;
mod start;
mod stats;
mod store;
mod update;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Failure, Result};
use crate::launch::ensure_sealed;
use crate::sys;
use arguments::Arguments;
use log::Log;
use store::Store;

/// What the options before the command say.
pub struct Runtime {
    pub store: Store,
    pub log: Log,
    /// Cgroups are systemd's scopes.
    pub systemd: bool,
}

/// Runs one command; `arguments` are those behind the word `oci`.
pub fn oci(arguments: impl Iterator<Item = OsString>) -> ! {
    // What stays behind in a container must not lead to the file on the host's disk.
    let code = match ensure_sealed() {
        Ok(()) => run(arguments.collect()),
        Err(failure) => {
            Log::default().error(&failure);
            1
        }
    };
    sys::process::exit(code)
}

fn run(words: Vec<OsString>) -> i32 {
    let mut log = Log::default();
    let mut command = None;
    match dispatch(words, &mut log, &mut command) {
        Ok(code) => code,
        Err(failure) => {
            log.error(&failure);
            match command.as_deref() {
                // Not to be taken for the program's own.
                Some("exec") => 255,
                _ => 1,
            }
        }
    }
}

fn dispatch(words: Vec<OsString>, log: &mut Log, called: &mut Option<String>) -> Result<i32> {
    let mut globals = Arguments::globals(words)?;
    if globals.has("version") {
        print_version();
        return Ok(0);
    }
    *log = Log::new(
        globals.value("log").map(PathBuf::from),
        globals.value("log-format"),
        globals.has("debug"),
    )?;
    let runtime = Runtime {
        store: Store::new(globals.value("root").map(PathBuf::from)),
        log: log.clone(),
        systemd: globals.has("systemd-cgroup"),
    };
    let Some(command) = globals.command() else {
        return Err(invalid("a command is needed"));
    };
    let rest = globals.rest();
    log.debug(&format!("{command} {rest:?}"));
    *called = Some(command.clone());
    match command.as_str() {
        "create" => create::create(&runtime, rest),
        "start" => start::start(&runtime, rest),
        "run" => create::run(&runtime, rest),
        "state" => list::state(&runtime, rest),
        "list" => list::list(&runtime, rest),
        "kill" => kill::kill(&runtime, rest),
        "delete" => delete::delete(&runtime, rest),
        "exec" => exec::exec(&runtime, rest),
        "ps" => processes::ps(&runtime, rest),
        "pause" => freeze::pause(&runtime, rest),
        "resume" => freeze::resume(&runtime, rest),
        "update" => update::update(&runtime, rest),
        "events" => stats::events(&runtime, rest),
        "features" => features::features(),
        "spec" => spec::spec(rest),
        other => Err(invalid(format!("no such command: {other}"))),
    }
}

fn print_version() {
    println!(
        "keelson-helper version {}\nspec: {}",
        env!("CARGO_PKG_VERSION"),
        crate::run::SPEC_VERSION
    );
}

/// A mistake in how the runtime was called.
pub fn invalid(detail: impl Into<String>) -> Failure {
    Failure::kind("read the command line", "usage").detail(detail)
}

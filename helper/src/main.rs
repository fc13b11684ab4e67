//! `keelson-helper`: carries out, with system calls, the plans that the TypeScript engine computes.

mod attendant;
mod connection;
mod error;
mod first_process;
mod fs;
mod launch;
mod layer;
mod monitor;
mod names;
mod net;
mod oci;
mod poller;
mod probe;
mod protocol;
mod run;
mod seccomp;
mod sys;
mod systemd;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("launch") => launch::launch(),
        Some("init") => run::init(std::env::args_os().skip(2)),
        Some("oci") => oci::oci(std::env::args_os().skip(2)),
        Some("version") => println!("{}", env!("CARGO_PKG_VERSION")),
        _ => {
            eprintln!("keelson-helper: started by Keelson, not by hand");
            std::process::exit(2);
        }
    }
}

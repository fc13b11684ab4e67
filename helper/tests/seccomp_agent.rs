//! `SCMP_ACT_NOTIFY`: an agent answers for system calls.

mod support;

use serde_json::json;
use support::agent::Agent;
use support::oci::{Bundle, Runtime, script};

const ENOMEDIUM: i32 = 123;

/// Also what a runtime itself calls behind the filter.
fn notify<'a>(runtime: &'a Runtime, name: &str, words: &[&str]) -> (Bundle<'a>, Agent) {
    let mut bundle = runtime.bundle(name, words);
    let path = bundle.path.join("agent");
    bundle.config["annotations"] = json!({ "a": "b" });
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "who asks",
        "syscalls": [{
            "names": ["mkdir", "execve", "capset", "close", "write", "sendto", "sendmsg", "recvfrom", "futex", "prctl"],
            "action": "SCMP_ACT_NOTIFY",
        }],
    });
    let agent = Agent::new(&path);
    (bundle, agent)
}

#[test]
fn an_agent_answers_for_a_container() {
    let runtime = Runtime::new();
    let (bundle, agent) = notify(&runtime, "notify", &script("mkdir /tmp/a || echo refused"));
    let (output, answered) = std::thread::scope(|scope| {
        let answering = scope.spawn(|| agent.answer(libc::SYS_mkdir, ENOMEDIUM));
        let output = bundle.run();
        (output, answering.join().unwrap())
    });
    assert_eq!(String::from_utf8_lossy(&output.stdout), "refused\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("No medium found"));
    let message = answered.message;
    assert_eq!(message["fds"], json!(["seccompFd"]));
    assert_eq!(message["metadata"], "who asks");
    assert_eq!(message["state"]["id"], bundle.id);
    assert_eq!(message["state"]["annotations"], json!({ "a": "b" }));
    assert_eq!(message["state"]["pid"], message["pid"]);
    assert!(answered.calls.contains(&(libc::SYS_execve as i32)));
}

#[test]
fn an_agent_answers_for_a_container_that_waited_for_its_start_and_for_what_is_executed_in_it() {
    let runtime = Runtime::new();
    let (bundle, agent) = notify(&runtime, "notify-later", &["sleep", "1000"]);
    assert!(bundle.create().success());
    let pid: i32 = bundle.read("pid").parse().unwrap();
    std::thread::scope(|scope| {
        let answering = scope.spawn(|| agent.answer(libc::SYS_mkdir, ENOMEDIUM));
        bundle.ok("start");
        let executed = scope.spawn(|| agent.answer(libc::SYS_mkdir, ENOMEDIUM));
        let output = runtime.call(&["exec", &bundle.id, "mkdir", "/tmp/b"]);
        assert_eq!(output.status.code(), Some(1));
        let inside = executed.join().unwrap().message;
        assert_ne!(inside["pid"], pid);
        assert_eq!(inside["state"]["pid"], pid);
        assert_eq!(inside["state"]["status"], "running");
        bundle.kill();
        assert_eq!(answering.join().unwrap().message["pid"], pid);
    });
}

#[test]
fn without_an_agent_nothing_is_started() {
    let runtime = Runtime::new();
    let (bundle, agent) = notify(&runtime, "notify-nobody", &script("echo ran"));
    drop(agent);
    let output = bundle.run();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    assert!(
        runtime
            .error(&["state", &bundle.id])
            .contains("does not exist")
    );
}

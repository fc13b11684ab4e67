//! What a program in a container finds, and what is said of its end.

mod support;

use serde_json::json;
use support::{Bundle, Helper};

#[test]
fn echo_hello() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "echo", &["echo", "hello"]);
    let finished = helper.run("echo", &bundle.config);
    assert_eq!(finished.stdout, "hello\n");
    assert_eq!(
        finished.exit,
        json!({
            "event": "exit", "container": "echo", "code": 0, "signal": null, "oomKilled": false,
        })
    );
    assert!(!bundle.directory.exists());
    for cgroup in bundle.cgroups() {
        assert!(!cgroup.exists(), "{}", cgroup.display());
    }
    assert!(helper.close().success());
}

#[test]
fn codes_and_signals_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let code = Bundle::script(directory.path(), "code", "exit 7");
    let finished = helper.run("code", &code.config);
    assert_eq!(
        (&finished.exit["code"], &finished.exit["signal"]),
        (&json!(7), &json!(null))
    );

    let killed = Bundle::new(directory.path(), "killed", &["sleep", "1000"]);
    let (request, _) = helper.begin("killed", &killed.config, b"");
    helper.answer(request);
    helper.ok("kill", json!({ "container": "killed", "signal": 9 }));
    let exit = helper.event("exit", "killed");
    assert_eq!((&exit["code"], &exit["signal"]), (&json!(null), &json!(9)));
    helper.event("removed", "killed");
    assert_eq!(
        helper.error("kill", json!({ "container": "killed", "all": true }))["kind"],
        "not-running"
    );
}

#[test]
fn the_command_is_found_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    for (id, command, kind) in [
        ("missing", "no-such-program", "command-not-found"),
        ("missing-path", "/bin/no-such-program", "command-not-found"),
        ("directory", "/etc", "command-not-executable"),
        ("not-executable", "/text", "command-not-executable"),
        ("no-interpreter", "/script", "command-not-found"),
    ] {
        for init in [false, true] {
            let mut bundle = Bundle::new(directory.path(), id, &[command]);
            bundle.config["keelson"]["init"] = init.into();
            bundle.image(|layer| {
                use std::os::unix::fs::PermissionsExt;
                std::fs::write(layer.join("text"), "no program").unwrap();
                std::fs::write(layer.join("script"), "#!/no/such/shell\n").unwrap();
                std::fs::set_permissions(layer.join("script"), PermissionsExt::from_mode(0o755))
                    .unwrap();
            });
            let error = helper.try_run(id, &bundle.config, b"").unwrap_err();
            assert_eq!(
                (&error["kind"], &error["path"]),
                (&json!(kind), &json!(command)),
                "{error}"
            );
            assert!(
                !bundle.directory.exists(),
                "the bundle is removed before the answer"
            );
            assert!(bundle.cgroups().iter().all(|cgroup| !cgroup.exists()));
        }
    }
}

#[test]
fn streams_are_pipes_that_any_user_may_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    for uid in [0, 1234] {
        let script = "echo a >/dev/stdout; echo b >/dev/stderr; echo c >/proc/self/fd/1; [ -p /dev/stdout ] && cat";
        let mut bundle = Bundle::script(directory.path(), "streams", script);
        bundle.config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        bundle.config["keelson"]["stdio"]["stdin"] = "pipe".into();
        let finished = helper
            .try_run("streams", &bundle.config, b"from stdin")
            .unwrap();
        assert_eq!(
            (finished.stdout.as_str(), finished.stderr.as_str()),
            ("a\nc\nfrom stdin", "b\n")
        );
    }
}

#[test]
fn nothing_written_before_release_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::new(directory.path(), "early", &["echo", "early"]);
    let request = helper.request(
        "run",
        json!({ "container": "early", "config": bundle.config }),
    );
    let stdio = helper.event("stdio", "early");
    helper.answer(request);
    helper.event("removed", "early");
    let stdout = helper.open(&stdio, "stdout").unwrap();
    helper.send(&json!({ "op": "release", "container": "early" }));
    assert_eq!(std::io::read_to_string(stdout).unwrap(), "early\n");
}

#[test]
fn user_groups_umask_and_working_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(
        directory.path(),
        "user",
        "id; umask; pwd; stat -c '%a %u' .",
    );
    bundle.config["process"]["user"] =
        json!({ "uid": 1234, "gid": 2345, "additionalGids": [5, 7], "umask": 0o77 });
    bundle.config["process"]["cwd"] = "/made/for/it".into();
    assert_eq!(
        helper.sh("user", &bundle.config),
        "uid=1234 gid=2345 groups=5,7\n0077\n/made/for/it\n755 0\n"
    );
}

#[test]
fn a_program_starts_clean() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "grep -E '^(Sig(Blk|Ign)|NoNewPrivs|CapAmb)' /proc/self/status; ls /proc/self/fd; \
                  echo $$ $(cut -d' ' -f6 /proc/self/stat)";
    let bundle = Bundle::script(directory.path(), "clean", script);
    assert_eq!(
        helper.sh("clean", &bundle.config),
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n\
         0\n1\n2\n3\n1 1\n",
        "descriptor 3 is the directory that ls reads"
    );
}

#[test]
fn capabilities_of_an_ordinary_user_can_be_ambient() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(
        directory.path(),
        "ambient",
        "grep -E '^Cap' /proc/self/status",
    );
    let net = json!(["CAP_NET_BIND_SERVICE"]);
    bundle.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    bundle.config["process"]["capabilities"] = json!({ "bounding": net, "effective": net, "permitted": net, "inheritable": net, "ambient": net });
    let printed = helper.sh("ambient", &bundle.config);
    for set in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
        assert!(
            printed.contains(&format!("Cap{set}:\t0000000000000400")),
            "{printed}"
        );
    }
}

#[test]
fn a_filter_is_in_force_with_and_without_new_privileges() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    for no_new_privileges in [true, false] {
        let script = "mkdir /x 2>/dev/null; echo $?; grep -E '^(Seccomp|CapPrm)' /proc/self/status";
        let mut bundle = Bundle::script(directory.path(), "filter", script);
        bundle.config["process"]["noNewPrivileges"] = no_new_privileges.into();
        bundle.config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }],
        });
        let printed = helper.sh("filter", &bundle.config);
        assert_eq!(
            printed,
            "1\nCapPrm:\t00000000a80425fb\nSeccomp:\t2\nSeccomp_filters:\t1\n"
        );
    }
}

#[test]
fn limits_of_a_process_are_set_or_clamped_with_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(
        directory.path(),
        "rlimit",
        "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj",
    );
    bundle.config["process"]["oomScoreAdj"] = 321.into();
    bundle.config["process"]["rlimits"] =
        json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    assert_eq!(helper.sh("rlimit", &bundle.config), "100\n200\n321\n");

    let mut bundle = Bundle::new(directory.path(), "invalid", &["true"]);
    bundle.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_LUCK", "soft": 1, "hard": 1 }]);
    let error = helper.error(
        "run",
        json!({ "container": "invalid", "config": bundle.config }),
    );
    assert_eq!(
        (&error["kind"], &error["detail"]),
        (&json!("config-invalid"), &json!("RLIMIT_LUCK"))
    );
}

#[test]
fn namespaces_names_and_sysctls() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let script = "hostname; cat /proc/sys/kernel/domainname /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward; \
                  ip -o addr show lo | grep -c inet; ls /sys/class/net; for n in mnt uts pid ipc cgroup net; do \
                  readlink /proc/self/ns/$n; done";
    let mut bundle = Bundle::script(directory.path(), "names", script);
    bundle.config["domainname"] = "example".into();
    bundle.config["linux"]["sysctl"] =
        json!({ "kernel.msgmax": "9000", "net.ipv4.ip_forward": "1" });
    let printed = helper.sh("names", &bundle.config);
    let mut lines = printed.lines();
    for line in ["names", "example", "9000", "1", "2", "lo"] {
        assert_eq!(lines.next(), Some(line), "{printed}");
    }
    for name in ["mnt", "uts", "pid", "ipc", "cgroup", "net"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(lines.next(), own.to_str(), "{name}");
    }
}

#[test]
fn the_host_network_is_joined_by_not_leaving_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(
        directory.path(),
        "host",
        "readlink /proc/self/ns/net; readlink /proc/self/ns/uts",
    );
    let uts = format!("/proc/{}/ns/uts", std::process::id());
    bundle.config["hostname"] = json!(null);
    bundle.config["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "pid" }, { "type": "ipc" }, { "type": "uts", "path": uts }]);
    let own =
        ["net", "uts"].map(|name| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap());
    let printed = helper.sh("host", &bundle.config);
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        own.each_ref().map(|path| path.to_str().unwrap())
    );
}

#[test]
fn the_pid_namespace_of_another_container_can_be_joined() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let first = Bundle::new(directory.path(), "first", &["sleep", "1000"]);
    let (request, _) = helper.begin("first", &first.config, b"");
    let pid = helper.answer(request)["ok"]["pid"].clone();
    let mut second = Bundle::script(directory.path(), "second", "tr '\\0' ' ' </proc/1/cmdline");
    let namespaces = second.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "pid");
    namespaces.push(json!({ "type": "pid", "path": format!("/proc/{pid}/ns/pid") }));
    assert_eq!(helper.sh("second", &second.config), "sleep 1000 ");
    // The launcher itself has not moved.
    let third = Bundle::script(directory.path(), "third", "echo $$");
    assert_eq!(helper.sh("third", &third.config), "1\n");
    helper.ok("kill", json!({ "container": "first", "all": true }));
    helper.event("removed", "first");
}

#[test]
fn what_is_not_carried_out_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    for (part, field) in [
        ("process", "terminal"),
        ("linux", "intelRdt"),
        ("linux", "netDevices"),
    ] {
        let mut bundle = Bundle::new(directory.path(), "refused", &["true"]);
        bundle.config[part][field] = if field == "terminal" {
            json!(true)
        } else {
            json!({})
        };
        let error = helper.error(
            "run",
            json!({ "container": "refused", "config": bundle.config }),
        );
        assert_eq!(error["kind"], "config-invalid");
        assert!(error["detail"].as_str().unwrap().contains(field), "{error}");
    }
}

#[test]
fn init_forwards_signals_and_reaps() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    // Orphans are reaped, the status is the program's, and pid 1 shows nothing of the host.
    let script = "echo $$; (sh -c 'exit 3' &); readlink /proc/1/exe; tr '\\0' '\\n' </proc/1/environ; kill -9 $$";
    let mut bundle = Bundle::script(directory.path(), "init", script);
    bundle.config["keelson"]["init"] = true.into();
    let finished = helper.run("init", &bundle.config);
    assert_eq!(finished.exit["signal"], 9);
    assert_eq!(
        finished.stdout,
        "2\n/memfd:keelson-helper (deleted)\nPATH=/bin:/usr/bin\nHOME=/root\n"
    );

    let script = "trap 'echo got it; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    let mut bundle = Bundle::script(directory.path(), "forward", script);
    bundle.config["keelson"]["init"] = true.into();
    let (request, [stdout, _]) = helper.begin("forward", &bundle.config, b"");
    helper.answer(request);
    let mut stdout = std::io::BufReader::new(stdout.unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    helper.ok("kill", json!({ "container": "forward", "signal": 15 }));
    assert_eq!(helper.event("exit", "forward")["code"], 4);
    assert_eq!(std::io::read_to_string(stdout).unwrap(), "got it\n");
    helper.event("removed", "forward");
}

/// The launcher's own limit is raised for its many descriptors; a container's is the one it was started with.
#[test]
fn descriptor_limits_are_not_the_launchers() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let bundle = Bundle::script(directory.path(), "nofile", "ulimit -Sn");
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap();
    assert_eq!(helper.sh("nofile", &bundle.config), format!("{own}\n"));
}

/// Docker's profile answers clone3 with ENOSYS.
#[test]
fn init_forks_under_a_filter_without_clone3() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let mut bundle = Bundle::script(directory.path(), "clone3", "echo $$");
    bundle.config["keelson"]["init"] = true.into();
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }],
    });
    assert_eq!(helper.sh("clone3", &bundle.config), "2\n");
}

#[test]
fn many_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut helper = Helper::start();
    let ids: Vec<String> = (0..20).map(|number| format!("many-{number}")).collect();
    let begun: Vec<_> = ids
        .iter()
        .map(|id| {
            let bundle = Bundle::new(directory.path(), id, &["hostname"]);
            (id, helper.begin(id, &bundle.config, b""))
        })
        .collect();
    for (id, (request, [stdout, _])) in begun {
        assert!(helper.answer(request).get("ok").is_some());
        assert_eq!(
            std::io::read_to_string(stdout.unwrap()).unwrap(),
            format!("{id}\n")
        );
        assert_eq!(helper.event("exit", id)["code"], 0);
        assert_eq!(helper.event("removed", id)["errors"], json!([]));
    }
}

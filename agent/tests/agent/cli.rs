//! Every command, as its user runs it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use weir_agent::container::ContainerView;
use weir_executor::record::Outcome;

use crate::command::{is_running, wait_file, wait_for};
use crate::node::{NODE_V4, NODE_V6, Node, address, eventually, hear};

/// Starts an attached `exec`.
fn attach(node: &Node, options: &[&str], script: &str) -> Child {
    let words = [&["exec"], options, &["--", "sh", "-c", script]].concat();
    let mut command = node.command(&words);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// Waits until a container runs and has written `up`.
fn wait_up(node: &Node, name: &str) -> ContainerView {
    let view = eventually(&format!("{name} runs"), || {
        node.find(name).filter(is_running)
    });
    node.wait_output(&view, "up");
    view
}

#[test]
fn an_attached_exec_shows_the_output_and_ends_as_its_task_does() {
    let node = Node::new();
    let said = node.exec(&[], &["sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(
        (said.code, said.stdout.as_str(), said.stderr.as_str()),
        (3, "out\n", "err\n")
    );
    assert_eq!(node.exec(&[], &["true"]).code, 0);
    assert_eq!(node.exec(&[], &["sh", "-c", "kill -9 $$"]).code, 128 + 9);
    assert_eq!(
        node.exec(&[], &["sh", "-c", "kill -TERM $$"]).code,
        128 + 15
    );
    // All of it, also what is written last by one that ends at once.
    let said = node.exec(&[], &["sh", "-c", "seq 100000"]);
    assert_eq!(said.stdout.lines().count(), 100_000);
    assert!(said.stdout.ends_with("\n100000\n"));

    let said = node.exec(&["--name", "absent"], &["/nonexistent/program"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("/nonexistent/program"), "{said:?}");
    let said = node.exec(&[], &["/etc/hostname"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("/etc/hostname"), "{said:?}");
    node.assert_exact();
}

#[test]
fn the_task_gets_what_was_asked_for() {
    let node = Node::new();
    let script = "id -un; id -u; id -g; pwd; echo $GREETING; echo $WEIR_PORTS $WEIR_PORT0 $WEIR_PORT2; \
                  echo $WEIR_CONTAINER_NAME; hostname; cat /proc/sys/net/ipv4/ip_local_port_range";
    let options = [
        "--name",
        "web",
        "--user",
        "daemon",
        "--ports",
        "31000-31001,31500",
    ];
    let more = ["--env", "GREETING=a b=c", "--workdir", "/usr"];
    let said = node
        .exec(&[&options[..], &more].concat(), &["sh", "-c", script])
        .ok();
    let mut lines = said.lines();
    let mut next = || lines.next().unwrap();
    let ids = nix::unistd::User::from_name("daemon").unwrap().unwrap();
    assert_eq!(next(), "daemon");
    assert_eq!(next(), ids.uid.to_string());
    assert_eq!(next(), ids.gid.to_string());
    assert_eq!(next(), "/usr");
    assert_eq!(next(), "a b=c");
    assert_eq!(next(), "31000-31001,31500 31000 31500");
    assert_eq!((next(), next()), ("web", "web"));
    let block = node.find("web").unwrap().ephemeral.unwrap();
    assert_eq!(next(), format!("{}\t{}", block.first(), block.last()));

    let said = node
        .exec(
            &["--user", "12345:54321"],
            &["sh", "-c", "id -u; id -g; pwd"],
        )
        .ok();
    assert!(said.starts_with("12345\n54321\n"), "{said}");
    assert!(said.trim_end().ends_with("/sandbox"), "{said}");
    assert_eq!(node.exec(&[], &["id", "-un"]).ok(), "nobody\n");
}

#[test]
fn ctrl_c_ends_the_container_and_a_second_one_at_once() {
    let node = Node::new();
    let script = "trap 'echo ending; exit 5' TERM; echo up; while :; do sleep 0.02; done";
    for how in [Signal::SIGINT, Signal::SIGTERM] {
        let attached = attach(&node, &["--name", "polite"], script);
        wait_up(&node, "polite");
        signal(&attached, how);
        let said = wait_for(attached);
        assert_eq!(
            (said.code, said.stdout.as_str()),
            (5, "up\nending\n"),
            "{said:?}"
        );
        assert!(said.stderr.contains("polite"), "{said:?}");
    }
    // One that does not listen is killed at once by the second.
    let attached = attach(
        &node,
        &["--name", "deaf"],
        "trap '' TERM; echo up; while :; do sleep 0.02; done",
    );
    let deaf = wait_up(&node, "deaf");
    signal(&attached, Signal::SIGINT);
    eventually("the first was passed on", || {
        node.log()
            .contains(&format!("{} kill=Gracefully", deaf.id))
            .then_some(())
    });
    signal(&attached, Signal::SIGINT);
    assert_eq!(wait_for(attached).code, 128 + 9);
    assert_eq!(
        node.wait_ended("deaf"),
        Outcome::Signaled {
            signal: 9,
            core_dumped: false
        }
    );
    node.assert_exact();
}

#[test]
fn whoever_stops_reading_does_not_hold_up_the_container() {
    let node = Node::new();
    let mut attached = attach(
        &node,
        &["--name", "chatty"],
        "seq 1000000; echo done > end; exit 4",
    );
    let mut first = [0; 2];
    attached
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    // The pipe is closed here.
    assert_eq!(&first, b"1\n");
    let said = wait_for(attached);
    assert_eq!(said.code, 4, "{said:?}");
}

#[test]
fn kill_ends_a_container_with_grace_or_without() {
    let node = Node::with("container.kill_grace_ms = 300");
    let polite = "trap 'exit 5' TERM; echo up; while :; do sleep 0.02; done";
    let deaf = "trap '' TERM; echo up; while :; do sleep 0.02; done";
    for (name, script, words, outcome) in [
        (
            "polite",
            polite,
            &["kill", "polite"][..],
            Outcome::Exited { code: 5 },
        ),
        (
            "deaf",
            deaf,
            &["kill", "deaf"],
            Outcome::KilledAfterGrace { grace_ms: 300 },
        ),
        (
            "killed",
            polite,
            &["kill", "killed", "--signal", "KILL"],
            Outcome::Signaled {
                signal: 9,
                core_dumped: false,
            },
        ),
    ] {
        node.start_container(&["--name", name], &["sh", "-c", script]);
        wait_up(&node, name);
        assert_eq!(node.weir(words).ok(), "");
        // It has ended when the command returns, and its name is free.
        assert_eq!(node.wait_ended(name), outcome, "{name}");
        node.exec(&["--name", name], &["true"]).ok();
        let told = node.weir(words).refused();
        assert!(told.contains(&format!("{name} has ended")), "{told}");
    }
    // What a task has left running ends with it.
    let view = node.start_container(
        &["--name", "family"],
        &[
            "sh",
            "-c",
            "trap '' TERM; sleep 1000 & setsid sleep 1000 & echo up; wait",
        ],
    );
    node.wait_output(&view, "up");
    node.weir(&["kill", view.id.as_str()]).ok();
    let told = node.weir(&["kill", "nobody-of-that-name"]).refused();
    assert!(
        told.contains("there is no container nobody-of-that-name"),
        "{told}"
    );
    node.assert_exact();
}

#[test]
fn ps_lists_what_runs_and_with_all_what_has_ended() {
    let node = Node::new();
    assert_eq!(node.containers(true), []);
    assert!(node.weir(&["ps"]).ok().starts_with("NAME"));
    let web = node.start_container(
        &["--name", "web", "--ports", "31000-31001"],
        &["sleep", "1000"],
    );
    node.exec(&["--name", "ended"], &["sh", "-c", "exit 3"]);
    let text = node.weir(&["ps"]).ok();
    let line = text.lines().nth(1).unwrap();
    for word in [
        "web",
        web.id.as_str(),
        "running for",
        "isolated",
        "31000-31001",
        "nobody",
        "sleep 1000",
    ] {
        assert!(line.contains(word), "{word} in {line}");
    }
    assert_eq!(text.lines().count(), 2, "{text}");
    let text = node.weir(&["ps", "--all"]).ok();
    assert!(text.contains("exited 3"), "{text}");

    let json: Value = serde_json::from_str(&node.weir(&["ps", "--all", "--json"]).ok()).unwrap();
    let [running, ended] = json.as_array().unwrap().as_slice() else {
        panic!("{json}")
    };
    assert_eq!(running["name"], "web");
    assert_eq!(running["state"]["state"], "running");
    assert_eq!(running["ports"], "31000-31001");
    assert_eq!(ended["state"]["state"], "ended");
    assert_eq!(ended["state"]["outcome"]["code"], 3, "{ended}");
}

#[test]
fn stats_say_what_running_containers_use() {
    let node = Node::new();
    let web = node.start_server("web", 31000);
    for _ in 0..20 {
        assert!(node.serves("web", 31000));
    }
    node.start_container(&["--name", "idle"], &["sleep", "1000"]);
    let json: Value = serde_json::from_str(&node.weir(&["stats", "web", "--json"]).ok()).unwrap();
    let [found] = json.as_array().unwrap().as_slice() else {
        panic!("{json}")
    };
    assert_eq!(found["name"], "web");
    assert_eq!(found["id"], web.id.as_str());
    let number = |path: &str| {
        found
            .pointer(path)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("{path} in {found:#}"))
    };
    assert!(number("/network/tcp_accepts") >= 20);
    assert!(number("/network/traffic/rx_bytes") > 20 * 66);
    assert!(number("/network/traffic/tx_bytes") > 20 * 66);
    assert!(number("/processes") >= 1);
    assert!(number("/memory_bytes") > 100_000);
    assert!(number("/cpu_user_us") + number("/cpu_system_us") > 0);
    let text = node.weir(&["stats"]).ok();
    assert!(text.contains("web") && text.contains("idle"), "{text}");
    let told = node.weir(&["stats", "absent"]).refused();
    assert!(told.contains("there is no container absent"), "{told}");
}

#[test]
fn logs_print_what_is_kept_and_follow_across_rotation() {
    const LINES: usize = 400;
    let node = Node::with("container.output_bytes_max = 4096\ncontainer.output_files = 40");
    let script = format!(
        "echo up; until [ -e go ]; do sleep 0.02; done; \
         i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); printf '%0200d\\n' $i; done; echo to stderr >&2; \
         until [ -e end ]; do sleep 0.02; done; echo last"
    );
    let view = node.start_container(&["--name", "web"], &["sh", "-c", &script]);
    node.wait_output(&view, "up");
    assert_eq!(node.weir(&["logs", "web"]).ok(), "up\n");
    let mut command = node.command(&["logs", "web", "--follow"]);
    let following = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Read on, or the pipe would be full.
    let read = std::thread::spawn(move || following.wait_with_output().unwrap());
    fs::write(view.directory.join("sandbox/go"), "").unwrap();
    wait_file(&view.directory.join("stdout.5"));
    eventually("stderr is written", || {
        (node.weir(&["logs", "web", "--stderr"]).ok() == "to stderr\n").then_some(())
    });
    fs::write(view.directory.join("sandbox/end"), "").unwrap();
    let followed = read.join().unwrap();
    assert!(followed.status.success(), "{followed:?}");
    let followed = String::from_utf8(followed.stdout).unwrap();
    let mut wanted = "up\n".to_owned();
    wanted.extend((1..=LINES).map(|number| format!("{number:0200}\n")));
    wanted.push_str("last\n");
    assert_eq!(followed.len(), wanted.len());
    assert!(followed == wanted);
    node.wait_ended("web");
    assert!(node.weir(&["logs", view.id.as_str(), "--follow"]).ok() == wanted);
    assert!(node.weir(&["logs", "absent"]).refused().contains("absent"));
}

#[test]
fn output_beyond_what_is_kept_goes_oldest_first_and_the_disk_is_bounded() {
    let node = Node::with("container.output_bytes_max = 4096\ncontainer.output_files = 2");
    let view = node.start_container(&["--name", "web"], &["seq", "100000"]);
    assert_eq!(node.wait_ended("web"), Outcome::Exited { code: 0 });
    let text = node.weir(&["logs", "web"]).ok();
    assert!(text.ends_with("\n99999\n100000\n"));
    assert!((4096..=3 * 4096).contains(&text.len()), "{}", text.len());
    let names = fs::read_dir(&view.directory).unwrap().flatten();
    let kept: u64 = names
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("stdout"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(kept <= 3 * 4096, "{kept}");
}

#[test]
fn an_update_takes_effect_at_once_and_only_as_asked() {
    let node = Node::with("network.quarantine_ms = 300");
    let web = node.start_puppet(&["--name", "web", "--ports", "31000-31001"]);
    assert_eq!(
        (web.bind(31000), web.bind(31001), web.bind(31002)),
        ("ok".into(), "ok".into(), "EACCES".into())
    );
    assert_eq!(
        node.weir(&["update", "web", "--ports", "31001-31002"]).ok(),
        "31001-31002\n"
    );
    assert_eq!(
        (web.bind(31000), web.bind(31001), web.bind(31002)),
        ("EACCES".into(), "ok".into(), "ok".into())
    );
    node.assert_exact();

    // A count keeps those that it has.
    let json = node.weir(&["update", "web", "--ports", "4", "--json"]).ok();
    let view: ContainerView = serde_json::from_str(&json).unwrap();
    assert_eq!(view.ports.count(), 4);
    assert!(
        view.ports.contains(31001) && view.ports.contains(31002),
        "{}",
        view.ports
    );
    for port in view.ports.iter() {
        assert_eq!(web.bind(port), "ok", "{port}");
    }
    assert_eq!(node.weir(&["update", "web", "--ports", ""]).ok(), "\n");
    assert_eq!(web.bind(31001), "EACCES");
    node.assert_exact();

    // What was given up is another's after its rest.
    eventually("port 31001 has rested", || {
        (node.exec(&["--ports", "31001"], &["true"]).code == 0).then_some(())
    });
    assert!(
        node.weir(&["update", "absent", "--ports", "1"])
            .refused()
            .contains("absent")
    );
    node.weir(&["kill", "web"]).ok();
    assert!(
        node.weir(&["update", "web", "--ports", "1"])
            .refused()
            .contains("web has ended")
    );
}

#[test]
fn a_count_of_ports_is_met_from_the_pool_and_each_can_be_bound() {
    let node = Node::new();
    let web = node.start_puppet(&["--name", "web", "--ports", "3"]);
    assert_eq!(web.view.ports.count(), 3);
    for port in web.view.ports.iter() {
        assert!((31000..=31999).contains(&port));
        assert_eq!(web.bind(port), "ok");
    }
    web.says(
        "print(os.environ['WEIR_PORTS'])",
        &web.view.ports.to_string(),
    );
    assert_eq!(web.bind(30999), "EACCES");
}

#[test]
fn detach_prints_the_name_and_json_the_container() {
    let node = Node::new();
    assert_eq!(
        node.exec(&["--detach", "--name", "web"], &["sleep", "1000"])
            .ok(),
        "web\n"
    );
    let name = node.exec(&["--detach"], &["sleep", "1000"]).ok();
    let view = node.find(name.trim()).unwrap();
    assert_eq!(view.id.as_str(), view.name.as_str());
    let json = node.exec(&["--detach", "--json"], &["sleep", "1000"]).ok();
    let view: ContainerView = serde_json::from_str(&json).unwrap();
    assert!(is_running(&view));
}

#[test]
fn a_container_on_the_nodes_network_has_the_nodes_addresses_and_its_own_ports_only() {
    let node = Node::new();
    let options = ["--name", "host", "--network", "host", "--ports", "31000"];
    let host = node.start_puppet(&options);
    assert_eq!(host.view.ephemeral, None);
    assert_eq!(
        (host.bind(31000), host.bind(31001)),
        ("ok".into(), "EACCES".into())
    );
    assert_eq!(host.bind(0), "ok");
    host.says("print(socket.gethostbyname('localhost'))", "127.0.0.1");
    node.assert_exact();
}

#[test]
fn containers_reach_each_other_the_node_and_the_wire() {
    let node = Node::new();
    node.start_server("one", 31000);
    let two = node.start_puppet(&["--name", "two"]);
    for ip in [NODE_V4, NODE_V6, "127.0.0.1", "::1"] {
        let said = node.on_node(|| hear(address(ip, 31000))).unwrap();
        assert_eq!(said, "one\n", "from the node by {ip}");
    }
    for ip in [NODE_V4, NODE_V6] {
        let script = format!(
            "print(socket.create_connection(('{ip}', 31000), 5).recv(100).decode(), end='')"
        );
        two.says(&script, "one");
        assert_eq!(node.on_wire(|| hear(address(ip, 31000))).unwrap(), "one\n");
    }
    // The loopback of a container is its own.
    two.says(
        "socket.create_connection(('127.0.0.1', 31000), 5)",
        "ECONNREFUSED",
    );
}

#[test]
fn a_second_agent_does_not_start_beside_the_first() {
    let mut node = Node::new();
    let second = {
        let mut command = node.command(&["run", "--config"]);
        command
            .arg(node.config())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        wait_for(node.on_node(|| command.spawn()).unwrap())
    };
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("another agent uses"), "{second:?}");
    assert_eq!(node.exec(&[], &["true"]).code, 0);
    node.stop_daemon();
}

#[test]
fn without_a_daemon_a_command_says_so() {
    let node = Node::without_daemon("");
    for words in [
        &["ps"][..],
        &["exec", "--", "true"],
        &["kill", "web"],
        &["stats"],
        &["logs", "web"],
    ] {
        let said = node.weir(words);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(
            said.stderr.contains(&node.socket().display().to_string()),
            "{said:?}"
        );
    }
}

#[test]
fn garbage_on_the_socket_harms_nobody() {
    let node = Node::new();
    let connect = || std::os::unix::net::UnixStream::connect(node.socket()).unwrap();
    // Some that never say a word, and stay.
    let silent: Vec<_> = (0..50).map(|_| connect()).collect();
    for bytes in [
        &b"\xff\xff\xff\xff"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x02{}",
        b"\0\x10\0\0",
        b"\0\x10\0\x01x",
        b"\0\0\0\0",
        &[b"\0\0\xff\xff".as_slice(), &vec![b'['; 65535]].concat(),
        b"\0\0\0\x20{\"launch\":{\"argv\":[\"true\"],\"x\":1",
    ] {
        let mut stream = connect();
        // It may have been closed before all was said.
        drop(stream.write_all(bytes));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert!(answer.len() < 65536);
        assert_eq!(node.exec(&[], &["true"]).code, 0);
    }
    drop(silent);
    node.assert_exact();
}

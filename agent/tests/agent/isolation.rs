//! What a container can do to others, to the node and to the agent, tried as user 0 from inside.

use std::io::ErrorKind;
use std::net::UdpSocket;

use serde_json::Value;

use crate::command::pids;
use crate::node::{NODE_V4, NODE_V6, Node, WIRE_V4, address, eventually};
use crate::puppet::Puppet;

const RAW: &str = "container.capabilities_allowed = [\"NET_RAW\", \"NET_BIND_SERVICE\"]";

/// Functions for scripts: raw packets with whatever is to be in them.
const FORGERY: &str = r"
def udp(source, port, text=b'forged'):
    return struct.pack('!HHHH', source, port, 8 + len(text), 0) + text
def forge(source, protocol, payload, to='10.9.0.1'):
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 0, 1, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(to))
    raw.sendto(head + payload, (to, 0))
    raw.close()
def frame(kind, payload):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind(('eth0', 0))
    link.send(b'\xff' * 6 + b'\x02\0\0\0\0\x01' + struct.pack('!H', kind) + payload)
    link.close()
def forge6(source, protocol, payload, to='fd09::1'):
    head = struct.pack('!IHBB', 6 << 28, len(payload), protocol, 64)
    frame(0x86dd, head + socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, to) + payload)
";

/// Returns the number of packets of a container that were dropped for a reason.
fn dropped(node: &Node, name: &str, reason: &str) -> u64 {
    let json: Value = serde_json::from_str(&node.weir(&["stats", name, "--json"]).ok()).unwrap();
    let drops = &json[0]["network"]["traffic"]["tx_drops"];
    drops.get(reason).and_then(Value::as_u64).unwrap_or(0)
}

fn root(node: &Node) -> Puppet {
    node.start_puppet(&["--name", "root", "--user", "root", "--ports", "31100"])
}

#[test]
fn user_0_can_neither_leave_its_cgroup_nor_see_another() {
    let node = Node::new();
    let puppet = root(&node);
    puppet.says(
        "print(open('/proc/self/cgroup').read().split('\\n')[-2])",
        "0::/",
    );
    puppet.says("print(os.listdir('/sys/fs/cgroup'))", "[]");
    let mount = |kind: &str| format!("tried(libc.mount(b'none', b'/tmp', b'{kind}', 0, None))");
    for kind in ["cgroup2", "cgroup", "proc", "sysfs", "bpf", "tmpfs"] {
        puppet.says(&mount(kind), "EPERM");
    }
    // The cgroup that the kernel knows it by is the task's.
    let (_, init) = pids(&puppet.view);
    let cgroups = std::fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    assert!(
        cgroups.contains(&format!("0::/{}/{}/task", node.name, puppet.view.id)),
        "{cgroups}"
    );
    puppet.says("tried(libc.umount2(b'/proc/sys', 2))", "EPERM");
    puppet.says("tried(libc.chroot(b'/tmp'))", "EPERM");
}

#[test]
fn user_0_can_change_no_setting_of_the_kernel() {
    let node = Node::new();
    let puppet = root(&node);
    for path in [
        "/proc/sys/net/ipv4/ip_local_port_range",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        "/proc/sys/net/ipv4/ip_local_reserved_ports",
        "/proc/sys/net/ipv4/conf/all/forwarding",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/sys/class/net/eth0/mtu",
    ] {
        // Not every kernel has every one of them.
        let expected = if path.contains("eth0") || std::path::Path::new(path).exists() {
            "EROFS"
        } else {
            "ENOENT"
        };
        puppet.says(&format!("open('{path}', 'w')"), expected);
    }
    // Nor by the other ways to the network: those need a capability that it does not have.
    for words in [
        "link set eth0 down",
        "link set eth0 address 02:00:00:00:00:09",
        "addr add 10.9.0.77/24 dev eth0",
        "route add 10.8.0.0/16 dev eth0",
        "rule del pref 10",
        "link add dummy0 type dummy",
    ] {
        let script = format!(
            "print(subprocess.run(['ip', *'{words}'.split()], capture_output=True, text=True).stderr)"
        );
        let said = puppet.run(&script);
        assert!(said.contains("Operation not permitted"), "{words}: {said}");
    }
    puppet.says("print(subprocess.run(['tc', 'qdisc', 'del', 'dev', 'eth0', 'root'], capture_output=True).returncode != 0)", "True");
}

#[test]
fn user_0_cannot_reach_the_programs_and_tables_that_hold_it() {
    let node = Node::new();
    let puppet = root(&node);
    let pins = node.pins().join("v1").display().to_string();
    puppet.says(&format!("print(os.path.exists('{pins}'))"), "False");
    puppet.says("print(os.listdir('/sys/fs/bpf'))", "[]");
    // bpf(2): open by path, by id, and make one.
    for (command, attributes) in [
        (
            "7",
            format!(
                "struct.pack('QII', ctypes.addressof(ctypes.create_string_buffer(b'{pins}/maps/PORTS')), 0, 0)"
            ),
        ),
        ("14", "struct.pack('III', 1, 0, 0)".to_owned()),
        ("12", "struct.pack('III', 0, 0, 0)".to_owned()),
        ("0", "struct.pack('IIIII', 2, 4, 4, 1, 0)".to_owned()),
    ] {
        let script =
            format!("data = {attributes}\ntried(libc.syscall(321, {command}, data, len(data)))");
        puppet.says(&script, "EPERM");
    }
}

#[test]
fn user_0_gets_no_namespace_in_which_it_would_have_more_rights() {
    let node = Node::new();
    let puppet = root(&node);
    for (name, flag) in [
        ("user", 0x1000_0000),
        ("user and network", 0x5000_0000),
        ("network", 0x4000_0000),
        ("mounts", 0x0002_0000),
        ("pids", 0x2000_0000),
        ("cgroups", 0x0200_0000),
    ] {
        assert_eq!(
            puppet.run(&format!("tried(libc.unshare({flag}))")),
            "EPERM",
            "{name}"
        );
        // clone(2) with the same flag, and SIGCHLD.
        let clone = format!(
            "pid = libc.syscall(56, {flag} | 17, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\ntried(pid)"
        );
        assert_eq!(puppet.run(&clone), "EPERM", "{name}");
    }
    puppet.says(
        "tried(libc.syscall(435, struct.pack('QQQQQQQQ', 0x10000000, 0, 0, 0, 17, 0, 0, 0), 64))",
        "ENOSYS",
    );
    for kind in ["net", "mnt", "pid", "user", "cgroup"] {
        let script = format!("tried(libc.setns(os.open('/proc/self/ns/{kind}', os.O_RDONLY), 0))");
        let said = puppet.run(&script);
        // EINVAL: nobody can enter the user namespace that they are in.
        assert!(
            matches!(said.as_str(), "EPERM" | "EINVAL"),
            "{kind}: {said}"
        );
    }
    puppet.says(
        "print(subprocess.run(['unshare', '-Ur', 'true'], capture_output=True).returncode != 0)",
        "True",
    );
}

#[test]
fn user_0_cannot_touch_its_init_its_executor_or_anything_outside() {
    let node = Node::new();
    let puppet = root(&node);
    let other = node.start_puppet(&["--name", "other", "--user", "root"]);
    let (executor, _) = pids(&puppet.view);
    puppet.says("tried(libc.ptrace(16, 1, 0, 0))", "EPERM");
    puppet.says("open('/proc/1/mem', 'r+b')", "EACCES");
    puppet.says("os.listdir('/proc/1/root')", "EACCES");
    puppet.says("os.readlink('/proc/1/fd/0')", "EACCES");
    puppet.says("os.open('/proc/1/ns/net', os.O_RDONLY)", "EACCES");
    // By number there is nobody but its own: init, itself, and what it starts.
    puppet.says("print(sorted(int(name) for name in os.listdir('/proc') if name.isdigit()) == [1, os.getpid()])", "True");
    for outside in [
        executor.to_string(),
        node.daemon_pid().to_string(),
        pids(&other.view).1.to_string(),
    ] {
        puppet.says(&format!("os.kill({outside}, 9)"), "ESRCH");
        puppet.says(&format!("tried(libc.ptrace(16, {outside}, 0, 0))"), "ESRCH");
    }
    for signal in [9, 15, 19, 11] {
        puppet.says(&format!("os.kill(1, {signal})\nprint('sent')"), "sent");
    }
    puppet.says("print('alive')", "alive");
    // And everyone but itself and its init is nobody.
    puppet.says("os.kill(-1, 15)", "ESRCH");
    other.says("print('alive')", "alive");
    assert!(std::path::Path::new(&format!("/proc/{executor}")).exists());
}

#[test]
fn user_0_sees_no_files_but_its_own_and_those_of_everyone() {
    let node = Node::new();
    let puppet = root(&node);
    let other = node.start_puppet(&["--name", "other"]);
    other.says("open('secret', 'w').write('secret')\nprint('ok')", "ok");
    let state = node.state().display().to_string();
    puppet.says(
        &format!("print(os.listdir('{state}') == ['containers'])"),
        "True",
    );
    puppet.says(
        &format!(
            "print(os.listdir('{state}/containers') == ['{}'])",
            puppet.view.id
        ),
        "True",
    );
    puppet.says(
        &format!("print(os.listdir('{state}/containers/{}'))", puppet.view.id),
        "['sandbox']",
    );
    let secret = other
        .view
        .directory
        .join("sandbox/secret")
        .display()
        .to_string();
    puppet.says(&format!("open('{secret}')"), "ENOENT");
    puppet.says(&format!("open('{state}/agent.db')"), "ENOENT");
    for path in [
        "/etc/weir",
        "/usr/bin/weir",
        &format!("{state}/x"),
        &node.files().join("x").display().to_string(),
    ] {
        puppet.says(&format!("open('{path}', 'w')"), "EROFS");
    }
    // Root's own files are not nobody's.
    other.says("open('/etc/shadow')", "EACCES");
    puppet.says("print(os.path.exists('/dev/mem'), os.path.exists('/dev/kmsg'), os.path.exists('/dev/vda'))", "False False False");
    puppet.says(
        "os.mknod('/tmp/disk', 0o60600, os.makedev(254, 0))",
        "EPERM",
    );
    puppet.says("open('/tmp/x', 'w').write('x')\nopen('/dev/shm/x', 'w').write('x')\nopen('x', 'w').write('x')\nprint('ok')", "ok");
    other.says("print(os.listdir('/tmp'), os.listdir('/dev/shm'))", "[] []");
    // And no capability, whoever it is.
    for puppet in [&puppet, &other] {
        puppet.says(
            "s = open('/proc/self/status').read()\n\
             print([line.split()[1] for line in s.split('\\n') if line.startswith(('CapEff', 'CapBnd', 'NoNewPrivs'))])",
            "['0000000000000000', '0000000000000000', '1']",
        );
    }
}

#[test]
fn without_the_capability_there_are_no_raw_sockets() {
    let node = Node::new();
    let puppet = root(&node);
    for (family, kind) in [
        ("AF_INET", "SOCK_RAW, 1"),
        ("AF_INET", "SOCK_RAW, 255"),
        ("AF_INET6", "SOCK_RAW, 58"),
        ("AF_PACKET", "SOCK_RAW"),
        ("AF_PACKET", "SOCK_DGRAM"),
    ] {
        puppet.says(
            &format!("socket.socket(socket.{family}, socket.{kind})"),
            "EPERM",
        );
    }
    puppet.says("socket.socket(40, socket.SOCK_STREAM)", "EAFNOSUPPORT");
    // Nor by the side door of io_uring, which no filter of system calls sees.
    puppet.says(
        "tried(libc.syscall(425, 4, ctypes.create_string_buffer(120)))",
        "EPERM",
    );
    // An echo needs none.
    let ping = |to: &str| {
        format!(
            "print(subprocess.run(['ping', '-c', '1', '-W', '5', '{to}'], capture_output=True).returncode)"
        )
    };
    puppet.says(&ping(WIRE_V4), "0");
}

#[test]
fn a_container_that_may_sniff_sees_its_own_packets_only() {
    let node = Node::with(RAW);
    node.start_server("web", 31000);
    let other = node.start_puppet(&["--name", "other"]);
    let spy = node.start_puppet(&["--name", "spy", "--cap-add", "NET_RAW", "--ports", "31200"]);
    spy.says(
        "sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))\n\
         sniffer.setsockopt(263, 1, struct.pack('IHH8s', socket.if_nametoindex('eth0'), 1, 0, b''))\n\
         sniffer.setblocking(False)\nprint('ok')",
        "ok",
    );
    for ip in [NODE_V4, NODE_V6] {
        for _ in 0..5 {
            node.on_wire(|| crate::node::hear(address(ip, 31000)))
                .unwrap();
            node.on_node(|| crate::node::hear(address(ip, 31000)))
                .unwrap();
        }
        let connect = format!("print(socket.create_connection(('{ip}', 31000), 5).recv(9))");
        other.says(&connect, "b'web\\n'");
        spy.says(&connect, "b'web\\n'");
    }
    let block = spy.view.ephemeral.unwrap();
    let seen = spy.run(
        "seen = []\nwhile True:\n    try: packet = sniffer.recv(65536)\n    except BlockingIOError: break\n\
         \x20   kind, = struct.unpack('!H', packet[12:14])\n\
         \x20   at = {0x800: 34, 0x86dd: 54}.get(kind)\n\
         \x20   seen.append(struct.unpack('!HH', packet[at:at + 4]) if at else kind)\n\
         for one in seen: print(one)",
    );
    assert!(seen.lines().count() >= 2 * 6, "its own at least: {seen}");
    for line in seen.lines() {
        let ports: Vec<u16> = line
            .trim_matches(['(', ')'])
            .split(", ")
            .map(|port| port.parse().unwrap_or(0))
            .collect();
        assert!(
            ports.iter().any(|port| block.contains(*port)),
            "{line} is not the spy's, whose block is {block}"
        );
    }
}

#[test]
fn a_container_that_may_forge_packets_gets_none_out_and_all_are_counted() {
    let node = Node::with(RAW);
    node.start_server("web", 31000);
    let forger = node.start_puppet(&[
        "--name",
        "forger",
        "--user",
        "root",
        "--cap-add",
        "NET_RAW",
        "--ports",
        "31100",
    ]);
    forger.says(FORGERY, "");
    let target = node.on_wire(|| {
        let target = UdpSocket::bind("0.0.0.0:9999").unwrap();
        target
            .set_read_timeout(Some(crate::node::DEADLINE))
            .unwrap();
        target
    });
    let send = |text: &str| {
        forger.says(
            &format!("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('', 31100))\ns.sendto(b'{text}', ('{WIRE_V4}', 9999))\ns.close()"),
            "",
        );
    };
    send("first");
    for (script, reason) in [
        ("forge('10.9.0.77', 17, udp(31100, 9999))", "source_address"),
        ("forge('10.9.0.1', 17, udp(31100, 9999))", "source_address"),
        ("forge('10.9.0.2', 17, udp(31000, 9999))", "source_port"),
        ("forge('10.9.0.2', 17, udp(53, 9999))", "source_port"),
        (
            "forge('10.9.0.2', 6, struct.pack('!HHIIBBHHH', 31000, 9999, 1, 0, 0x50, 2, 1024, 0, 0))",
            "source_port",
        ),
        ("forge('127.0.0.1', 17, udp(31100, 9999))", "loopback"),
        ("forge('10.9.0.2', 132, udp(31100, 9999))", "protocol"),
        ("forge('10.9.0.2', 47, udp(31100, 9999))", "protocol"),
        (
            "forge('10.9.0.2', 1, struct.pack('!BBHI', 5, 1, 0, 0) + b'x' * 28)",
            "icmp_type",
        ),
        ("forge('10.9.0.2', 17, b'\\0\\1')", "malformed"),
        ("forge6('fd09::77', 17, udp(31100, 9999))", "source_address"),
        ("forge6('fd09::2', 17, udp(31000, 9999))", "source_port"),
        (
            "forge6('fd09::2', 58, struct.pack('!BBHI', 136, 0, 0, 0) + b'x' * 16)",
            "icmp_type",
        ),
        (
            "frame(0x806, b'\\0\\1\\x08\\0\\6\\4\\0\\1' + b'x' * 20)",
            "not_ip",
        ),
    ] {
        let before = dropped(&node, "forger", reason);
        forger.says(script, "");
        eventually(&format!("{script} is counted as {reason}"), || {
            (dropped(&node, "forger", reason) > before).then_some(())
        });
    }
    // A socket can ask for a range of its own: the kernel keeps it within the container's block.
    let port = forger.run(&format!(
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         s.setsockopt(0, 51, struct.pack('I', 31000 << 16 | 31000))\n\
         s.connect(('{WIRE_V4}', 9999))\nprint(s.getsockname()[1])\ns.close()"
    ));
    let block = forger.view.ephemeral.unwrap();
    // Before Linux 6.3 there is no such option.
    assert!(
        port == "ENOPROTOOPT" || block.contains(port.parse().unwrap()),
        "{port} in {block}"
    );
    send("last");
    let mut arrived = Vec::new();
    while arrived.last().is_none_or(|text| text != "last") {
        let mut bytes = [0; 64];
        let (length, from) = target.recv_from(&mut bytes).unwrap();
        assert_eq!(from, address(NODE_V4, 31100));
        arrived.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
    }
    assert_eq!(arrived, ["first", "last"]);

    // The log has an example of each reason, with who and what.
    for reason in [
        "source_address",
        "source_port",
        "protocol",
        "icmp_type",
        "not_ip",
    ] {
        eventually(&format!("the log tells of {reason}"), || {
            let log = node.log();
            log.lines()
                .find(|line| line.contains(reason) && line.contains(forger.view.id.as_str()))
                .map(drop)
        });
    }
}

#[test]
fn forged_packets_reach_neither_another_container_nor_the_node() {
    let node = Node::with(RAW);
    let victim = node.start_puppet(&["--name", "victim", "--ports", "31000"]);
    let forger = node.start_puppet(&[
        "--name",
        "forger",
        "--user",
        "root",
        "--cap-add",
        "NET_RAW",
        "--ports",
        "31100",
    ]);
    victim.says("ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\near.bind(('', 31000))\near.setblocking(False)", "");
    let ear = node.on_node(|| UdpSocket::bind("0.0.0.0:40000").unwrap());
    ear.set_nonblocking(true).unwrap();
    forger.says(FORGERY, "");
    let before =
        dropped(&node, "forger", "source_address") + dropped(&node, "forger", "source_port");
    for port in [31000, 40000] {
        for to in [NODE_V4, "127.0.0.1"] {
            for source in ["10.9.0.77", "10.9.0.1", "127.0.0.1"] {
                forger.run(&format!(
                    "forge('{source}', 17, udp(31100, {port}), '{to}')"
                ));
            }
            forger.run(&format!(
                "forge('{NODE_V4}', 17, udp(40001, {port}), '{to}')"
            ));
        }
    }
    // Those to its own loopback address never leave it.
    eventually("those that left it are counted", || {
        let now =
            dropped(&node, "forger", "source_address") + dropped(&node, "forger", "source_port");
        (now >= before + 6).then_some(())
    });
    // What it may send does arrive, behind all that was forged.
    for port in [31000, 40000] {
        forger.says(&format!("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('', 31100))\ns.sendto(b'true', ('{NODE_V4}', {port}))\ns.close()"), "");
    }
    let heard = eventually("the victim hears", || {
        Some(victim.run("print(ear.recvfrom(100))")).filter(|said| said != "EAGAIN")
    });
    assert_eq!(heard, format!("(b'true', ('{NODE_V4}', 31100))"));
    victim.says("print(ear.recvfrom(100))", "EAGAIN");
    let mut bytes = [0; 64];
    let (length, from) = eventually("the node hears", || match ear.recv_from(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        heard => Some(heard.unwrap()),
    });
    assert_eq!(
        (&bytes[..length], from),
        (&b"true"[..], address(NODE_V4, 31100))
    );
    assert_eq!(
        ear.recv_from(&mut bytes).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn on_the_nodes_network_user_0_is_held_to_its_ports_all_the_same() {
    let node = Node::new();
    let host = node.start_puppet(&[
        "--name",
        "host",
        "--user",
        "root",
        "--network",
        "host",
        "--ports",
        "31100",
    ]);
    assert_eq!(host.bind(31100), "ok");
    for port in [31101, 22, 9464] {
        assert_eq!(host.bind(port), "EACCES", "{port}");
    }
    for script in [
        "open('/proc/sys/net/ipv4/ip_local_port_range', 'w')",
        "open('/proc/sys/net/ipv4/ip_local_reserved_ports', 'w')",
    ] {
        host.says(script, "EROFS");
    }
    host.says("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "EPERM");
    host.says("tried(libc.unshare(0x50000000))", "EPERM");
    let said = host.run("print(subprocess.run(['ip', 'link', 'set', 'up0', 'down'], capture_output=True, text=True).stderr)");
    assert!(said.contains("Operation not permitted"), "{said}");
}

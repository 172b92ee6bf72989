"""Weir comes: packages, certificates, the first reservation, the first task."""

import glob
import json
import os

from told import CONFIGURATION, HOME, active, check, listed, output, read, run, sh, unit, wait, weir, write

FILES = os.path.join(HOME, "story-files.json")
# What changes by itself, and what the story brings.
VOLATILE = ("/var/cache", "/var/log", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/prometheus", "/var/lib/systemd", "/var/backups", "/var/tmp", "/root")


def prepare():
    """Makes a machine that is at the other end of a wire. Done at each boot."""
    if not os.path.exists("/run/netns/outside"):
        sh(
            "ip netns add outside"
            " && ip link add wire0 type veth peer name wire1 netns outside"
            " && ip address add 192.0.2.1/24 dev wire0 && ip link set wire0 up"
            " && ip -n outside address add 192.0.2.2/24 dev wire1 && ip -n outside link set wire1 up"
            " && ip -n outside link set lo up && ip -n outside route add default via 192.0.2.1"
        )


def files():
    """Returns every path on the disk that does not change by itself, with the bytes that are in it."""
    found = {}
    for top in ("/etc", "/usr", "/var", "/opt", "/srv", "/boot"):
        for directory, below, names in os.walk(top):
            below[:] = [name for name in below if not os.path.join(directory, name).startswith(VOLATILE)]
            # Python writes down what it compiled.
            below[:] = [name for name in below if name != "__pycache__"]
            found[directory] = "directory"
            for name in names:
                path = os.path.join(directory, name)
                found[path] = os.readlink(path) if os.path.islink(path) else os.stat(path).st_size
    return found


def traces():
    """Returns what of Weir is in the kernel and in systemd."""
    return {
        "cgroups": sorted(glob.glob("/sys/fs/cgroup/**/*weir*", recursive=True)),
        "pins": sorted(os.listdir("/sys/fs/bpf")),
        "links": sorted(name for name in os.listdir("/sys/class/net")),
        "rules": sh("ip rule; ip -6 rule; ip route show table all; ip -6 route show table all type local").splitlines(),
        "queues": sh("tc qdisc show; for link in lo wire0 $(ls -d /sys/class/net/en* | xargs -n 1 basename); do for way in ingress egress; do tc filter show dev $link $way; done; done").splitlines(),
        "reserved ports": read("/proc/sys/net/ipv4/ip_local_reserved_ports").strip(),
        "units": [line.split()[0] for line in output("systemctl", "list-units", "--all", "--plain", "--no-legend", "weir*").splitlines()],
        "run": sorted(path for path in glob.glob("/run/**/*weir*", recursive=True) if not path.startswith("/run/story/")),
        "users": [line for line in read("/etc/passwd").splitlines() + read("/etc/group").splitlines() if "weir" in line],
        "names": sh("find /home /tmp /var/lib/systemd /etc/systemd -name '*weir*'").splitlines(),
        "processes": sh("ps -eo args= | grep '[w]eir-' || true").splitlines(),
    }


def nothing_of_weir_is_there():
    found = files()
    check(not [path for path in found if "weir" in path], "there are files of Weir")
    before = traces()
    for name in ("cgroups", "pins", "units", "run", "users", "names", "processes"):
        check(not before[name], f"{name}: {before[name]}")
    write(FILES, json.dumps({"files": found, "traces": before}))
    return f"{read('/etc/debian_version').strip()}, {output('systemctl', '--version').splitlines()[0]}, {len(found)} paths"


def packages_are_installed():
    said = sh("apt-get install --yes --no-install-recommends /run/story/old/weir-agent_*.deb /run/story/old/weir-scheduler_*.deb")
    check("This node cannot run containers" not in said, f"the node is not ready: {said}")
    check("starts when it has certificates" in said, f"it is not said that certificates are wanted: {said}")
    active("weir-agent")
    active("weir-containers")
    check(unit("weir-scheduler", "ActiveState") == "inactive", "the scheduler started without certificates")
    report = json.loads(output("weir-agent", "doctor", "--json"))
    check(report["ready"], report)
    by_name = {one["name"]: one for one in report["checks"]}
    for name in ("cgroup v2", "cpu controller", "memory controller", "containers' cgroup"):
        check(by_name[name]["status"] == "ok", by_name[name])
    # It tells of what is changed or missing, and ends well all the same.
    changed = output("dpkg", "--verify", "weir-agent", "weir-scheduler")
    check(not changed, f"files of the packages are not as they were: {changed}")
    degraded = [one["name"] for one in report["checks"] if one["status"] != "ok"]
    return f"degraded: {', '.join(degraded)}"


def certificates_are_made():
    """As /usr/share/doc/weir-scheduler/README.Debian says it."""
    sh(
        "weir certs init --directory weir-certs --host story --agent node1 && cd weir-certs"
        " && install -d /etc/weir/certs && install -m 644 ca.pem /etc/weir/certs/"
        " && install -m 644 scheduler-main.pem /etc/weir/certs/scheduler.pem"
        " && install -m 600 -o weir-scheduler scheduler-main-key.pem /etc/weir/certs/scheduler-key.pem"
        " && install -m 644 agent-node1.pem /etc/weir/certs/agent.pem"
        " && install -m 600 agent-node1-key.pem /etc/weir/certs/agent-key.pem"
    )


def the_scheduler_and_the_agent_find_each_other():
    run("systemctl", "start", "weir-scheduler")
    active("weir-scheduler")
    configuration = read("/etc/weir/agent.toml")
    changed = configuration.replace("# addresses = []", 'addresses = ["story:5151"]')
    check(changed != configuration, "agent.toml has no line `# addresses = []`")
    write("/etc/weir/agent.toml", changed)
    run("systemctl", "restart", "weir-agent")
    wait("the agent is registered", node_is_here)


def node_is_here():
    return [one for one in listed("agents") if one["name"] == "node1" and is_active(one)]


def is_active(agent):
    return agent["state"] == "connected"


def a_reservation_and_a_volume_are_made():
    weir("reserve", "--agent", "node1", "--role", "db", "cpus:0.5;mem:128;disk:200")
    weir("volume", "create", "--agent", "node1", "--role", "db", "--size", "100", "data")
    check_reserved()


def check_reserved():
    volumes = weir("volume", "list")
    check("data" in volumes and "node1" in volumes, volumes)
    reservations = weir("reservations")
    check("cpus" in reservations and "db" in reservations, reservations)


def a_task_keeps_something_in_its_volume():
    keep = run_task("--role", "db", "--volume", "data:data")
    run(*keep, "sh", "-c", "echo kept > data/file")
    run(*keep, "sh", "-c", 'test "$(cat data/file)" = kept')
    run(*run_task("--role", "db"), "sh", "-c", "exit 7", status=7)


def run_task(*options):
    return ("weir", "--config", CONFIGURATION, "run", "--timeout", "100s", *options, "--")

"""Weir works: servers, limits, and agents that come and go while containers run."""

import json
import os
import re
import signal
import time

from coming import node_is_here, run_task
from told import PATIENCE, Load, active, check, container, containers, get, output, read, run, sh, unit, wait, write

DELEGATED = "/sys/fs/cgroup/weir.slice/weir-containers.service"


def a_web_server_answers():
    serve = 'exec python3 -m http.server "$WEIR_PORT0"'
    run(*run_task("--detach", "--name", "web", "--ports", "1")[:-1], "--", "sh", "-c", serve)
    port = web_port()
    for address in (f"127.0.0.1:{port}", f"10.0.2.15:{port}"):
        wait(f"the server answers at {address}", lambda: get(f"http://{address}/"))
    run("ip", "netns", "exec", "outside", "curl", "--silent", "--fail", "--max-time", "30", f"http://10.0.2.15:{port}/")
    return f"port {port}, from the node and from the wire"


def web():
    found = [one for one in containers() if any("http.server" in word for word in one["argv"])]
    check(len(found) == 1, f"there is not one web server but {len(found)}: {containers()}")
    check(found[0]["state"]["state"] == "running", found[0])
    return found[0]


def web_port():
    return web()["ports"].split(",")[0].split("-")[0]


def task_cgroup(name):
    return f"{DELEGATED}/containers/{container(name)['id']}/task"


def limits_of_containers_hold():
    run("weir-agent", "exec", "--detach", "--name", "burner", "--cpus", "0.2", "--mem", "64M", "--", "sh", "-c", "while :; do :; done")
    cgroup = task_cgroup("burner")
    check(read(f"{cgroup}/cpu.max") == "20000 100000\n", read(f"{cgroup}/cpu.max"))
    check(read(f"{cgroup}/memory.max") == f"{64 << 20}\n", read(f"{cgroup}/memory.max"))
    first, begun = used(cgroup), time.monotonic()
    time.sleep(5)
    share = (used(cgroup) - first) / (time.monotonic() - begun)
    check(0.1 < share < 0.25, f"a container with 0.2 CPUs used {share:.2f}")
    run("weir-agent", "kill", "burner")
    # Against the same without a limit: only that shows that the limit did it.
    hold = "import time; held = bytearray(96 << 20); held[::4096] = b'x' * len(held[::4096])"
    run("weir-agent", "exec", "--mem", "256M", "--", "python3", "-c", hold)
    run("weir-agent", "exec", "--name", "greedy", "--mem", "48M", "--", "python3", "-c", hold, status=137)
    said = [line for line in output("weir-agent", "ps", "--all").splitlines() if "greedy" in line]
    check(len(said) == 1 and "killed at its memory limit" in said[0], f"it is not said why it ended: {said}")
    counted = re.search(r"^weir_agent_containers_out_of_memory_total (\d+)$", output("curl", "-fsS", "http://127.0.0.1:9464/metrics"), re.M)
    check(counted and int(counted[1]) >= 1, f"it was not counted: {counted}")
    return f"0.2 CPUs are {share:.2f}; 96 MiB fit into 256 and not into 48"


def used(cgroup):
    return int(re.search(r"^usage_usec (\d+)$", read(f"{cgroup}/cpu.stat"), re.M)[1]) / 1e6


def systemd_keeps_what_is_delegated_as_it_is():
    """The tree is divided in two: systemd's part is not changed by Weir, Weir's not by systemd."""
    made = json.loads(read("/var/lib/weir/cgroups.json"))
    changed = made["made"] + [path for path, _ in made["passed_on"]]
    outside = [path for path in changed if not (path + "/").startswith(DELEGATED + "/")]
    check(not outside, f"the agent changed cgroups that are systemd's: {outside}")
    run("weir-agent", "exec", "--detach", "--name", "held", "--cpus", "0.3", "--mem", "64M", "--", "sleep", "1d")
    cgroup = task_cgroup("held")
    before = tree()
    run("systemctl", "daemon-reload")
    # What has systemd write controllers of its own into the tree, above and beside the containers.
    run("systemctl", "set-property", "--runtime", "weir.slice", "CPUWeight=200", "MemoryMax=1G", "TasksMax=5000")
    run("systemctl", "set-property", "--runtime", "weir-agent.service", "CPUWeight=50", "IOWeight=50")
    run("systemctl", "daemon-reexec")
    wait("systemd is back", lambda: output("systemctl", "is-system-running") == "running\n")
    check(tree() == before, f"systemd changed what it had delegated: {before} became {tree()}")
    check(read(f"{cgroup}/cpu.max") == "30000 100000\n", "the limit is gone")
    run("systemctl", "revert", "weir.slice", "weir-agent.service")
    check(tree() == before, "systemd changed what it had delegated")
    run("weir-agent", "kill", "held")


def tree():
    """Returns the controllers and the processes of everything below the delegated cgroup."""
    return {
        path: (read(f"{path}/cgroup.subtree_control"), read(f"{path}/cgroup.procs"))
        for path, _, _ in os.walk(f"{DELEGATED}/containers")
    }


def replaced(what, patience=PATIENCE):
    """Has the agent replaced under load, and checks that nobody noticed. Returns what the load saw."""
    before, old, lost = web(), unit("weir-agent", "MainPID"), dropped()
    load = Load(web_port())
    what()

    def is_new():
        return unit("weir-agent", "ActiveState") == "active" and unit("weir-agent", "MainPID") not in ("0", old)

    wait("a new agent is up", is_new, patience)
    wait("the new agent is registered", node_is_here)
    # Some more requests that the new agent's data plane carries.
    time.sleep(5)
    said = load.end()
    # TCP says again what was lost, and nobody at its ends notices.
    now_lost = dropped()
    check(now_lost == lost, f"packets were dropped: {lost} became {now_lost}")
    after = web()
    check(after["state"] == before["state"], f"the container is another: {before['state']} became {after['state']}")
    return said


def dropped():
    """Returns how many packets of the web server were dropped, by direction and reason."""
    found = re.findall(r'"([rt]x_drops)":\s*(\{[^}]*\})', output("weir-agent", "stats", web()["id"], "--json"))
    check(len(found) == 2, f"these are not drops by direction: {found}")
    return {way: json.loads(reasons) for way, reasons in found}


def a_restart_under_load_loses_nothing():
    return replaced(lambda: run("systemctl", "restart", "weir-agent"))


def a_kill_under_load_loses_nothing():
    restarts = int(unit("weir-agent", "NRestarts"))
    said = replaced(lambda: os.kill(int(unit("weir-agent", "MainPID")), signal.SIGKILL))
    check(int(unit("weir-agent", "NRestarts")) == restarts + 1, "it was not systemd that started it again")
    return said


def an_agent_that_hangs_is_replaced():
    """The watchdog, with less patience than is shipped: that it is a minute there needs no proof."""
    write("/run/systemd/system/weir-agent.service.d/story.conf", "[Service]\nWatchdogSec=15\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "weir-agent")
    active("weir-agent")
    check(unit("weir-agent", "WatchdogUSec") == "15s", unit("weir-agent", "WatchdogUSec"))
    # Longer than that, and it is fed.
    process = unit("weir-agent", "MainPID")
    time.sleep(20)
    check(unit("weir-agent", "MainPID") == process, "an agent that works was taken for one that hangs")
    said = replaced(lambda: os.kill(int(process), signal.SIGSTOP))
    check("watchdog" in sh("journalctl --boot --no-pager --unit weir-agent").lower(), "it was not the watchdog")
    os.remove("/run/systemd/system/weir-agent.service.d/story.conf")
    os.rmdir("/run/systemd/system/weir-agent.service.d")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "weir-agent")
    active("weir-agent")
    wait("the agent is registered", node_is_here)
    return said


def a_reload_reads_new_certificates():
    processes = {name: unit(name, "MainPID") for name in ("weir-agent", "weir-scheduler")}
    before = {name: read_again(name) for name in processes}
    sh("cd weir-certs && mkdir again && weir certs issue --directory . --output-directory again agent node1 && cd again && install -m 644 agent-node1.pem /etc/weir/certs/agent.pem && install -m 600 agent-node1-key.pem /etc/weir/certs/agent-key.pem")
    for name in processes:
        run("systemctl", "reload", name)
        wait(f"{name} reads its certificates again", lambda: read_again(name) > before[name])
        check(unit(name, "MainPID") == processes[name], f"{name} is another process")
    wait("the agent is registered", node_is_here)


def read_again(name):
    return sh(f"journalctl --boot --no-pager --unit {name}").count("the certificates were read again")


def version(package):
    return output("dpkg-query", "--show", "--showformat", "${Version}", package)


def an_upgrade_under_load_loses_nothing():
    old = version("weir-agent")
    # The new one brings another agent.toml, and that of this node was changed, too: it stays.
    keep, own = "--option Dpkg::Options::=--force-confold", read("/etc/weir/agent.toml")
    said = replaced(lambda: sh(f"apt-get install --yes --no-install-recommends {keep} /run/story/new/weir-agent_*.deb /run/story/new/weir-scheduler_*.deb"))
    check(read("/etc/weir/agent.toml") == own, "agent.toml of this node was changed")
    check(read("/etc/weir/agent.toml.dpkg-dist") != own, "it did not bring another agent.toml")
    new = version("weir-agent")
    check(new != old, f"it is {old} still")
    active("weir-scheduler")
    # And back, as the guide for operators has it.
    back = replaced(lambda: sh(f"apt-get install --yes --no-install-recommends {keep} --allow-downgrades /run/story/old/weir-agent_*.deb"))
    check(version("weir-agent") == old, "it was not put back")
    sh(f"apt-get install --yes --no-install-recommends {keep} /run/story/new/weir-agent_*.deb")
    wait("the agent is registered", node_is_here)
    web()
    return f"{old} to {new}: {said}; and back: {back}"


def what_is_missing_is_said_at_installation():
    shipped, process = read("/etc/weir/agent.toml"), unit("weir-agent", "MainPID")
    write("/etc/weir/agent.toml", shipped.replace('# executor = ""', 'executor = "/nonexistent/executor"'))
    said = sh("dpkg-reconfigure --frontend noninteractive weir-agent")
    check("This node cannot run containers as it is" in said, said)
    check(re.search(r"^MISSING\s+executor", said, re.M), said)
    check("The former agent goes on" in said and unit("weir-agent", "MainPID") == process, f"an agent that works was ended: {said}")
    write("/etc/weir/agent.toml", shipped)
    run("systemctl", "restart", "weir-agent")
    active("weir-agent")
    wait("the agent is registered", node_is_here)
    web()


def a_key_that_the_scheduler_cannot_read_ends_no_scheduler_that_works():
    key, process = "/etc/weir/certs/scheduler-key.pem", unit("weir-scheduler", "MainPID")
    before = os.stat(key)
    os.chown(key, 0, 0)
    os.chmod(key, 0o600)
    said = sh("dpkg-reconfigure --frontend noninteractive weir-scheduler")
    check("The former scheduler goes on" in said and unit("weir-scheduler", "MainPID") == process, f"it was ended: {said}")
    run("systemctl", "restart", "weir-scheduler", status=1)
    wait("systemd gives it up", lambda: unit("weir-scheduler", "ActiveState") == "failed")
    check(unit("weir-scheduler", "ExecMainStatus") == "64", unit("weir-scheduler", "ExecMainStatus"))
    os.chown(key, before.st_uid, before.st_gid)
    os.chmod(key, before.st_mode & 0o777)
    run("systemctl", "start", "weir-scheduler")
    active("weir-scheduler")
    wait("the agent is registered", node_is_here)


def a_configuration_that_makes_no_sense_is_tried_once():
    for name, package in (("weir-agent", "agent"), ("weir-scheduler", "scheduler")):
        path = f"/etc/weir/{package}.toml"
        shipped, process = read(path), unit(name, "MainPID")
        write(path, shipped + "\n[nonsense]\n")
        said = sh(f"dpkg-reconfigure --frontend noninteractive {name}")
        check("nonsense" in said and f"The former {package} goes on" in said, said)
        check(unit(name, "MainPID") == process, f"{name} that works was ended: {said}")
        run("systemctl", "restart", name, status=1)
        wait(f"systemd gives {name} up", lambda: unit(name, "ActiveState") == "failed")
        check(unit(name, "ExecMainStatus") == "64", unit(name, "ExecMainStatus"))
        check(unit(name, "NRestarts") == "0", f"{name} was tried again {unit(name, 'NRestarts')} times")
        write(path, shipped)
        run("systemctl", "start", name)
        active(name)
        wait("the agent is registered", node_is_here)
    web()

"""Weir goes: a reboot, a drained node, packages that are removed and purged."""

import json
import os
import re

from coming import FILES, check_reserved, files, node_is_here, run_task, traces
from told import active, check, containers, listed, output, read, run, sh, wait, weir

# Copies that the tools for users make of what was, and the linker's cache.
WRITTEN_ANEW = ("/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/ld.so.cache")


def the_machine_is_rebooted():
    """What must come back is there; the boot itself is begun by the story."""
    check_reserved()
    run(*run_task("--detach", "--name", "lost-by-reboot"), "sleep", "1d")
    check(tasks("TASK_RUNNING"), "no task runs that could be lost")


def tasks(state):
    return [one["name"] for one in listed("tasks", "--all") if one["state"] == state]


def reservations_and_volumes_come_back():
    active("weir-scheduler")
    active("weir-agent")
    wait("the agent is registered", node_is_here)
    check_reserved()
    run(*run_task("--role", "db", "--volume", "data:data"), "sh", "-c", 'test "$(cat data/file)" = kept')
    wait("the tasks of the former boot are told to have ended", lambda: not tasks("TASK_RUNNING"))
    ended = next(one for one in listed("tasks", "--all") if one["name"] == "lost-by-reboot")
    # What had the time to end at shutdown is told as it ended.
    by_shutdown = ended["state"] == "TASK_FAILED" and ended["exit_signal"] == 15
    check(ended["state"] == "TASK_LOST" or by_shutdown, ended)
    check(not containers(), containers())
    return f"{ended['state']}, {ended['reason']}"


def a_drained_agent_goes_and_comes_back():
    for framework in listed("frameworks"):
        if framework["state"] != "completed":
            weir("teardown", framework["id"])
    weir("drain", "node1")
    wait("the drained agent goes", lambda: not node_is_here())
    run("systemctl", "restart", "weir-agent")
    wait("the agent comes back", node_is_here)
    check_reserved()
    run(*run_task(), "true")


def removed_packages_leave_no_process():
    run(*run_task("--detach", "--name", "last"), "sleep", "1d")
    sh("apt-get remove --yes weir-agent weir-scheduler")
    now = traces()
    for name in ("processes", "pins", "cgroups"):
        check(not now[name], f"{name} are left: {now[name]}")
    # The configuration and the state stay until a purge.
    for path in ("/etc/weir/agent.toml", "/var/lib/weir/agent.db", "/var/lib/weir-scheduler"):
        check(os.path.exists(path), f"{path} is gone")
    return f"{stops_were_in_time()} stops, none too late"


def stops_were_in_time():
    """Returns how often systemd stopped a unit of Weir's, none of which it had to kill for taking too long."""
    said = [line for line in output("journalctl", "--no-pager", "--identifier=systemd").splitlines() if "weir-" in line]
    late = [line for line in said if re.search("(stop|final)-sig(term|kill)' timed out", line)]
    check(not late, late)
    stops = sum("Stopped weir-" in line for line in said)
    check(stops >= 12, f"the journal knows of {stops} stops of units that were stopped more often: {said}")
    return stops


def a_purge_leaves_nothing():
    sh("apt-get purge --yes weir-agent weir-scheduler")
    before, now = json.loads(read(FILES)), {"files": files(), "traces": traces()}
    problems = []
    for path in sorted(set(before["files"]) | set(now["files"])):
        was, is_now = before["files"].get(path), now["files"].get(path)
        # What the story itself has changed.
        if was != is_now and not path.startswith("/etc/prometheus/") and path not in WRITTEN_ANEW:
            problems.append(f"{path} was {was} and is {is_now}")
    for name, trace in now["traces"].items():
        was, is_now = steady(before["traces"][name]), steady(trace)
        if was != is_now:
            problems.append(f"{name} were {was} and are {is_now}")
    check(not problems, "; ".join(problems))
    check("weir" not in output("dpkg", "--list"), "dpkg knows of Weir still")
    check(output("systemctl", "is-system-running") == "running\n", sh("systemctl --failed"))
    return f"{len(now['files'])} paths are as before"


def steady(trace):
    """Returns what of a trace does not change by itself: routers tell of routes again and again, and each boot gives the wire new local addresses."""
    if isinstance(trace, str):
        return trace
    return sorted(line for line in trace if "proto ra" not in line and "fe80:" not in line)

"""Every directive of the units that closes something is shown to do so, by an attempt that it prevents."""

import json
import os
import re

from told import Failed, check, output, read, run, sh, unit

UNITS = ("weir-agent", "weir-containers", "weir-scheduler")
TRY = ("python3", "-I", "/run/story/attempts.py")
# A program that makes root of whoever runs it; attempts.py knows it, too.
SETUID = "/usr/local/story-setuid-id"
# Each directive alone, as the units have it, and the attempts that fail with it and succeed without.
CLOSED = {
    "CapabilityBoundingSet": ("sets_the_clock", "removes_a_module", "reboots", "writes_to_ports_of_devices"),
    "DevicePolicy": ("opens_a_disk",),
    "KeyringMode": ("finds_a_key",),
    "LockPersonality": ("changes_its_personality",),
    "MemoryDenyWriteExecute": ("writes_and_executes_memory",),
    "NoNewPrivileges": ("becomes_root_again",),
    "PrivateDevices": ("opens_a_disk",),
    "PrivateIPC": ("sees_semaphores_of_others",),
    "PrivateTmp": ("sees_what_others_have_in_tmp",),
    "PrivateUsers": ("is_the_machines_root",),
    "ProcSubset": ("reads_of_the_machine_in_proc",),
    "ProtectClock": ("sets_the_clock",),
    "ProtectControlGroups": ("makes_a_cgroup",),
    "ProtectHome": ("writes_a_home",),
    "ProtectHostname": ("names_the_machine",),
    "ProtectKernelLogs": ("reads_the_kernels_log",),
    "ProtectKernelModules": ("removes_a_module",),
    "ProtectKernelTunables": ("tunes_the_kernel",),
    "ProtectProc": ("sees_others_processes",),
    "ProtectSystem": ("writes_below_usr", "writes_below_etc"),
    "RestrictAddressFamilies": ("opens_a_socket_of_another_family",),
    "RestrictNamespaces": ("makes_a_namespace",),
    "RestrictRealtime": ("becomes_a_realtime_process",),
    "RestrictSUIDSGID": ("makes_a_setuid_program",),
    "SystemCallArchitectures": ("makes_a_call_of_another_architecture",),
    "SystemCallFilter": ("sets_the_clock", "removes_a_module", "swaps", "reboots", "writes_to_ports_of_devices", "emulates_an_older_processor"),
    "UMask": ("leaves_files_for_others",),
}
# Attempts that a directive prevents in one of the units only, as its value differs.
ONLY = {
    "weir-scheduler": {
        "CapabilityBoundingSet": ("gives_a_file_away", "changes_its_root"),
        "ProtectHome": ("reads_a_home",),
        "RestrictAddressFamilies": ("speaks_netlink",),
        "SystemCallFilter": ("changes_its_root", "loads_a_program_into_the_kernel"),
    },
}
# What removes traces when a service ends prevents nothing while it runs and has a step of its own; a directive about errors says how.
NO_ATTEMPT = {"RemoveIPC", "SystemCallErrorNumber", "User", "Group"}
# What systemd-analyze may call them at most, of 10; its measures differ a little between versions.
EXPOSURE = {"weir-agent": 6.0, "weir-scheduler": 2.0}
# Directives of how a service is run, not of what it may do.
RUNNING = re.compile(
    r"Type|ExitType|NotifyAccess|Exec\w+|Timeout\w+|WatchdogSec|Restart\w*|KillMode|Slice|Delegate|OOMPolicy|RuntimeDirectory\w*|StateDirectory\w*"
    r"|Limit\w+|TasksMax|OOMScoreAdjust"
)


def directives(name):
    """Returns the directives of a unit's service, in order; one can be there more than once."""
    found, section = [], ""
    for line in read(f"/usr/lib/systemd/system/{name}.service").splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            key, value = line.split("=", 1)
            if not RUNNING.fullmatch(key):
                found.append((key, value))
    return found


def tried(properties, attempts=()):
    """Returns which attempts succeed in a service with these properties."""
    options = [f"--property={key}={value}" for key, value in properties]
    said = output("systemd-run", "--quiet", "--pipe", "--wait", "--collect", *options, *TRY, *attempts)
    return set(json.loads(said))


def attempts_of(name, directive):
    return CLOSED[directive] + ONLY.get(name, {}).get(directive, ())


def attempts_succeed_where_nothing_is_closed():
    """Else an attempt that fails shows nothing."""
    os.makedirs("/run/story/open", exist_ok=True)
    os.chmod("/run/story/open", 0o1777)
    sh(f"install --mode 4755 /usr/bin/id {SETUID}; touch /tmp/story-seen")
    sh("python3 -I -c 'import ctypes; ctypes.CDLL(None).semget(0x57656972, 1, 0o1666)'")
    wanted = {attempt for name in UNITS for key in CLOSED for attempt in attempts_of(name, key)}
    # A key that every service of root's would find, if it had its keyring with root's others.
    shared = ("KeyringMode", "shared")
    add = "import ctypes; ctypes.CDLL(None).syscall(248, b'user', b'story', b'x', 1, -4)"
    run("systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--property=KeyringMode=shared", "python3", "-I", "-c", add)
    missing = wanted - tried([shared, ("UMask", "0000")])
    check(not missing, f"these fail by themselves: {sorted(missing)}")
    return f"{len(wanted)} attempts"


def every_directive_alone_closes_what_it_is_for():
    count, problems, done = 0, [], set()
    for name in UNITS:
        values = {}
        for key, value in directives(name):
            if key in NO_ATTEMPT:
                continue
            check(key in CLOSED, f"{name} has {key}=, and no attempt shows that it holds")
            values.setdefault(key, []).append(value)
        for key, all_of_them in values.items():
            attempts = attempts_of(name, key)
            if not attempts or (key, *all_of_them) in done:
                continue
            done.add((key, *all_of_them))
            base = [] if key == "KeyringMode" else [("KeyringMode", "shared")]
            base += [] if key == "UMask" else [("UMask", "0000")]
            if key == "SystemCallFilter":
                base.append(("SystemCallErrorNumber", "EPERM"))
            open_still = tried(base + [(key, value) for value in all_of_them], attempts)
            count += 1
            if open_still:
                problems.append(f"{key}={' '.join(all_of_them)} of {name} does not prevent: {sorted(open_still)}")
    check(not problems, "; ".join(problems))
    return f"{count} directives"


def what_a_service_leaves_in_memory_is_removed():
    """RemoveIPC=, which counts when the last service of a user ends, and not for root: here that of a user who has no other."""
    for value, wanted in (("no", True), ("yes", False)):
        make = f"import ctypes; assert ctypes.CDLL(None).semget({0x57656900 + wanted}, 1, 0o1600) >= 0"
        options = ["--property=User=games", f"--property=RemoveIPC={value}"]
        run("systemd-run", "--quiet", "--pipe", "--wait", "--collect", *options, "python3", "-I", "-c", make)
        left = str(0x57656900 + wanted) in read("/proc/sysvipc/sem")
        check(left == wanted, f"with RemoveIPC={value} semaphores are {'left' if left else 'gone'}")
    # With the second went what the first had left.
    check(unit("weir-scheduler", "RemoveIPC") == "yes", "weir-scheduler leaves what it had in memory")


def the_units_close_all_that_they_say():
    for name in UNITS:
        attempts = sorted({attempt for key, _ in directives(name) if key in CLOSED for attempt in attempts_of(name, key)})
        open_still = tried(directives(name), attempts)
        check(not open_still, f"{name} as a whole does not prevent: {sorted(open_still)}")
        # What runs is what the file says.
        process = unit(name, "MainPID")
        user = output("ps", "-o", "user:32=,group:32=", "-p", process).split()
        wanted = dict(directives(name))
        check(user == [wanted.get("User", "root"), wanted.get("Group", "root")], f"{name} is run by {user}")
        check(unit(name, "NeedDaemonReload") == "no" and not unit(name, "DropInPaths"), f"{name} is not as its file says")
    os.remove(SETUID)


def what_stands_open_has_its_reason():
    exposure = {}
    for name in ("weir-agent", "weir-scheduler"):
        lines = json.loads(output("systemd-analyze", "security", "--no-pager", "--json=short", f"{name}.service"))
        text = read(f"/usr/lib/systemd/system/{name}.service")
        comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
        held = " ".join(value for key, value in directives(name) if key == "CapabilityBoundingSet").split()
        nameless = [one for one in held if not re.search(rf"\b{one.removeprefix('CAP_')}\b", comments)]
        check(not nameless, f"{name} has these without a reason: {nameless}")
        unexplained = [line["name"] for line in lines if line["set"] is False and not is_explained(line["name"], comments)]
        check(not unexplained, f"open in {name}, without a reason: {unexplained}")
        exposure[name] = overall(name)
    for name, most in EXPOSURE.items():
        check(exposure[name] <= most, exposure)
    return ", ".join(f"{name} {value}" for name, value in exposure.items())


def is_explained(line, comments):
    """Returns whether the unit's comments name what systemd says is open; capabilities are looked at one by one, by whoever asks."""
    key, _, value = line.partition("=")
    words = [word.removeprefix("~").removeprefix("CAP_") for word in re.split(r"[^A-Za-z_@~]+", value) if word]
    if key == "CapabilityBoundingSet":
        return True
    if key in ("SystemCallFilter", "RestrictAddressFamilies", "RestrictNamespaces"):
        return f"{key}=" in comments and (key == "RestrictNamespaces" or all(word in comments for word in words))
    return any(f"{one}=" in comments for one in re.findall(r"[A-Za-z]+(?==)", line))


def overall(name):
    said = output("systemd-analyze", "security", "--no-pager", f"{name}.service")
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    if not found:
        raise Failed(f"systemd-analyze says no level: {said[-500:]}")
    return float(found[1])

"""What steps of the story are made of: commands, waiting for a condition, and requests that are counted."""

import json
import os
import subprocess
import time
import urllib.request

# Emulated, on a busy machine, everything takes its time; what takes longer than this does not come.
PATIENCE = 120

# What the story keeps for itself: below nothing of Weir's, and on the disk.
HOME = os.path.expanduser("~")

# Where and who `weir` is.
CONFIGURATION = os.path.join(HOME, "weir-certs", "weir.toml")


class Failed(Exception):
    """A step is not as it must be."""


def check(truth, what):
    if not truth:
        raise Failed(what)


def run(*argv, status=0, timeout=600):
    """Runs a command and returns what it wrote, both streams in one."""
    ended = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout
    )
    if status is not None and ended.returncode != status:
        raise Failed(f"`{' '.join(argv)}` ended with {ended.returncode}, not {status}: {ended.stdout.strip()[-2000:]}")
    return ended.stdout


def sh(script, **options):
    return run("sh", "-c", script, **options)


def output(*argv):
    """Runs a command and returns what it wrote to stdout alone."""
    ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    if ended.returncode != 0:
        raise Failed(f"`{' '.join(argv)}` ended with {ended.returncode}: {ended.stderr.strip()[-2000:]}")
    return ended.stdout


def wait(what, condition, patience=PATIENCE):
    """Waits until the condition gives something, and returns that."""
    deadline = time.monotonic() + patience
    why = ""
    while True:
        try:
            found = condition()
            if found:
                return found
        except (Failed, OSError, ValueError) as error:
            why = f": {error}"
        if time.monotonic() > deadline:
            raise Failed(f"not within {patience} s: {what}{why}")
        time.sleep(0.2)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def unit(name, field):
    return output("systemctl", "show", "--value", "--property", field, name).strip()


def active(name):
    return wait(f"{name} is up", lambda: unit(name, "ActiveState") == "active")


def weir(*argv):
    """Runs `weir` as the operator."""
    return output("weir", "--config", CONFIGURATION, *argv)


def listed(*argv):
    return json.loads(weir(*argv, "--json"))


def containers():
    return json.loads(output("weir-agent", "ps", "--json"))


def container(name):
    return next((one for one in containers() if one["name"] == name), None)


class Load:
    """Requests to a server, one after the other on connections of their own, from two sides at once."""

    def __init__(self, port):
        here = ["python3", "/run/story/load.py", "10.0.2.15", port]
        self.children = [
            subprocess.Popen(prefix + here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for prefix in ([], ["ip", "netns", "exec", "outside"])
        ]
        for child in self.children:
            # Its first line comes with its first answer.
            check(child.stdout.readline() == "begun\n", "the first request was not answered")

    def end(self):
        """Returns how many requests there were and how long the slowest took; fails if one was lost."""
        for child in self.children:
            child.stdin.close()
        told = [json.loads(child.stdout.read()) for child in self.children]
        for child in self.children:
            child.wait(PATIENCE)
        for side, one in zip(("from the node", "from the wire"), told):
            check(not one["lost"], f"request {one['requests']} {side} was lost: {one['lost']}")
            check(one["held"], f"the connection that was held open {side} broke")
        return ", ".join(
            f"{one['requests']} requests {side}, the slowest {one['slowest']:.2f} s"
            for side, one in zip(("from the node", "from the wire"), told)
        )


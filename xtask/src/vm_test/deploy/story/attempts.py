"""What the units' directives are to prevent, tried; run inside a unit. Prints what succeeded, as JSON.

An attempt ends with an error if it is prevented. Each runs in a process of its own: some are killed.
"""

import ctypes
import json
import mmap
import os
import socket
import stat
import sys
import tempfile

LIBC = ctypes.CDLL(None, use_errno=True)
NOBODY = 65534
# Made by the story, outside of every unit.
SETUID = "/usr/local/story-setuid-id"
SEEN = "/tmp/story-seen"


class Prevented(Exception):
    pass


def must(truth, what):
    if not truth:
        raise Prevented(what)


def call(number, *arguments, but=()):
    """Calls the kernel; an error in `but` comes later than any check of rights."""
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(one) if isinstance(one, int) else one for one in arguments])
    if result < 0 and ctypes.get_errno() not in but:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def writes(path):
    def attempt():
        with open(path, "w", encoding="utf-8"):
            pass
        os.remove(path)

    return attempt


def opens_a_disk():
    with open("/dev/vda", "rb") as disk:
        disk.read(1)


def finds_a_key():
    # request_key(2), without asking anybody.
    call(249, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"story"), 0, 0)


def changes_its_personality():
    call(135, 0x0008)


def becomes_root_again():
    os.setresuid(NOBODY, NOBODY, NOBODY)
    with os.popen(SETUID + " -u") as output:
        must(output.read() == "0\n", "it stayed nobody")


def sees_what_others_have_in_tmp():
    must(os.path.exists(SEEN), "it is not there")


def sets_the_clock():
    import time

    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))


def reads_the_kernels_log():
    with open("/dev/kmsg", "rb"):
        pass


def removes_a_module():
    # delete_module(2) of one that is not there.
    call(176, ctypes.c_char_p(b"weir_is_no_module"), 0, but=(2,))


def sees_others_processes():
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    must(os.path.exists("/proc/1/cmdline"), "it is not there")


def becomes_a_realtime_process():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def makes_a_setuid_program():
    with tempfile.NamedTemporaryFile(dir="/run/story/open") as file:
        os.chmod(file.name, 0o4755)
        must(os.stat(file.name).st_mode & stat.S_ISUID, "the bit was not set")


def makes_a_call_of_another_architecture():
    # mov eax, 20 (getpid of i386); int 0x80; ret
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    must(LIBC.mprotect(ctypes.c_void_p(address), 4096, 5) == 0, "no code")
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    must(result > 0, f"the kernel says {result}")


def opens_a_socket_of_another_family():
    # One that every kernel has and neither daemon needs: of the agent's own none is missing in it.
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()


def speaks_netlink():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()


def writes_to_ports_of_devices():
    # ioperm(2)
    call(173, 0x80, 1, 1)


def swaps():
    # swapoff(2) of what is not there.
    call(168, ctypes.c_char_p(b"/story/no-swap"), but=(2,))


def reboots():
    # reboot(2) with a wrong magic number.
    call(169, 0, 0, 0, 0, but=(22,))


def emulates_an_older_processor():
    # modify_ldt(2): reads it.
    call(154, 0, 0, 0)


def changes_its_root():
    os.chroot("/")


def gives_a_file_away():
    with tempfile.NamedTemporaryFile(dir="/run/story/open") as file:
        os.chown(file.name, 1, 1)


def loads_a_program_into_the_kernel():
    # bpf(2), with attributes that no kernel takes; 6.1 looks for the licence first.
    call(321, 5, ctypes.c_char_p(bytes(128)), 128, but=(7, 14, 22))


def writes_and_executes_memory():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def sees_semaphores_of_others():
    with open("/proc/sysvipc/sem", encoding="utf-8") as file:
        must(len(file.readlines()) > 1, "none")


def is_the_machines_root():
    with open("/proc/self/uid_map", encoding="utf-8") as file:
        must(file.read().split() == ["0", "0", "4294967295"], "it is in a user namespace")


def reads_of_the_machine_in_proc():
    with open("/proc/meminfo", encoding="utf-8") as file:
        file.read()


def makes_a_cgroup():
    os.mkdir("/sys/fs/cgroup/story-attempt")
    os.rmdir("/sys/fs/cgroup/story-attempt")


def names_the_machine():
    name = socket.gethostname()
    socket.sethostname(name)


def tunes_the_kernel():
    path = "/proc/sys/vm/swappiness"
    with open(path, encoding="utf-8") as file:
        was = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(was)


def reads_a_home():
    must("story.json" in os.listdir("/root") or ".bashrc" in os.listdir("/root"), "it is empty")


def makes_a_namespace():
    # unshare(2) of the host's name.
    call(272, 0x04000000)


def leaves_files_for_others():
    with tempfile.TemporaryDirectory(dir="/run/story/open") as directory:
        path = os.path.join(directory, "file")
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
        must(os.stat(path).st_mode & 0o002, "nobody else may write it")


ATTEMPTS = {name: one for name, one in globals().items() if callable(one) and getattr(one, "__module__", "") == __name__}
for part in ("Prevented", "must", "call", "writes"):
    del ATTEMPTS[part]
ATTEMPTS["writes_below_usr"] = writes("/usr/story-attempt")
ATTEMPTS["writes_below_etc"] = writes("/etc/story-attempt")
ATTEMPTS["writes_a_home"] = writes(os.path.join("/root", "story-attempt"))


def succeeds(attempt):
    child = os.fork()
    if child == 0:
        # What it says on its way is not for the report.
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        try:
            attempt()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    print(json.dumps([name for name in sys.argv[1:] or sorted(ATTEMPTS) if succeeds(ATTEMPTS[name])]))

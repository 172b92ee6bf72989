#!/bin/busybox sh
# The first process of a guest: makes it a system, runs what /weir/job says, and ends it.
#
# The kernel's own log goes to the first serial line, everything else to the second, where lines that
# begin with `weir-vm:` are for xtask.
#
# The kernel unpacks it into a root that pivot_root(2) refuses, and containers need that: it moves to another first.
if [ -z "$WEIR_MOVED" ]; then
    /bin/busybox mkdir /moved
    /bin/busybox mount -t tmpfs -o mode=755,size=75% none /moved
    for entry in /*; do
        [ "$entry" = /moved ] || /bin/busybox cp -a "$entry" /moved/
    done
    export WEIR_MOVED=1
    exec /bin/busybox switch_root /moved /init
fi
/bin/busybox mkdir -p /dev /proc /sys /run /tmp /applets
/bin/busybox mount -t devtmpfs none /dev
exec </dev/null >/dev/ttyS1 2>&1
/bin/busybox --install -s /applets
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/applets HOME=/root LC_ALL=C
stty -F /dev/ttyS1 raw
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs none /run
# Not on /tmp: the tests may have been built below it, and it is memory anyway.
chmod 1777 /tmp
mkdir -p /dev/pts /dev/shm /var/lib /var/tmp /root
mount -t devpts none /dev/pts
mount -t tmpfs none /dev/shm
mount -t bpf none /sys/fs/bpf
mount -t cgroup2 none /sys/fs/cgroup
mount -t tracefs none /sys/kernel/tracing
echo "+cpu +memory +pids +io +cpuset" >/sys/fs/cgroup/cgroup.subtree_control
ln -sf /proc/self/fd /dev/fd
[ -e /var/run ] || ln -s /run /var/run
[ -e /bin/sh ] || ln -s busybox /bin/sh
mkdir -p /etc
echo "root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin" >/etc/passwd
echo "root:x:0:
nogroup:x:65534:" >/etc/group
: >/etc/resolv.conf
echo guest >/etc/hostname
# Nothing asks for these by name: their devices are there once they are.
modprobe tun
modprobe -a virtio_pci virtio_blk
ip link set lo up
echo "weir-vm: ready $(uname -r)"
[ -f /weir/job ] && . /weir/job
echo "weir-vm: done"
sync
# The line is slow, and what was not sent is lost.
sleep 1
reboot -f

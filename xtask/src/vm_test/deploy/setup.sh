#!/bin/sh
# Makes a stock Debian of what mmdebstrap unpacked in $1: with kernel $2, a network, and one unit, which begins the story. Nothing is
# masked, and nothing is made for Weir. $3 is the suite from which the kernel's own needs come.
set -eu
root=$1 release=$2 suite=$3

# What is needed to find the disk, and no more: emulated, every module takes its time.
printf 'MODULES=list\nCOMPRESS=gzip\n' >"$root/etc/initramfs-tools/conf.d/story"
printf 'virtio_pci\nvirtio_blk\next4\n' >>"$root/etc/initramfs-tools/modules"
# A mirror drops the configuration of a kernel, of which its image depends, before the image. An empty package stands for it, so that
# apt works as on a machine that had it in time.
needed=$(for package in "$root"/tmp/kernel-*.deb; do dpkg-deb --field "$package" Depends; done |
    tr ',' '\n' | sed -n "s/^ *\(linux-base-$release\) (= \(.*\))\$/\1 \2/p" | head -n 1)
if [ -n "$needed" ] && [ -z "$(chroot "$root" apt-cache madison "${needed% *}")" ]; then
    base=$(mktemp -d)
    mkdir "$base/DEBIAN"
    printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: nobody <nobody@localhost>\nDescription: stands for what the mirror has no more\n' \
        $needed >"$base/DEBIAN/control"
    chmod 755 "$base"
    dpkg-deb --build --root-owner-group "$base" "$root/tmp/kernel-base.deb"
    rm -r "$base"
fi
chroot "$root" sh -c "apt-get install --yes --no-install-recommends --target-release $suite /tmp/kernel-*.deb"
rm "$root"/tmp/kernel-*.deb
[ -e "$root/boot/initrd.img-$release" ] || chroot "$root" update-initramfs -c -k "$release"

printf '/dev/vda / ext4 defaults 0 1\n' >"$root/etc/fstab"
printf 'story\n' >"$root/etc/hostname"
printf '127.0.0.1 localhost\n10.0.2.15 story\n' >"$root/etc/hosts"
# What the emulator's own network expects.
printf '[Match]\nName=en*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' >"$root/etc/systemd/network/10-wire.network"
cat >"$root/etc/systemd/system/story.service" <<'END'
[Unit]
Description=What is tried on this machine
After=multi-user.target network-online.target
Wants=network-online.target

[Service]
Environment=HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
ExecStart=/bin/sh -c 'mkdir -p /run/story && tar -C /run/story -xf /dev/vdb && exec /bin/sh /run/story/begin.sh'

[Install]
WantedBy=multi-user.target
END
chroot "$root" systemctl enable systemd-networkd.service story.service

"""The mounts of a system with a first process of its own, as lines of a shell script that runs in its mount namespace:
`LAYER`, then `FILES`, then `ENTER`. Who uses them: `clean_debian` and `systemd`, which add what is theirs."""

from __future__ import annotations

# $at: an empty folder that all of it is in. $lower: the system below a layer that is in memory. What follows is run in the new root.
LAYER = r"""
mount -t tmpfs -o mode=755 tmpfs "$at"
mkdir "$at/upper" "$at/work" "$at/root"
mount -t overlay -o "lowerdir=$lower,upperdir=$at/upper,workdir=$at/work" overlay "$at/root"
cd "$at/root"
"""

# The kernel is this machine's, so its settings can't be written.
FILES = r"""
mount -t proc proc proc
mount --bind -o ro proc/sys proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
"""

ENTER = r"""
mkdir .before
pivot_root . .before
cd /
umount -l .before
rmdir .before
"""

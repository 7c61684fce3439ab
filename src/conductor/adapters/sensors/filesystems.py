"""The file systems that work may use, and the room left on them.

Covered: local disks, network shares, a container's root; one entry for each device however often it is mounted.
Not covered: disks that are not mounted, quotas. Memory file systems, images and boot partitions are no place for work.
"""

import re
from collections.abc import Iterator
from typing import Final

import psutil

from conductor.adapters.sensors.tree import Tree
from conductor.domain.node import Disk

_FOR_WORK: Final = frozenset({
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "ntfs", "ntfs3", "fuseblk", "exfat", "overlay",
    "nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "fuse.sshfs", "fuse.glusterfs", "9p", "virtiofs",
})  # fmt: skip
_NOT_FOR_WORK: Final = re.compile(r"/(boot|snap|var/lib/(docker|containers|snapd)|etc)(/|$)")


def disks(tree: Tree) -> tuple[Disk, ...]:
    """File systems for work, in the order they were mounted."""
    found: dict[str, Disk] = {}
    for device, mount_point in _mounts(tree):
        disk = _measure(tree, mount_point)
        if disk is not None and device not in found:
            found[device] = disk
    return tuple(found.values())


def free_bytes(folder: str) -> int | None:
    """Bytes an ordinary user may still write in the file system of `folder`; None when it is not there."""
    try:
        return psutil.disk_usage(folder).free
    except OSError:
        return None


def _mounts(tree: Tree) -> Iterator[tuple[str, str]]:
    """Device and mount point of each file system for work; psutil answers where there is no `/proc`."""
    if not tree.exists("proc/mounts"):
        yield from ((part.device, part.mountpoint) for part in psutil.disk_partitions(all=False))
        return
    for line in (tree.text("proc/mounts") or "").splitlines():
        device, mount_point, kind = [*line.split(), "", "", ""][:3]
        mount_point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mount_point)
        if kind in _FOR_WORK and not _NOT_FOR_WORK.match(mount_point):
            yield device, mount_point


def _measure(tree: Tree, mount_point: str) -> Disk | None:
    path = tree.path(mount_point.lstrip("/"))
    try:
        if not path.is_dir():  # containers have single files mounted
            return None
        usage = psutil.disk_usage(str(path))
    except OSError:
        return None
    return Disk(mount_point=mount_point, total_bytes=usage.total, free_bytes=usage.free) if usage.total else None

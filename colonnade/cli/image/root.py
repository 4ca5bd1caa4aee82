# SPDX-License-Identifier: Apache-2.0
"""The root of an image, as a tar archive on its way: what boots it is taken out, the rest goes on.

The kernel and the modules that find the root are needed before there is a root, and the books of
what is installed make the bill of materials. Read once, from the first member to the last.
"""

import io
import lzma
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import IO, Final

import msgspec

from colonnade.domain.errors import Broken

# What a machine of a cloud may have its disk on, and what the root is.
DRIVERS: Final = ("virtio_blk", "virtio_scsi", "ahci", "ata_piix", "nvme", "sd_mod", "squashfs")
LEFT_OUT: Final = ("boot/", "dev/")
BUSYBOX: Final = "usr/bin/busybox"
STATUS: Final = "var/lib/dpkg/status"


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """`modules` in the order that they must be loaded in."""

    kernel: bytes
    busybox: bytes
    modules: Mapping[str, bytes]
    status: str
    metadata: tuple[str, ...]


def pass_on(source: IO[bytes], target: IO[bytes]) -> Taken:
    """Raises Broken for an archive without a kernel."""
    kept: dict[str, bytes] = {}
    with (
        tarfile.open(fileobj=source, mode="r|") as read,
        tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as written,
    ):
        for member in read:
            name = member.name.removeprefix("./")
            content: IO[bytes] | None = read.extractfile(member) if member.isreg() else None
            if content is not None and _is_wanted(name):
                kept[name] = content.read()
                content = io.BytesIO(kept[name])
            if not name.startswith(LEFT_OUT):
                written.addfile(member, content)
    return _sorted_out(kept)


def _is_wanted(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        name in (BUSYBOX, STATUS)
        or name.startswith("boot/vmlinuz-")
        or (path.name == "METADATA" and path.parent.suffix == ".dist-info")
        or (name.startswith("usr/lib/modules/") and path.name == "modules.dep")
        or (name.startswith("usr/lib/modules/") and _module(name) is not None)
    )


def _module(name: str) -> str | None:
    """What a module is called; None for a file that is none."""
    stem, dot, _ = PurePosixPath(name).name.partition(".ko")
    return stem.replace("-", "_") if dot else None


def _sorted_out(kept: Mapping[str, bytes]) -> Taken:
    kernels = [name for name in kept if name.startswith("boot/")]
    books = [name for name in kept if name.endswith("modules.dep")]
    if len(kernels) != 1 or len(books) != 1 or BUSYBOX not in kept:
        raise Broken(f"the root has {len(kernels)} kernels, and must have one, with busybox")
    folder = PurePosixPath(books[0]).parent
    loaded: dict[str, bytes] = {}
    needs = dict(line.split(":", 1) for line in kept[books[0]].decode().splitlines())
    for file, others in needs.items():
        if _module(file) not in DRIVERS:
            continue
        for one in (*reversed(others.split()), file):  # what it needs comes last there
            loaded.setdefault(_module(one) or "", _plain(kept[str(folder / one)]))
    return Taken(
        kernel=kept[kernels[0]],
        busybox=kept[BUSYBOX],
        modules=loaded,
        status=kept[STATUS].decode(),
        metadata=tuple(kept[name].decode() for name in kept if name.endswith("/METADATA")),
    )


def _plain(module: bytes) -> bytes:
    return lzma.decompress(module) if module[:6] == b"\xfd7zXZ\0" else module

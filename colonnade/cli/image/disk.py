# SPDX-License-Identifier: Apache-2.0
"""The bytes of a disk that a BIOS boots, written without root: no mount, no loop device.

    sector 0          GRUB's first sector, with the table of two partitions
    sector 1 ...      GRUB, with its only menu entry in it
    1 MiB             partition 1: a tar archive of the kernel and its initrd, which GRUB reads
    after it          partition 2: the root, squashfs
    end               whole MiB

Same parts, same bytes. It knows neither Debian nor amphorae.
"""

import gzip
import io
import struct
import tarfile
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

SECTOR: Final = 512
MIB: Final = 1024 * 1024
CODE_BYTES: Final = 440  # of the first sector; the disk's signature and the table follow
LINUX: Final = 0x83
_PARTITION: Final = struct.Struct("<B3sB3sII")
_ANYWHERE: Final = b"\xfe\xff\xff"  # cylinders, heads and sectors: nobody counts them
FILE, FOLDER = 0o100000, 0o040000


class TooLarge(ValueError):
    """A part has no room."""


def write(place: Path, boot: tuple[bytes, bytes], kernel: bytes, root: Path) -> None:
    """`boot`: GRUB's first sector, and GRUB. Raises TooLarge."""
    first, core = boot
    if SECTOR + len(core) > MIB:
        raise TooLarge(f"GRUB has {len(core)} bytes, more than there are before 1 MiB")
    starts = MIB, _up(MIB + len(kernel))
    sizes = len(kernel), root.stat().st_size
    table = b"".join(
        _PARTITION.pack(flag, _ANYWHERE, LINUX, _ANYWHERE, start // SECTOR, -(-size // SECTOR))
        for flag, start, size in zip((0x80, 0), starts, sizes, strict=True)
    )
    signature = sha256(kernel).digest()[:4]
    head = first[:CODE_BYTES] + signature + bytes(2) + table + bytes(32) + b"\x55\xaa"
    with place.open("wb") as disk, root.open("rb") as system:
        disk.write(head + core)
        disk.seek(starts[0])
        disk.write(kernel)
        disk.seek(starts[1])
        while part := system.read(MIB):
            disk.write(part)
        disk.truncate(_up(starts[1] + sizes[1]))


def archive(files: Mapping[str, bytes], moment: int) -> bytes:
    """A tar archive of files that only root reads."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o400, moment
            made.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def initrd(folders: Iterable[str], files: Mapping[str, bytes]) -> bytes:
    """A compressed archive as kernels take it for their first root (cpio, format newc). All files
    are programs."""
    entries = [*((name, FOLDER | 0o755, b"") for name in folders)]
    entries += [(name, FILE | 0o755, content) for name, content in files.items()]
    written = bytearray()
    for number, (name, mode, content) in enumerate((*entries, ("TRAILER!!!", 0, b"")), 1):
        numbers = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % one for one in numbers)
        written += _padded(head + name.encode() + b"\0") + _padded(content)
    return gzip.compress(bytes(written), 9, mtime=0)


def _padded(text: bytes) -> bytes:
    return text + bytes(-len(text) % 4)


def _up(size: int) -> int:
    return -(-size // MIB) * MIB

# SPDX-License-Identifier: Apache-2.0
"""The parts of an amphora's image that are made here: disk, initrd, bill of materials, lock."""

import gzip
import io
import json
import lzma
import struct
import tarfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from colonnade.cli.image import build, contents, disk, root, sbom
from colonnade.domain.errors import Broken

ROOT = Path(__file__).parents[2]
BOOT = b"\x90" * 512, b"GRUB" * 300
STATUS = """\
Package: haproxy
Status: install ok installed
Architecture: amd64
Version: 3.0.11-1+deb13u1
Source: haproxy (3.0)

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
METADATA = (
    "Metadata-Version: 2.4\nName: Some_Library\nVersion: 1.2\nLicense-Expression: MIT\n\nText"
)


def pins(text: str) -> dict[str, str]:
    return dict(line.split("==") for line in text.split())


def test_the_disk_has_its_parts_where_its_table_says(tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(b"squashfs" * 1000)
    disk.write(tmp_path / "disk", BOOT, b"kernel" * 1000, tmp_path / "root")
    written = (tmp_path / "disk").read_bytes()
    assert (len(written) % disk.MIB, written[510:512]) == (0, b"\x55\xaa")
    assert written[: disk.CODE_BYTES] == BOOT[0][: disk.CODE_BYTES]
    assert written[512:].startswith(BOOT[1])
    for number, content in enumerate((b"kernel" * 1000, b"squashfs" * 1000)):
        start, size = struct.unpack_from("<II", written, 446 + number * 16 + 8)
        assert written[start * 512 :].startswith(content)
        assert size * 512 >= len(content)


def test_a_grub_that_would_overwrite_the_first_partition_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(b"")
    with pytest.raises(disk.TooLarge, match="before 1 MiB"):
        disk.write(tmp_path / "disk", (BOOT[0], bytes(disk.MIB)), b"", tmp_path / "root")


def test_the_first_root_is_an_archive_that_kernels_read() -> None:
    made = disk.initrd(("bin",), {"init": b"#!", "bin/busybox": b"program"})
    assert made == disk.initrd(("bin",), {"init": b"#!", "bin/busybox": b"program"})
    text = gzip.decompress(made)
    names = []
    at = 0
    while text[at : at + 6] == b"070701":
        size, length = int(text[at + 54 : at + 62], 16), int(text[at + 94 : at + 102], 16)
        names.append(text[at + 110 : at + 110 + length - 1].decode())
        at = -(-(-(-(at + 110 + length) // 4) * 4 + size) // 4) * 4
    assert names == ["bin", "init", "bin/busybox", "TRAILER!!!"]


def archive(files: dict[str, bytes]) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as written:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            written.addfile(entry, io.BytesIO(content))
    made.seek(0)
    return made


def test_what_boots_is_taken_out_of_the_root_and_the_rest_goes_on() -> None:
    kernel = "usr/lib/modules/6.1/kernel"
    files = {
        "boot/vmlinuz-6.1": b"kernel",
        "boot/config-6.1": b"config",
        "usr/bin/busybox": b"busybox",
        "usr/bin/other": b"other",
        "var/lib/dpkg/status": STATUS.encode(),
        "usr/lib/python3/x.dist-info/METADATA": METADATA.encode(),
        f"{kernel}/virtio-blk.ko.xz": lzma.compress(b"disk"),
        f"{kernel}/ring.ko": b"ring",
        f"{kernel}/sound.ko": b"sound",
        "usr/lib/modules/6.1/modules.dep": (
            b"kernel/sound.ko:\nkernel/virtio-blk.ko.xz: kernel/ring.ko\nkernel/ring.ko:\n"
        ),
    }
    passed = io.BytesIO()
    taken = root.pass_on(archive(files), passed)
    assert (taken.kernel, taken.busybox) == (b"kernel", b"busybox")
    assert list(taken.modules.items()) == [("ring", b"ring"), ("virtio_blk", b"disk")]
    passed.seek(0)
    with tarfile.open(fileobj=passed) as read:
        names = {name.removeprefix("./") for name in read.getnames()}
    assert names == {name for name in files if not name.startswith("boot/")}
    with pytest.raises(Broken, match="0 kernels"):
        root.pass_on(archive({"usr/bin/other": b""}), io.BytesIO())


def test_the_bill_names_what_is_installed() -> None:
    packages = [*sbom.of_debian(STATUS, "trixie"), *sbom.of_python([METADATA])]
    bill = json.loads(sbom.bill("amphora", "ab" * 32, packages, 1767225600))
    found = {one["name"]: one for one in bill["packages"]}
    assert found.keys() == {"amphora", "haproxy", "Some_Library"}
    (reference,) = found["haproxy"]["externalRefs"]
    assert reference["referenceLocator"] == (
        "pkg:deb/debian/haproxy@3.0.11-1%2Bdeb13u1?arch=amd64&distro=trixie"
    )
    assert found["Some_Library"]["licenseDeclared"] == "MIT"
    assert bill["creationInfo"]["created"] == "2026-01-01T00:00:00Z"
    known = {one["SPDXID"] for one in bill["packages"]} | {"SPDXRef-DOCUMENT"}
    said = bill["relationships"]
    assert {one[end] for one in said for end in ("spdxElementId", "relatedSpdxElement")} == known


def test_the_agent_s_libraries_are_locked_to_the_versions_that_are_tested() -> None:
    locked = pins((build.HERE / "agent.lock").read_text())
    tested = pins((ROOT / "requirements.lock").read_text())
    assert locked == {name: tested[name] for name in locked}


def test_the_lock_has_all_that_its_libraries_need() -> None:
    locked = pins((build.HERE / "agent.lock").read_text())
    there = {"python_version": build.PYTHON, "python_full_version": f"{build.PYTHON}.0"}
    needed = {
        wish.name
        for name in locked
        for wish in map(Requirement, requires(name) or ())
        if wish.marker is None or wish.marker.evaluate({**there, "extra": ""})
    }
    assert needed <= locked.keys()


def test_the_agent_has_the_rights_that_it_has_on_a_machine_of_namespaces() -> None:
    script = ROOT / "colonnade/drivers/compute/namespaces/amphora-init.sh"
    (line,) = (one for one in script.read_text().splitlines() if one.startswith("rights="))
    rights = {f"CAP_{word.removeprefix('+').upper()}" for word in line.split(",")[1:]}
    assert set(contents.RIGHTS.split()) == rights
